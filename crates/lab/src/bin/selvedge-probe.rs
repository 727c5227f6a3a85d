//! A plain X program to look at from outside: what it was told can be read from its pixels.
//!
//! | where (window pixels, from the top left) | what |
//! |---|---|
//! | 16 blocks of 32x32 along the top, x = 0..512 | the key counter, least significant bit first: white is 1, black is 0 |
//! | block 16, x = 512..544 | white while one of the buttons 1 to 3 is held |
//! | block 17, x = 544..576 | the parity of wheel notches, all four directions: white is odd |
//! | from (64, 96) | the key counter in seven-segment digits |
//! | baseline y = 240, x = 64 | a line of text: counts, pointer, the last characters typed |
//! | height - 160 .. height - 96 | with `--animate`, a yellow square that moves 30 times a second |
//! | everything else, surely the lowest 32 rows | [`EVEN`], or [`ODD`] when the key counter is odd |
//! | around the pointer | a white cross, 41 pixels wide and high, drawn over everything |
//!
//! The window covers the root window and follows its size. It has no window manager's help: it takes
//! the focus itself.
//!
//! With `--tell` it also prints a line for all it is told: `key 38 down`, `button 5 up`,
//! `pointer 640 360`, `size 1280x720`. The keyboard does not repeat then, so that a key that is let
//! go is told apart from one that is held.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, AutoRepeatMode, ButtonIndex, ChangeGCAux, ChangeKeyboardControlAux,
    ChangeWindowAttributesAux, ConfigureWindowAux, ConnectionExt as _, CreateGCAux,
    CreateWindowAux, Drawable, EventMask, Font, Gcontext, InputFocus, Pixmap, PropMode, Rectangle,
    Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// The background while the key counter is even: dark blue.
const EVEN: u32 = 0x20_30_60;
/// The background while the key counter is odd: green.
const ODD: u32 = 0x30_c0_40;
const WHITE: u32 = 0xff_ff_ff;
const BLACK: u32 = 0;
const YELLOW: u32 = 0xff_e0_20;

const BLOCK: u16 = 32;
const COUNTER_BITS: u16 = 16;
/// Half the width of the pointer's cross, without its middle.
const CROSS: i16 = 20;
const SQUARE: u16 = 64;
const ANIMATION_STEP: Duration = Duration::from_millis(33);
/// Events read ahead; the reader waits when it is full.
const EVENTS_MAX: usize = 256;
/// How many typed characters the text line shows.
const TYPED_MAX: usize = 40;

fn main() -> anyhow::Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let (connection, screen) = x11rb::connect(None).context("cannot reach the X server")?;
    let connection = Arc::new(connection);
    let mut probe = Probe::open(connection.clone(), screen, &options)?;

    let (tx, events) = sync_channel(EVENTS_MAX);
    std::thread::spawn(move || {
        while let Ok(event) = connection.wait_for_event() {
            if tx.send(event).is_err() {
                return;
            }
        }
    });
    run(&mut probe, &events, &options)
}

fn run(probe: &mut Probe, events: &Receiver<Event>, options: &Options) -> anyhow::Result<()> {
    let started_at = Instant::now();
    let crash_at = options.crash_after.map(|after| started_at + after);
    let mut step_at = options.animate.then_some(started_at);
    loop {
        let now = Instant::now();
        if crash_at.is_some_and(|at| now >= at) {
            bail!("crashed, as --crash-after asked");
        }
        if step_at.is_some_and(|at| now >= at) {
            probe.step()?;
            step_at = Some(now + ANIMATION_STEP);
        }
        let next = [crash_at, step_at].into_iter().flatten().min();
        let event = match next {
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => events.recv_timeout(at.saturating_duration_since(now)),
        };
        match event {
            Ok(event) => probe.handle(&event)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()), // the X server has gone
        }
    }
}

#[derive(Debug, Default)]
struct Options {
    size: Option<(u16, u16)>,
    animate: bool,
    tell: bool,
    crash_after: Option<Duration>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--size" => options.size = Some(parse_size(&value()?)?),
                "--animate" => options.animate = true,
                "--tell" => options.tell = true,
                "--crash-after" => {
                    let secs: f64 = value()?.parse().context("--crash-after takes seconds")?;
                    let after = Duration::try_from_secs_f64(secs);
                    options.crash_after = Some(after.context("--crash-after takes seconds")?);
                }
                _ => bail!(
                    "unknown argument {arg}; known: --size WxH --animate --tell --crash-after S"
                ),
            }
        }
        Ok(options)
    }
}

fn parse_size(text: &str) -> anyhow::Result<(u16, u16)> {
    let (width, height) = text.split_once('x').context("--size takes WxH")?;
    Ok((width.parse()?, height.parse()?))
}

struct Probe {
    connection: Arc<RustConnection>,
    root: Window,
    depth: u8,
    window: Window,
    /// Everything but the cross and the square, so that moving them repaints little.
    scene: Pixmap,
    gc: Gcontext,
    width: u16,
    height: u16,
    keys: u32,
    wheel: u32,
    held: u8,
    pointer: (i16, i16),
    typed: String,
    square_x: u16,
    animate: bool,
    tell: bool,
}

impl Probe {
    fn open(
        connection: Arc<RustConnection>,
        screen: usize,
        options: &Options,
    ) -> anyhow::Result<Self> {
        let screen = &connection.setup().roots[screen];
        let (root, depth) = (screen.root, screen.root_depth);
        let (width, height) = options
            .size
            .unwrap_or((screen.width_in_pixels, screen.height_in_pixels));
        let (window, gc, font) = (
            connection.generate_id()?,
            connection.generate_id()?,
            connection.generate_id()?,
        );
        let root_events = ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
        connection.change_window_attributes(root, &root_events)?;
        let aux = CreateWindowAux::new().background_pixel(EVEN).event_mask(
            EventMask::KEY_PRESS
                | EventMask::KEY_RELEASE
                | EventMask::BUTTON_PRESS
                | EventMask::BUTTON_RELEASE
                | EventMask::POINTER_MOTION
                | EventMask::EXPOSURE
                | EventMask::STRUCTURE_NOTIFY,
        );
        let class = WindowClass::INPUT_OUTPUT;
        connection.create_window(depth, window, root, 0, 0, width, height, 0, class, 0, &aux)?;
        let title: Atom = AtomEnum::WM_NAME.into();
        connection.change_property8(
            PropMode::REPLACE,
            window,
            title,
            AtomEnum::STRING,
            b"selvedge-probe",
        )?;
        open_font(&connection, font)?;
        connection.create_gc(
            gc,
            window,
            &CreateGCAux::new().font(font).graphics_exposures(0),
        )?;
        let scene = connection.generate_id()?;
        connection.create_pixmap(depth, scene, window, width, height)?;
        if options.tell {
            let still = ChangeKeyboardControlAux::new().auto_repeat_mode(AutoRepeatMode::OFF);
            connection.change_keyboard_control(&still)?;
        }
        connection.map_window(window)?;
        connection.flush()?;
        Ok(Self {
            connection,
            root,
            depth,
            window,
            scene,
            gc,
            width,
            height,
            keys: 0,
            wheel: 0,
            held: 0,
            pointer: (-CROSS - 1, -CROSS - 1),
            typed: String::new(),
            square_x: 0,
            animate: options.animate,
            tell: options.tell,
        })
    }

    fn handle(&mut self, event: &Event) -> anyhow::Result<()> {
        if self.tell {
            self.tell(event)?;
        }
        match event {
            Event::MapNotify(_) => {
                let (parent, now) = (InputFocus::PARENT, x11rb::CURRENT_TIME);
                self.connection.set_input_focus(parent, self.window, now)?;
                self.paint()
            }
            Event::Expose(expose) if expose.count == 0 => self.paint(),
            Event::ConfigureNotify(event) if event.window == self.root => {
                self.resize(event.width, event.height)
            }
            Event::KeyPress(press) => {
                self.keys += 1;
                self.type_key(press.detail, u16::from(press.state))?;
                self.paint()
            }
            Event::ButtonPress(press) if is_wheel(press.detail) => {
                self.wheel += 1;
                self.paint()
            }
            Event::ButtonPress(_) => {
                self.held = self.held.saturating_add(1);
                self.paint()
            }
            Event::ButtonRelease(release) if !is_wheel(release.detail) => {
                self.held = self.held.saturating_sub(1);
                self.paint()
            }
            Event::MotionNotify(motion) => self.point_to(motion.event_x, motion.event_y),
            _ => Ok(()),
        }
    }

    /// Prints what the event says.
    fn tell(&self, event: &Event) -> anyhow::Result<()> {
        let line = match event {
            Event::MapNotify(_) => format!("size {}x{}", self.width, self.height),
            Event::ConfigureNotify(event) if event.window == self.root => {
                format!("size {}x{}", event.width, event.height)
            }
            Event::KeyPress(press) => format!("key {} down", press.detail),
            Event::KeyRelease(release) => format!("key {} up", release.detail),
            Event::ButtonPress(press) => format!("button {} down", press.detail),
            Event::ButtonRelease(release) => format!("button {} up", release.detail),
            Event::MotionNotify(motion) => format!("pointer {} {}", motion.event_x, motion.event_y),
            _ => return Ok(()),
        };
        let mut out = std::io::stdout();
        writeln!(out, "{line}")?;
        Ok(out.flush()?)
    }

    fn resize(&mut self, width: u16, height: u16) -> anyhow::Result<()> {
        if (width, height) == (self.width, self.height) {
            return Ok(());
        }
        (self.width, self.height) = (width, height);
        let size = ConfigureWindowAux::new()
            .width(u32::from(width))
            .height(u32::from(height));
        self.connection.configure_window(self.window, &size)?;
        self.connection.free_pixmap(self.scene)?;
        self.scene = self.connection.generate_id()?;
        self.connection
            .create_pixmap(self.depth, self.scene, self.window, width, height)?;
        self.paint()
    }

    /// Remembers the character of a key for the text line.
    fn type_key(&mut self, keycode: u8, state: u16) -> anyhow::Result<()> {
        let mapping = self.connection.get_keyboard_mapping(keycode, 1)?.reply()?;
        let shifted = usize::from(state & 1);
        let keysyms = &mapping.keysyms;
        let keysym = keysyms
            .get(shifted)
            .or(keysyms.first())
            .copied()
            .unwrap_or(0);
        let code = if keysym & 0xff00_0000 == 0x0100_0000 {
            keysym & 0x00ff_ffff
        } else {
            keysym
        };
        let printable = !(0xf000..=0xffff).contains(&code);
        self.typed
            .extend(char::from_u32(code).filter(|_| printable && code >= 0x20));
        while self.typed.chars().count() > TYPED_MAX {
            self.typed.remove(0);
        }
        Ok(())
    }

    /// Paints everything anew.
    fn paint(&mut self) -> anyhow::Result<()> {
        let (scene, width, height) = (self.scene, self.width, self.height);
        let background = if self.keys.is_multiple_of(2) {
            EVEN
        } else {
            ODD
        };
        self.fill(scene, background, &[rectangle(0, 0, width, height)])?;
        let lit = |bit: u16| match bit {
            COUNTER_BITS => self.held > 0,
            bit if bit > COUNTER_BITS => self.wheel % 2 == 1,
            bit => self.keys >> bit & 1 == 1,
        };
        for bit in 0..COUNTER_BITS + 2 {
            let colour = if lit(bit) { WHITE } else { BLACK };
            self.fill(scene, colour, &[rectangle(bit * BLOCK, 0, BLOCK, BLOCK)])?;
        }
        self.fill(scene, WHITE, &digits(self.keys))?;
        let line = format!(
            "keys {}  wheel {}  buttons {}  typed {}",
            self.keys, self.wheel, self.held, self.typed
        );
        // The core fonts hold Latin-1 and no more.
        let line: Vec<u8> = line
            .chars()
            .map(|c| u8::try_from(c).unwrap_or(b'?'))
            .collect();
        let colours = ChangeGCAux::new().foreground(WHITE).background(background);
        self.connection.change_gc(self.gc, &colours)?;
        self.connection
            .image_text8(scene, self.gc, 64, 240, &line[..line.len().min(255)])?;
        self.show(rectangle(0, 0, width, height))?;
        self.draw_moving()
    }

    /// Moves the cross.
    fn point_to(&mut self, x: i16, y: i16) -> anyhow::Result<()> {
        let (old_x, old_y) = std::mem::replace(&mut self.pointer, (x, y));
        let side = CROSS.unsigned_abs() * 2 + 1;
        self.show(Rectangle {
            x: old_x - CROSS,
            y: old_y - CROSS,
            width: side,
            height: side,
        })?;
        self.draw_moving()
    }

    /// Moves the square.
    fn step(&mut self) -> anyhow::Result<()> {
        self.show(self.square())?;
        self.square_x = (self.square_x + 8) % self.width.saturating_sub(SQUARE).max(1);
        self.draw_moving()
    }

    fn square(&self) -> Rectangle {
        rectangle(
            self.square_x,
            self.height.saturating_sub(160),
            SQUARE,
            SQUARE,
        )
    }

    fn draw_moving(&self) -> anyhow::Result<()> {
        if self.animate {
            self.fill(self.window, YELLOW, &[self.square()])?;
        }
        let (x, y) = self.pointer;
        let side = CROSS.unsigned_abs() * 2 + 1;
        let bars = [
            Rectangle {
                x: x - CROSS,
                y,
                width: side,
                height: 1,
            },
            Rectangle {
                x,
                y: y - CROSS,
                width: 1,
                height: side,
            },
        ];
        self.fill(self.window, WHITE, &bars)?;
        Ok(self.connection.flush()?)
    }

    /// Copies a part of the scene to the window.
    fn show(&self, part: Rectangle) -> anyhow::Result<()> {
        let Rectangle {
            x,
            y,
            width,
            height,
        } = part;
        self.connection
            .copy_area(self.scene, self.window, self.gc, x, y, x, y, width, height)?;
        Ok(())
    }

    fn fill(&self, onto: Drawable, colour: u32, parts: &[Rectangle]) -> anyhow::Result<()> {
        self.connection
            .change_gc(self.gc, &ChangeGCAux::new().foreground(colour))?;
        self.connection.poly_fill_rectangle(onto, self.gc, parts)?;
        Ok(())
    }
}

/// Opens the largest of some fonts that the server has; "fixed" is built into every server.
fn open_font(connection: &RustConnection, font: Font) -> anyhow::Result<()> {
    for name in [&b"10x20"[..], b"9x15", b"fixed"] {
        if connection.open_font(font, name)?.check().is_ok() {
            return Ok(());
        }
    }
    bail!("the X server has no font called \"fixed\"")
}

fn is_wheel(button: u8) -> bool {
    let wheel = u8::from(ButtonIndex::M4)..=7;
    wheel.contains(&button)
}

/// The parts of a number in seven-segment digits.
fn digits(number: u32) -> Vec<Rectangle> {
    // Segments by bit: top, top right, bottom right, bottom, bottom left, top left, middle.
    const SHAPES: [u8; 10] = [0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07, 0x7f, 0x6f];
    const SEGMENTS: [(u16, u16, u16, u16); 7] = [
        (0, 0, 48, 8),
        (40, 0, 8, 44),
        (40, 36, 8, 44),
        (0, 72, 48, 8),
        (0, 36, 8, 44),
        (0, 0, 8, 44),
        (0, 36, 48, 8),
    ];
    let mut parts = Vec::new();
    for (place, digit) in number.to_string().bytes().enumerate() {
        let shape = SHAPES[usize::from(digit - b'0')];
        let left = 64 + u16::try_from(place).unwrap_or(0) * 64;
        for (bit, (x, y, width, height)) in SEGMENTS.into_iter().enumerate() {
            if shape >> bit & 1 == 1 {
                parts.push(rectangle(left + x, 96 + y, width, height));
            }
        }
    }
    parts
}

fn rectangle(x: u16, y: u16, width: u16, height: u16) -> Rectangle {
    let signed = |at| i16::try_from(at).unwrap_or(i16::MAX);
    Rectangle {
        x: signed(x),
        y: signed(y),
        width,
        height,
    }
}
