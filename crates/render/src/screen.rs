//! The screen of an X server: what changed, what it shows, how large it is.
//!
//! The server reports damage as a growing box; [`Screen::grab`] resets the box and copies its rows
//! into shared memory, which so always holds the whole picture as of the last grab. Between damage
//! nothing is asked of the server.
//!
//! How large the screen is others decide; a `Screen` follows.

use std::ops::Range;
use std::time::Duration;

use model::input::InputSeq;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::damage::{self, ConnectionExt as _, Damage};
use x11rb::protocol::shm::{self, ConnectionExt as _};
use x11rb::protocol::xfixes::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{
    ChangeWindowAttributesAux, ConnectionExt as _, EventMask, ImageFormat, ImageOrder, Rectangle,
};

use crate::cursor::Cursor;
use crate::mark::Mark;
use crate::picture::Size;
use crate::shm::Segment;
use crate::wake::Wake;
use crate::x11::{Link, XError, XServer};

/// A screen that changes its size this often while it is copied is not one that can be shown.
const GRAB_TRIES: u32 = 8;

/// A screen that is being watched.
#[derive(Debug)]
pub struct Screen {
    link: Link,
    size: Size,
    memory: Memory,
    damage: Damage,
    /// The box around what changed since the last grab.
    damaged: Option<Area>,
    cursor_changed: bool,
    mark: Option<Mark>,
}

/// Memory shared with the server, as large as the screen.
#[derive(Debug)]
struct Memory {
    segment: Segment,
    id: shm::Seg,
}

/// What a grab copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Grab {
    /// The rows of the picture that may have changed.
    pub rows: Range<u16>,
    /// The share of the picture that may have changed, 0 to 1.
    pub changed: f32,
    /// The last input event that the server had before the copy.
    pub(crate) input_seq: InputSeq,
}

/// A box by its edges; the right and lower edges are outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    left: u16,
    top: u16,
    right: u16,
    bottom: u16,
}

impl Screen {
    /// Connects to the X server `display` (such as `:7`) and begins to watch its screen. Blocks for
    /// a few round trips.
    ///
    /// # Errors
    /// If the server cannot be reached, lacks an extension or has no 32-bit true-colour screen.
    pub fn connect(server: &XServer) -> Result<Self, XError> {
        let link = Link::connect(server)?;
        let connection = &link.connection;
        for extension in [
            shm::X11_EXTENSION_NAME,
            damage::X11_EXTENSION_NAME,
            xfixes::X11_EXTENSION_NAME,
        ] {
            link.need(extension)?;
        }
        let shm = connection.shm_query_version()?.reply()?;
        if (shm.major_version, shm.minor_version) < (1, 2) {
            return Err(XError::Lacks {
                what: "MIT-SHM 1.2",
            });
        }
        connection.damage_query_version(1, 1)?.reply()?;
        connection.xfixes_query_version(5, 0)?.reply()?;
        check_pixels(&link)?;

        // Told of changes first, then asked: so no change is missed between the two.
        let changes = ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
        connection.change_window_attributes(link.root, &changes)?;
        let root = connection.get_geometry(link.root)?.reply()?;
        let size = Size::new(root.width, root.height);
        let memory = Memory::share(&link, size)?;
        let damage = connection.generate_id()?;
        let level = damage::ReportLevel::BOUNDING_BOX;
        connection
            .damage_create(damage, link.root, level)?
            .check()?;
        let mask = xfixes::CursorNotifyMask::DISPLAY_CURSOR;
        connection
            .xfixes_select_cursor_input(link.root, mask)?
            .check()?;

        let mut screen = Self {
            link,
            size,
            memory,
            damage,
            damaged: None,
            cursor_changed: true,
            mark: None,
        };
        screen.invalidate();
        Ok(screen)
    }

    /// The size as of the last [`update`](Self::update) or [`grab`](Self::grab).
    pub const fn size(&self) -> Size {
        self.size
    }

    /// From now on grabs say which input they come after.
    pub(crate) fn follow(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }

    /// Takes in what the server has to say, without blocking but for memory where the size has
    /// changed. Says whether something changed since the last grab.
    ///
    /// # Errors
    /// If the server has gone.
    pub fn update(&mut self) -> Result<bool, XError> {
        self.link.connection.flush()?;
        while let Some(event) = self.link.connection.poll_for_event()? {
            match event {
                Event::DamageNotify(event) => self.add_damage(event.area),
                Event::XfixesCursorNotify(_) => self.cursor_changed = true,
                Event::ConfigureNotify(event) if event.window == self.link.root => {
                    self.follow_size(Size::new(event.width, event.height))?;
                }
                // Errors of requests that were not waited for, and events not asked for.
                event => tracing::debug!(?event, "unexpected word of the X server"),
            }
        }
        Ok(self.damaged.is_some())
    }

    /// Waits until the server says something, the bell rings or the time is over. Call
    /// [`update`](Self::update) before: what was already read is not waited for.
    pub(crate) fn wait(&self, wake: &Wake, timeout: Option<Duration>) -> Result<(), XError> {
        wake.wait(self.link.fd(), timeout)
            .map_err(|source| XError::System {
                what: "wait",
                source,
            })
    }

    /// Declares the whole picture changed.
    pub fn invalidate(&mut self) {
        self.damaged = Some(Area {
            left: 0,
            top: 0,
            right: self.size.width(),
            bottom: self.size.height(),
        });
    }

    /// Copies what changed since the last grab; `None` if nothing did. Afterwards the screen may
    /// have another [`size`](Self::size), in which the whole of it was copied.
    ///
    /// # Errors
    /// If the server has gone.
    pub fn grab(&mut self) -> Result<Option<Grab>, XError> {
        for _ in 0..GRAB_TRIES {
            let Some(area) = self.damaged else {
                return Ok(None);
            };
            let memory = self.memory.id;
            match self.copy(area) {
                // The screen has become smaller, of which we know only now.
                Err(XError::Refused(_)) if self.update()? && self.memory.id != memory => {}
                copied => return copied.map(Some),
            }
        }
        Err(XError::Lacks {
            what: "a screen that keeps its size",
        })
    }

    fn copy(&mut self, area: Area) -> Result<Grab, XError> {
        // Damage that comes after this is reported anew, so nothing is lost between the two
        // requests: at worst it is copied twice.
        let connection = &self.link.connection;
        connection.damage_subtract(self.damage, x11rb::NONE, x11rb::NONE)?;
        let width = self.size.width();
        let height = area.bottom - area.top;
        let mark = self.mark.map(|mark| mark.ask(&self.link)).transpose()?;
        let cookie = connection.shm_get_image(
            self.link.root,
            0,
            i16::try_from(area.top).expect("screens are lower than 32768"),
            width,
            height,
            !0,
            ImageFormat::Z_PIXMAP.into(),
            self.memory.id,
            u32::from(area.top) * u32::from(width) * 4,
        )?;
        cookie.reply()?;
        self.damaged = None;
        let input_seq = InputSeq(mark.map_or(Ok(0), Mark::read)?);
        #[expect(clippy::cast_precision_loss, reason = "a share needs no 24 bits")]
        let changed = area.pixels() as f32 / self.size.area() as f32;
        Ok(Grab {
            rows: area.top..area.bottom,
            changed,
            input_seq,
        })
    }

    /// The whole picture as of the last grab: rows from the top, four bytes a pixel (blue, green,
    /// red, nothing).
    pub fn pixels(&self) -> &[u8] {
        &self.memory.segment.bytes()[..self.size.area() * 4]
    }

    /// The cursor's shape if it changed since the last call.
    ///
    /// # Errors
    /// If the server has gone.
    pub fn cursor(&mut self) -> Result<Option<Cursor>, XError> {
        if !std::mem::take(&mut self.cursor_changed) {
            return Ok(None);
        }
        let image = self.link.connection.xfixes_get_cursor_image()?.reply()?;
        Ok(Some(Cursor::from_image(&image)))
    }

    /// The screen has this size now: what was copied in another is of no use.
    fn follow_size(&mut self, size: Size) -> Result<(), XError> {
        if size == self.size {
            return Ok(());
        }
        let memory = Memory::share(&self.link, size)?;
        let before = std::mem::replace(&mut self.memory, memory);
        self.link.connection.shm_detach(before.id)?;
        self.size = size;
        self.invalidate();
        Ok(())
    }

    fn add_damage(&mut self, rectangle: Rectangle) {
        let damaged = Area::clipped(rectangle, self.size);
        self.damaged = match (self.damaged, damaged) {
            (Some(before), Some(now)) => Some(before.union(now)),
            (before, now) => before.or(now),
        };
    }
}

impl Memory {
    fn share(link: &Link, size: Size) -> Result<Self, XError> {
        let (segment, fd) = Segment::new(size.area() * 4).map_err(|source| XError::System {
            what: "share memory with the X server",
            source,
        })?;
        let id = link.connection.generate_id()?;
        let attached = link.connection.shm_attach_fd(id, fd, false)?;
        attached.check()?;
        Ok(Self { segment, id })
    }
}

/// Pictures are converted as BGRX in memory; anything else would need a path of its own.
fn check_pixels(link: &Link) -> Result<(), XError> {
    let setup = link.connection.setup();
    let screen = link.screen();
    let bits = setup
        .pixmap_formats
        .iter()
        .find(|format| format.depth == screen.root_depth)
        .map(|format| format.bits_per_pixel);
    let red = screen
        .allowed_depths
        .iter()
        .flat_map(|depth| &depth.visuals)
        .find(|visual| visual.visual_id == screen.root_visual)
        .map(|visual| visual.red_mask);
    let little = setup.image_byte_order == ImageOrder::LSB_FIRST;
    if bits == Some(32) && red == Some(0x00ff_0000) && little {
        Ok(())
    } else {
        Err(XError::Lacks {
            what: "a screen with 32 bits per pixel",
        })
    }
}

impl Area {
    /// A rectangle within a screen, if any of it is.
    fn clipped(rectangle: Rectangle, size: Size) -> Option<Self> {
        let edge = |start: i16, len: u16, most: u16| {
            let end = i32::from(start) + i32::from(len);
            let cut = |at: i32| u16::try_from(at.clamp(0, most.into())).unwrap_or(most);
            (cut(start.into()), cut(end))
        };
        let (left, right) = edge(rectangle.x, rectangle.width, size.width());
        let (top, bottom) = edge(rectangle.y, rectangle.height, size.height());
        (left < right && top < bottom).then_some(Self {
            left,
            top,
            right,
            bottom,
        })
    }

    fn union(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    fn pixels(self) -> u32 {
        u32::from(self.right - self.left) * u32::from(self.bottom - self.top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_clipped_to_the_screen() {
        let size = Size::new(640, 480);
        let clip = |x, y, width, height| {
            let rectangle = Rectangle {
                x,
                y,
                width,
                height,
            };
            Area::clipped(rectangle, size)
                .map(|area| [area.left, area.top, area.right, area.bottom])
        };
        assert_eq!(clip(10, 20, 30, 40), Some([10, 20, 40, 60]));
        assert_eq!(clip(-10, -20, 30, 40), Some([0, 0, 20, 20]));
        assert_eq!(clip(600, 0, u16::MAX, u16::MAX), Some([600, 0, 640, 480]));
        assert_eq!(clip(640, 0, 10, 10), None);
        assert_eq!(clip(i16::MIN, 0, 10, 10), None);
    }
}
