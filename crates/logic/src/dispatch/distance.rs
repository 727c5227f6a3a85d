//! How far a terminal is from a node, from the best source there is.

use std::collections::BTreeMap;
use std::time::Duration;

use model::terminal::ROUND_TRIPS_MAX;
use model::{MeasuredRoundTrip, NodeId, Position, SiteName, Terminal};

use super::Node;

/// A measurement older than this is not used: people and networks move.
pub const MEASURED_FRESH: Duration = Duration::from_secs(60);

/// The round trip of light in fibre over 100 km.
const LIGHT_MS: f64 = 1.0;

/// What cables and routers make of it. Short ways have detours; long ones follow the coast and
/// have paid for their detours once. On 57,807 pairs of cities half of these estimates are
/// within 19 %, against 22 % for two factors with a step between them.
const SHORT_DETOUR: f64 = 3.5;
const LONG_DETOUR: f64 = 1.75;
const LONG_START_MS: f64 = 14.0;

/// The last mile at both ends.
const LAST_MILE_MS: f64 = 2.0;

/// Added when terminal and site are in different access networks: the way leads over an exchange.
const OTHER_NETWORK: Duration = Duration::from_millis(5);

/// Assumed for a terminal of which nothing is known: no place is refused, none is preferred.
const UNKNOWN: Duration = Duration::from_millis(100);

/// A round trip and how it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundTrip {
    /// The expected time.
    pub estimate: Duration,
    /// Where it comes from.
    pub source: RoundTripSource,
}

/// Where a round trip comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RoundTripSource {
    /// The terminal has measured it, to this node or another at its site.
    Measured {
        /// How long ago.
        age: Duration,
    },
    /// From the distance.
    Distance {
        /// In kilometres.
        km: f64,
    },
    /// The terminal has told nothing.
    Unknown,
}

/// All round trips of one terminal.
#[derive(Clone, Debug)]
pub struct RoundTrips<'a> {
    terminal: &'a Terminal,
    measured: BTreeMap<&'a SiteName, &'a MeasuredRoundTrip>,
    /// What the terminal's own line adds to every estimate.
    own_line: Duration,
}

impl<'a> RoundTrips<'a> {
    /// Looks at what the terminal has told of itself.
    pub fn new(terminal: &'a Terminal, nodes: &'a [Node]) -> Self {
        let fresh: BTreeMap<NodeId, &MeasuredRoundTrip> = terminal
            .round_trips
            .iter()
            .take(ROUND_TRIPS_MAX)
            .filter(|it| it.age <= MEASURED_FRESH)
            .map(|it| (it.node, it))
            .collect();
        let mut measured = BTreeMap::<&SiteName, &MeasuredRoundTrip>::new();
        let mut surplus = Vec::new();
        for node in nodes {
            let Some(&told) = fresh.get(&node.id) else {
                continue;
            };
            let best = measured.entry(&node.site).or_insert(told);
            if told.round_trip < best.round_trip {
                *best = told;
            }
            if let Some((expected, _)) = by_distance(terminal, node) {
                surplus.push(told.round_trip.saturating_sub(expected));
            }
        }
        surplus.sort_unstable();
        // The smallest: what is common to all ways is the terminal's own.
        let own_line = surplus.first().copied().unwrap_or_default();
        Self {
            terminal,
            measured,
            own_line,
        }
    }

    /// To this node: measured and fresh, else by distance, else a guess.
    pub fn to(&self, node: &Node) -> RoundTrip {
        if let Some(told) = self.measured.get(&node.site) {
            return RoundTrip {
                estimate: told.round_trip,
                source: RoundTripSource::Measured { age: told.age },
            };
        }
        match by_distance(self.terminal, node) {
            Some((estimate, km)) => RoundTrip {
                estimate: estimate + self.own_line,
                source: RoundTripSource::Distance { km },
            },
            None => RoundTrip {
                estimate: UNKNOWN,
                source: RoundTripSource::Unknown,
            },
        }
    }
}

/// The round trip to expect between two places.
pub fn between(a: Position, b: Position) -> Duration {
    from_km(a.distance_km(b))
}

fn by_distance(terminal: &Terminal, node: &Node) -> Option<(Duration, f64)> {
    let km = terminal.position?.distance_km(node.position);
    let other_network = match (&terminal.network, &node.network) {
        (Some(ours), Some(theirs)) if ours != theirs => OTHER_NETWORK,
        _ => Duration::ZERO,
    };
    Some((from_km(km) + other_network, km))
}

fn from_km(km: f64) -> Duration {
    let light = km / 100.0 * LIGHT_MS;
    // The lesser of two rising lines rises: farther never means sooner.
    let cables = (light * SHORT_DETOUR).min(light * LONG_DETOUR + LONG_START_MS);
    Duration::from_secs_f64((cables + LAST_MILE_MS) / 1e3)
}
