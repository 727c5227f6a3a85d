//! An X server without a screen, for one instance alone.
//!
//! It listens on no network, and on its socket it talks only to those who show the cookie that is
//! in a file of this instance: apps of other sessions on the same machine are not let in.

mod authority;
mod size;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::process::ChildStdout;

pub use authority::Cookie;
pub use size::{ResizeError, Size};

use crate::log::{Log, Source};
use crate::mark::Mark;
use crate::process::{Exit, Limits, Process, ProcessConfig, SpawnError, Usage};

/// What a server may take to start. It needs 0.1 s on an idle machine; the rest is for one on
/// which many start at once.
const START_WAIT: Duration = Duration::from_secs(10);

/// What a server may take to end when asked.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// A server that says more than this before its number is not an X server.
const NUMBER_MAX: usize = 16;

/// What to start.
#[derive(Clone, Debug)]
pub struct XvfbConfig {
    /// By what it is found again.
    pub mark: Mark,
    /// The largest size the screen can be given later. Memory is taken only for what is drawn.
    pub max_size: Size,
    /// The size it begins with, at most `max_size`.
    pub size: Size,
    /// A directory of this instance alone, in which the cookie is kept. Must exist.
    pub dir: PathBuf,
    /// Where what the server says goes.
    pub log: Log,
}

/// A running X server. Dropping it kills it.
#[derive(Debug)]
pub struct Xvfb {
    display: Display,
    process: Process,
    own_mode: Option<size::OwnMode>,
}

/// How to reach an X server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Display {
    number: u32,
    authority: PathBuf,
    cookie: Cookie,
}

/// Why an X server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such program on this machine.
    #[error(
        "Xvfb is not installed: install the package xvfb (Debian, Ubuntu) or xorg-x11-server-Xvfb (Fedora)"
    )]
    NotInstalled,
    /// The system refused to start it.
    #[error("start the X server")]
    Spawn(#[source] SpawnError),
    /// The cookie could not be drawn or written.
    #[error("write the cookie of the X server to {path}")]
    Authority {
        /// Where it should have gone.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended instead of starting.
    #[error("the X server {exit}; it said: {said}")]
    Ended {
        /// How.
        exit: Exit,
        /// The last lines of its output.
        said: String,
    },
    /// It did not say its number in time.
    #[error("the X server was not ready within {START_WAIT:?}")]
    Late,
    /// It runs but could not be given its size.
    #[error("set the size of the X server's screen")]
    Size(#[source] ResizeError),
}

impl Xvfb {
    /// Starts a server on a free display and waits until it can be used.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start(config: XvfbConfig) -> Result<Self, StartError> {
        if crate::find_program("Xvfb").is_none() {
            return Err(StartError::NotInstalled);
        }
        let cookie_path = config.dir.join("Xauthority");
        let failed = |source| StartError::Authority {
            path: cookie_path.clone(),
            source,
        };
        let cookie = Cookie::draw().map_err(failed)?;
        // The server reads the file before it has a number, so this entry is for any display.
        authority::write(&cookie_path, &cookie, None).map_err(failed)?;

        let log = config.log.clone();
        let (process, stdout) = Process::spawn_piped(ProcessConfig {
            mark: config.mark.clone(),
            command: command(config.max_size, &cookie_path),
            env: BTreeMap::new(),
            dir: config.dir.clone(),
            limits: Limits::default(),
            log: log.clone(),
        })
        .map_err(StartError::Spawn)?;
        let number = ready(&process, stdout, &log).await?;
        authority::write(&cookie_path, &cookie, Some(number)).map_err(failed)?;

        let display = Display {
            number,
            authority: cookie_path,
            cookie,
        };
        let mut xvfb = Self {
            display,
            process,
            own_mode: None,
        };
        if config.size != config.max_size {
            xvfb.resize(config.size).await.map_err(StartError::Size)?;
        }
        Ok(xvfb)
    }

    /// How to reach it.
    pub fn display(&self) -> &Display {
        &self.display
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for its end. Cancel safe.
    pub async fn exited(&self) -> Exit {
        self.process.exited().await
    }

    /// Whether it still listens. Known sooner than its exit: the system closes a socket before it
    /// reports a death.
    pub fn is_alive(&self) -> bool {
        self.process.exit().is_none() && UnixStream::connect(self.display.socket()).is_ok()
    }

    /// What it takes.
    pub fn usage(&self) -> Usage {
        self.process.usage()
    }

    /// Gives the screen another size, at most `max_size`.
    ///
    /// # Errors
    /// When the size is too large, or the server is gone.
    pub async fn resize(&mut self, size: Size) -> Result<(), ResizeError> {
        self.own_mode = size::resize(self.display.clone(), self.own_mode, size).await?;
        Ok(())
    }

    /// Ends it.
    pub async fn stop(self) {
        self.process.terminate(STOP_GRACE).await;
        self.display.remove_socket();
    }
}

impl Display {
    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What programs want in `DISPLAY`.
    pub fn name(&self) -> String {
        format!(":{}", self.number)
    }

    /// What programs want in `XAUTHORITY`.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// What to show at a connection made without `XAUTHORITY`.
    pub fn cookie(&self) -> &Cookie {
        &self.cookie
    }

    /// The socket on which the server listens.
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/tmp/.X11-unix/X{}", self.number))
    }

    /// A killed server leaves its socket. Servers started by `-displayfd` have no lock file.
    fn remove_socket(&self) {
        let refused = |it: io::Error| it.kind() == io::ErrorKind::ConnectionRefused;
        // Another server may have taken the number since; its socket answers.
        if UnixStream::connect(self.socket()).is_err_and(refused) {
            let _ = std::fs::remove_file(self.socket());
        }
    }
}

fn command(max_size: Size, authority: &Path) -> Vec<String> {
    let mut command: Vec<String> = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-noreset"]
        .map(str::to_owned)
        .to_vec();
    command.extend([
        "-auth".to_owned(),
        authority.display().to_string(),
        "-screen".to_owned(),
        "0".to_owned(),
        format!("{}x{}x24", max_size.width, max_size.height),
        // A screen that blanks is a black picture for a terminal that only watches.
        "-s".to_owned(),
        "0".to_owned(),
    ]);
    for extension in ["DAMAGE", "XTEST", "RANDR", "MIT-SHM", "XFIXES"] {
        command.extend(["+extension".to_owned(), extension.to_owned()]);
    }
    command
}

/// Waits for the server to write the number of its display, which it does once it listens.
async fn ready(process: &Process, stdout: ChildStdout, log: &Log) -> Result<u32, StartError> {
    let number = async {
        let mut text = Vec::new();
        let mut stdout = BufReader::new(stdout);
        while text.len() < NUMBER_MAX {
            match stdout.read_u8().await {
                Ok(b'\n') => return String::from_utf8_lossy(&text).parse().ok(),
                Ok(byte) => text.push(byte),
                Err(_) => break,
            }
        }
        None
    };
    match tokio::time::timeout(START_WAIT, number).await {
        Ok(Some(number)) => Ok(number),
        Ok(None) => {
            let exit = process.terminate(STOP_GRACE).await;
            Err(StartError::Ended {
                exit,
                said: said(log),
            })
        }
        Err(_) => {
            process.terminate(STOP_GRACE).await;
            Err(StartError::Late)
        }
    }
}

fn said(log: &Log) -> String {
    let lines: Vec<String> = log
        .tail(5)
        .into_iter()
        .filter(|it| it.source != Source::Platform)
        .map(|it| it.text)
        .collect();
    lines.join("; ")
}
