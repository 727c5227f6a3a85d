//! `selvedge center` and `selvedge edge`: from settings to a running service.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use api::site::SiteSpec;
use center::Center;
use clap::Args;
use edge::Edge;
use model::NodeId;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::config::{self, CENTER_LISTEN, CenterSettings, EDGE_LISTEN, EdgeSettings};
use crate::current;
use crate::exit::{Ending, Told};
use crate::lifetime::{self, Supervision};
use crate::output::{Output, say};
use crate::settings::Layer as _;

mod log;

#[derive(Debug, Args)]
pub(crate) struct CenterArgs {
    #[command(flatten)]
    settings: CenterSettings,
    #[command(flatten)]
    process: ProcessArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EdgeArgs {
    #[command(flatten)]
    settings: EdgeSettings,
    #[command(flatten)]
    process: ProcessArgs,
}

/// What both services are told about being a process.
#[derive(Debug, Args)]
struct ProcessArgs {
    /// Settings in TOML, [center] and [edge]. Default: /etc/selvedge/selvedge.toml if it exists
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Stop when stdin is closed: whoever started it has ended, however that came about
    #[arg(long)]
    stop_on_stdin_close: bool,
}

impl ProcessArgs {
    const fn supervision(&self) -> Supervision {
        if self.stop_on_stdin_close {
            Supervision::Stdin
        } else {
            Supervision::None
        }
    }
}

/// What a service says on stdout, as one JSON line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Ready<T> {
    Ready(T),
}

/// Where a center is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CenterReady {
    /// Its API and console.
    pub(crate) http: String,
    /// Its link for nodes, `host:port`.
    pub(crate) link: SocketAddr,
}

/// Where an edge is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EdgeReady {
    /// Its id.
    pub(crate) node: NodeId,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Reads the line by which a service says that it is ready.
pub(crate) fn parse_ready<T: serde::de::DeserializeOwned>(line: &str) -> serde_json::Result<T> {
    serde_json::from_str(line).map(|Ready::Ready(ready)| ready)
}

/// The operator's token of the center in this directory.
pub(crate) fn admin_token(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join("admin.token");
    let token = std::fs::read_to_string(&path)
        .with_context(|| format!("read the operator's token in {}", path.display()))?;
    Ok(token.trim().to_owned())
}

/// Runs a center until it is told to stop.
pub(crate) fn run_center(args: CenterArgs, output: Output) -> anyhow::Result<ExitCode> {
    let file = config::read(args.process.config.as_deref())?;
    let settings = args.settings.over(file.center.unwrap_or_default());
    log::start(settings.log.as_deref(), settings.log_format)?;
    let supervision = args.process.supervision();
    let config = center_config(settings)?;
    lifetime::run(supervision, |stop| {
        serve_center(config, supervision, output, stop)
    })
}

/// Runs an edge until it is told to stop.
pub(crate) fn run_edge(args: EdgeArgs, output: Output) -> anyhow::Result<ExitCode> {
    let file = config::read(args.process.config.as_deref())?;
    let settings = args.settings.over(file.edge.unwrap_or_default());
    log::start(settings.log.as_deref(), settings.log_format)?;
    let config = edge_config(settings)?;
    lifetime::run(args.process.supervision(), |stop| {
        serve_edge(config, output, stop)
    })
}

async fn serve_center(
    config: center::Config,
    supervision: Supervision,
    output: Output,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let data_dir = config.data_dir.clone();
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let center = Center::load(config).await.context("start the center")?;
    let ready = CenterReady {
        http: format!("{scheme}://{}", center.address()),
        link: center.address(),
    };
    // Whoever supervises it speaks for it.
    let announced = match supervision {
        Supervision::None => Some(current::announce(
            ready.http.clone(),
            admin_token(&data_dir)?,
        )),
        Supervision::Stdin => None,
    };
    if let Some(Err(error)) = &announced {
        tracing::warn!(%error, "the command line will not find this center by itself");
    }
    speak(output, ready, |it| {
        let token = data_dir.join("admin.token");
        format!(
            "The center is ready: {}\nThe operator's token is in {}",
            it.http,
            token.display()
        )
    })?;
    center.run(stop).await;
    Ok(())
}

async fn serve_edge(
    config: edge::Config,
    output: Output,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let edge = Edge::load(config).await.context("start the edge")?;
    let ready = EdgeReady {
        node: edge.node_id(),
        address: edge.address(),
    };
    let mut taken_in = edge.ready();
    let mut running = std::pin::pin!(edge.run(stop));
    tokio::select! {
        () = &mut running => return Ok(()),
        // Without a sender there is nobody left to become ready: `running` is about to end.
        Ok(_) = taken_in.wait_for(|ready| *ready) => {}
    }
    speak(output, ready, |it| {
        format!("The edge is ready: node {} at {}", it.node, it.address)
    })?;
    running.await;
    Ok(())
}

/// Says that a service is ready: to programs on stdout, to people on stderr.
fn speak<T: Serialize>(
    output: Output,
    ready: T,
    words: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    match output {
        Output::Json => output.data(&Ready::Ready(ready), |_| String::new()),
        Output::People => {
            say(&words(&ready));
            Ok(())
        }
    }
}

fn center_config(settings: CenterSettings) -> anyhow::Result<center::Config> {
    let tls = pair(
        settings.tls_certificate,
        settings.tls_key,
        "tls_certificate and tls_key",
    )?;
    Ok(center::Config {
        data_dir: data_dir(settings.data_dir, "center")?,
        listen: settings.listen.unwrap_or_else(|| fixed(CENTER_LISTEN)),
        tls: tls.map(|(certificate, key)| center::TlsFiles { certificate, key }),
        places: settings.places.unwrap_or_default(),
    })
}

fn edge_config(settings: EdgeSettings) -> anyhow::Result<edge::Config> {
    let name = settings.site.ok_or_else(|| missing("site", "frankfurt"))?;
    let position = settings
        .site_position
        .ok_or_else(|| missing("site-position", "50.11,8.68"))?;
    let certificate = pair(
        settings.certificate,
        settings.certificate_key,
        "certificate and certificate_key",
    )?;
    let center = settings.center.as_deref().unwrap_or(CENTER_LISTEN);
    Ok(edge::Config {
        data_dir: data_dir(settings.data_dir, "edge")?,
        listen: settings.listen.unwrap_or_else(|| fixed(EDGE_LISTEN)),
        center: link_address(center).to_owned(),
        join: settings.join,
        site: SiteSpec {
            title: settings.site_title.unwrap_or_else(|| name.to_string()),
            name,
            position,
            network: settings.site_network,
        },
        endpoints: settings.endpoints.unwrap_or_default(),
        certificate: certificate
            .map(|(certificate, key)| edge::CertificateFiles { certificate, key }),
        capacity: settings.capacity,
        rtmp: settings.rtmp,
        srt: settings.srt,
        webrtc: settings.webrtc,
    })
}

/// The variable that names the center for an edge names it for the command line too, as a URL: the
/// port number is the same.
fn link_address(center: &str) -> &str {
    let host = center.split_once("://").map_or(center, |(_, host)| host);
    host.trim_end_matches('/')
}

fn data_dir(told: Option<PathBuf>, service: &str) -> anyhow::Result<PathBuf> {
    if let Some(dir) = told {
        return Ok(dir);
    }
    if rustix::process::geteuid().is_root() {
        return Ok(Path::new("/var/lib/selvedge").join(service));
    }
    let state = current::state_dir();
    Ok(state
        .ok_or_else(|| missing("data-dir", "/srv/selvedge"))?
        .join(service))
}

/// Both files or none.
fn pair<T>(a: Option<T>, b: Option<T>, names: &str) -> Result<Option<(T, T)>, Told> {
    match (a, b) {
        (Some(a), Some(b)) => Ok(Some((a, b))),
        (None, None) => Ok(None),
        _ => Err(Told::new(
            Ending::Usage,
            format!("only one of {names} is given: both or none are needed"),
        )),
    }
}

fn missing(flag: &str, example: &str) -> Told {
    let key = flag.replace('-', "_");
    let told = Told::new(Ending::Usage, format!("`{key}` is not given anywhere"));
    let variable = key.to_uppercase();
    told.hint(format!(
        "--{flag} {example}, or SELVEDGE_{variable}, or `{key}` in the file of --config"
    ))
}

fn fixed(address: &str) -> SocketAddr {
    address.parse().expect("a constant that a test reads")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_lines_read_back() {
        let line = r#"{"event":"ready","node":"4f2a90c1","address":"127.0.0.1:7443"}"#;
        let ready: EdgeReady = parse_ready(line).unwrap();
        assert_eq!(ready.address, fixed(EDGE_LISTEN));
        assert_eq!(serde_json::to_string(&Ready::Ready(ready)).unwrap(), line);
        let line = r#"{"event":"ready","http":"http://127.0.0.1:7400","link":"127.0.0.1:7400"}"#;
        let ready: CenterReady = parse_ready(line).unwrap();
        assert_eq!(ready.link, fixed(CENTER_LISTEN));
        assert_eq!(serde_json::to_string(&Ready::Ready(ready)).unwrap(), line);
    }

    #[test]
    fn a_center_is_one_address_for_all() {
        assert_eq!(link_address("c.example:7400"), "c.example:7400");
        assert_eq!(link_address("http://127.0.0.1:7400/"), "127.0.0.1:7400");
    }

    #[test]
    fn what_must_be_told_is_asked_for() {
        let error = edge_config(EdgeSettings::default()).unwrap_err();
        assert_eq!(error.to_string(), "`site` is not given anywhere");
        let half = CenterSettings {
            tls_key: Some("key.pem".into()),
            ..CenterSettings::default()
        };
        assert!(center_config(half).is_err());
    }
}
