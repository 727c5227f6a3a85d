//! The line to whichever node is published to: made, lost, made again.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use logic::backoff::{Backoff, Policy, Verdict};
use logic::mediaclock::Offset;
use model::media::Coding;
use tokio::time::sleep_until;

use super::{FindWay, Found, NoWay, Progress};
use crate::camera::Camera;
use crate::client::{Client, Closed, ConnectError};
use crate::media::Published;
use crate::publish::{Broadcast, Demand, PublishError};
use crate::server::chain;

/// How far a group may fall behind the newest and still be sent: as long as the node waits for it.
const KEEP: Duration = Duration::from_secs(5);

/// A line is worth trying again soon, and for ever: the camera goes on.
const AGAIN: Policy = Policy {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(3),
    jitter_percent: 20,
    // More than there can be within the window.
    crashes_max: 1_000,
    window: Duration::from_secs(60),
    stable: Duration::from_secs(5),
};

/// Something of interest.
pub(super) enum Happened<E> {
    OnAir,
    Lost { why: String, again_in: Duration },
    Refused(String),
    NoWay(E),
    Nothing,
}

/// A line, or the attempt to have one.
pub(super) struct Line<W: FindWay> {
    ways: Arc<W>,
    state: State<W::Error>,
    coding: Coding,
    backoff: Backoff,
    was_up: bool,
    unsent: u64,
}

type Connected<E> = Result<(Found, Client), Failed<E>>;

enum State<E> {
    Connecting(BoxFuture<'static, Connected<E>>),
    Waiting(Instant),
    Up(Box<Up>),
}

enum Failed<E> {
    Way(NoWay<E>),
    Connect(ConnectError),
}

/// A node that is connected.
pub(super) struct Up {
    client: Client,
    broadcast: Broadcast,
    camera: Camera,
    demand: Demand,
    on_air: bool,
}

impl<W: FindWay> Line<W> {
    pub(super) fn new(ways: W) -> Self {
        let ways = Arc::new(ways);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        // Cameras that lose their node together must not come back together.
        let seed = since.map_or(0, |it| it.subsec_nanos().into());
        Self {
            state: State::Connecting(connecting(&ways, false)),
            ways,
            coding: Coding::default(),
            backoff: Backoff::new(AGAIN, seed),
            was_up: false,
            unsent: 0,
        }
    }

    /// Whether there was a connection yet.
    pub(super) const fn was_up(&self) -> bool {
        self.was_up
    }

    /// Waits until something happens. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> Happened<W::Error> {
        match &mut self.state {
            State::Connecting(connecting) => {
                let connected = connecting.await;
                self.handle_connected(connected)
            }
            State::Waiting(until) => {
                sleep_until((*until).into()).await;
                self.state = State::Connecting(connecting(&self.ways, true));
                Happened::Nothing
            }
            State::Up(up) => {
                let closed = tokio::select! {
                    closed = up.client.closed() => closed,
                    true = up.demand.wanted(), if !up.on_air => {
                        up.on_air = true;
                        return Happened::OnAir;
                    }
                };
                match closed {
                    Closed::Refused(words) => Happened::Refused(words),
                    Closed::Lost(why) => self.again(why),
                    Closed::Done => self.again("the node closed the connection".to_owned()),
                }
            }
        }
    }

    /// Sends it, if somebody is there.
    pub(super) fn handle(&mut self, published: Published, now: Duration) {
        match &published {
            Published::Video(config) => self.coding.video = Some(config.clone()),
            Published::Audio(config) => self.coding.audio = Some(config.clone()),
            Published::VideoSample(_) if !matches!(self.state, State::Up(_)) => self.unsent += 1,
            _ => {}
        }
        let State::Up(up) = &mut self.state else {
            return;
        };
        let config = matches!(published, Published::Video(_) | Published::Audio(_));
        // If it cannot be written, the connection is gone, and that is noticed elsewhere.
        let _ = up.camera.handle(published, Offset::default(), now);
        if config {
            let _ = up.describe(&self.coding, now);
        }
    }

    pub(super) fn progress(&self, now: Duration) -> Progress {
        let unsent = self.unsent;
        match &self.state {
            State::Up(up) => Progress {
                figures: up.camera.told(now).figures,
                on_air: up.on_air,
                unsent,
            },
            State::Connecting(_) | State::Waiting(_) => Progress {
                unsent,
                ..Progress::default()
            },
        }
    }

    /// Ends the tracks. What is left is the connection, with a broadcast that must stay until the
    /// node has read it.
    pub(super) fn finish(self) -> Option<(Client, Broadcast)> {
        match self.state {
            State::Up(up) => {
                let Up {
                    client,
                    broadcast,
                    camera,
                    ..
                } = *up;
                drop(camera);
                Some((client, broadcast))
            }
            State::Connecting(_) | State::Waiting(_) => None,
        }
    }

    fn handle_connected(&mut self, connected: Connected<W::Error>) -> Happened<W::Error> {
        match connected {
            Ok((found, client)) => match Up::new(&found, client, &self.coding) {
                Ok(up) => {
                    self.was_up = true;
                    self.backoff.handle_start(Instant::now());
                    self.state = State::Up(Box::new(up));
                    Happened::Nothing
                }
                Err(error) => self.again(chain(&error)),
            },
            Err(Failed::Way(NoWay::Never(error))) => Happened::NoWay(error),
            // Nobody may wait for what never was.
            Err(Failed::Way(NoWay::Later(error))) if !self.was_up => Happened::NoWay(error),
            Err(Failed::Way(NoWay::Later(error))) => self.again(error.to_string()),
            Err(Failed::Connect(error)) => self.again(chain(&error)),
        }
    }

    fn again(&mut self, why: String) -> Happened<W::Error> {
        let now = Instant::now();
        let at = match self.backoff.handle_crash(now) {
            Verdict::Restart { at, .. } => at,
            Verdict::GiveUp { .. } => now + AGAIN.longest,
        };
        self.state = State::Waiting(at);
        Happened::Lost {
            why,
            again_in: at - now,
        }
    }
}

impl Up {
    fn new(found: &Found, client: Client, coding: &Coding) -> Result<Self, PublishError> {
        let broadcast = client.publish(&found.broadcast)?;
        let camera = Camera::as_published(&broadcast, KEEP)?;
        broadcast.announce()?;
        let mut up = Self {
            demand: camera.demand(),
            client,
            broadcast,
            camera,
            on_air: false,
        };
        // What is known from before is not said again by the input.
        let now = super::wall_time();
        let video = coding.video.clone().map(Published::Video);
        let audio = coding.audio.clone().map(Published::Audio);
        for known in video.into_iter().chain(audio) {
            up.camera.handle(known, Offset::default(), now)?;
        }
        up.describe(coding, now)?;
        Ok(up)
    }

    fn describe(&mut self, coding: &Coding, now: Duration) -> Result<(), PublishError> {
        if *coding == Coding::default() {
            return Ok(());
        }
        let info = serde_json::to_vec(coding).expect("it has text keys and whole numbers");
        self.camera.write_info(info.into(), now)
    }
}

fn connecting<W: FindWay>(ways: &Arc<W>, lost: bool) -> BoxFuture<'static, Connected<W::Error>> {
    let ways = Arc::clone(ways);
    async move {
        let found = ways.find(lost).await.map_err(Failed::Way)?;
        let client = Client::connect(&found.door).await;
        Ok((found, client.map_err(Failed::Connect)?))
    }
    .boxed()
}
