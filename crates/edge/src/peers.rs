//! Links to other nodes, over which broadcasts travel, each at the price of what is measured on it.
//!
//! A broadcast is pulled over the way that costs the least, so prices grow the tree of each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::link::{Peer, PeerRoundTrip};
use logic::routing::{LinkMeasure, Price, Pricer};
use model::NodeId;
use relay::{Connection, ConnectionKind, Hop, Link};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::load::{self, OwnLoad};
use crate::shared::Shared;

/// What a link costs that nothing was measured on yet: dearer than most, lest all turn to it.
const UNMEASURED: Price = Price::millis(200);

/// How much of the new there is in the smoothed variation: that of RFC 6298, a quarter.
const JITTER_GAIN: f64 = 0.25;

/// Fewer packets say nothing of how many are lost.
const PACKETS_MIN: f64 = 50.0;

/// Bytes of a full packet, to tell the packets from the bytes.
const PACKET: f64 = 1_200.0;

/// After an address could not be resolved.
const RESOLVE_AGAIN: Duration = Duration::from_secs(2);

/// Keeps a link to each peer that has a higher id; those with a lower one dial us.
pub(crate) struct Peers {
    shared: Arc<Shared>,
    endpoint: quinn::Endpoint,
    load: OwnLoad,
    dialled: BTreeMap<NodeId, Dialled>,
}

/// A link that we keep up.
struct Dialled {
    peer: Peer,
    stop: CancellationToken,
    gauge: Gauge,
    /// How busy the other end is, 0 to 1.
    load: watch::Receiver<f64>,
    price: watch::Sender<u64>,
}

impl Peers {
    pub(crate) fn new(shared: Arc<Shared>, endpoint: quinn::Endpoint) -> Self {
        Self {
            load: OwnLoad::new(&shared),
            shared,
            endpoint,
            dialled: BTreeMap::new(),
        }
    }

    /// Dials whom the plan names, and lets go of whom it no longer names.
    pub(crate) fn adopt(&mut self, peers: &[Peer]) {
        let wanted: BTreeMap<NodeId, &Peer> = peers
            .iter()
            .filter(|it| it.node > self.shared.node_id)
            .map(|it| (it.node, it))
            .collect();
        self.dialled.retain(|node, dialled| {
            let keep = wanted.get(node).is_some_and(|it| **it == dialled.peer);
            if !keep {
                dialled.stop.cancel();
            }
            keep
        });
        for (node, peer) in wanted {
            if !self.dialled.contains_key(&node) {
                let stop = self.shared.stop.child_token();
                let (price, price_rx) = watch::channel(UNMEASURED.as_micros());
                let dial = dial(
                    Arc::clone(&self.shared),
                    self.endpoint.clone(),
                    peer.clone(),
                    price_rx,
                    stop.clone(),
                );
                self.shared.tracker.spawn(dial);
                let (load_tx, load) = watch::channel(0.0);
                let hear = load::hear(Arc::clone(&self.shared), node, load_tx, stop.clone());
                self.shared.tracker.spawn(hear);
                let dialled = Dialled {
                    peer: peer.clone(),
                    stop,
                    gauge: Gauge::default(),
                    load,
                    price,
                };
                self.dialled.insert(node, dialled);
            }
        }
    }

    /// Looks at every link, once a second: prices those that we dialled, and returns the present
    /// round trip to every linked node, whoever dialled. `cpu_load` is the share of our own cores in
    /// use since the last look.
    pub(crate) fn measure(&mut self, cpu_load: f64) -> Vec<PeerRoundTrip> {
        let now = Instant::now();
        self.load.handle_look(cpu_load, now);
        // Oldest first: of a link whose price has changed, the session that took over.
        let connections = self.shared.relay.connections().into_iter();
        let nodes = connections.filter(|it| it.kind == ConnectionKind::Node);
        let newest: BTreeMap<_, _> = nodes.filter_map(|it| Some((it.peer?.get(), it))).collect();
        let mut links = BTreeMap::new();
        for (peer, connection) in newest {
            if let Some(round_trip) = connection.round_trip {
                links.insert(peer, round_trip);
                if let Some(dialled) = self.dialled.get_mut(&NodeId(peer)) {
                    let load = self.load.share().max(*dialled.load.borrow());
                    let price = dialled.gauge.handle_look(&connection, load, now);
                    if let Some(price) = price {
                        dialled.price.send_replace(price.as_micros());
                    }
                }
            }
        }
        links
            .into_iter()
            .map(|(node, round_trip)| PeerRoundTrip {
                node: NodeId(node),
                round_trip_ms: round_trip.as_secs_f64() * 1e3,
            })
            .collect()
    }
}

/// What has been seen of one link.
#[derive(Default)]
struct Gauge {
    round_trip: Option<Duration>,
    jitter: Duration,
    /// Of the connection looked at last: its number, packets sent and lost.
    seen: Option<(relay::ConnectionId, f64, u64)>,
    pricer: Pricer,
}

impl Gauge {
    /// Looks at the link, whose busier end has this load, 0 to 1. Returns its price if that has
    /// changed.
    fn handle_look(&mut self, connection: &Connection, load: f64, now: Instant) -> Option<Price> {
        let round_trip = connection.round_trip?;
        let change = self.round_trip.replace(round_trip);
        let change = change.map_or(Duration::ZERO, |it| it.abs_diff(round_trip));
        self.jitter = self.jitter.mul_f64(1.0 - JITTER_GAIN) + change.mul_f64(JITTER_GAIN);
        let measure = LinkMeasure {
            round_trip,
            jitter: self.jitter,
            loss: self.loss(connection),
            load,
        };
        self.pricer.handle_measure(&measure, now);
        self.pricer.handle_timeout(now);
        self.pricer.poll_price()
    }

    /// The share of packets that were lost since the last look.
    fn loss(&mut self, connection: &Connection) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of one connection are far below 2^52"
        )]
        let sent = connection.sent.map_or(0.0, |it| it.get() as f64 / PACKET);
        let lost = connection.lost_packets.unwrap_or_default();
        let before = self.seen.replace((connection.id, sent, lost));
        let Some((_, sent_before, lost_before)) = before.filter(|it| it.0 == connection.id) else {
            return 0.0;
        };
        let (sent, lost) = (sent - sent_before, lost.saturating_sub(lost_before));
        if sent < PACKETS_MIN {
            return 0.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "packets lost in a second are far below 2^52"
        )]
        let lost = lost as f64;
        (lost / sent).min(1.0)
    }
}

async fn dial(
    shared: Arc<Shared>,
    endpoint: quinn::Endpoint,
    peer: Peer,
    price: watch::Receiver<u64>,
    stop: CancellationToken,
) {
    let Some(address) = resolve(&peer.address, &stop).await else {
        return;
    };
    let config = mesh::tls::relay_client(shared.identity.credentials(), peer.node)
        .map_err(|error| error.to_string())
        .and_then(|tls| {
            relay::transport::node_client_config(tls).map_err(|error| error.to_string())
        });
    let (config, hop) = match (config, Hop::try_from(peer.node.0)) {
        (Ok(config), Ok(hop)) => (config, hop),
        (Err(error), _) => return warn!(peer = %peer.node, error, "cannot link with peer"),
        (_, Err(error)) => return warn!(peer = %peer.node, %error, "cannot link with peer"),
    };
    let link = Link {
        endpoint,
        config,
        address,
        // Nodes are known by their certificate's id, not by a name.
        server_name: "node.selvedge".to_owned(),
        peer: hop,
    };
    shared.relay.dial(link, price, stop).await;
}

/// The first address of a `host:port`, tried until there is one or nobody wants it any more.
pub(crate) async fn resolve(address: &str, stop: &CancellationToken) -> Option<SocketAddr> {
    loop {
        match tokio::net::lookup_host(address)
            .await
            .map(|mut it| it.next())
        {
            Ok(Some(found)) => return Some(found),
            Ok(None) => warn!(address, "the name has no address"),
            Err(error) => warn!(address, %error, "cannot resolve the name"),
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(RESOLVE_AGAIN) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Bytes;

    use super::*;

    #[test]
    fn a_link_costs_its_round_trip_and_more_when_it_swings_or_loses() {
        let now = Instant::now();
        let mut gauge = Gauge::default();
        let calm = gauge.handle_look(&connection(30, 0, 0), 0.0, now);
        assert_eq!(calm, Some(Price::millis(30)));
        let same = gauge.handle_look(&connection(31, 10_000, 0), 0.0, now + SECOND);
        assert_eq!(same, None, "a millisecond moves nobody");

        // One packet of ten is lost for some seconds.
        let mut price = None;
        for second in 2..8 {
            let seen = connection(31, 200_000 * second, 15 * second);
            let look = gauge.handle_look(&seen, 0.0, now + SECOND * u32::try_from(second).unwrap());
            price = look.or(price);
        }
        let lossy = price.expect("it has changed").as_micros() / 1_000;
        assert!((100..=160).contains(&lossy), "{lossy} ms");

        let mut gauge = Gauge::default();
        let mut price = None;
        for second in 0..20 {
            let seen = connection(if second % 2 == 0 { 30 } else { 60 }, 0, 0);
            price = gauge
                .handle_look(&seen, 0.0, now + SECOND * second)
                .or(price);
        }
        let swinging = price.unwrap();
        assert!(swinging > Price::millis(100), "{swinging}");
    }

    #[test]
    fn a_link_to_a_node_without_breath_costs_twice_as_much() {
        let now = Instant::now();
        let price = |load| Gauge::default().handle_look(&connection(30, 0, 0), load, now);
        assert_eq!(price(0.4), Some(Price::millis(30)), "it has plenty");
        assert_eq!(price(1.0), Some(Price::millis(60)));
    }

    #[test]
    fn another_connection_starts_its_own_count() {
        let now = Instant::now();
        let mut gauge = Gauge::default();
        gauge.handle_look(&connection(30, 1_000_000, 500), 0.0, now);
        let mut next = connection(30, 2_000_000, 0);
        next.id = relay::ConnectionId(2);
        assert!(gauge.loss(&next).abs() < f64::EPSILON);
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn connection(round_trip_ms: u64, sent: u64, lost: u64) -> Connection {
        Connection {
            id: relay::ConnectionId(1),
            kind: ConnectionKind::Node,
            label: String::new(),
            remote: SocketAddr::from(([127, 0, 0, 1], 1)),
            peer: None,
            cost: None,
            version: String::new(),
            since: Instant::now(),
            round_trip: Some(Duration::from_millis(round_trip_ms)),
            sent: Some(Bytes::new(sent)),
            received: None,
            lost_packets: Some(lost),
            congestion_window: None,
        }
    }
}
