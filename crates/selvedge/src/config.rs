//! The settings of each service, and the file they may come from.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::node::Endpoint;
use api::place::Place;
use model::document::{self, DocumentError};
use model::{AccessNetwork, Position, Resources, SiteName};
use serde::{Deserialize, Serialize};

use crate::exit::{Ending, Told};
use crate::settings::settings;

mod parse;

/// Read when it exists and no other is named.
const DEFAULT_FILE: &str = "/etc/selvedge/selvedge.toml";

/// Where a center listens unless told otherwise.
pub(crate) const CENTER_LISTEN: &str = "127.0.0.1:7400";

/// Where an edge listens unless told otherwise.
pub(crate) const EDGE_LISTEN: &str = "127.0.0.1:7443";

/// The file: one table for each service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) center: Option<CenterSettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edge: Option<EdgeSettings>,
}

settings! {
    /// What a center is told.
    pub(crate) struct CenterSettings {
        /// Its own directory. Default: /var/lib/selvedge/center for root, else
        /// ~/.local/state/selvedge/center
        #[arg(long, env = "SELVEDGE_DATA_DIR", value_name = "DIR", hide_env_values = true)]
        data_dir: PathBuf,
        /// Where it listens: API and console by TCP, nodes by UDP. Default: 127.0.0.1:7400
        #[arg(long, env = "SELVEDGE_LISTEN", value_name = "ADDRESS", hide_env_values = true)]
        listen: SocketAddr,
        /// Certificate chain of the API, PEM. Default: none, plain HTTP
        #[arg(long, env = "SELVEDGE_TLS_CERTIFICATE", value_name = "FILE", hide_env_values = true)]
        tls_certificate: PathBuf,
        /// Key of the certificate, PEM
        #[arg(long, env = "SELVEDGE_TLS_KEY", value_name = "FILE", hide_env_values = true)]
        tls_key: PathBuf,
        /// What is logged, as in `info,center=debug`. Default: info
        #[arg(long, env = "SELVEDGE_LOG", value_name = "FILTER", hide_env_values = true)]
        log: String,
        /// How it is logged, to stderr. Default: text
        #[arg(long, env = "SELVEDGE_LOG_FORMAT", value_name = "FORMAT", hide_env_values = true)]
        log_format: LogFormat,
        // Places that people may say they are in. Only in the file.
        #[arg(skip)]
        places: Vec<Place>,
    }
}

settings! {
    /// What an edge is told.
    pub(crate) struct EdgeSettings {
        /// Its own directory. Default: /var/lib/selvedge/edge for root, else
        /// ~/.local/state/selvedge/edge
        #[arg(long, env = "SELVEDGE_DATA_DIR", value_name = "DIR", hide_env_values = true)]
        data_dir: PathBuf,
        /// Where terminals and other edges enter, UDP and TCP. Default: 127.0.0.1:7443
        #[arg(long, env = "SELVEDGE_LISTEN", value_name = "ADDRESS", hide_env_values = true)]
        listen: SocketAddr,
        /// The center. Default: 127.0.0.1:7400
        #[arg(long, env = "SELVEDGE_CENTER", value_name = "HOST:PORT", hide_env_values = true)]
        center: String,
        /// The join token, for the first start only. As a flag others on this machine can read it:
        /// better a variable
        #[arg(long, env = "SELVEDGE_JOIN", value_name = "TOKEN", hide_env_values = true)]
        join: String,
        /// The site it stands at, such as frankfurt
        #[arg(long, env = "SELVEDGE_SITE", value_name = "NAME", hide_env_values = true)]
        site: SiteName,
        /// What people read for the site. Default: its name
        #[arg(long, env = "SELVEDGE_SITE_TITLE", value_name = "TEXT", hide_env_values = true)]
        site_title: String,
        /// Where the site is: degrees north, degrees east, such as 50.11,8.68
        #[arg(long, env = "SELVEDGE_SITE_POSITION", value_name = "LAT,LON", hide_env_values = true)]
        #[arg(value_parser = parse::position, allow_hyphen_values = true)]
        site_position: Position,
        /// The network by which the site reaches others. Default: none in particular
        #[arg(long, env = "SELVEDGE_SITE_NETWORK", value_name = "NETWORK", hide_env_values = true)]
        site_network: AccessNetwork,
        /// Where it is reached, for everyone or for one access network. Several by commas. Default:
        /// where it listens
        #[arg(long, env = "SELVEDGE_ENDPOINTS", value_name = "[NETWORK=]HOST:PORT", hide_env_values = true)]
        #[arg(value_delimiter = ',', value_parser = parse::endpoint)]
        endpoints: Vec<Endpoint>,
        /// Certificate chain for terminals, PEM. Default: self-signed, for development
        #[arg(long, env = "SELVEDGE_CERTIFICATE", value_name = "FILE", hide_env_values = true)]
        certificate: PathBuf,
        /// Key of the certificate, PEM
        #[arg(long, env = "SELVEDGE_CERTIFICATE_KEY", value_name = "FILE", hide_env_values = true)]
        certificate_key: PathBuf,
        /// What it has for sessions, such as cpu=2,memory=4GB,encoders=8. Default: what the machine
        /// has
        #[arg(long, env = "SELVEDGE_CAPACITY", value_name = "AMOUNTS", hide_env_values = true)]
        #[arg(value_parser = parse::capacity)]
        capacity: Resources,
        /// Where cameras of live events publish by RTMP, such as 0.0.0.0:1935. Default: nowhere
        #[arg(long, env = "SELVEDGE_RTMP", value_name = "ADDRESS", hide_env_values = true)]
        rtmp: SocketAddr,
        /// Where cameras of live events publish by SRT, such as 0.0.0.0:9000. Default: nowhere
        #[arg(long, env = "SELVEDGE_SRT", value_name = "ADDRESS", hide_env_values = true)]
        srt: SocketAddr,
        /// Where media of WebRTC come in and go out (WHIP, WHEP), UDP, such as 0.0.0.0:8189. Default:
        /// nowhere
        #[arg(long, env = "SELVEDGE_WEBRTC", value_name = "ADDRESS", hide_env_values = true)]
        webrtc: SocketAddr,
        /// What is logged, as in `info,edge=debug`. Default: info
        #[arg(long, env = "SELVEDGE_LOG", value_name = "FILTER", hide_env_values = true)]
        log: String,
        /// How it is logged, to stderr. Default: text
        #[arg(long, env = "SELVEDGE_LOG_FORMAT", value_name = "FORMAT", hide_env_values = true)]
        log_format: LogFormat,
    }
}

/// How a log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Reads the file that is named, or the usual one if it exists.
pub(crate) fn read(named: Option<&Path>) -> anyhow::Result<File> {
    let path = match named {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(File::default()),
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(document::read(&text).map_err(|error| in_file(path, error))?)
}

/// Says of an error in a document which file it is in.
pub(crate) fn in_file(path: &Path, error: DocumentError) -> Told {
    let place = match (error.line, error.column) {
        (Some(line), Some(column)) => format!("{}:{line}:{column}", path.display()),
        _ => path.display().to_string(),
    };
    let told = Told::new(Ending::Usage, format!("{place}: {}", error.message));
    match error.hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

#[cfg(test)]
mod tests;
