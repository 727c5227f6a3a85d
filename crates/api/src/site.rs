//! Sites.

use model::{AccessNetwork, NodeId, Position, SiteName};
use serde::{Deserialize, Serialize};

/// What is known of a site for good: said by the node that joins there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SiteSpec {
    /// Its name.
    pub name: SiteName,
    /// What people read, such as "São Paulo".
    pub title: String,
    /// Where it is.
    pub position: Position,
    /// The network by which it reaches other sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<AccessNetwork>,
}

/// A site as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SiteView {
    /// What is known for good.
    #[serde(flatten)]
    pub spec: SiteSpec,
    /// Its nodes.
    pub nodes: Vec<NodeId>,
    /// Whether any of its nodes answers.
    pub up: bool,
    /// Sessions that run there.
    pub sessions: u32,
    /// The busiest share of its capacity, 0 to 1.
    pub load: f64,
}

/// A measured pair of sites.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LinkView {
    /// The site that measured.
    pub from: SiteName,
    /// The other end.
    pub to: SiteName,
    /// The present round trip in milliseconds.
    pub round_trip_ms: f64,
}
