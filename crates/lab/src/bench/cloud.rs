//! A center and its edges, as a person starts them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::app::DeployApp;
use api::client::Client;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::usage::Usage;

/// How long the cloud may take to come up, and to go.
const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(10);

/// How long an instance may take to get warm.
const WARM_MAX: Duration = Duration::from_secs(30);

/// How often we look.
const LOOK: Duration = Duration::from_millis(100);

const PROBE: &str = include_str!("../../../../apps/probe/selvedge.toml");

/// Whether the edges reach each other through the emulated network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emulation {
    /// As far as they are apart.
    On,
    /// Over loopback.
    Off,
}

/// A center and its edges. Ends with it.
pub(super) struct Cloud {
    child: Child,
    client: Client,
    center: String,
    sites: Vec<Site>,
    apps: Vec<String>,
    file: PathBuf,
}

/// A site with its edge.
#[derive(Deserialize)]
pub(super) struct Site {
    name: String,
    pid: u32,
    /// Where it listens, without any network before it.
    pub(super) address: SocketAddr,
}

impl Site {
    /// What the edge's process takes.
    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.pid)
    }
}

#[derive(Deserialize)]
struct Ready {
    center: String,
    token: String,
    sites: Vec<Site>,
    apps: Vec<App>,
}

#[derive(Deserialize)]
struct App {
    name: String,
    deployed: bool,
}

impl Cloud {
    /// Starts the sites of a file such as `selvedge dev --sites` takes.
    pub(super) async fn start(sites: &str, emulation: Emulation) -> anyhow::Result<Self> {
        // Another bench in this process may have set it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let binary = std::env::current_exe()?.with_file_name("selvedge");
        if !binary.is_file() {
            bail!("{} is missing: build the workspace first", binary.display());
        }
        let file = std::env::temp_dir().join(format!("selvedge-bench-{}.toml", std::process::id()));
        std::fs::write(&file, sites)?;
        let mut command = Command::new(&binary);
        command.args(["dev", "--json", "--no-event"]);
        if emulation == Emulation::Off {
            command.arg("--no-emulation");
        }
        let mut child = command
            .arg("--sites")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("run {}", binary.display()))?;
        let stdout = child.stdout.take().context("it was piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(START_MAX, lines.next_line())
            .await
            .context("the cloud did not start in time")??
            .context("the cloud ended at once")?;
        let ready: Ready = serde_json::from_str(&line).context("read the ready line")?;
        Ok(Self {
            client: Client::new(&ready.center, Some(ready.token))?,
            center: ready.center,
            sites: ready.sites,
            apps: ready
                .apps
                .into_iter()
                .filter(|it| it.deployed)
                .map(|it| it.name)
                .collect(),
            child,
            file,
        })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether a demo app is installed.
    pub(super) fn has(&self, app: &str) -> bool {
        self.apps.iter().any(|it| it == app)
    }

    /// Where the center listens: `http://host:port`.
    pub(super) fn center(&self) -> &str {
        &self.center
    }

    /// The site of this name.
    pub(super) fn site(&self, name: &str) -> anyhow::Result<&Site> {
        let mut sites = self.sites.iter();
        let site = sites.find(|it| it.name == name);
        site.with_context(|| format!("the cloud has no site {name}"))
    }

    /// Deploys the test picture so that one of it is kept warm.
    pub(super) async fn warm_probe(&self) -> anyhow::Result<()> {
        self.publish(&format!("{PROBE}\n[placement]\nwarm = 1\n"))
            .await?;
        let warm = async {
            while self
                .client
                .nodes()
                .await?
                .items
                .iter()
                .all(|it| it.warm == 0)
            {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        };
        timeout(WARM_MAX, warm).await.context("nothing got warm")?
    }

    /// Deploys the test picture as it is.
    pub(super) async fn cool_probe(&self) -> anyhow::Result<()> {
        self.publish(PROBE).await
    }

    /// Deploys a manifest and waits until every edge offers it.
    pub(super) async fn publish(&self, manifest: &str) -> anyhow::Result<()> {
        let deployed = self
            .client
            .deploy(&DeployApp {
                manifest: manifest.to_owned(),
            })
            .await?;
        let offered = async {
            loop {
                let app = self.client.app(&deployed.name).await?;
                if app.sites.len() == self.sites.len()
                    && app.release.number >= deployed.release.number
                {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        timeout(WARM_MAX, offered)
            .await
            .with_context(|| format!("no edge offers {}; is it installed?", deployed.name))?
    }

    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id().and_then(|it| i32::try_from(it).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        timeout(STOP_MAX, self.child.wait())
            .await
            .context("the cloud did not stop in time")??;
        Ok(())
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // A leftover in the temporary directory harms nobody.
        let _ = std::fs::remove_file(&self.file);
    }
}
