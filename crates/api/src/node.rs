//! Nodes.

use model::{AccessNetwork, NodeId, Resources, SiteName};
use serde::{Deserialize, Serialize};

/// Where a node is reached. A node may have several: an operator's zone has one address inside the
/// operator's network and another outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// For those on this access network; for everyone else when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<AccessNetwork>,
    /// `host:port`, the same number for UDP and TCP.
    pub address: String,
}

impl Endpoint {
    /// The address for somebody on `network`: the endpoint of that very network, else the general
    /// one.
    pub fn choose<'a>(endpoints: &'a [Self], network: Option<&AccessNetwork>) -> Option<&'a str> {
        let exact = endpoints
            .iter()
            .find(|it| network.is_some() && it.network.as_ref() == network);
        exact
            .or_else(|| endpoints.iter().find(|it| it.network.is_none()))
            .map(|it| it.address.as_str())
    }
}

/// The certificate of a node's terminal entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Certificate {
    /// Issued by an authority that browsers trust.
    Trusted,
    /// Self-signed for development: browsers pin its SHA-256 (64 hexadecimal digits), and plain
    /// HTTP and WebSocket are answered on the same port.
    Pinned { sha256: String },
}

/// A node as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Its site.
    pub site: SiteName,
    /// Whether it takes sessions.
    pub status: NodeStatus,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
    /// What it has.
    pub capacity: Resources,
    /// What is left.
    pub free: Resources,
    /// Share of its cores in use, 0 to 1.
    pub cpu_load: f64,
    /// Sessions it runs.
    pub sessions: u32,
    /// Warm instances it holds.
    pub warm: u32,
    /// Version of the software.
    pub version: String,
    /// What it cannot do, in words, such as "no sound: PulseAudio is not installed".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
}

/// Whether a node takes sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// It does.
    Ready,
    /// It is shutting down: sessions leave it.
    Draining,
    /// Its link to the center is down.
    Silent,
}

/// A token that lets one node join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JoinToken {
    /// Give it to `selvedge edge --join`. It works once.
    pub token: String,
    /// When it stops working.
    pub expires_unix_ms: crate::UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_for_every_network() {
        let at = |network: Option<&str>, address: &str| Endpoint {
            network: network.map(|it| it.parse().unwrap()),
            address: address.into(),
        };
        let endpoints = [at(Some("26201"), "10.0.0.1:443"), at(None, "e.example:443")];
        let choose = |network: Option<&str>| {
            let network = network.map(|it| it.parse().unwrap());
            Endpoint::choose(&endpoints, network.as_ref())
        };
        assert_eq!(choose(Some("26201")), Some("10.0.0.1:443"));
        assert_eq!(choose(Some("20801")), Some("e.example:443"));
        assert_eq!(choose(None), Some("e.example:443"));
        assert_eq!(Endpoint::choose(&endpoints[..1], None), None);
    }
}
