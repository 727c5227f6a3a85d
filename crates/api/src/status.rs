//! The center's own state.

use serde::{Deserialize, Serialize};

/// How the cloud is, in one line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CloudStatus {
    /// Version of the center.
    pub version: String,
    /// When the center started.
    pub started_unix_ms: crate::UnixMillis,
    /// Sites known.
    pub sites: u32,
    /// Nodes whose link is up.
    pub nodes_ready: u32,
    /// Nodes known.
    pub nodes: u32,
    /// Apps deployed.
    pub apps: u32,
    /// Sessions alive.
    pub sessions: u32,
    /// The store's revision.
    pub revision: u64,
    /// What needs a person's attention, in words.
    pub warnings: Vec<String>,
}
