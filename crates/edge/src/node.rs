//! The one loop that knows what the node holds: reservations, sessions, plan.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use api::link::{
    FromNode, NodeApp, Plan, PlannedRelease, ReleaseWhy, Reserve, SessionSummary, Summary,
    ToCenter, ToNode,
};
use logic::session::Ending;
use model::manifest::Stream;
use model::{Epoch, Manifest, Resources, SessionId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::live::{Live, notice};
use crate::machine::Busy;
use crate::peers::Peers;
use crate::session::{self, Command, SessionConfig};
use crate::shared::Shared;
use crate::uplink::Uplink;
use crate::warm::WarmPool;

/// What waits for the loop: questions of one center and ends of sessions. Senders wait.
const EVENTS_MAX: usize = 256;

/// Commands that wait for a session. It answers within microseconds unless it is hung.
const COMMANDS_MAX: usize = 64;

/// How often the center hears how the node is.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(1);

/// The longest a reservation is kept, whatever the center asks.
const RESERVATION_MAX: Duration = Duration::from_secs(10);

/// How long sessions may take to say goodbye when the node stops.
const DRAIN_MAX: Duration = Duration::from_millis(3_500);

/// What the loop is woken by.
pub(crate) enum Event {
    /// The center asks.
    Asked(ToNode, oneshot::Sender<FromNode>),
    /// The center says that these are not ours any more.
    Disowned(Vec<(SessionId, Epoch)>),
    /// A session is over, and all of its processes are gone.
    Ended(SessionId, Epoch, Ending),
}

/// The way into the loop.
pub(crate) fn channel() -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    mpsc::channel(EVENTS_MAX)
}

/// What a node holds.
pub(crate) struct Node {
    shared: Arc<Shared>,
    uplink: Uplink,
    live: Arc<Live>,
    events: mpsc::Sender<Event>,
    plan: Plan,
    peers: Peers,
    warm: WarmPool,
    sessions: BTreeMap<(SessionId, Epoch), Held>,
    busy: Busy,
    draining: bool,
}

/// A session, or a reservation of one.
struct Held {
    needs: Resources,
    commands: mpsc::Sender<Command>,
    summary: watch::Receiver<SessionSummary>,
}

impl Node {
    pub(crate) fn new(
        shared: Arc<Shared>,
        uplink: Uplink,
        live: Arc<Live>,
        endpoint: quinn::Endpoint,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            peers: Peers::new(Arc::clone(&shared), endpoint),
            warm: WarmPool::new(Arc::clone(&shared)),
            shared,
            uplink,
            live,
            events,
            plan: Plan::default(),
            sessions: BTreeMap::new(),
            busy: Busy::default(),
            draining: false,
        }
    }

    /// Runs until `stop`, then until every session has said goodbye.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<Event>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(SUMMARY_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(event) = events.recv() => self.handle_event(event),
                _ = tick.tick() => self.summarize(),
            }
        }
        self.drain(events).await;
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Asked(ask, answer) => self.handle_ask(ask, answer),
            Event::Disowned(sessions) => {
                for key in sessions {
                    info!(session = %key.0, epoch = %key.1, "not ours any more");
                    self.command(key, Command::Release(ReleaseWhy::Superseded));
                }
            }
            Event::Ended(session, epoch, ending) => {
                self.sessions.remove(&(session, epoch));
                info!(%session, %epoch, ?ending, "session ended");
                // A session outlives a node that shuts down: the center places it elsewhere.
                if ending != Ending::Draining {
                    self.uplink.tell(ToCenter::Ended {
                        session,
                        epoch,
                        why: session::words(ending).to_owned(),
                    });
                }
                self.summarize();
            }
        }
    }

    fn handle_ask(&mut self, ask: ToNode, answer: oneshot::Sender<FromNode>) {
        let reply = match ask {
            ToNode::Plan(plan) => {
                self.adopt(plan);
                FromNode::Ok
            }
            ToNode::Reserve(reserve) => match self.reserve(*reserve) {
                Ok(warm) => {
                    self.shared.metrics.reserved.add(1);
                    FromNode::Reserved { warm }
                }
                Err(why) => {
                    self.shared.metrics.refused.add(1);
                    FromNode::Refused { why }
                }
            },
            ToNode::Confirm { session, epoch } => {
                let key = (session, epoch);
                let known = self.sessions.get(&key).map(|it| it.commands.clone());
                let Some(commands) = known else {
                    let _ = answer.send(unknown(session));
                    return;
                };
                // The session itself answers: its reservation may have just expired.
                if commands.try_send(Command::Confirm(answer)).is_err() {
                    debug!(%session, "a session that is ending was confirmed");
                }
                return;
            }
            ToNode::Release {
                session,
                epoch,
                why,
            } => {
                self.command((session, epoch), Command::Release(why));
                FromNode::Ok
            }
            ToNode::Tell {
                session,
                epoch,
                status,
            } => {
                if self.command((session, epoch), Command::Tell(status)) {
                    FromNode::Ok
                } else {
                    unknown(session)
                }
            }
            ToNode::Logs { session, lines } => match self.newest(session) {
                Some((_, held)) => {
                    let _ = held.commands.try_send(Command::Logs(lines, answer));
                    return;
                }
                None => unknown(session),
            },
            ToNode::Moments { event, by, seconds } => {
                let live = Arc::clone(&self.live);
                self.shared.tracker.spawn(async move {
                    let cameras = notice(&live, &event, by, seconds).await;
                    let _ = answer.send(FromNode::Moments { cameras });
                });
                return;
            }
        };
        // The center may have given up waiting; then nobody wants the answer.
        let _ = answer.send(reply);
    }

    /// Sets a session's needs aside. Says whether a warm instance waits for it.
    fn reserve(&mut self, reserve: Reserve) -> Result<bool, String> {
        if self.draining {
            return Err("it is shutting down".to_owned());
        }
        if let Some((epoch, _)) = self.newest(reserve.session)
            && epoch >= reserve.epoch
        {
            return Err(format!("it already holds epoch {epoch} of this session"));
        }
        if let Some(missing) = missing(&reserve.manifest) {
            return Err(format!("{missing} is not installed"));
        }
        let needs = reserve.manifest.needs();
        let free = self.free();
        if free.checked_sub(needs).is_none() {
            return Err(shortage(needs, free));
        }

        let warm = self.warm.has(&reserve.manifest.name, reserve.release);
        let key = (reserve.session, reserve.epoch);
        let lease = expires_in(reserve.expires_unix_ms).min(RESERVATION_MAX);
        let (commands, commands_rx) = mpsc::channel(COMMANDS_MAX);
        let config = SessionConfig {
            session: reserve.session,
            epoch: reserve.epoch,
            release: reserve.release,
            manifest: reserve.manifest,
            screen: reserve.screen,
            reserved_until: Instant::now() + lease,
        };
        let summary = session::spawn(
            Arc::clone(&self.shared),
            config,
            self.warm.clone(),
            commands_rx,
            self.events.clone(),
        );
        self.sessions.insert(
            key,
            Held {
                needs,
                commands,
                summary,
            },
        );
        Ok(warm)
    }

    /// The highest epoch that is held of a session.
    fn newest(&self, session: SessionId) -> Option<(Epoch, &Held)> {
        let epochs = (session, Epoch(0))..=(session, Epoch(u32::MAX));
        let ((_, epoch), held) = self.sessions.range(epochs).next_back()?;
        Some((*epoch, held))
    }

    /// What is left for new sessions.
    fn free(&self) -> Resources {
        let taken = self
            .sessions
            .values()
            .fold(Resources::default(), |sum, it| sum.saturating_add(it.needs));
        let capacity = self.shared.capacity;
        capacity.checked_sub(taken).unwrap_or_default()
    }

    fn adopt(&mut self, plan: Plan) {
        if plan.generation < self.plan.generation {
            debug!(generation = plan.generation, "an old plan is refused");
            return;
        }
        self.peers.adopt(&plan.peers);
        self.warm.adopt(&plan.releases);
        self.live.adopt(&plan);
        self.plan = plan;
        self.summarize();
    }

    fn command(&self, key: (SessionId, Epoch), command: Command) -> bool {
        self.sessions
            .get(&key)
            .is_some_and(|held| held.commands.try_send(command).is_ok())
    }

    fn summarize(&mut self) {
        let app = |release: &PlannedRelease| NodeApp {
            app: release.manifest.name().clone(),
            release: release.number,
            ready: match &release.manifest {
                Manifest::Stream(stream) => missing(stream).is_none(),
                Manifest::Live(_) => true, // every edge carries events
            },
            warm: self.warm.count(release.manifest.name(), release.number),
        };
        let cpu_load = self.busy.look();
        let summary = Summary {
            free: self.free(),
            cpu_load,
            draining: self.draining,
            apps: self.plan.releases.iter().map(app).collect(),
            sessions: self
                .sessions
                .values()
                .map(|it| it.summary.borrow().clone())
                .collect(),
            links: self.peers.measure(cpu_load),
            cameras: self.live.cameras(),
            viewers: self.live.viewers(),
        };
        self.uplink.summarize(summary);
    }

    /// Says goodbye to every terminal and waits until every process is gone.
    async fn drain(mut self, mut events: mpsc::Receiver<Event>) {
        self.draining = true;
        self.summarize();
        let deadline = tokio::time::sleep(DRAIN_MAX);
        tokio::pin!(deadline);
        for held in self.sessions.values() {
            let _ = held.commands.try_send(Command::Drain);
        }
        let warm = self.warm.clone();
        let warm = warm.stop();
        tokio::pin!(warm);
        let mut warm_gone = false;
        while !(self.sessions.is_empty() && warm_gone) {
            tokio::select! {
                Some(event) = events.recv() => self.handle_event(event),
                () = &mut warm, if !warm_gone => warm_gone = true,
                () = &mut deadline => break,
            }
        }
    }
}

fn unknown(session: SessionId) -> FromNode {
    FromNode::Refused {
        why: format!("it does not hold session {session}"),
    }
}

/// The first file that an app requires and this node does not have.
fn missing(manifest: &Stream) -> Option<&str> {
    manifest
        .requires
        .iter()
        .map(String::as_str)
        .find(|it| runtime::find_program(it).is_none() && !std::path::Path::new(it).exists())
}

/// Which part of the needs does not fit, in words.
fn shortage(needs: Resources, free: Resources) -> String {
    if needs.cpu_millis > free.cpu_millis {
        return format!(
            "{:.2} cores are free, {:.2} are needed",
            f64::from(free.cpu_millis) / 1e3,
            f64::from(needs.cpu_millis) / 1e3
        );
    }
    if needs.memory > free.memory {
        return format!(
            "{} of memory are free, {} are needed",
            free.memory, needs.memory
        );
    }
    "all of its encoders are in use".to_owned()
}

fn expires_in(unix_ms: api::UnixMillis) -> Duration {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms);
    at.duration_since(SystemTime::now()).unwrap_or_default()
}
