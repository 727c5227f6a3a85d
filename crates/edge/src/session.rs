//! One session on this node: its instance, its picture, its terminals.
//!
//! A task of its own. Like every service here it is a loop over [`Event`]: one place that waits
//! ([`Sources::next`]), one that decides ([`Task::handle_event`]). How long the instance lives is
//! `logic::session`; how fast the picture may be sent is `logic::rate`.

mod hand;
pub(crate) mod instance;
mod outlet;
mod pace;
mod quality;
mod sources;
mod stage;

use std::sync::Arc;
use std::time::Instant;

use api::link::{FromNode, ReleaseWhy, SessionSummary};
use api::session::{ScreenSize, SessionState};
use api::terminal::{AppState, ByeReason, Hello, SoundState, Status};
use logic::session::{Action, Ending, Rules, Session};
use model::input::{Control, Pong};
use model::manifest::Stream;
use model::{Epoch, ReleaseNumber, SessionId};
use relay::subscribe::Announcement;
use runtime::display::{ResizeError, Size};
use runtime::instance::{Instance, Phase, Sound, State};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{Instrument as _, debug, info, info_span, warn};

use crate::grant::Paths;
use crate::node;
use crate::shared::Shared;
use crate::warm::WarmPool;
use hand::{Hands, Message};
use outlet::Outlet;
use pace::Pace;
use quality::Meter;
use sources::{Event, Sources};
use stage::Stage;

/// How long the last words may take to reach the terminals before the picture goes.
const BYE_WAIT: std::time::Duration = std::time::Duration::from_millis(250);

/// What a node knows of a session when it sets its needs aside.
pub(crate) struct SessionConfig {
    pub(crate) session: SessionId,
    pub(crate) epoch: Epoch,
    pub(crate) release: ReleaseNumber,
    pub(crate) manifest: Stream,
    pub(crate) screen: Option<ScreenSize>,
    pub(crate) reserved_until: Instant,
}

/// What the node asks of a session.
pub(crate) enum Command {
    /// It is this node's: start.
    Confirm(oneshot::Sender<FromNode>),
    /// It is not, any more.
    Release(ReleaseWhy),
    /// Pass this on to the terminal.
    Tell(Box<Status>),
    /// What did the app print? At most so many lines.
    Logs(u32, oneshot::Sender<FromNode>),
    /// The node is shutting down.
    Drain,
}

/// Starts the task of a session. What it says of itself is in the receiver; its end comes as
/// [`node::Event::Ended`].
pub(crate) fn spawn(
    shared: Arc<Shared>,
    config: SessionConfig,
    warm: WarmPool,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<node::Event>,
) -> watch::Receiver<SessionSummary> {
    let (summary, summary_rx) = watch::channel(SessionSummary {
        session: config.session,
        epoch: config.epoch,
        app: config.manifest.name.clone(),
        state: SessionState::Starting,
        quality: api::session::Quality::default(),
    });
    let span = info_span!("session", id = %config.session, epoch = %config.epoch, app = %config.manifest.name);
    let tracker = shared.tracker.clone();
    let task = async move {
        let (session, epoch) = (config.session, config.epoch);
        let ending = Task::new(shared, config, warm, summary).run(commands).await;
        let _ = events
            .send(node::Event::Ended(session, epoch, ending))
            .await;
    };
    tracker.spawn(task.instrument(span));
    summary_rx
}

/// Why a session ended, for a person.
pub(crate) const fn words(ending: Ending) -> &'static str {
    match ending {
        Ending::Expired => "the reservation was not confirmed in time",
        Ending::Cancelled => "the reservation was not needed",
        Ending::Superseded => "the session goes on at another site",
        Ending::Closed => "the session was closed",
        Ending::Idle => "nobody used the session for longer than the app allows",
        Ending::Abandoned => "nobody returned to the session in time",
        Ending::Failed => "the app failed",
        Ending::Draining => "this node is shutting down",
    }
}

/// A session and all that belongs to it.
struct Task {
    shared: Arc<Shared>,
    config: SessionConfig,
    warm: WarmPool,
    summary: watch::Sender<SessionSummary>,
    session: Session,
    hands: Hands,
    outlet: Option<Outlet>,
    instance: Option<Instance>,
    stage: Option<Stage>,
    app: (AppState, Option<String>),
    sound: SoundState,
    resizing: Resizing,
    pace: Pace,
    meter: Meter,
}

/// On the way to the size that the terminal wants.
#[derive(Default)]
struct Resizing {
    /// What is wanted and not asked for yet.
    wanted: Option<(u16, u16)>,
    /// What was asked for last.
    asked: Option<(u16, u16)>,
    /// Whether there is no answer to that yet.
    waits: bool,
}

impl Task {
    fn new(
        shared: Arc<Shared>,
        config: SessionConfig,
        warm: WarmPool,
        summary: watch::Sender<SessionSummary>,
    ) -> Self {
        let now = Instant::now();
        let rules = Rules {
            reconnect_grace: config.manifest.session.reconnect_grace(),
            idle_limit: config.manifest.session.idle_limit(),
        };
        let silent = "this app makes no sound";
        Self {
            session: Session::reserve(rules, config.reserved_until, now),
            hands: Hands::new(Arc::clone(&shared)),
            pace: Pace::new(
                &config.manifest.screen,
                instance::first_size(&config.manifest, config.screen),
                now,
            ),
            meter: Meter::new(now),
            shared,
            config,
            warm,
            summary,
            outlet: None,
            instance: None,
            stage: None,
            resizing: Resizing::default(),
            app: (AppState::Starting, None),
            sound: SoundState {
                available: false,
                why: Some(silent.to_owned()),
            },
        }
    }

    async fn run(mut self, commands: mpsc::Receiver<Command>) -> Ending {
        let (wishes, messages) = (self.hands.wishes(), self.hands.messages());
        let mut sources = Sources::new(commands, wishes, messages);
        loop {
            let wake_at = self.session.poll_timeout();
            let wake_at = wake_at.into_iter().chain(self.pace.poll_timeout()).min();
            let event = sources.next(self.stage.as_mut(), wake_at).await;
            self.handle_event(event, &mut sources);

            self.pace.apply(self.stage.as_ref(), Instant::now());
            while let Some(action) = self.session.poll_action() {
                match action {
                    Action::Start => self.start(&mut sources),
                    Action::Stop(ending) => {
                        self.finish(ending).await;
                        sources.finish().await;
                        return ending;
                    }
                }
            }
        }
    }

    fn handle_event(&mut self, event: Event, sources: &mut Sources) {
        let now = Instant::now();
        match event {
            Event::Command(command) => self.handle_command(command, now),
            Event::NodeGone => self.session.handle_end(Ending::Draining, now),
            Event::Started(Ok(instance)) => self.handle_started(instance, sources),
            Event::Started(Err(why)) => self.fail(why, now),
            Event::Staged(Ok(stage)) => self.handle_staged(stage),
            Event::Staged(Err(why)) => {
                warn!(why, "the screen cannot be captured");
                sources.stage_again(self.stage_request());
            }
            Event::Wished(wish) => self.handle_wish(wish, sources),
            Event::Resized(resized) => self.handle_resized(resized, sources),
            Event::AppChanged(state) => self.handle_app(&state, sources, now),
            Event::Terminal(Announcement::Started(path)) => self.handle_joined(path, now),
            Event::Terminal(Announcement::Ended(path)) => self.handle_left(&path, now),
            Event::Hand(message) => self.handle_message(message, now),
            Event::Output(output) => self.handle_output(output),
            Event::Tick => self.handle_tick(now),
            Event::Timeout => {
                self.session.handle_timeout(now);
                self.pace.handle_timeout(now);
            }
        }
    }

    fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Confirm(answer) => {
                let reply = if self.session.handle_confirm(now) {
                    FromNode::Ok
                } else {
                    FromNode::Refused {
                        why: "the reservation has expired".to_owned(),
                    }
                };
                // The center may have given up waiting.
                let _ = answer.send(reply);
            }
            Command::Release(ReleaseWhy::Superseded) => self.session.handle_superseded(now),
            Command::Release(ReleaseWhy::Closed) => self.session.handle_end(Ending::Closed, now),
            Command::Release(ReleaseWhy::Cancelled) => {
                self.session.handle_end(Ending::Cancelled, now);
            }
            Command::Tell(status) => {
                if let Some(outlet) = &mut self.outlet {
                    outlet.tell(&status);
                }
            }
            Command::Logs(lines, answer) => {
                let lines = usize::try_from(lines).unwrap_or(usize::MAX);
                let tail = self.instance.as_ref().map(|it| it.log().tail(lines));
                let lines = tail.unwrap_or_default().into_iter();
                let lines = lines
                    .map(|it| format!("{}: {}", it.source, it.text))
                    .collect();
                let _ = answer.send(FromNode::Logs { lines });
            }
            Command::Drain => self.session.handle_end(Ending::Draining, now),
        }
    }

    /// Opens the broadcast at once, so that terminals can come while the app starts.
    fn start(&mut self, sources: &mut Sources) {
        let paths = Paths::new(self.config.session, self.config.epoch);
        let opened = Outlet::open(&self.shared, paths).and_then(|outlet| {
            let terminals = self.shared.relay.announcements(&paths.input());
            Ok((outlet, terminals.map_err(|error| error.to_string())?))
        });
        match opened {
            Ok((outlet, terminals)) => {
                self.outlet = Some(outlet);
                sources.watch_terminals(terminals);
            }
            Err(why) => return self.fail(why, Instant::now()),
        }
        self.greet();
        let (shared, warm) = (Arc::clone(&self.shared), self.warm.clone());
        let (manifest, screen) = (self.config.manifest.clone(), self.config.screen);
        let release = self.config.release;
        sources.starting(async move {
            if let Some(instance) = warm.take(&manifest.name, release).await {
                instance::fit(&instance, &manifest, screen).await;
                return Ok(instance);
            }
            instance::start(&shared, &manifest, screen).await
        });
    }

    fn handle_started(&mut self, instance: Instance, sources: &mut Sources) {
        info!("the app runs");
        let state = instance.state();
        sources.watch_app(instance.watch());
        self.instance = Some(instance);
        self.handle_app(&state, sources, Instant::now());
        self.resize(sources); // what was wanted meanwhile
    }

    /// The app, its screen or its sound has changed.
    fn handle_app(&mut self, state: &State, sources: &mut Sources, now: Instant) {
        self.app = match &state.phase {
            Phase::Running => (AppState::Running, None),
            Phase::Restarting { why, .. } => (AppState::Restarting, Some(why.clone())),
            Phase::Failed { why } => return self.fail(why.clone(), now),
        };
        self.sound = match &state.sound {
            Sound::Off => self.sound.clone(),
            Sound::On { .. } => SoundState {
                available: true,
                why: None,
            },
            Sound::Unavailable { why } => SoundState {
                available: false,
                why: Some(why.clone()),
            },
        };
        let shown = self.stage.as_ref().map(Stage::request);
        let wanted = self.stage_request();
        if wanted.is_some() && wanted.as_ref() != shown {
            self.stage = None;
            sources.stage(wanted);
        }
        self.greet();
    }

    /// What the stage should show and record, if there is anything.
    fn stage_request(&self) -> Option<stage::Request> {
        let state = self.instance.as_ref()?.state();
        stage::Request::new(&state, &self.config.manifest, self.pace.start())
    }

    fn handle_wish(&mut self, wish: ScreenSize, sources: &mut Sources) {
        match instance::later_size(&self.config.manifest, wish) {
            Some(size) => {
                self.resizing.wanted = Some(size);
                self.resize(sources);
            }
            None => debug!(?wish, "the screen of this app has one size"),
        }
    }

    fn handle_resized(&mut self, resized: Result<(), ResizeError>, sources: &mut Sources) {
        if let Err(error) = resized {
            warn!(error = instance::chain(&error), "the screen keeps its size");
        }
        self.resizing.waits = false;
        self.resize(sources);
    }

    /// Asks for the size that is wanted by now, one at a time.
    fn resize(&mut self, sources: &mut Sources) {
        let Some(instance) = self.instance.as_ref().filter(|_| !self.resizing.waits) else {
            return;
        };
        let Some(wanted) = self.resizing.wanted.take() else {
            return;
        };
        let has_it = self.stage.as_ref().map(Stage::size) == Some(wanted);
        if has_it && self.resizing.asked.is_none_or(|it| it == wanted) {
            return;
        }
        let (width, height) = wanted;
        sources.resizing(instance.resize(Size { width, height }));
        self.resizing.asked = Some(wanted);
        self.resizing.waits = true;
    }

    fn handle_staged(&mut self, mut stage: Stage) {
        if let Some(outlet) = &self.outlet {
            stage.follow(outlet.demand());
        }
        self.hands.attach(stage.pipeline().clone());
        self.pace.handle_stage(stage.size());
        self.stage = Some(stage);
        self.greet();
    }

    fn handle_joined(&mut self, path: String, now: Instant) {
        debug!(path, "a terminal is here");
        self.session.handle_joined(now);
        self.pace.handle_join(now);
        self.hands.join(path);
        if let Some(stage) = &self.stage {
            stage.pipeline().request_keyframe();
        }
        self.greet();
        self.report();
    }

    fn handle_left(&mut self, path: &str, now: Instant) {
        debug!(path, "a terminal has left");
        self.hands.leave(path);
        self.session.handle_left(now);
        if !self.session.is_watched()
            && let Some(stage) = &self.stage
        {
            stage.pipeline().release_all();
        }
        self.report();
    }

    fn handle_message(&mut self, message: Message, now: Instant) {
        match message.control {
            Control::Ping { id, at } => {
                if let Some(outlet) = &mut self.outlet {
                    outlet.pong(Pong { id, at });
                }
            }
            Control::Keyframe => {
                if let Some(stage) = &self.stage {
                    stage.pipeline().request_keyframe();
                }
            }
            // While two connections of a terminal overlap, the newest one counts.
            Control::Report(report) if self.hands.is_newest(&message.from) => {
                self.meter.handle_report(&report);
                self.pace.handle_report(&report, now);
            }
            Control::Report(_) => {}
        }
    }

    fn handle_output(&mut self, output: stage::Output) {
        let Some(outlet) = &mut self.outlet else {
            return;
        };
        match output {
            stage::Output::Frame(frame) => {
                let sent = outlet.picture(&frame);
                let bytes = sent.map_or(0, |it| it.bytes);
                self.meter.handle_frame(&frame, bytes);
                self.pace.handle_frame(bytes, Instant::now());
                if sent.is_none_or(|it| it.group_is_full)
                    && let Some(stage) = &self.stage
                {
                    stage.pipeline().request_keyframe();
                }
            }
            stage::Output::Cursor(cursor) => outlet.cursor(&cursor),
            stage::Output::Sound(packet) => outlet.sound(packet),
            stage::Output::Copied(text) => outlet.tell(&Status::Clipboard {
                text: text.to_string(),
            }),
            stage::Output::Resized => {
                if let Some((width, height)) = self.stage.as_ref().map(Stage::size) {
                    self.config.screen = Some(ScreenSize { width, height });
                    self.pace.handle_resize((width, height));
                }
                self.greet();
            }
            stage::Output::Wanted(wanted) => {
                if let Some(stage) = &mut self.stage {
                    stage.set_wanted(wanted);
                }
            }
            stage::Output::Ended(why) => {
                // The instance notices too, and brings up another screen or gives up.
                debug!(why, "the picture ended");
                self.stage = None;
                self.hands.detach();
            }
        }
    }

    fn handle_tick(&mut self, now: Instant) {
        if self.hands.take_touched() {
            self.session.handle_input(now);
        }
        self.meter.tick(now);
        self.report();
    }

    /// Says who serves, and how the app is.
    fn greet(&mut self) {
        let hello = self.hello();
        if let Some(outlet) = &mut self.outlet {
            let (state, why) = self.app.clone();
            outlet.state(&[Status::Hello(hello), Status::App { state, why }]);
        }
        self.report();
    }

    fn hello(&self) -> Hello {
        let manifest = &self.config.manifest;
        let size = self.stage.as_ref().map(Stage::size);
        let (width, height) =
            size.unwrap_or_else(|| instance::first_size(manifest, self.config.screen));
        Hello {
            site: self.shared.config.site.name.clone(),
            node: self.shared.node_id,
            app: manifest.name.clone(),
            title: manifest.title.clone(),
            width,
            height,
            resizable: manifest.screen.resizable,
            input: manifest.input.kind,
            relative_pointer: manifest.input.relative_pointer,
            sound: self.sound.clone(),
            gamepad: manifest.input.gamepad.clone(),
        }
    }

    fn report(&self) {
        let state = match (&self.stage, self.session.is_watched()) {
            (None, _) => SessionState::Starting,
            (Some(_), true) => SessionState::Active,
            (Some(_), false) => SessionState::Waiting,
        };
        let quality = self.meter.quality(self.pace.target());
        self.summary.send_modify(|it| {
            it.state = state;
            it.quality = quality;
        });
    }

    fn fail(&mut self, why: String, now: Instant) {
        warn!(why, "the app failed");
        self.app = (AppState::Failed, Some(why));
        self.greet();
        self.session.handle_end(Ending::Failed, now);
    }

    /// Says goodbye and ends every process.
    async fn finish(&mut self, ending: Ending) {
        if let Some(outlet) = &mut self.outlet {
            let reason = match ending {
                Ending::Superseded => ByeReason::Superseded,
                Ending::Idle | Ending::Abandoned => ByeReason::Idle,
                Ending::Failed => ByeReason::Failed,
                Ending::Draining => ByeReason::Draining,
                Ending::Closed | Ending::Expired | Ending::Cancelled => ByeReason::Closed,
            };
            let why = self.app.1.as_deref().filter(|_| ending == Ending::Failed);
            let text = match why {
                Some(why) => format!("{}: {why}", words(ending)),
                None => words(ending).to_owned(),
            };
            outlet.tell(&Status::Bye { reason, text });
            if self.session.is_watched() {
                tokio::time::sleep(BYE_WAIT).await;
            }
        }
        self.hands.detach();
        self.stage = None;
        if let Some(instance) = self.instance.take() {
            instance.stop().await;
        }
        self.outlet = None;
    }
}
