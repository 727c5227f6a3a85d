//! A person's or a thing's device, and what it knows about where it is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{NodeId, Position, unit::millis};

/// The most round trips one terminal may report. It probes a handful of candidates.
pub const ROUND_TRIPS_MAX: usize = 16;

/// The network by which a terminal or a site reaches others: a PLMN, an autonomous system, or any
/// name the operator gives. 1 to 60 visible ASCII characters.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(try_from = "String")]
pub struct AccessNetwork(String);

/// Why a text names no access network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an access network is named by 1 to 60 visible ASCII characters")]
pub struct AccessNetworkError;

impl AccessNetwork {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccessNetwork {
    type Err = AccessNetworkError;

    fn from_str(text: &str) -> Result<Self, AccessNetworkError> {
        let ok = (1..=60).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        ok.then(|| Self(text.to_owned())).ok_or(AccessNetworkError)
    }
}

impl TryFrom<String> for AccessNetwork {
    type Error = AccessNetworkError;

    fn try_from(text: String) -> Result<Self, AccessNetworkError> {
        text.parse()
    }
}

/// What a terminal tells of itself when it asks for a place. All of it is a claim: it decides what
/// is near, never what is allowed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Terminal {
    /// Where it is, if it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The network it is attached to, if it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<AccessNetwork>,
    /// Round trips it has measured to nodes, at most [`ROUND_TRIPS_MAX`]; more are ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub round_trips: Vec<MeasuredRoundTrip>,
}

/// A round trip that the terminal itself has measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeasuredRoundTrip {
    /// To this node.
    pub node: NodeId,
    /// Median of the probes, in milliseconds.
    #[serde(rename = "ms", with = "millis")]
    #[schema(value_type = f64)]
    pub round_trip: Duration,
    /// How long ago it was measured, in milliseconds.
    #[serde(rename = "age_ms", with = "millis", default)]
    #[schema(value_type = f64)]
    pub age: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_short_and_visible() {
        assert!("dev:berlin".parse::<AccessNetwork>().is_ok());
        for text in ["", "a b", "é", &"x".repeat(61)] {
            assert!(text.parse::<AccessNetwork>().is_err(), "{text}");
        }
    }
}
