//! What the center is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use api::place::Place;
use serde::Deserialize;

/// What the center is told at its start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its own directory: store, keys, the administrator's token. One process at a time.
    pub data_dir: PathBuf,
    /// One number for TCP (HTTP and console) and UDP (links of nodes).
    pub listen: SocketAddr,
    /// The certificate of the HTTP port. Default: plain HTTP, for this machine or behind a proxy.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// Places that people may say they are in. Default: none.
    #[serde(default)]
    pub places: Vec<Place>,
}

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The chain, the center's own certificate first.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}
