//! Decides which node gets a terminal's session, and says why not the others.
//!
//! Hard limits come first; what passes is scored in points, fewer being better, where a point is
//! about a millisecond of round trip over the app's budget. The same input gives the same
//! decision. Whether the node then agrees is its own business: a refusal comes back as input.

mod distance;
mod reason;

use std::collections::BTreeMap;
use std::time::Duration;

use model::manifest::Stream;
use model::{AccessNetwork, NodeId, Position, Resources, SessionId, SiteName, Terminal};

pub use self::distance::{MEASURED_FRESH, RoundTrip, RoundTripSource, RoundTrips, between};
pub use self::reason::{Passed, Rejection};

/// Below the soft budget a place is nearly as good as any: only this part of a round trip counts.
const UNDER_BUDGET: f64 = 0.25;

/// Points for starting an app that another node holds warm: a second or two of waiting, once.
const START_POINTS: f64 = 10.0;

/// Points for load, times `load² / (1 - load)`, the way queues grow: 2 at half full, 13 at
/// four fifths, 32 at nine tenths.
const LOAD_POINTS: f64 = 4.0;

/// A full node is not infinitely bad: the limits say what does not fit.
const LOAD_MAX: f64 = 0.95;

/// Points for a remainder of one kind only, such as memory without a core to use it.
const LOPSIDED_POINTS: f64 = 3.0;

/// Points for a node whose recent frames all came late.
const TROUBLE_POINTS: f64 = 100.0;

/// Nodes within so many points are the same to a person: sessions spread over them.
const SAME_POINTS: f64 = 1.0;

/// Ranks the nodes for one session.
pub fn dispatch(input: &DispatchInput<'_>) -> Decision {
    let round_trips = RoundTrips::new(input.terminal, input.nodes);
    let mut ranked = Vec::new();
    let mut rejected = Vec::new();
    for node in input.nodes {
        let round_trip = round_trips.to(node);
        match reject(input, node, round_trip) {
            Some(why) => rejected.push(Passed {
                node: node.id,
                site: node.site.clone(),
                why,
            }),
            None => ranked.push(candidate(input.need, node, round_trip)),
        }
    }
    let rank = |it: &Candidate| {
        // Rounded, so that a hair's difference does not send everybody to one node.
        let steps = (it.score.total() / SAME_POINTS).round();
        (steps, rendezvous(input.session, it.node))
    };
    ranked.sort_by(|a, b| {
        let ((a_steps, a_hash), (b_steps, b_hash)) = (rank(a), rank(b));
        a_steps.total_cmp(&b_steps).then(a_hash.cmp(&b_hash))
    });
    Decision { ranked, rejected }
}

/// Everything a decision may depend on.
#[derive(Clone, Copy, Debug)]
pub struct DispatchInput<'a> {
    /// Spreads sessions over places that are equally good.
    pub session: SessionId,
    /// Who wants the app.
    pub terminal: &'a Terminal,
    /// What the app needs.
    pub need: &'a Need,
    /// All nodes, in any order.
    pub nodes: &'a [Node],
    /// Nodes that must not be tried, and why in words for a person: they refused this session,
    /// or stopped answering its terminal.
    pub refused: &'a BTreeMap<NodeId, String>,
}

/// What an app needs of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// For one session.
    pub resources: Resources,
    /// Up to this round trip a place is nearly as good as any.
    pub latency_soft: Duration,
    /// Beyond this round trip a place is refused.
    pub latency_hard: Duration,
    /// The only sites allowed; all if empty.
    pub sites: Vec<SiteName>,
}

impl From<&Stream> for Need {
    fn from(manifest: &Stream) -> Self {
        let placement = &manifest.placement;
        Self {
            resources: manifest.needs(),
            latency_soft: Duration::from_millis(placement.latency_soft_ms.into()),
            latency_hard: Duration::from_millis(placement.latency_hard_ms.into()),
            sites: placement.sites.clone(),
        }
    }
}

/// A node, as far as a decision about one app goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its site.
    pub site: SiteName,
    /// Where the site is.
    pub position: Position,
    /// The network by which the site is reached, if known.
    pub network: Option<AccessNetwork>,
    /// Whether it takes sessions.
    pub state: NodeState,
    /// What it has.
    pub capacity: Resources,
    /// What is not set aside.
    pub free: Resources,
    /// Share of its cores in use, 0 to 1, whatever was set aside.
    pub cpu_load: f64,
    /// Whether it could start the app.
    pub app: AppState,
    /// Points for its price; 0 for one's own machines.
    pub price: f64,
    /// Share of recent frames that reached their terminals late, 0 to 1; 0 if unknown.
    pub late_share: f64,
}

/// Whether a node takes sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It does.
    Ready,
    /// It is shutting down.
    Draining,
    /// It has said nothing for so long.
    Silent(Duration),
}

/// Whether a node could start the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppState {
    /// It could, and holds so many warm instances.
    Ready {
        /// Started and frozen.
        warm: u32,
    },
    /// It has the release, but not the programs or files that the app requires.
    FilesMissing,
    /// It has not heard of the release yet.
    ReleaseMissing,
}

/// The decision, with its reasons.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Nodes that could serve, best first.
    pub ranked: Vec<Candidate>,
    /// Nodes that could not.
    pub rejected: Vec<Passed>,
}

impl Decision {
    /// The best node.
    pub fn best(&self) -> Option<&Candidate> {
        self.ranked.first()
    }

    /// Why each node but the best was not chosen: the eligible ones first, in their order.
    pub fn passed(&self) -> Vec<Passed> {
        let Some((best, others)) = self.ranked.split_first() else {
            return self.rejected.clone();
        };
        let eligible = others.iter().map(|other| Passed {
            node: other.node,
            site: other.site.clone(),
            why: reason::behind(other, best),
        });
        eligible.chain(self.rejected.iter().cloned()).collect()
    }
}

/// A node that could serve. Its `Display` says in words what speaks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Its site.
    pub site: SiteName,
    /// The round trip to expect, and how it is known.
    pub round_trip: RoundTrip,
    /// Whether a warm instance waits there.
    pub is_warm: bool,
    /// The share of the node in use once the session is there, 0 to 1.
    pub load: f64,
    /// Why it has this rank.
    pub score: Score,
}

/// Points, fewer are better.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// For the round trip, growing faster over the budget.
    pub latency: f64,
    /// For starting the app.
    pub start: f64,
    /// For sharing the node with others.
    pub load: f64,
    /// For leaving a remainder that fits nothing.
    pub lopsided: f64,
    /// For what it costs.
    pub price: f64,
    /// For what sessions there have suffered.
    pub trouble: f64,
}

impl Score {
    /// The sum.
    pub fn total(&self) -> f64 {
        self.latency + self.start + self.load + self.lopsided + self.price + self.trouble
    }
}

/// The hard limits. A node may break several: the one that lasts longest is told.
fn reject(input: &DispatchInput<'_>, node: &Node, round_trip: RoundTrip) -> Option<Rejection> {
    let need = input.need;
    if !need.sites.is_empty() && !need.sites.contains(&node.site) {
        let allowed = need.sites.clone();
        return Some(Rejection::NotAllowedHere { allowed });
    }
    match node.state {
        NodeState::Ready => {}
        NodeState::Draining => return Some(Rejection::Draining),
        NodeState::Silent(silence) => return Some(Rejection::Silent(silence)),
    }
    match node.app {
        AppState::Ready { .. } => {}
        AppState::FilesMissing => return Some(Rejection::FilesMissing),
        AppState::ReleaseMissing => return Some(Rejection::ReleaseMissing),
    }
    if round_trip.estimate > need.latency_hard {
        let limit = need.latency_hard;
        return Some(Rejection::TooFar { round_trip, limit });
    }
    let (free, want) = (node.free, need.resources);
    if free.cpu_millis < want.cpu_millis {
        return Some(Rejection::NoCpu {
            free_millis: free.cpu_millis,
            need_millis: want.cpu_millis,
        });
    }
    if free.memory < want.memory {
        return Some(Rejection::NoMemory {
            free: free.memory,
            need: want.memory,
        });
    }
    if free.encoders < want.encoders {
        return Some(Rejection::NoEncoder {
            free: free.encoders,
            need: want.encoders,
        });
    }
    let why = input.refused.get(&node.id)?;
    Some(Rejection::Refused { why: why.clone() })
}

fn candidate(need: &Need, node: &Node, round_trip: RoundTrip) -> Candidate {
    let is_warm = matches!(node.app, AppState::Ready { warm } if warm > 0);
    let load = load_after(need, node);
    let score = Score {
        latency: latency_points(round_trip.estimate, need.latency_soft),
        start: if is_warm { 0.0 } else { START_POINTS },
        load: LOAD_POINTS * load * load / (1.0 - load.min(LOAD_MAX)),
        lopsided: LOPSIDED_POINTS * lopsided(need, node),
        price: at_least_zero(node.price),
        trouble: TROUBLE_POINTS * share(node.late_share),
    };
    Candidate {
        node: node.id,
        site: node.site.clone(),
        round_trip,
        is_warm,
        load,
        score,
    }
}

/// Twice the budget costs as much again as the way there: nobody plays at four times.
fn latency_points(round_trip: Duration, soft: Duration) -> f64 {
    let ms = |it: Duration| it.as_secs_f64() * 1e3;
    let (round_trip, soft) = (ms(round_trip), ms(soft).max(1.0));
    let over = (round_trip - soft).max(0.0);
    UNDER_BUDGET * round_trip + over + over * over / soft
}

/// The busiest of what is set aside, this session included, and what the cores really do.
fn load_after(need: &Need, node: &Node) -> f64 {
    let free = node.free.checked_sub(need.resources).unwrap_or_default();
    let set_aside = parts(free, node.capacity).map(|free| 1.0 - free);
    let [cpu, memory, encoders] = set_aside;
    cpu.max(memory).max(encoders).max(share(node.cpu_load))
}

/// How unequal the shares of what remains are, 0 to 1.
fn lopsided(need: &Need, node: &Node) -> f64 {
    let free = node.free.checked_sub(need.resources).unwrap_or_default();
    let [cpu, memory, encoders] = parts(free, node.capacity);
    cpu.max(memory).max(encoders) - cpu.min(memory).min(encoders)
}

/// Which share of each kind is free; all of what a node has none of.
fn parts(free: Resources, capacity: Resources) -> [f64; 3] {
    let part = |free: f64, capacity: f64| {
        if capacity > 0.0 {
            share(free / capacity)
        } else {
            1.0
        }
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "bytes of memory fit a double to a part in 2^53"
    )]
    let memory = part(free.memory.get() as f64, capacity.memory.get() as f64);
    [
        part(free.cpu_millis.into(), capacity.cpu_millis.into()),
        memory,
        part(free.encoders.into(), capacity.encoders.into()),
    ]
}

/// A share that a node has told, which may be anything.
fn share(told: f64) -> f64 {
    at_least_zero(told).min(1.0)
}

/// Also turns what is not a number into zero.
fn at_least_zero(told: f64) -> f64 {
    told.max(0.0)
}

/// Every session has its own order of the nodes, and a node that goes away moves only its own.
fn rendezvous(session: SessionId, node: NodeId) -> u64 {
    scramble(session.0 ^ scramble(node.0))
}

/// The finisher of SplitMix64: every bit of the input moves half of the output.
fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
