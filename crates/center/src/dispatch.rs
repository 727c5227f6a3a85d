//! Carries the world to the decision, and the decision back: which node for which terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::node::{Endpoint, NodeStatus};
use api::session::Passed;
use logic::dispatch::{
    self as decision, AppState, DispatchInput, Need, NodeState, Rejection, RoundTrips,
};
use model::manifest::Stream;
use model::{AccessNetwork, AppName, NodeId, SessionId, SiteName, Terminal};

use crate::world::{Node, World};

/// A detour by another node must be worth this much.
const AS_GOOD: Duration = Duration::from_millis(5);

/// Measured links beyond this are as good as none.
const LINK_MAX_MS: f64 = 60_000.0;

/// Who wants what.
pub(crate) struct Want<'a> {
    pub(crate) session: SessionId,
    pub(crate) manifest: &'a Stream,
    pub(crate) terminal: &'a Terminal,
    /// Nodes that shall not be taken, each with the reason.
    pub(crate) avoid: &'a [(NodeId, String)],
    /// The only site allowed.
    pub(crate) site: Option<&'a SiteName>,
}

/// The nodes that could serve, best first, and why the others cannot.
#[derive(Default)]
pub(crate) struct Ranking {
    pub(crate) ranked: Vec<Ranked>,
    pub(crate) rejected: Vec<Passed>,
}

/// A node that could serve.
#[derive(Clone, Debug)]
pub(crate) struct Ranked {
    pub(crate) node: NodeId,
    pub(crate) site: SiteName,
    pub(crate) round_trip: Duration,
    /// What speaks for it.
    pub(crate) why: String,
    /// What speaks for the best one instead; empty for the best.
    pub(crate) behind: String,
}

/// Ranks all nodes for a terminal.
pub(crate) fn rank(world: &World, want: &Want<'_>) -> Ranking {
    let network = want.terminal.network.as_ref();
    let nodes = nodes(world, network, Some(&want.manifest.name));
    let decided = decision::dispatch(&DispatchInput {
        session: want.session,
        terminal: want.terminal,
        need: &Need::from(want.manifest),
        nodes: &nodes,
        refused: &refused(world, want),
    });
    let behind: BTreeMap<NodeId, String> = decided
        .passed()
        .into_iter()
        .map(|it| (it.node, words(&it.why)))
        .collect();
    let words_of = |node| behind.get(&node).cloned().unwrap_or_default();
    Ranking {
        ranked: decided
            .ranked
            .iter()
            .map(|it| Ranked {
                node: it.node,
                site: it.site.clone(),
                round_trip: it.round_trip.estimate,
                why: it.to_string(),
                behind: words_of(it.node),
            })
            .collect(),
        rejected: decided
            .rejected
            .into_iter()
            .map(|it| Passed {
                site: it.site,
                node: it.node,
                why: words_of(it.node),
            })
            .collect(),
    }
}

/// Nodes that must not be tried whatever their merits.
fn refused(world: &World, want: &Want<'_>) -> BTreeMap<NodeId, String> {
    let mut refused = BTreeMap::new();
    for node in world.nodes.values() {
        let network = want.terminal.network.as_ref();
        let why = if want.site.is_some_and(|it| it != node.site()) {
            "another site was asked for"
        } else if Endpoint::choose(&node.record.endpoints, network).is_none() {
            "it has no address in the terminal's network"
        } else {
            continue;
        };
        refused.insert(node.record.id, why.to_owned());
    }
    refused.extend(want.avoid.iter().cloned());
    refused
}

/// Our own reasons stand for themselves.
fn words(why: &Rejection) -> String {
    match why {
        Rejection::Refused { why } => why.clone(),
        other => other.to_string(),
    }
}

/// All nodes as the decision sees them.
fn nodes(
    world: &World,
    network: Option<&AccessNetwork>,
    app: Option<&AppName>,
) -> Vec<decision::Node> {
    let nodes = world.nodes.values();
    nodes.map(|it| node(it, network, app)).collect()
}

fn node(node: &Node, network: Option<&AccessNetwork>, app: Option<&AppName>) -> decision::Node {
    let record = &node.record;
    // A node with an address inside the terminal's own network is reached without leaving it.
    let mut endpoints = record.endpoints.iter();
    let inside = endpoints.any(|it| network.is_some() && it.network.as_ref() == network);
    let live = node.live.as_ref();
    let app = live.and_then(|live| {
        let mut apps = live.summary.apps.iter();
        apps.find(|it| app.is_some_and(|app| it.app == *app))
    });
    decision::Node {
        id: record.id,
        site: record.site.name.clone(),
        position: record.site.position,
        network: if inside {
            network.cloned()
        } else {
            record.site.network.clone()
        },
        state: match node.status() {
            NodeStatus::Ready => NodeState::Ready,
            NodeStatus::Draining => NodeState::Draining,
            NodeStatus::Silent => NodeState::Silent(node.since.elapsed()),
        },
        capacity: record.capacity,
        free: live.map(|it| it.free()).unwrap_or_default(),
        cpu_load: live.map_or(0.0, |it| it.summary.cpu_load),
        app: match app {
            Some(app) if app.ready => AppState::Ready { warm: app.warm },
            Some(_) => AppState::FilesMissing,
            None => AppState::ReleaseMissing,
        },
        price: 0.0,
        late_share: 0.0,
    }
}

/// The round trips of one terminal to all nodes, the best guess for each.
pub(crate) struct Ways(BTreeMap<NodeId, Duration>);

impl Ways {
    pub(crate) fn new(world: &World, terminal: &Terminal) -> Self {
        let nodes = nodes(world, terminal.network.as_ref(), None);
        let round_trips = RoundTrips::new(terminal, &nodes);
        let each = nodes.iter();
        Self(
            each.map(|it| (it.id, round_trips.to(it).estimate))
                .collect(),
        )
    }

    /// To this node; nothing for a node that is not known.
    pub(crate) fn to(&self, node: NodeId) -> Duration {
        self.0.get(&node).copied().unwrap_or_default()
    }
}

/// The round trip between two nodes: what they measure, else by distance.
pub(crate) fn between(world: &World, a: NodeId, b: NodeId) -> Duration {
    if a == b {
        return Duration::ZERO;
    }
    let (Some(from), Some(to)) = (world.nodes.get(&a), world.nodes.get(&b)) else {
        return Duration::ZERO;
    };
    let measured = |from: &Node, to: NodeId| {
        let mut links = from.live.as_ref()?.summary.links.iter();
        let link = links.find(|it| it.node == to)?;
        let sane = (0.0..=LINK_MAX_MS).contains(&link.round_trip_ms);
        sane.then(|| Duration::from_secs_f64(link.round_trip_ms / 1e3))
    };
    let by_distance = || decision::between(from.record.site.position, to.record.site.position);
    measured(from, b)
        .or_else(|| measured(to, a))
        .unwrap_or_else(by_distance)
}

/// Where a terminal enters for what is on `host`, if it is anywhere: by its nearest node, or
/// straight at the host where that is as good.
pub(crate) fn entry(
    world: &World,
    terminal: &Terminal,
    host: Option<NodeId>,
    avoid: &BTreeSet<NodeId>,
    site: Option<&SiteName>,
) -> Option<NodeId> {
    let ways = Ways::new(world, terminal);
    let network = terminal.network.as_ref();
    let allowed: Vec<_> = world
        .ready()
        .map(|(node, _)| node)
        .filter(|it| !avoid.contains(&it.record.id))
        .filter(|it| site.is_none_or(|site| it.site() == site))
        .filter(|it| Endpoint::choose(&it.record.endpoints, network).is_some())
        .map(|it| (ways.to(it.record.id), it.record.id))
        .collect();
    let nearest = allowed.iter().min()?;
    let straight = allowed.iter().find(|it| Some(it.1) == host);
    let straight = straight.filter(|it| it.0 <= nearest.0 + AS_GOOD);
    Some(straight.unwrap_or(nearest).1)
}
