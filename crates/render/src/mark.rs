//! A number that one connection leaves at the X server for another to read.
//!
//! The seat leaves the number of the last input event there, right behind the event itself; the
//! screen reads it right before it copies a picture. So the server's own order says which input a
//! picture came after, however the threads on our side are scheduled.

use x11rb::connection::Connection as _;
use x11rb::cookie::Cookie;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt as _, CreateWindowAux, GetPropertyReply, PropMode, Window,
    WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use crate::x11::{Link, XError};

/// Where the number is: a property of a window of its own, so that nobody is told when it changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    window: Window,
    property: Atom,
}

impl Mark {
    /// Makes a mark that lives as long as the connection. It is zero.
    pub(crate) fn new(link: &Link) -> Result<Self, XError> {
        let connection = &link.connection;
        let name = connection.intern_atom(false, b"SELVEDGE_INPUT")?;
        let property = name.reply()?.atom;
        let window = connection.generate_id()?;
        let (class, aux) = (WindowClass::INPUT_ONLY, CreateWindowAux::new());
        connection
            .create_window(0, window, link.root, -1, -1, 1, 1, 0, class, 0, &aux)?
            .check()?;
        let mark = Self { window, property };
        mark.set(link, 0)?;
        connection.sync()?; // others may read it from now on
        Ok(mark)
    }

    /// Changes the number, in order with all else on this connection. The caller flushes.
    pub(crate) fn set(self, link: &Link, number: u32) -> Result<(), XError> {
        let (mode, kind) = (PropMode::REPLACE, AtomEnum::CARDINAL);
        link.connection
            .change_property32(mode, self.window, self.property, kind, &[number])?;
        Ok(())
    }

    /// Asks for the number, in order with all else on this connection.
    pub(crate) fn ask(
        self,
        link: &Link,
    ) -> Result<Cookie<'_, RustConnection, GetPropertyReply>, XError> {
        let kind = AtomEnum::CARDINAL;
        let cookie = link
            .connection
            .get_property(false, self.window, self.property, kind, 0, 1)?;
        Ok(cookie)
    }

    /// The number of an answer; zero once the mark has gone.
    pub(crate) fn read(
        cookie: Cookie<'_, RustConnection, GetPropertyReply>,
    ) -> Result<u32, XError> {
        let reply = cookie.reply_unchecked()?;
        let number = reply.and_then(|reply| reply.value32()?.next());
        Ok(number.unwrap_or(0))
    }
}
