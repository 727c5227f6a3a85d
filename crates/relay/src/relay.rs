//! The relay itself: one table of broadcasts and the sessions on it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use moq_net::{cache, origin, transport};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::access::Authorize;
use crate::connections::{Connection, ConnectionId, Connections, Live};
use crate::fan::Fans;
use crate::wire::Hop;

/// What is kept of all broadcasts together: the newest group of each track always, older ones while
/// there is room. A minute of ten pictures at 3 Mbit/s.
const CACHE_CAPACITY: u64 = 256 << 20;

/// Groups that nobody has touched for this long go, except the newest of a track.
const CACHE_EXPIRY: Duration = Duration::from_secs(30);

/// A session that is told to close gets this long to say goodbye.
pub(crate) const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Nodes between a publisher and a watcher. More is a loop or a mistake.
const HOPS_MAX: origin::HopLimit = match origin::HopLimit::new(8) {
    Some(hops) => hops,
    None => panic!("eight hops are within the library's limit"),
};

/// How a relay is set up.
#[derive(Clone)]
pub struct RelayConfig {
    /// This node's hop: the same over every restart.
    pub hop: Hop,
    /// Decides on every connection.
    pub authorize: Arc<dyn Authorize>,
    /// Connections at once, of all kinds. Beyond, new ones are refused before they cost anything.
    pub connections_max: usize,
}

/// Carries broadcasts. Cheap to clone; all clones are one relay.
#[derive(Clone)]
pub struct Relay {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub origin: origin::Producer,
    pub authorize: Arc<dyn Authorize>,
    pub connections: Connections,
    /// What terminals are sent.
    pub fans: Fans,
    /// One permit a connection, held for its whole life.
    pub slots: Arc<Semaphore>,
    /// Connections whose handshake is not over.
    pub half_open: AtomicUsize,
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
}

impl Relay {
    /// Starts a relay that nobody is connected to. Its tasks run on `tracker` and end with `stop`.
    pub fn new(config: RelayConfig, tracker: TaskTracker, stop: CancellationToken) -> Self {
        let mut settings = origin::Config::new(config.hop.inner());
        settings.pool = cache::Pool::new(
            cache::Config::default()
                .with_capacity(CACHE_CAPACITY)
                .with_expiry(CACHE_EXPIRY),
        );
        settings.max_hops = HOPS_MAX;
        let (origin, driver) = origin::Producer::new(settings);
        let stopped = stop.clone();
        tracker.spawn(async move {
            tokio::select! {
                _ = moq_net::time::run(driver) => {}
                () = stopped.cancelled() => {
                    // Sessions say goodbye on the table they have; then it goes.
                }
            }
        });
        Self {
            inner: Arc::new(Inner {
                origin,
                authorize: config.authorize,
                connections: Connections::default(),
                fans: Fans::new(tracker.clone()),
                slots: Arc::new(Semaphore::new(config.connections_max)),
                half_open: AtomicUsize::new(0),
                tracker,
                stop,
            }),
        }
    }

    /// Every session at this moment, oldest first.
    pub fn connections(&self) -> Vec<Connection> {
        self.inner.connections.snapshot()
    }

    /// Closes one connection. Says whether there was one.
    pub fn close(&self, id: ConnectionId) -> bool {
        self.inner.connections.close(|other, _| other == id) > 0
    }

    /// Closes every connection whose grant has this label. Says how many there were.
    pub fn close_labelled(&self, label: &str) -> usize {
        self.inner.connections.close(|_, live| live.label == label)
    }

    /// Runs a session to its end: until the peer goes, its lifetime is over, or the relay stops.
    pub(crate) async fn run<S: transport::poll::Session>(
        &self,
        live: Live,
        lifetime: Option<Duration>,
        session: moq_net::Session,
        driver: moq_net::Driver<S>,
    ) {
        let (label, remote) = (live.label.clone(), live.remote);
        let entered = Entered::new(self, live, session.clone());
        let mut driver = pin!(moq_net::time::run(driver));
        let ended = tokio::select! {
            error = &mut driver => Some(error),
            () = over(lifetime) => None,
            () = self.inner.stop.cancelled() => None,
        };
        if ended.is_none() {
            session.abort(moq_net::Error::Cancel);
            let _ = timeout(CLOSE_MAX, driver).await;
        }
        drop(entered);
        debug!(label, %remote, ended = ended.map(|e| e.to_string()), "session ended");
    }
}

impl Inner {
    /// Counts a handshake for as long as the result lives.
    pub(crate) fn half_open(self: &Arc<Self>) -> HalfOpen {
        self.half_open.fetch_add(1, Ordering::Relaxed);
        HalfOpen(self.clone())
    }
}

/// A handshake under way.
pub(crate) struct HalfOpen(Arc<Inner>);

impl Drop for HalfOpen {
    fn drop(&mut self) {
        self.0.half_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A row in the table of connections, removed even if the session's task is aborted.
struct Entered {
    relay: Relay,
    id: ConnectionId,
}

impl Entered {
    fn new(relay: &Relay, live: Live, session: moq_net::Session) -> Self {
        let id = relay
            .inner
            .connections
            .insert(live, session, Instant::now());
        Self {
            relay: relay.clone(),
            id,
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.relay.inner.connections.remove(self.id);
    }
}

async fn over(lifetime: Option<Duration>) {
    match lifetime {
        Some(lifetime) => tokio::time::sleep(lifetime).await,
        None => std::future::pending().await,
    }
}
