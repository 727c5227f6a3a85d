//! What a person does, as a program on the screen is told it.

use model::input::{InputEvent, InputSeq};
use render::input::{LayoutError, set_layout};
use render::picture::Size;
use x11rb::protocol::xproto::ConnectionExt as _;
use x11rb::wrapper::ConnectionExt as _;

use crate::support::app::{App, Told};
use crate::support::{Viewer, Xvfb, config, eventually};

const SIZE: Size = Size::new(1280, 720);
const SEQ: InputSeq = InputSeq(1);

const SHIFT: u32 = 0xffe1;
const CONTROL: u32 = 0xffe3;
const UP: u32 = 0xff52;

struct Hands {
    _xvfb: Xvfb,
    app: App,
    viewer: Viewer,
}

impl Hands {
    fn start() -> Self {
        let xvfb = Xvfb::start(SIZE);
        let app = App::start(&xvfb.display);
        let viewer = Viewer::start(config(&xvfb.display));
        Self {
            _xvfb: xvfb,
            app,
            viewer,
        }
    }

    fn give(&self, events: &[InputEvent]) {
        self.viewer.handle.input(events.to_vec());
    }

    #[track_caller]
    fn expect(&self, expected: &[Told]) {
        let told: Vec<Told> = expected.iter().map(|_| self.app.next_press()).collect();
        assert_eq!(told, expected);
    }

    /// The characters typed until as many came as are expected, Shift aside.
    fn typed(&self, expected: &str) -> String {
        let mut typed = String::new();
        while typed.chars().count() < expected.chars().count() {
            if let Told::Key { keysym, down: true } = self.app.next_press()
                && keysym != SHIFT
            {
                typed.push(match keysym {
                    0xff0d => '\n',
                    0xff09 => '\t',
                    unicode @ 0x0100_0000.. => char::from_u32(unicode - 0x0100_0000).unwrap(),
                    latin => char::from_u32(latin).unwrap(),
                });
            }
        }
        typed
    }
}

fn key(code: &str, down: bool) -> InputEvent {
    InputEvent::Key {
        seq: SEQ,
        code: code.into(),
        down,
    }
}

fn text(text: &str) -> InputEvent {
    InputEvent::Text {
        seq: SEQ,
        text: text.into(),
    }
}

fn button(button: u8, down: bool, at: Option<(f32, f32)>) -> InputEvent {
    InputEvent::Button {
        seq: SEQ,
        button,
        down,
        x: at.map(|at| at.0),
        y: at.map(|at| at.1),
    }
}

fn told_key(keysym: u32, down: bool) -> Told {
    Told::Key { keysym, down }
}

fn told_button(button: u8, down: bool) -> Told {
    Told::Button { button, down }
}

#[test]
fn keys_are_pressed_by_their_place() {
    let hands = Hands::start();
    hands.give(&[
        key("KeyA", true),
        key("KeyA", true), // the terminal's repetition
        key("KeyA", false),
        key("ArrowUp", true),
        key("ArrowUp", false),
        key("NoSuchKey", true),
        key("KeyB", false), // never pressed
        key("Digit7", true),
        key("Digit7", false),
    ]);
    hands.expect(&[
        told_key('a'.into(), true),
        told_key('a'.into(), false),
        told_key(UP, true),
        told_key(UP, false),
        told_key('7'.into(), true),
        told_key('7'.into(), false),
    ]);
}

#[test]
fn what_is_typed_before_the_first_window_waits_for_it() {
    let xvfb = Xvfb::start(SIZE);
    let viewer = Viewer::start(config(&xvfb.display));
    viewer
        .handle
        .input(vec![key("KeyA", true), key("KeyA", false)]);
    let app = App::start(&xvfb.display);
    assert_eq!(app.next_press(), told_key('a'.into(), true));
    assert_eq!(app.next_press(), told_key('a'.into(), false));

    // The same for an app that is started anew.
    app.connection.destroy_window(app.window).unwrap();
    app.connection.sync().unwrap();
    viewer
        .handle
        .input(vec![key("KeyB", true), key("KeyB", false)]);
    let app = App::start(&xvfb.display);
    viewer
        .handle
        .input(vec![key("KeyC", true), key("KeyC", false)]);
    for (letter, down) in [('b', true), ('b', false), ('c', true), ('c', false)] {
        assert_eq!(app.next_press(), told_key(letter.into(), down));
    }
}

#[test]
fn an_app_without_a_window_gets_its_keys_all_the_same() {
    let xvfb = Xvfb::start(SIZE);
    let viewer = Viewer::start(config(&xvfb.display));
    let (connection, _) = x11rb::connect(Some(&xvfb.display)).unwrap();
    viewer.handle.input(vec![key("KeyA", true)]);
    eventually("a key that is held", || {
        let keymap = connection.query_keymap().unwrap().reply().unwrap();
        keymap.keys.iter().any(|keys| *keys != 0).then_some(())
    });
    viewer.handle.release_all();
    eventually("no key that is held", || {
        let keymap = connection.query_keymap().unwrap().reply().unwrap();
        keymap.keys.iter().all(|keys| *keys == 0).then_some(())
    });
}

#[test]
fn the_pointer_goes_where_the_fraction_of_the_picture_is() {
    let hands = Hands::start();
    for (x, y, expected) in [
        (0.5, 0.25, (640, 180)),
        (1.0, 1.0, (1279, 719)),
        (-1.0, f32::NAN, (0, 0)),
    ] {
        hands.give(&[InputEvent::Move { seq: SEQ, x, y }]);
        let (x, y) = expected;
        assert_eq!(hands.app.next(), Told::Pointer { x, y });
    }
    hands.give(&[
        InputEvent::Relative {
            seq: SEQ,
            dx: 30.5,
            dy: 7.0,
        },
        InputEvent::Relative {
            seq: SEQ,
            dx: 0.5,
            dy: -3.0,
        },
    ]);
    assert_eq!(hands.app.next(), Told::Pointer { x: 30, y: 7 });
    assert_eq!(hands.app.next(), Told::Pointer { x: 31, y: 4 });
}

#[test]
fn buttons_and_the_wheel_have_the_numbers_of_x() {
    let hands = Hands::start();
    for (dom, x) in [(0, 1), (1, 2), (2, 3), (3, 8), (4, 9)] {
        hands.give(&[
            button(dom, true, Some((0.5, 0.5))),
            button(dom, false, None),
        ]);
        hands.expect(&[told_button(x, true), told_button(x, false)]);
    }
    let wheel = |dx, dy| InputEvent::Wheel { seq: SEQ, dx, dy };
    hands.give(&[
        wheel(0.0, 0.5),
        wheel(0.0, 0.5),
        wheel(0.0, -1.0),
        wheel(1.0, 0.0),
        wheel(-1.0, 0.0),
    ]);
    for x in [5, 4, 7, 6] {
        hands.expect(&[told_button(x, true), told_button(x, false)]);
    }
    hands.give(&[button(77, true, None), button(0, true, None)]);
    hands.expect(&[told_button(1, true)]);
}

#[test]
fn everything_held_is_let_go_on_release_and_when_the_terminal_goes() {
    let hands = Hands::start();
    let hold = [
        key("ShiftLeft", true),
        button(0, true, None),
        InputEvent::Gamepad {
            seq: SEQ,
            button: 0,
            down: true,
        },
        InputEvent::Gamepad {
            seq: SEQ,
            button: 9,
            down: true,
        }, // not in the table
    ];
    let held = [
        told_key(SHIFT, true),
        told_button(1, true),
        told_key(CONTROL, true),
    ];
    let let_go = [
        told_key(CONTROL, false),
        told_key(SHIFT, false),
        told_button(1, false),
    ];
    hands.give(&hold);
    hands.expect(&held);
    hands.give(&[InputEvent::Release]);
    hands.expect(&let_go);

    hands.give(&hold);
    hands.expect(&held);
    hands.viewer.handle.release_all();
    hands.expect(&let_go);

    hands.give(&hold);
    hands.expect(&held);
    hands.viewer.handle.stop();
    hands.expect(&let_go);
}

#[test]
fn text_is_typed_whatever_the_script() {
    let hands = Hands::start();
    for words in [
        "é",
        "Grüße, żółw! 123",
        "Привет мир",
        "日本語 😀",
        "a\tB\n",
        "ÀÈ",
    ] {
        hands.give(&[text(words)]);
        assert_eq!(hands.typed(words), words);
    }
    let long: String = ('一'..).take(120).collect();
    for part in long.chars() {
        hands.give(&[text(&part.to_string())]);
        assert_eq!(
            hands.typed("x"),
            part.to_string(),
            "spare keys are used again"
        );
    }
}

#[test]
fn held_modifiers_do_not_change_text() {
    let hands = Hands::start();
    hands.give(&[key("ShiftLeft", true), text("aé1"), key("ShiftLeft", false)]);
    assert_eq!(hands.typed("aé1"), "aé1");
}

#[test]
fn another_layout_moves_the_letters() {
    let xvfb = Xvfb::start(SIZE);
    set_layout(&xvfb.display.as_str().into(), "de").unwrap();
    let app = App::start(&xvfb.display);
    let viewer = Viewer::start(config(&xvfb.display));
    viewer
        .handle
        .input(vec![key("KeyY", true), key("KeyY", false)]);
    assert_eq!(app.next_press(), told_key('z'.into(), true));
    let refused = set_layout(&xvfb.display.as_str().into(), "nowhere");
    assert!(
        matches!(refused, Err(LayoutError::Refused { .. })),
        "{refused:?}"
    );
}
