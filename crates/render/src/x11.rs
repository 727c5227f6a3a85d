//! Speaking with an X server.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;

use x11rb::connection::{Connection as _, RequestConnection as _};
use x11rb::errors::{ConnectError, ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::xproto::{Screen, Window};
use x11rb::reexports::x11rb_protocol::parse_display::parse_display;
use x11rb::rust_connection::{DefaultStream, RustConnection};

/// How to reach an X server.
#[derive(Clone, PartialEq, Eq)]
pub struct XServer {
    /// Its display, such as `:7`.
    pub display: String,
    /// What it wants to see; `None` for a server that takes anyone.
    pub authority: Option<Authority>,
}

/// What an X server wants to see.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    /// The cookie of MIT-MAGIC-COOKIE-1.
    pub cookie: [u8; 16],
    /// The file that programs find it in.
    pub file: PathBuf,
}

/// A server that takes anyone.
impl From<&str> for XServer {
    fn from(display: &str) -> Self {
        Self {
            display: display.to_owned(),
            authority: None,
        }
    }
}

/// Cookies stay out of logs.
impl fmt::Debug for XServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XServer({})", self.display)
    }
}

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
    pub(crate) fn connect(server: &XServer) -> Result<Self, XError> {
        let connected = match &server.authority {
            None => RustConnection::connect(Some(&server.display)),
            Some(authority) => connect_with(&server.display, authority),
        };
        let (connection, screen) = connected.map_err(|source| XError::Connect {
            display: server.display.clone(),
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

/// Connects with a cookie of the caller's: the library itself looks for one in our environment only.
fn connect_with(
    display: &str,
    authority: &Authority,
) -> Result<(RustConnection, usize), ConnectError> {
    let parsed = parse_display(Some(display))?;
    let screen = usize::from(parsed.screen);
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in parsed.connect_instruction() {
        match DefaultStream::connect(&address) {
            Ok((stream, _)) => {
                let connection = RustConnection::connect_to_stream_with_auth_info(
                    stream,
                    screen,
                    b"MIT-MAGIC-COOKIE-1".to_vec(),
                    authority.cookie.to_vec(),
                )?;
                return Ok((connection, screen));
            }
            Err(error) => last = error,
        }
    }
    Err(last.into())
}
