//! Keeps one child running: starts it, says when it is ready, starts it again when it dies.

use std::time::{Duration, Instant};

use anyhow::bail;
use logic::backoff::{Backoff, Policy, Verdict};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::child::{self, Child};
use super::role::Role;

/// How long a child may take to get ready. Ours take a second; the machine may be busy.
const READY_WAIT: Duration = Duration::from_secs(20);

/// The first restart comes fast: a node that was killed should be back within a second.
const POLICY: Policy = Policy {
    first: Duration::from_millis(250),
    longest: Duration::from_secs(5),
    jitter_percent: 20,
    crashes_max: 8,
    window: Duration::from_secs(60),
    stable: Duration::from_secs(30),
};

/// What happens to a child.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// It is ready.
    Ready {
        name: String,
        pid: u32,
        /// What it said, as one JSON line.
        line: String,
        /// How often it was started before.
        restarts: u32,
    },
    /// It is gone.
    Exited {
        name: String,
        pid: Option<u32>,
        why: String,
        /// The end of its log.
        log: String,
        next: Next,
    },
}

/// What follows the end of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is started again after this time.
    RestartIn(Duration),
    /// It died so often that it is left alone.
    GaveUp { crashes: usize },
    /// Nobody wants it back.
    LeftDead,
}

/// Whether a child that dies is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    Never,
}

/// The two ways to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    /// Stop in good order.
    pub(super) gently: CancellationToken,
    /// Stop at once.
    pub(super) now: CancellationToken,
}

/// Keeps one child running.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) role: Role,
    pub(super) restart: Restart,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) stop: Stop,
}

impl Keeper {
    /// Runs until told to stop, or until the child is given up. Neither it nor anything that it
    /// started is left then.
    pub(super) async fn run(mut self) {
        self.keep().await;
        self.role.tidy_up().await;
    }

    async fn keep(&mut self) {
        let mut backoff = Backoff::new(POLICY, self.role.seed());
        for restarts in 0.. {
            let (pid, why) = match self.live(&mut backoff, restarts).await {
                Life::Stopped => return,
                Life::Ended { pid, why } => (pid, why),
            };
            let now = Instant::now();
            let next = match (self.restart, backoff.handle_crash(now)) {
                (Restart::Never, _) => Next::LeftDead,
                (Restart::Always, Verdict::GiveUp { crashes, .. }) => Next::GaveUp { crashes },
                (Restart::Always, Verdict::Restart { at, .. }) => Next::RestartIn(at - now),
            };
            let event = Event::Exited {
                name: self.role.name().to_owned(),
                pid,
                why,
                log: child::tail(self.role.log()),
                next,
            };
            // A closed channel means that we are stopping.
            let _ = self.events.send(event).await;
            let Next::RestartIn(wait) = next else { return };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.gently.cancelled() => return,
            }
        }
    }

    /// One life of the child, from its start to its end.
    async fn live(&mut self, backoff: &mut Backoff, restarts: u32) -> Life {
        let Stop { gently, now } = self.stop.clone();
        let launch = tokio::select! {
            launch = self.role.prepare() => launch,
            () = gently.cancelled() => return Life::Stopped,
        };
        let mut child = match launch.and_then(|it| Child::start(&it)) {
            Ok(child) => child,
            Err(error) => return Life::ended(None, &error),
        };
        let pid = Some(child.pid());
        backoff.handle_start(Instant::now());
        let ended = tokio::select! {
            ended = self.watch(&mut child, restarts) => ended,
            () = gently.cancelled() => {
                child.stop(&now).await;
                return Life::Stopped;
            }
        };
        match ended {
            Ok(why) => Life::Ended { pid, why },
            Err(error) => {
                child.stop(&now).await;
                Life::ended(pid, &error)
            }
        }
    }

    /// Says when the child is ready, and returns how it ended.
    async fn watch(&mut self, child: &mut Child, restarts: u32) -> anyhow::Result<String> {
        self.ready(child, restarts).await?;
        Ok(child.ended().await)
    }

    async fn ready(&mut self, child: &mut Child, restarts: u32) -> anyhow::Result<()> {
        let Ok(line) = tokio::time::timeout(READY_WAIT, child.ready_line()).await else {
            bail!("it was not ready within {READY_WAIT:?}");
        };
        let line = line?;
        self.role.learn(&line)?;
        let event = Event::Ready {
            name: self.role.name().to_owned(),
            pid: child.pid(),
            line,
            restarts,
        };
        let _ = self.events.send(event).await;
        Ok(())
    }
}

enum Life {
    /// We were told to stop.
    Stopped,
    Ended {
        pid: Option<u32>,
        why: String,
    },
}

impl Life {
    fn ended(pid: Option<u32>, error: &anyhow::Error) -> Self {
        Self::Ended {
            pid,
            why: format!("{error:#}"),
        }
    }
}
