//! The size of a screen, and giving it another through RANDR.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use x11rb::connection::Connection as _;
use x11rb::protocol::randr::{
    ConnectionExt as _, GetScreenResourcesReply, ModeFlag, ModeInfo, Rotation, SetConfig,
};
use x11rb::protocol::xproto::Timestamp;
use x11rb::rust_connection::{DefaultStream, RustConnection};

use super::Display;

/// What a server may take to answer. It has one client or two and nothing else to do.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What a screen reports as its density, in dots for 25.4 mm. Toolkits scale by it.
const DOTS_PER_INCH: u32 = 96;

/// Pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u16,
    /// Pixels from top to bottom.
    pub height: u16,
}

/// Why a screen keeps its size.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// More than it was started for, or nothing.
    #[error("{size} is not between 1x1 and {max}, the largest size of this screen")]
    Size {
        /// What was asked for.
        size: Size,
        /// What the server was started for.
        max: Size,
    },
    /// The server is gone or refuses us.
    #[error("reach the X server: {0}")]
    Connect(String),
    /// It answered with an error.
    #[error("the X server refuses: {0}")]
    Refused(String),
    /// It did not answer in time.
    #[error("the X server did not answer within {ANSWER_WAIT:?}")]
    Late,
}

impl Size {
    /// Fails unless a screen that was started for `max` can have this size.
    pub(crate) fn check(self, max: Self) -> Result<(), ResizeError> {
        let fits = |side, max| (1..=max).contains(&side);
        if fits(self.width, max.width) && fits(self.height, max.height) {
            Ok(())
        } else {
            Err(ResizeError::Size { size: self, max })
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A mode that we made for a size that the server did not know. It goes when another size comes: a
/// window that is dragged larger would leave hundreds behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnMode {
    output: u32,
    mode: u32,
}

/// Does it on a thread of its own: x11rb waits for answers. `own` is the mode made before; returns
/// the one made now.
pub(super) async fn resize(
    display: Display,
    own: Option<OwnMode>,
    size: Size,
) -> Result<Option<OwnMode>, ResizeError> {
    let answer = TaskTracker::new().spawn_blocking(move || {
        let (connection, root) = connect(&display)?;
        apply(&connection, root, own, size)
    });
    match tokio::time::timeout(ANSWER_WAIT, answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(ResizeError::Connect("the executor is ending".to_owned())),
        Err(_) => Err(ResizeError::Late),
    }
}

fn connect(display: &Display) -> Result<(RustConnection, u32), ResizeError> {
    let failed = |error: &dyn fmt::Display| ResizeError::Connect(error.to_string());
    let open = || -> io::Result<DefaultStream> {
        let stream = UnixStream::connect(display.socket())?;
        Ok(DefaultStream::from_unix_stream(stream)?.0)
    };
    let stream = open().map_err(|it| failed(&it))?;
    let cookie = display.cookie();
    let connection = RustConnection::connect_to_stream_with_auth_info(
        stream,
        0,
        cookie.method().as_bytes().to_vec(),
        cookie.data().to_vec(),
    )
    .map_err(|it| failed(&it))?;
    let root = connection.setup().roots[0].root;
    Ok((connection, root))
}

fn apply(
    connection: &RustConnection,
    root: u32,
    own: Option<OwnMode>,
    size: Size,
) -> Result<Option<OwnMode>, ResizeError> {
    let range = asked(connection.randr_get_screen_size_range(root))?;
    let max = Size {
        width: range.max_width,
        height: range.max_height,
    };
    size.check(max)?;
    let screen = asked(connection.randr_get_screen_resources(root))?;
    let Some(&output) = screen.outputs.first() else {
        return Err(ResizeError::Refused("it has no output".to_owned()));
    };
    let fits = |it: &&ModeInfo| (it.width, it.height) == (size.width, size.height);
    let (mode, made) = match screen.modes.iter().find(fits) {
        Some(known) => (known.id, None),
        None => {
            let made = make_mode(connection, root, output, size)?;
            (made.mode, Some(made))
        }
    };
    let shown = show(connection, root, &screen, mode, size);
    let (kept, unused) = match shown {
        Ok(()) if own.is_some_and(|it| it.mode == mode) => (own, None),
        Ok(()) => (made, own),
        Err(_) => (own, made),
    };
    if let Some(unused) = unused
        && let Err(error) = unmake_mode(connection, unused)
    {
        tracing::debug!(%error, "a mode of no more use stays");
    }
    shown.map(|()| kept)
}

/// Makes the screen as large as a mode, and shows it.
fn show(
    connection: &RustConnection,
    root: u32,
    screen: &GetScreenResourcesReply,
    mode: u32,
    size: Size,
) -> Result<(), ResizeError> {
    let (Some(&crtc), Some(&output)) = (screen.crtcs.first(), screen.outputs.first()) else {
        return Err(ResizeError::Refused("it has no output".to_owned()));
    };
    // A picture must lie within the screen at every step: first none, then the frame, then it.
    let set = |mode, outputs: &[u32], at: Timestamp| {
        let reply = asked(connection.randr_set_crtc_config(
            crtc,
            x11rb::CURRENT_TIME,
            at,
            0,
            0,
            mode,
            Rotation::ROTATE0,
            outputs,
        ))?;
        match reply.status {
            SetConfig::SUCCESS => Ok(()),
            other => Err(ResizeError::Refused(format!("{other:?}"))),
        }
    };
    set(x11rb::NONE, &[], screen.config_timestamp)?;
    let millimetres = |pixels: u16| (u32::from(pixels) * 254 / (DOTS_PER_INCH * 10)).max(1);
    connection
        .randr_set_screen_size(
            root,
            size.width,
            size.height,
            millimetres(size.width),
            millimetres(size.height),
        )
        .map_err(refused)?
        .check()
        .map_err(refused)?;
    set(mode, &[output], screen.config_timestamp)
}

fn make_mode(
    connection: &RustConnection,
    root: u32,
    output: u32,
    size: Size,
) -> Result<OwnMode, ResizeError> {
    let name = size.to_string();
    // A refresh rate of 60 Hz, which some programs divide by.
    let dots = u32::from(size.width) * u32::from(size.height) * 60;
    let info = ModeInfo {
        width: size.width,
        height: size.height,
        dot_clock: dots,
        htotal: size.width,
        vtotal: size.height,
        name_len: u16::try_from(name.len()).expect("two numbers and a letter"),
        mode_flags: ModeFlag::default(),
        ..ModeInfo::default()
    };
    let mode = asked(connection.randr_create_mode(root, info, name.as_bytes()))?.mode;
    connection
        .randr_add_output_mode(output, mode)
        .map_err(refused)?
        .check()
        .map_err(refused)?;
    Ok(OwnMode { output, mode })
}

fn unmake_mode(connection: &RustConnection, own: OwnMode) -> Result<(), ResizeError> {
    let taken = connection.randr_delete_output_mode(own.output, own.mode);
    taken.map_err(refused)?.check().map_err(refused)?;
    let gone = connection.randr_destroy_mode(own.mode);
    gone.map_err(refused)?.check().map_err(refused)
}

fn asked<R: x11rb::x11_utils::TryParse>(
    cookie: Result<x11rb::cookie::Cookie<'_, RustConnection, R>, x11rb::errors::ConnectionError>,
) -> Result<R, ResizeError> {
    cookie.map_err(refused)?.reply().map_err(refused)
}

fn refused(error: impl fmt::Display) -> ResizeError {
    ResizeError::Refused(error.to_string())
}
