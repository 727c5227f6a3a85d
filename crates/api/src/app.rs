//! Apps and their releases.

use model::{AppName, Manifest, ReleaseNumber, SiteName};
use serde::{Deserialize, Serialize};

/// An app as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AppView {
    /// Its name.
    pub name: AppName,
    /// The present release.
    pub release: Release,
    /// Sites with a node that has what the app requires.
    pub sites: Vec<SiteName>,
    /// Sessions that use it.
    pub sessions: u32,
}

/// An immutable version of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Release {
    /// Its number, from 1.
    pub number: ReleaseNumber,
    /// What was published.
    pub manifest: Manifest,
    /// When it was published.
    pub created_unix_ms: crate::UnixMillis,
}

/// Publishes a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployApp {
    /// The manifest as TOML, as it stands in `selvedge.toml`.
    pub manifest: String,
}
