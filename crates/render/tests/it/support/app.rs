//! A small program on the X server: it tells what it is told, and does what tests want drawn.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::randr::{ConnectionExt as _, Rotation};
use x11rb::protocol::xproto::{
    ChangeGCAux, ChangeWindowAttributesAux, ConfigureWindowAux, ConnectionExt as _, CreateGCAux,
    CreateWindowAux, EventMask, Gcontext, InputFocus, Rectangle, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use super::DEADLINE;

pub(crate) const EVEN: u32 = 0x20_30_60;
pub(crate) const ODD: u32 = 0x30_c0_40;

/// What the program was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Key { keysym: u32, down: bool },
    Button { button: u8, down: bool },
    Pointer { x: i16, y: i16 },
}

/// A window that covers the screen, flips its colour with every key press and tells its events.
pub(crate) struct App {
    pub(crate) connection: Arc<RustConnection>,
    pub(crate) window: Window,
    gc: Gcontext,
    told: Receiver<Told>,
}

impl App {
    pub(crate) fn start(display: &str) -> Self {
        let (connection, screen) = RustConnection::connect(Some(display)).unwrap();
        let connection = Arc::new(connection);
        let screen = &connection.setup().roots[screen];
        let (root, width, height) = (screen.root, screen.width_in_pixels, screen.height_in_pixels);
        let window = connection.generate_id().unwrap();
        let gc = connection.generate_id().unwrap();
        let aux = CreateWindowAux::new().background_pixel(EVEN).event_mask(
            EventMask::KEY_PRESS
                | EventMask::KEY_RELEASE
                | EventMask::BUTTON_PRESS
                | EventMask::BUTTON_RELEASE
                | EventMask::POINTER_MOTION
                | EventMask::PROPERTY_CHANGE
                | EventMask::EXPOSURE,
        );
        let class = WindowClass::INPUT_OUTPUT;
        connection
            .create_window(24, window, root, 0, 0, width, height, 0, class, 0, &aux)
            .unwrap();
        connection
            .create_gc(gc, window, &CreateGCAux::new())
            .unwrap();
        connection.map_window(window).unwrap();
        connection.sync().unwrap();
        connection
            .set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME)
            .unwrap();
        connection.sync().unwrap();

        let (tx, told) = sync_channel(4096);
        let reader = Reader {
            connection: connection.clone(),
            window,
            gc,
        };
        std::thread::spawn(move || {
            let mut presses = 0;
            while let Ok(event) = reader.connection.wait_for_event() {
                let Some(told) = reader.handle(&event, &mut presses) else {
                    continue;
                };
                if tx.send(told).is_err() {
                    return;
                }
            }
        });
        Self {
            connection,
            window,
            gc,
            told,
        }
    }

    /// The next thing it was told.
    #[track_caller]
    pub(crate) fn next(&self) -> Told {
        self.told.recv_timeout(DEADLINE).expect("an event in time")
    }

    /// The next thing but pointer motion.
    #[track_caller]
    pub(crate) fn next_press(&self) -> Told {
        loop {
            match self.next() {
                Told::Pointer { .. } => {}
                told => return told,
            }
        }
    }

    pub(crate) fn fill(&self, x: i16, y: i16, width: u16, height: u16, colour: u32) {
        let aux = ChangeGCAux::new().foreground(colour);
        self.connection.change_gc(self.gc, &aux).unwrap();
        let rectangle = Rectangle {
            x,
            y,
            width,
            height,
        };
        self.connection
            .poly_fill_rectangle(self.window, self.gc, &[rectangle])
            .unwrap();
        self.connection.sync().unwrap();
    }

    /// Draws a picture with many details.
    pub(crate) fn scribble(&self, seed: u32) {
        let mut random = seed | 1;
        let mut next = move |most: u32| {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random % most
        };
        for _ in 0..40 {
            let aux = ChangeGCAux::new().foreground(next(0x0100_0000));
            self.connection.change_gc(self.gc, &aux).unwrap();
            let rectangles: Vec<Rectangle> = (0..8)
                .map(|_| Rectangle {
                    x: next(1280) as i16,
                    y: next(720) as i16,
                    width: 2 + next(40) as u16,
                    height: 1 + next(12) as u16,
                })
                .collect();
            self.connection
                .poly_fill_rectangle(self.window, self.gc, &rectangles)
                .unwrap();
        }
        self.connection.sync().unwrap();
    }

    pub(crate) fn hide_cursor(&self) {
        let pixmap = self.connection.generate_id().unwrap();
        let cursor = self.connection.generate_id().unwrap();
        let gc = self.connection.generate_id().unwrap();
        let c = &self.connection;
        c.create_pixmap(1, pixmap, self.window, 1, 1).unwrap();
        c.create_gc(gc, pixmap, &CreateGCAux::new().foreground(0))
            .unwrap();
        let dot = Rectangle {
            x: 0,
            y: 0,
            width: 1,
            height: 1,
        };
        c.poly_fill_rectangle(pixmap, gc, &[dot]).unwrap();
        c.create_cursor(cursor, pixmap, pixmap, 0, 0, 0, 0, 0, 0, 0, 0)
            .unwrap();
        self.set_cursor(cursor);
    }

    /// Shows the cross of the font of cursors that every server has.
    pub(crate) fn show_cross(&self) {
        let font = self.connection.generate_id().unwrap();
        let cursor = self.connection.generate_id().unwrap();
        let c = &self.connection;
        c.open_font(font, b"cursor").unwrap();
        let black = 0;
        let white = u16::MAX;
        c.create_glyph_cursor(
            cursor, font, font, 34, 35, black, black, black, white, white, white,
        )
        .unwrap();
        self.set_cursor(cursor);
    }

    fn set_cursor(&self, cursor: u32) {
        let aux = ChangeWindowAttributesAux::new().cursor(cursor);
        self.connection
            .change_window_attributes(self.window, &aux)
            .unwrap();
        self.connection.sync().unwrap();
    }

    /// Gives the screen another size, as whoever owns it may do at any time.
    pub(crate) fn set_screen(&self, width: u16, height: u16) {
        let c = &self.connection;
        let root = c.setup().roots[0].root;
        let resources = c.randr_get_screen_resources(root).unwrap().reply().unwrap();
        let (crtc, time) = (resources.crtcs[0], resources.config_timestamp);
        // What shows no mode may have any size.
        c.randr_set_crtc_config(crtc, 0, time, 0, 0, 0, Rotation::ROTATE0, &[])
            .unwrap()
            .reply()
            .unwrap();
        c.randr_set_screen_size(root, width, height, 300, 200)
            .unwrap()
            .check()
            .unwrap();
    }

    pub(crate) fn resize(&self, width: u16, height: u16) {
        let aux = ConfigureWindowAux::new()
            .width(u32::from(width))
            .height(u32::from(height));
        self.connection.configure_window(self.window, &aux).unwrap();
        self.connection.sync().unwrap();
    }
}

struct Reader {
    connection: Arc<RustConnection>,
    window: Window,
    gc: Gcontext,
}

impl Reader {
    fn handle(&self, event: &Event, presses: &mut u32) -> Option<Told> {
        match event {
            Event::KeyPress(press) => {
                *presses += 1;
                let colour = if presses.is_multiple_of(2) { EVEN } else { ODD };
                let aux = ChangeGCAux::new().foreground(colour);
                self.connection.change_gc(self.gc, &aux).unwrap();
                let rectangle = Rectangle {
                    x: 0,
                    y: 0,
                    width: 4096,
                    height: 4096,
                };
                self.connection
                    .poly_fill_rectangle(self.window, self.gc, &[rectangle])
                    .unwrap();
                self.connection.flush().unwrap();
                Some(self.key(press.detail, press.state.into(), true))
            }
            Event::KeyRelease(release) => {
                Some(self.key(release.detail, release.state.into(), false))
            }
            Event::ButtonPress(press) => Some(Told::Button {
                button: press.detail,
                down: true,
            }),
            Event::ButtonRelease(release) => Some(Told::Button {
                button: release.detail,
                down: false,
            }),
            Event::MotionNotify(motion) => Some(Told::Pointer {
                x: motion.event_x,
                y: motion.event_y,
            }),
            _ => None,
        }
    }

    /// Looks a key up as programs do: when the event is there, with the mapping of then.
    fn key(&self, keycode: u8, state: u16, down: bool) -> Told {
        let mapping = self
            .connection
            .get_keyboard_mapping(keycode, 1)
            .unwrap()
            .reply()
            .unwrap();
        // Where Shift makes no difference the second place is empty.
        let keysym = match mapping.keysyms[usize::from(state & 1)] {
            0 => mapping.keysyms[0],
            keysym => keysym,
        };
        Told::Key { keysym, down }
    }
}
