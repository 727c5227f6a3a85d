//! The one place where a session waits.

use std::future::Future;
use std::time::{Duration, Instant};

use api::session::ScreenSize;
use relay::subscribe::{Announcement, Announcements};
use runtime::display::ResizeError;
use runtime::instance::{Instance, State};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Interval, MissedTickBehavior};

use super::Command;
use super::hand::Message;
use super::stage::{self, Output, Stage};

/// How often a session says how it goes.
const TICK: Duration = Duration::from_secs(1);

/// After a screen that could not be captured.
const STAGE_AGAIN: Duration = Duration::from_millis(500);

/// How long a screen keeps a size at least: apps draw everything anew for each, and so do we.
const RESIZE_REST: Duration = Duration::from_millis(100);

/// What a session is woken by.
pub(super) enum Event {
    /// The node asks.
    Command(Command),
    /// The node's loop has ended.
    NodeGone,
    /// The app has been started, or cannot be.
    Started(Result<Instance, String>),
    /// The picture is there, or cannot be had.
    Staged(Result<Stage, String>),
    /// The terminal wants the screen to have another size.
    Wished(ScreenSize),
    /// The screen was given another size, or keeps the one it has.
    Resized(Result<(), ResizeError>),
    /// The app, its screen or its sound has changed.
    AppChanged(State),
    /// A terminal's connection came or went.
    Terminal(Announcement),
    /// A terminal said something beside its input.
    Hand(Message),
    /// Something to be sent.
    Output(Output),
    /// A second is over.
    Tick,
    /// A deadline of a state machine is due.
    Timeout,
}

/// Everything a session waits for, but for its stage.
pub(super) struct Sources {
    commands: mpsc::Receiver<Command>,
    wishes: watch::Receiver<Option<ScreenSize>>,
    messages: mpsc::Receiver<Message>,
    terminals: Option<Announcements>,
    app: Option<watch::Receiver<State>>,
    /// At most three: an instance that starts, a stage that is set and a screen that is given
    /// another size.
    jobs: JoinSet<Event>,
    tick: Interval,
}

impl Sources {
    pub(super) fn new(
        commands: mpsc::Receiver<Command>,
        wishes: watch::Receiver<Option<ScreenSize>>,
        messages: mpsc::Receiver<Message>,
    ) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            commands,
            wishes,
            messages,
            terminals: None,
            app: None,
            jobs: JoinSet::new(),
            tick,
        }
    }

    pub(super) fn watch_terminals(&mut self, terminals: Announcements) {
        self.terminals = Some(terminals);
    }

    pub(super) fn watch_app(&mut self, app: watch::Receiver<State>) {
        self.app = Some(app);
    }

    /// Waits for an instance that is being started.
    pub(super) fn starting(
        &mut self,
        start: impl Future<Output = Result<Instance, String>> + Send + 'static,
    ) {
        self.jobs.spawn(async { Event::Started(start.await) });
    }

    /// Sets a stage, if there is something to show.
    pub(super) fn stage(&mut self, request: Option<stage::Request>) {
        if let Some(request) = request {
            self.jobs
                .spawn(async { Event::Staged(Stage::set(request).await) });
        }
    }

    /// The same after a pause: the screen may be just coming up or going down.
    pub(super) fn stage_again(&mut self, request: Option<stage::Request>) {
        if let Some(request) = request {
            self.jobs.spawn(async {
                tokio::time::sleep(STAGE_AGAIN).await;
                Event::Staged(Stage::set(request).await)
            });
        }
    }

    /// Waits for a screen that is being given another size, and for a moment of rest after it.
    pub(super) fn resizing(
        &mut self,
        resize: impl Future<Output = Result<(), ResizeError>> + Send + 'static,
    ) {
        self.jobs.spawn(async {
            let resized = resize.await;
            tokio::time::sleep(RESIZE_REST).await;
            Event::Resized(resized)
        });
    }

    /// The next event. Safe to drop and call again.
    pub(super) async fn next(
        &mut self,
        stage: Option<&mut Stage>,
        wake_at: Option<Instant>,
    ) -> Event {
        let Self {
            commands,
            wishes,
            messages,
            terminals,
            app,
            jobs,
            tick,
        } = self;
        tokio::select! {
            biased;
            command = commands.recv() => command.map_or(Event::NodeGone, Event::Command),
            output = output(stage) => Event::Output(output),
            wish = wished(wishes) => Event::Wished(wish),
            Some(message) = messages.recv() => Event::Hand(message),
            Some(terminal) = announcement(terminals.as_mut()) => Event::Terminal(terminal),
            state = changed(app) => Event::AppChanged(state),
            Some(done) = jobs.join_next() => finished(done),
            () = until(wake_at) => Event::Timeout,
            _ = tick.tick() => Event::Tick,
        }
    }

    /// Waits for what is being started, so that nothing is left behind.
    pub(super) async fn finish(mut self) {
        while let Some(done) = self.jobs.join_next().await {
            if let Event::Started(Ok(instance)) = finished(done) {
                instance.stop().await;
            }
        }
    }
}

/// A job that panicked is a start that failed.
fn finished(done: Result<Event, JoinError>) -> Event {
    done.unwrap_or_else(|error| Event::Started(Err(error.to_string())))
}

async fn output(stage: Option<&mut Stage>) -> Output {
    match stage {
        Some(stage) => stage.next().await,
        None => std::future::pending().await,
    }
}

async fn wished(wishes: &mut watch::Receiver<Option<ScreenSize>>) -> ScreenSize {
    if wishes.changed().await.is_ok()
        && let Some(wish) = *wishes.borrow_and_update()
    {
        return wish;
    }
    // Whoever could wish has gone, and so will this.
    std::future::pending().await
}

async fn announcement(terminals: Option<&mut Announcements>) -> Option<Announcement> {
    match terminals {
        Some(terminals) => terminals.next().await,
        None => std::future::pending().await,
    }
}

async fn changed(app: &mut Option<watch::Receiver<State>>) -> State {
    if let Some(watched) = app {
        if watched.changed().await.is_ok() {
            return watched.borrow_and_update().clone();
        }
        // The instance has ended; its end was decided here.
        *app = None;
    }
    std::future::pending().await
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
