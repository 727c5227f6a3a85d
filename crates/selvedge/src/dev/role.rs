//! What a child is: a center or an edge, with the settings it is started with each time.

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use api::client::Client;
use api::place::Place;

use super::child::Launch;
use super::network::{self, Doors};
use super::sites::Site;
use crate::config::{CenterSettings, EdgeSettings, File};
use crate::output::say;
use crate::service::{self, CenterReady, EdgeReady};

/// How long an edge waits for a join token. Only the first start needs one, and then the center has
/// just said that it is ready.
const TOKEN_WAIT: Duration = Duration::from_secs(3);

/// How the names of edges begin.
pub(super) const EDGE: &str = "edge-";

/// In a child's directory: what is its own.
pub(super) const DATA: &str = "data";

/// What a child is.
#[derive(Debug)]
pub(super) enum Role {
    Center(Box<CenterRole>),
    Edge(Box<EdgeRole>),
}

/// Ends what an edge that keeps its things here may have left, if it ever ran.
pub(super) async fn tidy_up(data_dir: &Path) -> Result<(), edge::EdgeError> {
    if data_dir.is_dir() {
        edge::tidy_up(data_dir).await?;
    }
    Ok(())
}

/// Where a child keeps its things and logs.
#[derive(Clone, Debug)]
pub(super) struct Home {
    name: String,
    dir: PathBuf,
    log: PathBuf,
    /// What it logs, if not the default.
    filter: Option<String>,
}

#[derive(Debug)]
pub(super) struct CenterRole {
    pub(super) home: Home,
    /// Port 0 until the first start has taken one: afterwards always that one.
    pub(super) listen: SocketAddr,
    pub(super) places: Vec<Place>,
}

#[derive(Debug)]
pub(super) struct EdgeRole {
    pub(super) home: Home,
    pub(super) site: Site,
    pub(super) ip: IpAddr,
    /// The same at every start, unless somebody else has taken it.
    pub(super) port: Option<u16>,
    pub(super) doors: Doors,
    /// The center's link.
    pub(super) center: SocketAddr,
    /// For join tokens.
    pub(super) client: Client,
}

impl Home {
    pub(super) fn new(root: &Path, name: &str, filter: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            dir: root.join(name),
            log: root.join("log").join(format!("{name}.log")),
            filter,
        }
    }

    /// The name of a site's edge.
    pub(super) fn edge_name(site: &Site) -> String {
        format!("{EDGE}{}", site.name)
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.dir.join(DATA)
    }

    /// Writes the settings and says how to start with them.
    fn launch(&self, command: &str, file: &File) -> anyhow::Result<Launch> {
        let path = self.dir.join("selvedge.toml");
        let text = toml::to_string(file).context("write settings as TOML")?;
        fs::create_dir_all(&self.dir)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("write {}", path.display()))?;
        let words = [command, "--json", "--stop-on-stdin-close", "--config"];
        let args = words.into_iter().map(OsString::from).chain([path.into()]);
        Ok(Launch {
            args: args.collect(),
            env: Vec::new(),
            log: self.log.clone(),
        })
    }
}

impl Role {
    pub(super) fn name(&self) -> &str {
        &self.home().name
    }

    pub(super) fn log(&self) -> &Path {
        &self.home().log
    }

    /// Different children should not come back at the same moment.
    pub(super) fn seed(&self) -> u64 {
        let bytes = self.name().bytes();
        bytes.fold(0, |sum: u64, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        })
    }

    /// Everything that must be done before each start.
    pub(super) async fn prepare(&mut self) -> anyhow::Result<Launch> {
        match self {
            Self::Center(center) => center.prepare(),
            Self::Edge(edge) => edge.prepare().await,
        }
    }

    /// Takes what the child said when it was ready.
    pub(super) fn learn(&mut self, line: &str) -> anyhow::Result<()> {
        let wrong = || {
            format!(
                "it said something else than that it is ready: {}",
                line.trim()
            )
        };
        match self {
            Self::Center(center) => {
                let ready: CenterReady = service::parse_ready(line).with_context(wrong)?;
                center.listen = ready.link;
            }
            Self::Edge(_) => {
                let _: EdgeReady = service::parse_ready(line).with_context(wrong)?;
            }
        }
        Ok(())
    }

    /// Ends what the child may have started and could not end itself, because it was killed.
    pub(super) async fn tidy_up(&self) {
        if let Self::Edge(edge) = self {
            let dir = edge.home.data_dir();
            if let Err(error) = tidy_up(&dir).await {
                let error = anyhow::Error::from(error);
                say(&format!(
                    "selvedge: cannot tidy up after {}: {error:#}",
                    self.name()
                ));
            }
        }
    }

    const fn home(&self) -> &Home {
        match self {
            Self::Center(center) => &center.home,
            Self::Edge(edge) => &edge.home,
        }
    }
}

impl CenterRole {
    fn prepare(&self) -> anyhow::Result<Launch> {
        let file = File {
            center: Some(CenterSettings {
                data_dir: Some(self.home.data_dir()),
                listen: Some(self.listen),
                places: Some(self.places.clone()),
                log: self.home.filter.clone(),
                ..CenterSettings::default()
            }),
            edge: None,
        };
        self.home.launch("center", &file)
    }
}

impl EdgeRole {
    async fn prepare(&mut self) -> anyhow::Result<Launch> {
        // The doors must know the port before the edge does: it tells others where it is reached.
        let port = network::free_port(self.ip, self.port)?;
        self.port = Some(port);
        let listen = SocketAddr::new(self.ip, port);
        self.doors.lead_to(listen);
        let file = File {
            center: None,
            edge: Some(EdgeSettings {
                data_dir: Some(self.home.data_dir()),
                listen: Some(listen),
                center: Some(self.center.to_string()),
                site: Some(self.site.name.clone()),
                site_title: Some(self.site.title.clone()),
                site_position: Some(self.site.position),
                site_network: Some(self.site.network()),
                endpoints: Some(self.doors.endpoints(listen)),
                rtmp: Some(SocketAddr::new(self.ip, 0)),
                srt: Some(SocketAddr::new(self.ip, 0)),
                webrtc: Some(SocketAddr::new(self.ip, 0)),
                log: self.home.filter.clone(),
                ..EdgeSettings::default()
            }),
        };
        let mut launch = self.home.launch("edge", &file)?;
        let join = tokio::time::timeout(TOKEN_WAIT, self.client.create_join_token());
        // Without one it has joined before, or says itself that it cannot.
        if let Ok(Ok(join)) = join.await {
            launch.env.push(("SELVEDGE_JOIN", join.token));
        }
        Ok(launch)
    }
}
