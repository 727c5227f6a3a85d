//! What a node is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use api::node::Endpoint;
use api::site::SiteSpec;
use model::Resources;
use serde::Deserialize;

/// What a node is told at its start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its own directory: key, certificate, instances. One process at a time.
    pub data_dir: PathBuf,
    /// Where terminals enter, UDP and TCP.
    pub listen: SocketAddr,
    /// The center's link, `host:port`.
    pub center: String,
    /// A token for the first start; not needed afterwards.
    #[serde(default)]
    pub join: Option<String>,
    /// The site it stands at.
    pub site: SiteSpec,
    /// Where it is reached. Default: the address it listens on, for everyone.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// The certificate for terminals. Default: self-signed, pinned by its hash, for development.
    #[serde(default)]
    pub certificate: Option<CertificateFiles>,
    /// What it has for sessions. Default: what the machine has.
    #[serde(default)]
    pub capacity: Option<Resources>,
    /// Where cameras publish by RTMP. Default: nowhere.
    #[serde(default)]
    pub rtmp: Option<SocketAddr>,
    /// Where cameras publish by SRT. Default: nowhere.
    #[serde(default)]
    pub srt: Option<SocketAddr>,
    /// Where media of WHIP and WHEP come in and go out, UDP. Default: nowhere.
    #[serde(default)]
    pub webrtc: Option<SocketAddr>,
}

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The chain, the node's own certificate first.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}
