//! Every node knows the present releases and its peers.

use std::sync::Arc;
use std::time::Duration;

use api::link::{Peer, Plan, PlannedRelease, PlannedStreamKey, ToNode};
use api::node::Endpoint;
use futures::future::join_all;
use mesh::link::Link;
use model::NodeId;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::error::chain;
use crate::nodes::{ANSWER_MAX, ask};
use crate::shared::Shared;
use crate::world::{Live, Node, World};

/// Without a signal, plans are compared this often: a node that refused one gets another try.
const INTERVAL: Duration = Duration::from_secs(10);

/// A node that has been silent for longer is nobody's peer. Long enough that a restart of the
/// center, or a link that flaps, cuts nobody off.
const PEER_SILENCE_MAX: Duration = Duration::from_secs(600);

/// Keeps the plans of all nodes true until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut generation = 0;
    while !stop.is_cancelled() {
        // By the clock, so that it grows over a restart of the center, too.
        generation = clock::unix_ms().max(generation + 1);
        let due = due(&shared.world(), generation);
        join_all(due.into_iter().map(|it| send(&shared, it))).await;
        let wake = tokio::time::timeout(INTERVAL, shared.wake.plan.notified());
        // Woken or not, the plans are compared again.
        let _ = stop.run_until_cancelled(wake).await;
    }
}

/// A plan that a node does not have yet.
struct Due {
    node: NodeId,
    link: Link,
    plan: Arc<Plan>,
}

fn due(world: &World, generation: u64) -> Vec<Due> {
    let mut due = Vec::new();
    for node in world.nodes.values() {
        let Some(live) = &node.live else { continue };
        let mut plan = plan(world, node);
        let planned = live.planned.as_ref();
        // Compared as if it had the same generation.
        plan.generation = planned.map_or(0, |it| it.generation);
        if planned.is_some_and(|it| **it == plan) {
            continue;
        }
        plan.generation = generation;
        due.push(Due {
            node: node.record.id,
            link: live.link.clone(),
            plan: Arc::new(plan),
        });
    }
    due
}

fn plan(world: &World, node: &Node) -> Plan {
    let releases = world.apps.values().filter_map(|it| it.present());
    let peers = world.nodes.values().filter(|it| {
        let other = it.record.id != node.record.id;
        other && (it.live.is_some() || it.since.elapsed() < PEER_SILENCE_MAX)
    });
    let network = node.record.site.network.as_ref();
    let keys = world.stream_keys.values().map(|it| &it.0);
    Plan {
        generation: 0,
        offsets: world
            .alignments
            .iter()
            .map(|(event, (record, _))| (event.clone(), record.offsets.clone()))
            .collect(),
        stream_keys: keys
            .map(|it| PlannedStreamKey {
                event: it.event.clone(),
                camera: it.camera.clone(),
                hash: it.hash.clone(),
            })
            .collect(),
        releases: releases
            .map(|it| PlannedRelease {
                number: it.number,
                manifest: it.manifest.clone(),
            })
            .collect(),
        peers: peers
            .filter_map(|it| {
                let address = Endpoint::choose(&it.record.endpoints, network)?;
                Some(Peer {
                    node: it.record.id,
                    site: it.site().clone(),
                    address: address.to_owned(),
                })
            })
            .collect(),
    }
}

async fn send(shared: &Shared, due: Due) {
    let request = ToNode::Plan((*due.plan).clone());
    match ask(&due.link, &request, ANSWER_MAX).await {
        Ok(_) => {
            shared.metrics.links.plans_sent.add(1);
            let mut world = shared.world();
            let node = world.nodes.get_mut(&due.node);
            let live = node.and_then(|it| it.live.as_mut());
            let same = |it: &&mut Live| it.link.peer().address == due.link.peer().address;
            if let Some(live) = live.filter(same) {
                live.planned = Some(due.plan);
            }
        }
        Err(error) => {
            tracing::warn!(node = %due.node, error = %chain(&error), "a node did not take its plan");
        }
    }
}
