//! A sound daemon for one instance alone: apps play into a sink that nobody hears, and `render`
//! records its monitor.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;

use crate::log::{Log, Source};
use crate::mark::Mark;
use crate::process::{Exit, Limits, Process, ProcessConfig, SpawnError, Usage};

/// What a daemon may take to start: 0.1 s on an idle machine.
const START_WAIT: Duration = Duration::from_secs(10);

/// How often its socket is tried while it starts. It has no other way to say that it is ready.
const TRY_INTERVAL: Duration = Duration::from_millis(10);

/// What a daemon may take to end when asked.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// The longest path of a Unix socket, without the zero that ends it.
const SOCKET_PATH_MAX: usize = 107;

/// The name of the sink that apps play into.
const SINK: &str = "selvedge";

/// What to start.
#[derive(Clone, Debug)]
pub struct PulseConfig {
    /// By what it is found again.
    pub mark: Mark,
    /// A directory of this instance alone. Made if there is none.
    pub dir: PathBuf,
    /// Where what the daemon says goes.
    pub log: Log,
}

/// A running PulseAudio. Dropping it kills it.
#[derive(Debug)]
pub struct Pulse {
    socket: PathBuf,
    process: Process,
}

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such program on this machine.
    #[error(
        "there is no sound because PulseAudio is not installed on this node: install the package pulseaudio"
    )]
    NotInstalled,
    /// Its socket would have a longer path than the system allows.
    #[error(
        "there is no sound because the path {path} is too long for a socket: choose a shorter data directory"
    )]
    PathTooLong {
        /// What it would be.
        path: PathBuf,
    },
    /// Its directory could not be made.
    #[error("make the directory of the sound daemon, {path}")]
    Dir {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused to start it.
    #[error("start the sound daemon")]
    Spawn(#[source] SpawnError),
    /// It ended instead of starting.
    #[error("the sound daemon {exit}; it said: {said}")]
    Ended {
        /// How.
        exit: Exit,
        /// The last lines of its output.
        said: String,
    },
    /// It did not listen in time.
    #[error("the sound daemon was not ready within {START_WAIT:?}")]
    Late,
}

impl Pulse {
    /// Starts a daemon and waits until it can be used.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start(config: PulseConfig) -> Result<Self, StartError> {
        if crate::find_program("pulseaudio").is_none() {
            return Err(StartError::NotInstalled);
        }
        let socket = config.dir.join("native");
        if socket.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(StartError::PathTooLong { path: socket });
        }
        // Whoever reaches the socket is let in, so nobody else may reach it.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.dir)
            .map_err(|source| StartError::Dir {
                path: config.dir.clone(),
                source,
            })?;
        // A daemon before this one may have left it, and would be taken for this one.
        let _ = std::fs::remove_file(&socket);

        let process = Process::spawn(ProcessConfig {
            mark: config.mark,
            command: command(&socket),
            env: environment(&config.dir),
            dir: config.dir.clone(),
            limits: Limits::default(),
            log: config.log.clone(),
        })
        .map_err(StartError::Spawn)?;
        let pulse = Self { socket, process };
        tokio::select! {
            exit = pulse.process.exited() => Err(StartError::Ended {
                exit,
                said: said(&config.log),
            }),
            () = pulse.listening() => Ok(pulse),
            () = tokio::time::sleep(START_WAIT) => Err(StartError::Late),
        }
    }

    /// Where programs reach it.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What programs want in `PULSE_SERVER`.
    pub fn server(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// The source that hears what the apps play.
    pub fn monitor(&self) -> String {
        format!("{SINK}.monitor")
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for its end. Cancel safe.
    pub async fn exited(&self) -> Exit {
        self.process.exited().await
    }

    /// What it takes.
    pub fn usage(&self) -> Usage {
        self.process.usage()
    }

    /// Ends it.
    pub async fn stop(self) {
        self.process.terminate(STOP_GRACE).await;
    }

    /// The sink is loaded before the socket, so who is let in finds all.
    async fn listening(&self) {
        while UnixStream::connect(&self.socket).await.is_err() {
            tokio::time::sleep(TRY_INTERVAL).await;
        }
    }
}

fn command(socket: &Path) -> Vec<String> {
    [
        "pulseaudio",
        "-n",
        "--daemonize=no",
        "--exit-idle-time=-1",
        "--use-pid-file=no",
        "--realtime=no",
        "--high-priority=no",
        "--disallow-exit",
        "--log-target=stderr",
        "--log-level=notice",
        "-L",
        &format!("module-null-sink sink_name={SINK} rate=48000 channels=2 format=s16le"),
        "-L",
        &format!(
            "module-native-protocol-unix auth-anonymous=1 socket=\"{}\"",
            socket.display()
        ),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// All of its own, so that it finds neither a user's configuration nor a user's daemon.
fn environment(dir: &Path) -> BTreeMap<String, String> {
    [
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
        "PULSE_RUNTIME_PATH",
        "PULSE_STATE_PATH",
    ]
    .map(|name| (name.to_owned(), dir.display().to_string()))
    .into()
}

fn said(log: &Log) -> String {
    let lines: Vec<String> = log
        .tail(5)
        .into_iter()
        .filter(|it| it.source == Source::Stderr)
        .map(|it| it.text)
        .collect();
    lines.join("; ")
}
