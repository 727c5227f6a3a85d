//! Links to other nodes: dialled by one side, kept up, and re-priced without a gap.
//!
//! A link's price is fixed when it is dialled and counts both ways. To change it, a second session is
//! dialled at the new price, and the first is closed when nobody receives anything over it any more:
//! whoever watches is moved at the end of a group and misses nothing, and a group may last for hours.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use moq_net::goaway::Goaway;
use moq_net::stats::{Config, Registry, Report, Tier};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info};

use crate::connections::{ConnectionKind, Live};
use crate::fresh::Fresh;
use crate::relay::Relay;
use crate::server::{AcceptError, chain, within};
use crate::transport::NODE_SEND_WINDOW;
use crate::wire::{Hop, NodeSession};

/// After a lost link or a failed dial: at once, then twice as long each time.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// A link that lived this long was a good one: the next dial is at once. One that is refused right
/// after each dial must not be dialled in a tight loop.
const STABLE: Duration = Duration::from_secs(5);

/// How long both sessions of a re-pricing live at least, beside two round trips: the new one's
/// announcements must have crossed, and the table holds changed routes back for 300 ms.
const SETTLE: Duration = Duration::from_millis(400);

/// How often it is looked whether a session that was replaced is still used.
const RETIRE_EVERY: Duration = Duration::from_millis(250);

/// Replaced sessions at once. Beyond, the oldest is closed, and what it carries breaks off: each costs
/// both ends a connection.
const RETIRING_MAX: usize = 3;

/// Where a node is, and who must answer there.
#[derive(Clone)]
pub struct Link {
    /// Our end. May be the one that serves.
    pub endpoint: quinn::Endpoint,
    /// From [`crate::transport::node_client_config`].
    pub config: quinn::ClientConfig,
    /// The node's relay port.
    pub address: SocketAddr,
    /// The name its certificate must have.
    pub server_name: String,
    /// The node's hop. Another node at the address is an error.
    pub peer: Hop,
}

/// A session on a link that is up.
struct Up {
    session: moq_net::Session,
    task: JoinHandle<()>,
    usage: Usage,
    cost: u64,
    since: Instant,
    round_trip: Duration,
}

impl Relay {
    /// Keeps a link up until `stop`, at the price that `cost` says at each time. A loop to be
    /// spawned; its state is in [`Relay::connections`].
    pub async fn dial(&self, link: Link, mut cost: watch::Receiver<u64>, stop: CancellationToken) {
        let mut up: Option<Up> = None;
        let mut retiring = VecDeque::new();
        let mut back_off = BackOff::default();
        loop {
            if up.as_ref().is_some_and(|up| up.task.is_finished()) {
                info!(peer = link.peer.get(), "link is down");
                let lasted = up.take().is_some_and(|up| up.since.elapsed() > STABLE);
                if lasted {
                    back_off.reset();
                } else if pause(back_off.next(), &stop).await.is_break() {
                    break;
                }
            }
            let price = *cost.borrow_and_update();
            // A session at the old price stays in use while dialling at the new one fails.
            if up.as_ref().is_none_or(|up| up.cost != price) {
                let dialled = tokio::select! {
                    dialled = self.connect(&link, price) => dialled,
                    () = stop.cancelled() => break,
                };
                match dialled {
                    Ok(next) => {
                        info!(peer = link.peer.get(), address = %link.address, price, "link is up");
                        if let Some(old) = up.replace(next) {
                            self.retire(old, &mut retiring);
                        }
                    }
                    Err(error) => {
                        debug!(peer = link.peer.get(), error = chain(&error), "link failed");
                        if pause(back_off.next(), &stop).await.is_break() {
                            break;
                        }
                        continue;
                    }
                }
            }
            let Some(live) = &mut up else { continue };
            tokio::select! {
                _ = &mut live.task => {}
                () = changed(&mut cost) => {}
                () = stop.cancelled() => break,
            }
        }
        drop(retiring);
        if let Some(up) = up {
            up.session.abort(moq_net::Error::Cancel);
            let _ = up.task.await;
        }
    }

    /// Closes a session that was replaced as soon as nothing comes over it.
    fn retire(&self, old: Up, retiring: &mut VecDeque<DropGuard>) {
        if retiring.len() == RETIRING_MAX {
            retiring.pop_front();
        }
        let stop = self.inner.stop.child_token();
        retiring.push_back(stop.clone().drop_guard());
        self.inner.tracker.spawn(async move {
            let unused = async {
                sleep(SETTLE + 2 * old.round_trip).await;
                // From now on both ends take any other way first.
                let _ = old.session.drain().send(Goaway::new());
                while old.usage.is_any() && !old.task.is_finished() {
                    sleep(RETIRE_EVERY).await;
                }
            };
            // Used or not, it is closed.
            let _ = stop.run_until_cancelled(unused).await;
            old.session.abort(moq_net::Error::Cancel);
            let _ = old.task.await;
        });
    }

    async fn connect(&self, link: &Link, cost: u64) -> Result<Up, AcceptError> {
        let connecting = link
            .endpoint
            .connect_with(link.config.clone(), link.address, &link.server_name)
            .map_err(AcceptError::Dial)?;
        let connection = within(async { Ok(connecting.await?) }).await?;
        let peer = self.authorize_node(&connection)?;
        if peer.hop != link.peer {
            connection.close(quinn::VarInt::from_u32(0), b"another node");
            return Err(AcceptError::WrongHop);
        }
        connection.set_send_window(NODE_SEND_WINDOW);
        let usage = Usage::new();
        let client = usage
            .client()
            .with_cost(cost)
            .with_peer_hop(peer.hop.inner())
            .with_publisher(self.inner.origin.consume().with_hidden(true))
            .with_subscriber(self.inner.origin.clone().peer());
        let session = Fresh::new(NodeSession::new(connection.clone()));
        let (session, driver) = client.connect_lite(Instant::now(), session).await?;
        let live = Live {
            kind: ConnectionKind::Node,
            label: peer.label,
            remote: connection.remote_address(),
            peer: Some(peer.hop),
            cost: Some(cost),
            quic: Some(connection.clone()),
            account: None,
        };
        let (relay, handle) = (self.clone(), session.clone());
        let task = self.inner.tracker.spawn(async move {
            relay.run(live, None, handle, driver).await;
        });
        Ok(Up {
            session,
            task,
            usage,
            cost,
            since: Instant::now(),
            round_trip: connection.rtt(),
        })
    }
}

/// What a link is used for.
struct Usage(Registry);

impl Usage {
    fn new() -> Self {
        Self(Registry::new(Config::new()))
    }

    /// What opens a session, and counts.
    fn client(&self) -> moq_net::Client {
        let session = self.0.tier(Tier::default()).session("");
        moq_net::Client::new().with_stats(session)
    }

    /// Whether anything is subscribed to over it, from either side.
    fn is_any(&self) -> bool {
        let mut report = Report::default();
        self.0.report(&mut report);
        let mut each = report.traffic.iter();
        each.any(|it| {
            it.publisher.active_subscriptions() + it.subscriber.active_subscriptions() > 0
        })
    }
}

/// Waits before the next dial, unless it is over.
async fn pause(wait: Duration, stop: &CancellationToken) -> ControlFlow<()> {
    tokio::select! {
        () = sleep(wait) => ControlFlow::Continue(()),
        () = stop.cancelled() => ControlFlow::Break(()),
    }
}

/// Waits for a new price; for ever if nobody can set one any more.
async fn changed(cost: &mut watch::Receiver<u64>) {
    if cost.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Doubles the wait up to a bound.
#[derive(Default)]
struct BackOff {
    last: Duration,
}

impl BackOff {
    fn next(&mut self) -> Duration {
        self.last = (self.last * 2).clamp(BACK_OFF_MIN, BACK_OFF_MAX);
        self.last
    }

    fn reset(&mut self) {
        self.last = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_to_a_bound_and_starts_anew() {
        let mut back_off = BackOff::default();
        let waits: Vec<_> = (0..8).map(|_| back_off.next().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        back_off.reset();
        assert_eq!(back_off.next(), BACK_OFF_MIN);
    }
}
