//! The parts of an instance, and the order in which they start and end.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use super::{InstanceConfig, InstanceUsage, Phase, Sound, SoundWish, StartError, State, chain};
use crate::display::{Display, ResizeError, Size, Xvfb, XvfbConfig};
use crate::log::Log;
use crate::process::{Exit, Process, ProcessConfig, Usage};
use crate::sound::{Pulse, PulseConfig};

/// What an app may take to end when asked, to save its state. Everything together must be gone
/// within three seconds.
const APP_GRACE: Duration = Duration::from_secs(1);

/// What a helper may take.
const SERVICE_GRACE: Duration = Duration::from_millis(500);

/// How much later than its app a screen may be seen to have ended: a server that is killed lets go of
/// its clients first, and still takes connections for a moment.
const SCREEN_LAG: Duration = Duration::from_millis(100);

/// Invariant: an app or a service runs only while there is a display.
pub(super) struct Parts {
    config: InstanceConfig,
    log: Log,
    /// What the X server and the sound daemon say: not the app's affair.
    system_log: Log,
    display: Option<Xvfb>,
    pulse: Option<Pulse>,
    /// Why there is no sound, where it was wanted.
    silent_because: Option<String>,
    services: Vec<Process>,
    app: Option<Process>,
    size: Size,
    starts: u32,
}

/// A part that ended when it should not.
pub(super) enum End {
    App(Exit),
    Service { program: String, exit: Exit },
    Display(Exit),
    Sound(Exit),
}

/// What went with a part that ended.
#[derive(PartialEq, Eq)]
pub(super) enum Lost {
    Nothing,
    Screen,
}

impl Parts {
    pub(super) async fn start(config: InstanceConfig, log: Log) -> Result<Self, StartError> {
        for dir in [
            config.dir.clone(),
            config.dir.join("home"),
            config.dir.join("run"),
        ] {
            private_dir(&dir).map_err(|source| StartError::Dir { path: dir, source })?;
        }
        let mut parts = Self {
            log,
            system_log: Log::new(),
            display: None,
            pulse: None,
            silent_because: None,
            services: Vec::new(),
            app: None,
            size: config.size,
            starts: 0,
            config,
        };
        match parts.restart().await {
            Ok(()) => Ok(parts),
            Err(error) => {
                parts.stop().await;
                Err(error)
            }
        }
    }

    /// Starts whatever does not run.
    pub(super) async fn restart(&mut self) -> Result<(), StartError> {
        let wants_sound = self.config.sound == SoundWish::Heard && self.pulse.is_none();
        let (display, pulse) = tokio::join!(
            async {
                match self.display {
                    Some(_) => None,
                    None => Some(Xvfb::start(self.xvfb_config()).await),
                }
            },
            async {
                match wants_sound {
                    true => Some(Pulse::start(self.pulse_config()).await),
                    false => None,
                }
            },
        );
        match pulse {
            Some(Ok(pulse)) => {
                self.pulse = Some(pulse);
                self.silent_because = None;
            }
            Some(Err(error)) => self.silent_because = Some(chain(&error)),
            None => {}
        }
        if let Some(display) = display {
            self.display = Some(display.map_err(StartError::Display)?);
        }
        for (number, command) in self.config.services.iter().enumerate() {
            let service = self.spawn(&format!("service{number}"), command)?;
            self.services.push(service);
        }
        self.app = Some(self.spawn("app", &self.config.command)?);
        self.starts += 1;
        Ok(())
    }

    pub(super) fn state(&self, phase: Phase) -> State {
        State {
            phase,
            starts: self.starts,
            display: self.display.as_ref().map(|it| it.display().clone()),
            sound: self.sound(),
        }
    }

    pub(super) fn sound(&self) -> Sound {
        match (&self.pulse, &self.silent_because) {
            (Some(pulse), _) => Sound::On {
                socket: pulse.socket().to_owned(),
                monitor: pulse.monitor(),
            },
            (None, Some(why)) => Sound::Unavailable { why: why.clone() },
            (None, None) => Sound::Off,
        }
    }

    /// Waits until a part ends that should not. Cancel safe.
    pub(super) async fn ended(&self) -> End {
        tokio::select! {
            // If the screen goes the app goes with it; then the screen is the reason.
            biased;
            exit = exited(self.display.as_ref().map(Xvfb::exited)) => End::Display(exit),
            exit = exited(self.pulse.as_ref().map(Pulse::exited)) => End::Sound(exit),
            (program, exit) = self.service_failed() => End::Service { program, exit },
            exit = exited(self.app.as_ref().map(Process::exited)) => End::App(exit),
        }
    }

    /// After the end of a part: ends what can't go on without it, and says what is gone with it.
    pub(super) async fn clear(&mut self) -> Lost {
        self.end_programs().await;
        if let Some(display) = &self.display {
            // Counted as a crash of its own, a screen would be restarted twice.
            let _ = tokio::time::timeout(SCREEN_LAG, display.exited()).await;
        }
        let gone = self.display.take_if(|it| !it.is_alive());
        match gone {
            Some(gone) => {
                gone.stop().await;
                Lost::Screen
            }
            None => Lost::Nothing,
        }
    }

    pub(super) fn lose_sound(&mut self, why: String) {
        self.pulse = None;
        self.silent_because = Some(why);
    }

    pub(super) async fn freeze(&self) {
        for process in self.programs() {
            process.freeze().await;
        }
    }

    pub(super) async fn thaw(&self) {
        for process in self.programs() {
            process.thaw().await;
        }
    }

    pub(super) fn usage(&self) -> InstanceUsage {
        let app = self.programs().fold(Usage::default(), |sum, it| {
            let usage = it.usage();
            Usage {
                cpu: sum.cpu + usage.cpu,
                resident: sum.resident.saturating_add(usage.resident),
                processes: sum.processes + usage.processes,
            }
        });
        InstanceUsage {
            app,
            display: self.display.as_ref().map(Xvfb::usage).unwrap_or_default(),
            sound: self.pulse.as_ref().map(Pulse::usage).unwrap_or_default(),
        }
    }

    pub(super) async fn resize(&mut self, size: Size) -> Result<(), ResizeError> {
        size.check(self.config.max_size)?;
        let resized = match &mut self.display {
            Some(display) => display.resize(size).await,
            None => Ok(()),
        };
        // A screen that comes after this one has the same size, unless it cannot have it.
        if !matches!(resized, Err(ResizeError::Refused(_))) {
            self.size = size;
        }
        resized
    }

    pub(super) async fn stop(mut self) {
        self.end_programs().await;
        let display = self.display.take();
        let pulse = self.pulse.take();
        tokio::join!(
            async {
                if let Some(display) = display {
                    display.stop().await;
                }
            },
            async {
                if let Some(pulse) = pulse {
                    pulse.stop().await;
                }
            },
        );
        if let Err(error) = tokio::fs::remove_dir_all(&self.config.dir).await {
            let dir = self.config.dir.display();
            tracing::warn!(%dir, %error, "the directory of an instance stays");
        }
    }

    async fn end_programs(&mut self) {
        if let Some(app) = self.app.take() {
            app.terminate(APP_GRACE).await;
        }
        // A window manager ends after the windows.
        let services: Vec<Process> = self.services.drain(..).collect();
        for service in services.into_iter().rev() {
            service.terminate(SERVICE_GRACE).await;
        }
    }

    fn programs(&self) -> impl Iterator<Item = &Process> {
        self.services.iter().chain(&self.app)
    }

    async fn service_failed(&self) -> (String, Exit) {
        // Few and rarely: each is looked at anew whenever one of them ends.
        loop {
            let running: Vec<_> = self
                .services
                .iter()
                .filter(|it| it.exit().is_none())
                .map(|it| Box::pin(it.exited()))
                .collect();
            let failed = self
                .services
                .iter()
                .zip(&self.config.services)
                .find_map(|(it, command)| Some((command, it.exit().filter(|it| !it.is_clean())?)));
            if let Some((command, exit)) = failed {
                return (command.first().cloned().unwrap_or_default(), exit);
            }
            any(running).await;
        }
    }

    fn xvfb_config(&self) -> XvfbConfig {
        XvfbConfig {
            mark: self.mark("screen"),
            max_size: self.config.max_size,
            size: self.size,
            dir: self.config.dir.clone(),
            log: self.system_log.clone(),
        }
    }

    fn pulse_config(&self) -> PulseConfig {
        PulseConfig {
            mark: self.mark("sound"),
            dir: self.config.dir.join("pulse"),
            log: self.system_log.clone(),
        }
    }

    fn spawn(&self, part: &str, command: &[String]) -> Result<Process, StartError> {
        let display = self.display.as_ref().expect("it was started before");
        let process = Process::spawn(ProcessConfig {
            mark: self.mark(part),
            command: command.to_vec(),
            env: self.environment(display.display()),
            dir: self.config.dir.join("home"),
            limits: self.config.limits,
            log: self.log.clone(),
        });
        process.map_err(StartError::Spawn)
    }

    fn environment(&self, display: &Display) -> BTreeMap<String, String> {
        // A server that is not there, so that no library starts one of the user's.
        let silent = "unix:/nonexistent".to_owned();
        let mut env = self.config.env.clone();
        env.extend([
            ("DISPLAY".to_owned(), display.name()),
            (
                "PULSE_SERVER".to_owned(),
                self.pulse.as_ref().map_or(silent, Pulse::server),
            ),
            (
                "XAUTHORITY".to_owned(),
                display.authority().display().to_string(),
            ),
            (
                "XDG_RUNTIME_DIR".to_owned(),
                self.config.dir.join("run").display().to_string(),
            ),
        ]);
        env
    }

    fn mark(&self, part: &str) -> crate::mark::Mark {
        self.config
            .mark
            .part(part)
            .expect("the names of parts are plain")
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(exit) => write!(f, "the app {exit}"),
            Self::Service { program, exit } => write!(f, "the helper {program} {exit}"),
            Self::Display(exit) => write!(f, "the screen (X server) {exit}"),
            Self::Sound(exit) => write!(f, "the sound daemon {exit}"),
        }
    }
}

async fn exited(process: Option<impl Future<Output = Exit>>) -> Exit {
    match process {
        Some(exited) => exited.await,
        None => std::future::pending().await,
    }
}

/// Waits for the first of some futures; for ever if there are none.
async fn any<F: Future + Unpin>(mut futures: Vec<F>) -> F::Output {
    std::future::poll_fn(move |context| {
        for future in &mut futures {
            if let std::task::Poll::Ready(output) = std::pin::Pin::new(future).poll(context) {
                return std::task::Poll::Ready(output);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

fn private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}
