//! Speaking with an X server.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use x11rb::connection::{Connection as _, RequestConnection as _};
use x11rb::errors::{ConnectError, ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::xproto::{Screen, Window};
use x11rb::rust_connection::RustConnection;

/// What can go wrong with an X server. Each is the end of the pipeline that uses it.
#[derive(Debug, thiserror::Error)]
pub enum XError {
    /// It cannot be reached.
    #[error("cannot reach the X server at {display}")]
    Connect {
        /// Its display, such as `:7`.
        display: String,
        /// Why.
        #[source]
        source: ConnectError,
    },
    /// The connection ended: the server stopped or crashed.
    #[error("the X server has gone")]
    Gone(#[source] ConnectionError),
    /// It refused something that it must do for us.
    #[error("the X server refused a request")]
    Refused(#[source] ReplyError),
    /// It has no numbers left for our windows.
    #[error("the X server gave out no more ids")]
    Ids(#[source] ReplyOrIdError),
    /// It lacks an extension.
    #[error("the X server lacks {what}")]
    Lacks {
        /// What is missing.
        what: &'static str,
    },
    /// Shared memory or waiting failed.
    #[error("the operating system refused to {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<ConnectionError> for XError {
    fn from(error: ConnectionError) -> Self {
        Self::Gone(error)
    }
}

impl From<ReplyError> for XError {
    fn from(error: ReplyError) -> Self {
        match error {
            ReplyError::ConnectionError(error) => Self::Gone(error),
            error @ ReplyError::X11Error(_) => Self::Refused(error),
        }
    }
}

impl From<ReplyOrIdError> for XError {
    fn from(error: ReplyOrIdError) -> Self {
        match error {
            ReplyOrIdError::ConnectionError(error) => Self::Gone(error),
            ReplyOrIdError::X11Error(error) => Self::Refused(ReplyError::X11Error(error)),
            error @ ReplyOrIdError::IdsExhausted => Self::Ids(error),
        }
    }
}

/// A connection and the screen it is for.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: RustConnection,
    pub(crate) root: Window,
    screen: usize,
}

impl Link {
    pub(crate) fn connect(display: &str) -> Result<Self, XError> {
        let (connection, screen) =
            RustConnection::connect(Some(display)).map_err(|source| XError::Connect {
                display: display.into(),
                source,
            })?;
        let root = connection.setup().roots[screen].root;
        Ok(Self {
            connection,
            root,
            screen,
        })
    }

    pub(crate) fn screen(&self) -> &Screen {
        &self.connection.setup().roots[self.screen]
    }

    /// Fails if the server lacks an extension.
    pub(crate) fn need(&self, what: &'static str) -> Result<(), XError> {
        match self.connection.extension_information(what)? {
            Some(_) => Ok(()),
            None => Err(XError::Lacks { what }),
        }
    }

    /// What to wait for when there is nothing to read.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }
}
