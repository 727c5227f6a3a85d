//! Copying and pasting between a terminal and programs on the screen.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::input::{CLIPBOARD_MAX, InputEvent, InputSeq};
use render::picture::Size;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt as _, CreateWindowAux, EventMask, PropMode, Property,
    SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use crate::support::{DEADLINE, Viewer, Xvfb, config, eventually};

const SIZE: Size = Size::new(640, 480);

/// A program that copies and pastes.
struct Copier {
    connection: RustConnection,
    window: Window,
}

impl Copier {
    fn start(display: &str) -> Self {
        let (connection, screen) = RustConnection::connect(Some(display)).unwrap();
        let root = connection.setup().roots[screen].root;
        let window = connection.generate_id().unwrap();
        let aux = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        let class = WindowClass::INPUT_ONLY;
        connection
            .create_window(0, window, root, 0, 0, 1, 1, 0, class, 0, &aux)
            .unwrap();
        connection.sync().unwrap();
        Self { connection, window }
    }

    fn atom(&self, name: &str) -> Atom {
        let cookie = self.connection.intern_atom(false, name.as_bytes());
        cookie.unwrap().reply().unwrap().atom
    }

    /// Becomes the owner of the clipboard and answers one request for text, in one piece or in
    /// parts.
    fn copy(&self, text: &[u8], part: Option<usize>) {
        let clipboard = self.atom("CLIPBOARD");
        self.connection
            .set_selection_owner(self.window, clipboard, x11rb::CURRENT_TIME)
            .unwrap();
        self.connection.flush().unwrap();
        let request = self.wait(|event| match event {
            Event::SelectionRequest(request) => Some(*request),
            _ => None,
        });
        let utf8 = self.atom("UTF8_STRING");
        assert_eq!(request.target, utf8);
        match part {
            None => {
                self.put(&request, utf8, text);
                self.notify(&request);
            }
            Some(part) => self.copy_in_parts(&request, text, part),
        }
    }

    fn copy_in_parts(&self, request: &SelectionRequestEvent, text: &[u8], part: usize) {
        let aux = x11rb::protocol::xproto::ChangeWindowAttributesAux::new()
            .event_mask(EventMask::PROPERTY_CHANGE);
        self.connection
            .change_window_attributes(request.requestor, &aux)
            .unwrap();
        let len = [u32::try_from(text.len()).unwrap()];
        self.connection
            .change_property32(
                PropMode::REPLACE,
                request.requestor,
                request.property,
                self.atom("INCR"),
                &len,
            )
            .unwrap();
        self.notify(request);
        for chunk in text.chunks(part).chain([&[][..]]) {
            self.wait(|event| match event {
                Event::PropertyNotify(event)
                    if event.window == request.requestor
                        && event.atom == request.property
                        && event.state == Property::DELETE =>
                {
                    Some(())
                }
                _ => None,
            });
            self.put(request, self.atom("UTF8_STRING"), chunk);
            self.connection.flush().unwrap();
        }
    }

    fn put(&self, request: &SelectionRequestEvent, kind: Atom, bytes: &[u8]) {
        self.connection
            .change_property8(
                PropMode::REPLACE,
                request.requestor,
                request.property,
                kind,
                bytes,
            )
            .unwrap();
    }

    fn notify(&self, request: &SelectionRequestEvent) {
        let answer = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: request.requestor,
            selection: request.selection,
            target: request.target,
            property: request.property,
        };
        self.connection
            .send_event(false, request.requestor, EventMask::NO_EVENT, answer)
            .unwrap();
        self.connection.flush().unwrap();
    }

    /// Pastes from a selection as a target; `None` if its owner refuses or there is none.
    fn paste(&self, selection: &str, target: &str) -> Option<Vec<u8>> {
        let (selection, target) = (self.atom(selection), self.atom(target));
        let property = self.atom("PASTED");
        self.connection
            .convert_selection(
                self.window,
                selection,
                target,
                property,
                x11rb::CURRENT_TIME,
            )
            .unwrap();
        self.connection.flush().unwrap();
        let answer = self.wait(|event| match event {
            Event::SelectionNotify(answer) => Some(*answer),
            _ => None,
        });
        if answer.property == x11rb::NONE {
            return None;
        }
        let cookie = self.connection.get_property(
            true,
            self.window,
            property,
            AtomEnum::ANY,
            0,
            u32::MAX / 4,
        );
        Some(cookie.unwrap().reply().unwrap().value)
    }

    fn wait<T>(&self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        eventually("an event", || {
            let event = self.connection.poll_for_event().unwrap()?;
            wanted(&event)
        })
    }
}

fn start() -> (Xvfb, Viewer, Copier) {
    let xvfb = Xvfb::start(SIZE);
    let viewer = Viewer::start(config(&xvfb.display));
    let copier = Copier::start(&xvfb.display);
    (xvfb, viewer, copier)
}

fn offer(viewer: &Viewer, text: &str) {
    viewer.handle.input(vec![InputEvent::Clipboard {
        seq: InputSeq(1),
        text: text.into(),
    }]);
}

/// The next text that a program copied.
fn copied(viewer: &mut Viewer) -> Arc<str> {
    let clipboard = &mut viewer.outputs.clipboard;
    let changed = viewer
        .runtime
        .block_on(async { tokio::time::timeout(DEADLINE, clipboard.changed()).await });
    changed.expect("a text in time").unwrap();
    clipboard.borrow_and_update().clone().unwrap()
}

#[test]
fn what_a_program_copies_comes_out() {
    let (_xvfb, mut viewer, copier) = start();
    copier.copy("Grüße ✂".as_bytes(), None);
    assert_eq!(&*copied(&mut viewer), "Grüße ✂");
    let long = "0123456789abcdef".repeat(16 * 1024 - 1);
    copier.copy(long.as_bytes(), Some(60_000));
    assert_eq!(copied(&mut viewer).len(), long.len());
}

#[test]
fn too_long_broken_and_repeated_texts_do_not() {
    let (_xvfb, mut viewer, copier) = start();
    let long = vec![b'x'; usize::try_from(CLIPBOARD_MAX.get()).unwrap() + 1];
    copier.copy(&long, Some(100_000));
    copier.copy(&[0xff, 0xfe], None);
    copier.copy(b"", None);
    copier.copy(b"one", None);
    assert_eq!(&*copied(&mut viewer), "one");
    copier.copy(b"one", None);
    copier.copy(b"two", None);
    assert_eq!(&*copied(&mut viewer), "two");
}

#[test]
fn what_the_terminal_copied_can_be_pasted() {
    let (_xvfb, viewer, copier) = start();
    assert_eq!(copier.paste("CLIPBOARD", "UTF8_STRING"), None);
    for words in ["ключ", &"y".repeat(200_000)] {
        offer(&viewer, words);
        for (selection, target) in [
            ("CLIPBOARD", "UTF8_STRING"),
            ("CLIPBOARD", "text/plain;charset=utf-8"),
            ("PRIMARY", "UTF8_STRING"),
        ] {
            eventually("the words", || {
                let pasted = copier.paste(selection, target);
                (pasted.as_deref() == Some(words.as_bytes())).then_some(())
            });
        }
    }
    let targets = copier.paste("CLIPBOARD", "TARGETS").unwrap();
    let targets: Vec<Atom> = targets
        .chunks(4)
        .map(|atom| Atom::from_ne_bytes(atom.try_into().unwrap()))
        .collect();
    assert!(targets.contains(&copier.atom("UTF8_STRING")));
    assert_eq!(copier.paste("CLIPBOARD", "image/png"), None);
    // Our own text is not sent back to the terminal.
    assert!(!viewer.outputs.clipboard.has_changed().unwrap());
}

/// xterm as people use it: it pastes what the terminal copied, here into a shell that names its
/// window after it.
#[test]
fn xterm_pastes_it() {
    let (xvfb, viewer, copier) = start();
    let _xterm = Xterm::start(&xvfb.display);
    let xterm = eventually("xterm's window", || copier.window_named("waiting"));
    copier
        .connection
        .set_input_focus(x11rb::protocol::xproto::InputFocus::PARENT, xterm, 0_u32)
        .unwrap();
    copier.connection.sync().unwrap();
    offer(&viewer, "pasted\n");
    let key = |code: &str, down| InputEvent::Key {
        seq: InputSeq(2),
        code: code.into(),
        down,
    };
    let end = Instant::now() + DEADLINE;
    // It may take a moment until xterm listens.
    while copier.window_named("got pasted").is_none() {
        assert!(Instant::now() < end, "nothing was pasted");
        viewer.handle.input(vec![
            key("ShiftLeft", true),
            key("Insert", true),
            key("Insert", false),
            key("ShiftLeft", false),
        ]);
        std::thread::sleep(Duration::from_millis(200)); // between tries
    }
}

struct Xterm(Child);

impl Xterm {
    fn start(display: &str) -> Self {
        let script = r#"printf '\033]2;waiting\007'; read line; printf '\033]2;got %s\007' "$line"; sleep 60"#;
        let child = Command::new("xterm")
            .args(["-display", display, "-e", "sh", "-c", script])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("xterm is installed");
        Self(child)
    }
}

impl Drop for Xterm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Copier {
    fn window_named(&self, name: &str) -> Option<Window> {
        let root = self.connection.setup().roots[0].root;
        let tree = self.connection.query_tree(root).unwrap().reply().unwrap();
        tree.children.into_iter().find(|&window| {
            let title: Atom = AtomEnum::WM_NAME.into();
            let kind = AtomEnum::ANY;
            self.connection
                .get_property(false, window, title, kind, 0, 64)
                .unwrap()
                .reply()
                .is_ok_and(|reply| reply.value == name.as_bytes())
        })
    }
}
