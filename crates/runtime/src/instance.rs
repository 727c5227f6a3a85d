//! One running app with all it needs: a screen, sound if wanted, helper programs, and the app.
//!
//! **Invariant:** one task owns the parts. Others see its [`State`] and ask it; nobody is told of
//! each step, so nobody can miss one: [`State::starts`] counts what happened in between.
//!
//! What crashes is started again as [`logic::backoff`] decides. An app's crash leaves the screen
//! as it is; a screen's crash takes the app along, and the next one has another [`Display`].

mod parts;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use logic::backoff::{Backoff, Policy, Verdict};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::display::{self, Display, ResizeError, Size};
use crate::log::{Log, Source};
use crate::mark::Mark;
use crate::process::{Limits, SpawnError, Usage};
use parts::{End, Lost, Parts};

/// Questions that wait while the task is busy starting something. A caller that finds it full
/// waits too.
const QUESTIONS_MAX: usize = 8;

/// What an instance may take to end, past the graces of its parts, before we say so and go on.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// What to run.
#[derive(Clone, Debug)]
pub struct InstanceConfig {
    /// By what its processes are found again.
    pub mark: Mark,
    /// A directory of its own: made now, with the app's home in it, and removed at the end. Its
    /// path should be below 60 bytes, for there are sockets in it.
    pub dir: PathBuf,
    /// The app: program and arguments.
    pub command: Vec<String>,
    /// Helper programs on the same screen, started before the app. One that ends with success was
    /// a preparation; one that ends otherwise takes the app along.
    pub services: Vec<Vec<String>>,
    /// The environment, beside `DISPLAY` and its like.
    pub env: BTreeMap<String, String>,
    /// The size of the screen at first.
    pub size: Size,
    /// The largest size it can be given.
    pub max_size: Size,
    /// Whether it is to be heard.
    pub sound: SoundWish,
    /// What the app may take. Helpers get the same niceness.
    pub limits: Limits,
    /// How patient to be with crashes.
    pub backoff: Policy,
    /// Any number; different instances should have different ones.
    pub seed: u64,
}

/// Whether an app is to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoundWish {
    /// No daemon is started for it.
    Silent,
    /// Heard where PulseAudio is installed.
    Heard,
}

/// How an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// What it does.
    pub phase: Phase,
    /// How often the app was started so far.
    pub starts: u32,
    /// Its screen; none between a crash of the X server and the next start.
    pub display: Option<Display>,
    /// Its sound.
    pub sound: Sound,
}

/// What an instance does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The app runs.
    Running,
    /// Something crashed, and is started again.
    Restarting {
        /// What happened, in words for a person.
        why: String,
        /// The how-manieth restart in a row.
        attempt: u32,
        /// After which time.
        after: Duration,
    },
    /// It crashed too often. It stays so until it is stopped.
    Failed {
        /// What happened last, in words for a person.
        why: String,
    },
}

/// Where an app can be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sound {
    /// Nobody asked for it.
    Off,
    /// Here.
    On {
        /// The socket of the daemon.
        socket: PathBuf,
        /// The source to record.
        monitor: String,
    },
    /// Nowhere.
    Unavailable {
        /// Why, and what to do, in words for a person.
        why: String,
    },
}

/// Why an instance did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory could not be made.
    #[error("make the directory {path}")]
    Dir {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no screen.
    #[error("start the screen")]
    Display(#[source] display::StartError),
    /// The app or a helper could not be started.
    #[error("start the app")]
    Spawn(#[source] SpawnError),
}

/// A running instance. Dropping it ends it in the background; [`Instance::stop`] waits for that.
#[derive(Debug)]
pub struct Instance {
    state: watch::Receiver<State>,
    questions: mpsc::Sender<Question>,
    log: Log,
    tasks: TaskTracker,
    stop: DropGuard,
}

/// What is asked of the task.
enum Question {
    Freeze(oneshot::Sender<()>),
    Thaw(oneshot::Sender<()>),
    Usage(oneshot::Sender<InstanceUsage>),
    Resize(Size, oneshot::Sender<Result<(), ResizeError>>),
}

/// What the parts of an instance take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstanceUsage {
    /// The app and its helpers. The processor time begins anew at each restart.
    pub app: Usage,
    /// The X server.
    pub display: Usage,
    /// The sound daemon.
    pub sound: Usage,
}

impl Instance {
    /// Starts everything and returns once the app's program runs.
    ///
    /// # Errors
    /// When a part that it can't do without does not start. Sound is not one of them.
    pub async fn start(config: InstanceConfig) -> Result<Self, StartError> {
        let log = Log::new();
        let seed = config.seed;
        let policy = config.backoff;
        let parts = Parts::start(config, log.clone()).await?;
        let mut backoff = Backoff::new(policy, seed);
        backoff.handle_start(Instant::now().into_std());

        let (state_tx, state) = watch::channel(parts.state(Phase::Running));
        let (questions, questions_rx) = mpsc::channel(QUESTIONS_MAX);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let keeper = Keeper {
            parts,
            backoff,
            state: state_tx,
            questions: questions_rx,
            log: log.clone(),
        };
        tasks.spawn(keeper.run(stop.clone()));
        tasks.close();
        Ok(Self {
            state,
            questions,
            log,
            tasks,
            stop: stop.drop_guard(),
        })
    }

    /// How it is now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// To follow how it is. Closed when the instance has ended.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// What the app and its helpers say, and what we say of them.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Stops the app where it is; its screen stays as it is. For instances kept warm.
    pub async fn freeze(&self) {
        self.ask(Question::Freeze).await;
    }

    /// Lets it run on.
    pub async fn thaw(&self) {
        self.ask(Question::Thaw).await;
    }

    /// What its parts take.
    pub async fn usage(&self) -> InstanceUsage {
        self.ask(Question::Usage).await.unwrap_or_default()
    }

    /// Gives the screen another size, at most the largest it was started with. A screen that comes
    /// after this one has it too, also if there is none just now.
    ///
    /// # Errors
    /// When the size is too large, or the screen refuses it or goes.
    pub fn resize(
        &self,
        size: Size,
    ) -> impl Future<Output = Result<(), ResizeError>> + Send + use<> {
        let questions = self.questions.clone();
        async move {
            ask(&questions, |answer| Question::Resize(size, answer))
                .await
                .unwrap_or_else(|| Err(ResizeError::Connect("the instance has ended".to_owned())))
        }
    }

    /// Ends it and all of its processes, and removes its directory.
    pub async fn stop(self) {
        drop(self.stop);
        if tokio::time::timeout(STOP_WAIT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("an instance does not end; the next start cleans up");
        }
    }

    async fn ask<A>(&self, question: impl FnOnce(oneshot::Sender<A>) -> Question) -> Option<A> {
        ask(&self.questions, question).await
    }
}

async fn ask<A>(
    questions: &mpsc::Sender<Question>,
    question: impl FnOnce(oneshot::Sender<A>) -> Question,
) -> Option<A> {
    let (answer_tx, answer) = oneshot::channel();
    questions.send(question(answer_tx)).await.ok()?;
    answer.await.ok()
}

/// The task that owns the parts.
struct Keeper {
    parts: Parts,
    backoff: Backoff,
    state: watch::Sender<State>,
    questions: mpsc::Receiver<Question>,
    log: Log,
}

/// Why the keeper woke up.
enum Event {
    Stop,
    Asked(Question),
    Ended(End),
    RestartDue,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        let mut restart_at = None;
        loop {
            match self.next_event(&stop, restart_at).await {
                Event::Stop => break,
                Event::Asked(question) => self.answer(question).await,
                Event::Ended(End::Sound(exit)) => {
                    let why = format!(
                        "the sound daemon {exit}; there is sound again when the app restarts"
                    );
                    self.log.push(Source::Platform, why.clone());
                    self.parts.lose_sound(why);
                    self.state.send_modify(|it| it.sound = self.parts.sound());
                }
                Event::Ended(end) => {
                    let lost = self.parts.clear().await;
                    // An app that loses its screen may end before the screen is seen to have.
                    let why = match (&end, lost) {
                        (End::App(_) | End::Service { .. }, Lost::Screen) => {
                            "the screen (X server) crashed".to_owned()
                        }
                        _ => end.to_string(),
                    };
                    let phase = self.state.borrow().phase.clone();
                    restart_at = match phase {
                        // Given up is given up; only what is left of it went too.
                        Phase::Failed { .. } => {
                            self.state.send_replace(self.parts.state(phase));
                            None
                        }
                        Phase::Running | Phase::Restarting { .. } => self.crashed(why),
                    };
                }
                Event::RestartDue => restart_at = self.restart(&stop).await,
            }
        }
        self.parts.stop().await;
    }

    async fn next_event(&mut self, stop: &CancellationToken, restart_at: Option<Instant>) -> Event {
        let restart = async {
            match restart_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Event::Stop,
            Some(question) = self.questions.recv() => Event::Asked(question),
            end = self.parts.ended() => Event::Ended(end),
            () = restart => Event::RestartDue,
        }
    }

    async fn answer(&mut self, question: Question) {
        // Who asked may have gone away; then nobody wants the answer.
        match question {
            Question::Freeze(answer) => {
                self.parts.freeze().await;
                let _ = answer.send(());
            }
            Question::Thaw(answer) => {
                self.parts.thaw().await;
                let _ = answer.send(());
            }
            Question::Usage(answer) => {
                let _ = answer.send(self.parts.usage());
            }
            Question::Resize(size, answer) => {
                let _ = answer.send(self.parts.resize(size).await);
            }
        }
    }

    /// Returns when to start again, if at all.
    fn crashed(&mut self, why: String) -> Option<Instant> {
        let now = Instant::now();
        let (phase, at) = match self.backoff.handle_crash(now.into_std()) {
            Verdict::Restart { at, attempt } => {
                let at = Instant::from_std(at);
                let after = at.saturating_duration_since(now);
                self.log.push(
                    Source::Platform,
                    format!("{why}; starting it again in {} ms", after.as_millis()),
                );
                let phase = Phase::Restarting {
                    why,
                    attempt,
                    after,
                };
                (phase, Some(at))
            }
            Verdict::GiveUp { crashes, within } => {
                let why = format!(
                    "{why}; that was crash {crashes} within {:.0} s, so it is left",
                    within.as_secs_f64()
                );
                self.log.push(Source::Platform, why.clone());
                (Phase::Failed { why }, None)
            }
        };
        self.state.send_replace(self.parts.state(phase));
        at
    }

    async fn restart(&mut self, stop: &CancellationToken) -> Option<Instant> {
        let started = tokio::select! {
            () = stop.cancelled() => return None,
            started = self.parts.restart() => started,
        };
        match started {
            Ok(()) => {
                self.backoff.handle_start(Instant::now().into_std());
                self.state.send_replace(self.parts.state(Phase::Running));
                None
            }
            Err(error) => {
                self.parts.clear().await;
                self.crashed(chain(&error))
            }
        }
    }
}

/// An error with all its reasons, for a person.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        text.push_str(": ");
        text.push_str(&reason.to_string());
        source = reason.source();
    }
    text
}
