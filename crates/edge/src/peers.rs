//! Links to other nodes, over which broadcasts travel.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::link::{Peer, PeerRoundTrip};
use model::NodeId;
use relay::{ConnectionKind, Hop, Link};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::shared::Shared;

/// Every direct link costs the same, so the shortest path is the direct one.
const DIRECT: u64 = 1;

/// After an address could not be resolved.
const RESOLVE_AGAIN: Duration = Duration::from_secs(2);

/// Keeps a link to each peer that has a higher id; those with a lower one dial us.
pub(crate) struct Peers {
    shared: Arc<Shared>,
    endpoint: quinn::Endpoint,
    dialled: BTreeMap<NodeId, (Peer, CancellationToken)>,
}

impl Peers {
    pub(crate) fn new(shared: Arc<Shared>, endpoint: quinn::Endpoint) -> Self {
        Self {
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
        self.dialled.retain(|node, (peer, stop)| {
            let keep = wanted.get(node).is_some_and(|it| *it == peer);
            if !keep {
                stop.cancel();
            }
            keep
        });
        for (node, peer) in wanted {
            if !self.dialled.contains_key(&node) {
                let stop = self.shared.stop.child_token();
                let dial = dial(
                    Arc::clone(&self.shared),
                    self.endpoint.clone(),
                    peer.clone(),
                    stop.clone(),
                );
                self.shared.tracker.spawn(dial);
                self.dialled.insert(node, (peer.clone(), stop));
            }
        }
    }

    /// The present round trip to every linked node, whoever dialled.
    pub(crate) fn round_trips(&self) -> Vec<PeerRoundTrip> {
        let mut links = BTreeMap::new();
        for connection in self.shared.relay.connections() {
            if connection.kind != ConnectionKind::Node {
                continue;
            }
            if let (Some(peer), Some(round_trip)) = (connection.peer, connection.round_trip) {
                links.insert(peer.get(), round_trip);
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

async fn dial(shared: Arc<Shared>, endpoint: quinn::Endpoint, peer: Peer, stop: CancellationToken) {
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
    let (_price, cost) = watch::channel(DIRECT);
    shared.relay.dial(link, cost, stop).await;
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
