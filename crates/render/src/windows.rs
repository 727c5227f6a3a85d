//! Whether any program shows a window yet: until one does, what a person types goes nowhere.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    ChangeWindowAttributesAux, ConnectionExt as _, EventMask, MapState, Window, WindowClass,
};

use crate::x11::{Link, XError};

/// How long input waits for a window where there is none. An app that draws without one must not
/// wait for ever, and to most people two seconds of typing into nothing are a program that hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a window that is there at last may take to get the keyboard: a window manager gives it
/// only then.
const SETTLE: Duration = Duration::from_millis(100);

/// The windows that show.
#[derive(Debug)]
pub(crate) struct Windows {
    shown: BTreeSet<Window>,
    ready_at: Instant,
}

impl Windows {
    /// Begins to watch. Events have to be [handed on](Self::handle).
    pub(crate) fn watch(link: &Link, now: Instant) -> Result<Self, XError> {
        let connection = &link.connection;
        let changes = ChangeWindowAttributesAux::new().event_mask(EventMask::SUBSTRUCTURE_NOTIFY);
        connection.change_window_attributes(link.root, &changes)?;
        let children = connection.query_tree(link.root)?.reply()?.children;
        let mut shown = BTreeSet::new();
        for window in children {
            if shows(link, window)? {
                shown.insert(window);
            }
        }
        let ready_at = if shown.is_empty() {
            now + PATIENCE
        } else {
            now
        };
        Ok(Self { shown, ready_at })
    }

    /// When input need not wait any more.
    pub(crate) const fn ready_at(&self) -> Instant {
        self.ready_at
    }

    /// Takes in what the server says.
    pub(crate) fn handle(
        &mut self,
        link: &Link,
        event: &Event,
        now: Instant,
    ) -> Result<(), XError> {
        match event {
            Event::MapNotify(event) if event.event == link.root && shows(link, event.window)? => {
                if self.shown.is_empty() {
                    self.ready_at = self.ready_at.min(now + SETTLE);
                }
                self.shown.insert(event.window);
            }
            Event::UnmapNotify(event) => self.forget(event.window, now),
            Event::DestroyNotify(event) => self.forget(event.window, now),
            // Into the frame of a window manager, which shows by itself.
            Event::ReparentNotify(event) if event.parent != link.root => {
                self.forget(event.window, now);
            }
            _ => {}
        }
        Ok(())
    }

    fn forget(&mut self, window: Window, now: Instant) {
        if self.shown.remove(&window) && self.shown.is_empty() {
            self.ready_at = now + PATIENCE;
        }
    }
}

/// Whether a child of the root window can be seen. Window managers keep some beside the screen.
fn shows(link: &Link, window: Window) -> Result<bool, XError> {
    let attributes = link.connection.get_window_attributes(window)?;
    let geometry = link.connection.get_geometry(window)?;
    // It may have gone since.
    let (Some(attributes), Some(geometry)) =
        (attributes.reply_unchecked()?, geometry.reply_unchecked()?)
    else {
        return Ok(false);
    };
    let end = |at: i16, side: u16| i32::from(at) + i32::from(side);
    Ok(attributes.map_state == MapState::VIEWABLE
        && attributes.class == WindowClass::INPUT_OUTPUT
        && end(geometry.x, geometry.width) > 0
        && end(geometry.y, geometry.height) > 0)
}
