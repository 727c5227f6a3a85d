//! A center on this machine, and what tests ask of it.

mod node;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use api::app::DeployApp;
use api::client::{Client, ClientError};
use api::error::ErrorCode;
use api::node::NodeStatus;
use api::place::Place;
use api::session::{CreateSession, CreatedSession};
use center::{Center, Config};
use model::{MeasuredRoundTrip, NodeId, Terminal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::node::{Behaviour, PLACES, ScriptedNode};

/// Generous: tests run on slow machines beside other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running center with a directory of its own.
pub(crate) struct TestCenter {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl TestCenter {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), 0).await
    }

    pub(crate) async fn start_in(directory: tempfile::TempDir, port: u16) -> Self {
        prepare();
        // The sockets of a center that was here a moment ago take a moment to go.
        let center = eventually("the port is free", async || {
            Center::load(config(directory.path(), port)).await.ok()
        })
        .await;
        let address = center.address();
        let stop = CancellationToken::new();
        let run = center.run(stop.clone());
        let running = tokio_util::task::TaskTracker::new().spawn(run);
        Self {
            directory,
            address,
            stop,
            running,
        }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.base(), Some(admin_token(self.directory.path()))).unwrap()
    }

    pub(crate) fn stranger(&self) -> Client {
        Client::new(&self.base(), None).unwrap()
    }

    pub(crate) async fn join_token(&self) -> String {
        self.client().create_join_token().await.unwrap().token
    }

    /// A node at this site that is ready to take sessions of every app.
    pub(crate) async fn node(&self, site: &str) -> ScriptedNode {
        let node = ScriptedNode::new(site);
        node.join(self.address, &self.join_token().await).await;
        node.connect(self.address).await;
        node
    }

    /// Three nodes and the app `test`, ready everywhere.
    pub(crate) async fn cloud(&self) -> [ScriptedNode; 3] {
        self.deploy(&manifest("test", "")).await;
        let nodes = [
            self.node("frankfurt").await,
            self.node("shanghai").await,
            self.node("sao-paulo").await,
        ];
        self.wait_for_app("test", 3).await;
        nodes
    }

    pub(crate) async fn deploy(&self, manifest: &str) {
        let deploy = DeployApp {
            manifest: manifest.to_owned(),
        };
        self.client().deploy(&deploy).await.unwrap();
    }

    pub(crate) async fn wait_for_app(&self, app: &str, sites: usize) {
        let client = self.client();
        let app = app.parse().unwrap();
        eventually("the app is ready", async || {
            let view = client.app(&app).await.unwrap();
            (view.sites.len() == sites).then_some(())
        })
        .await;
    }

    pub(crate) async fn wait_for_status(&self, node: NodeId, status: NodeStatus) {
        let client = self.client();
        eventually("the node has the status", async || {
            let view = client.node(node).await.unwrap();
            (view.status == status).then_some(())
        })
        .await;
    }

    pub(crate) async fn create(&self, terminal: Terminal) -> CreatedSession {
        let create = create_test(terminal);
        self.stranger().create_session(&create).await.unwrap()
    }

    /// Stops the center and gives its directory and port back.
    pub(crate) async fn stop(self) -> (tempfile::TempDir, u16) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.running)
            .await
            .expect("the center stops within 5 s")
            .unwrap();
        (self.directory, self.address.port())
    }
}

/// What every test process needs once.
pub(crate) fn prepare() {
    // Fails only when another test of this process has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub(crate) fn config(directory: &Path, port: u16) -> Config {
    Config {
        data_dir: directory.join("center"),
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        tls: None,
        places: vec![Place {
            name: "Berlin".into(),
            network: "test:berlin".parse().unwrap(),
            position: model::Position::new(52.52, 13.405).unwrap(),
        }],
    }
}

pub(crate) fn admin_token(directory: &Path) -> String {
    let path = directory.join("center/admin.token");
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// A public app; `more` is TOML at the end.
pub(crate) fn manifest(name: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\ntitle = \"The {name}\"\nkind = \"stream\"\ncommand = [\"true\"]\n\
         [access]\npublic = true\n{more}"
    )
}

pub(crate) fn create_test(terminal: Terminal) -> CreateSession {
    CreateSession {
        app: "test".parse().unwrap(),
        terminal,
        screen: None,
    }
}

/// A terminal that has measured these round trips in milliseconds.
pub(crate) fn terminal(measured: &[(&ScriptedNode, u64)]) -> Terminal {
    let round_trips = measured.iter().map(|(node, ms)| MeasuredRoundTrip {
        node: node.id(),
        round_trip: Duration::from_millis(*ms),
        age: Duration::from_millis(100),
    });
    Terminal {
        round_trips: round_trips.collect(),
        ..Terminal::default()
    }
}

/// Waits for a state, asking again and again.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[track_caller]
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ErrorCode {
    let error = result.expect_err("this must be refused");
    error
        .code()
        .unwrap_or_else(|| panic!("not an answer of the center: {error:?}"))
}
