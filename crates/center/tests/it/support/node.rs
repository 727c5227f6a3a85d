//! A node that does what the test says. It speaks `api::link` over a real link, in a runtime of
//! its own, so that it can die without a word.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use api::link::{
    CameraSummary, FromCenter, FromNode, Ingest, JoinRequest, NodeApp, NodeHello, PeerRoundTrip,
    Plan, SessionSummary, Summary, ToCenter, ToNode,
};
use api::live::CameraStatus;
use api::node::{Certificate, Endpoint};
use api::session::{Quality, SessionState};
use api::site::SiteSpec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mesh::identity::Identity;
use mesh::join::{JoinError, JoinToken, ask};
use mesh::link::{Handler, Link, Peer, dial};
use model::{AppName, Bytes as Amount, Epoch, NodeId, Position, Resources, SessionId};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{PATIENCE, eventually};

/// Sessions that it takes.
pub(crate) const PLACES: usize = 8;

/// How the node answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    #[default]
    Willing,
    /// Refuses to reserve.
    Full,
    /// Reserves and then refuses to start.
    Broken,
    /// Answers nothing at all.
    Mute,
}

pub(crate) struct ScriptedNode {
    identity: Arc<Identity>,
    site: SiteSpec,
    script: Arc<Script>,
    link: Mutex<Option<Link>>,
    runtime: Mutex<Option<Runtime>>,
    _directory: tempfile::TempDir,
}

#[derive(Default)]
struct Script {
    state: Mutex<State>,
    asked: watch::Sender<Vec<ToNode>>,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    plan: Plan,
    held: BTreeMap<(SessionId, Epoch), SessionState>,
    links: Vec<PeerRoundTrip>,
    cameras: Vec<CameraSummary>,
    viewers: Vec<(AppName, u32)>,
    draining: bool,
}

impl ScriptedNode {
    pub(crate) fn new(site: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(directory.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            identity: Arc::new(identity),
            site: site_spec(site),
            script: Arc::default(),
            link: Mutex::default(),
            runtime: Mutex::new(Some(runtime)),
            _directory: directory,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    pub(crate) async fn join(&self, center: SocketAddr, token: &str) {
        self.try_join(center, token).await.unwrap();
    }

    pub(crate) async fn try_join(&self, center: SocketAddr, token: &str) -> Result<(), JoinError> {
        let token: JoinToken = token.parse().unwrap();
        self.ask_to_join(center, token.authority, Some(token.secret.to_string()))
            .await
    }

    pub(crate) async fn ask_to_join(
        &self,
        center: SocketAddr,
        authority: mesh::certificate::Fingerprint,
        secret: Option<String>,
    ) -> Result<(), JoinError> {
        let request = JoinRequest {
            secret,
            site: self.site.name.clone(),
            signing_request: STANDARD.encode(self.identity.signing_request().unwrap()),
        };
        let request = serde_json::to_vec(&request).unwrap();
        let answer = ask(center, authority, request.into(), PATIENCE).await?;
        let grant = serde_json::from_slice(&answer).unwrap();
        let now = SystemTime::now();
        self.identity.adopt(grant, authority, now).unwrap();
        Ok(())
    }

    /// Dials and says hello; from then on it tells how it is every 100 ms.
    pub(crate) async fn connect(&self, center: SocketAddr) -> Vec<(SessionId, Epoch)> {
        let (identity, script) = (Arc::clone(&self.identity), Arc::clone(&self.script));
        let site = self.site.clone();
        let handle = self
            .runtime
            .lock()
            .unwrap()
            .as_ref()
            .unwrap()
            .handle()
            .clone();
        let connecting = handle.spawn(async move {
            let tasks = TaskTracker::new();
            let credentials = identity.credentials();
            let handler = Arc::clone(&script);
            let link = dial(center, credentials, handler, &tasks, PATIENCE)
                .await
                .unwrap();
            let hello = script.hello(site);
            let welcome = call(&link, &ToCenter::Hello(Box::new(hello))).await;
            let FromCenter::Welcome { stop } = welcome else {
                panic!("no welcome: {welcome:?}");
            };
            for key in &stop {
                script.state.lock().unwrap().held.remove(key);
            }
            let (talking, reporter) = (link.clone(), Arc::clone(&script));
            tasks.spawn(async move {
                while !talking.is_closed() {
                    let summary = ToCenter::Summary(reporter.summary());
                    let summary = serde_json::to_vec(&summary).unwrap();
                    let _ = talking.call(&summary, PATIENCE).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
            (link, stop)
        });
        let (link, stop) = connecting.await.unwrap();
        *self.link.lock().unwrap() = Some(link);
        stop
    }

    /// Connects again as soon as there is somebody to connect to.
    pub(crate) async fn reconnect(&self, center: SocketAddr) -> Vec<(SessionId, Epoch)> {
        let link = self.link.lock().unwrap().take();
        if let Some(link) = link {
            link.closed().await;
        }
        eventually("the center is back", async || {
            std::net::TcpStream::connect(center).ok()
        })
        .await;
        self.connect(center).await
    }

    /// Dies without a word.
    pub(crate) fn kill(&self) {
        let runtime = self.runtime.lock().unwrap().take();
        runtime.unwrap().shutdown_background();
    }

    /// Closes its link, as a process that ends does.
    pub(crate) fn disconnect(&self) {
        self.link.lock().unwrap().take().unwrap().close("bye");
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.script.state.lock().unwrap().behaviour = behaviour;
    }

    pub(crate) fn drain(&self) {
        self.script.state.lock().unwrap().draining = true;
    }

    /// Claims to run this.
    pub(crate) fn pretend(&self, session: SessionId, epoch: Epoch) {
        let mut state = self.script.state.lock().unwrap();
        state.held.insert((session, epoch), SessionState::Active);
    }

    pub(crate) fn hello(&self) -> NodeHello {
        self.script.hello(self.site.clone())
    }

    pub(crate) fn measure(&self, peer: &Self, round_trip_ms: f64) {
        let mut state = self.script.state.lock().unwrap();
        let node = peer.id();
        state.links.push(PeerRoundTrip {
            node,
            round_trip_ms,
        });
    }

    /// A camera publishes here.
    pub(crate) fn on_air(&self, event: &str, camera: &str, since_unix_ms: u64) {
        let mut state = self.script.state.lock().unwrap();
        state.cameras.push(CameraSummary {
            event: event.parse().unwrap(),
            camera: camera.parse().unwrap(),
            status: CameraStatus {
                since_unix_ms,
                ..CameraStatus::default()
            },
        });
    }

    /// So many viewers have entered here.
    pub(crate) fn watched(&self, event: &str, viewers: u32) {
        let mut state = self.script.state.lock().unwrap();
        state.viewers.push((event.parse().unwrap(), viewers));
    }

    /// Forgets all that it holds, as a process that starts anew.
    pub(crate) fn forget(&self) {
        self.script.state.lock().unwrap().held.clear();
    }

    pub(crate) fn plan(&self) -> Plan {
        self.script.state.lock().unwrap().plan.clone()
    }

    /// What it runs.
    pub(crate) fn held(&self) -> Vec<(SessionId, Epoch)> {
        let state = self.script.state.lock().unwrap();
        state.held.keys().copied().collect()
    }

    pub(crate) fn holds(&self, session: SessionId, epoch: u32) -> bool {
        self.held().contains(&(session, Epoch(epoch)))
    }

    /// What it was asked, without plans.
    pub(crate) fn asked(&self) -> Vec<ToNode> {
        self.script.asked.borrow().clone()
    }

    pub(crate) async fn ended(&self, session: SessionId, epoch: Epoch) {
        self.script
            .state
            .lock()
            .unwrap()
            .held
            .remove(&(session, epoch));
        let link = self.link.lock().unwrap().clone().unwrap();
        let why = "the app has ended".to_owned();
        let ended = ToCenter::Ended {
            session,
            epoch,
            why,
        };
        assert_eq!(call(&link, &ended).await, FromCenter::Ok);
    }

    pub(crate) async fn renew_certificate(&self) {
        let link = self.link.lock().unwrap().clone().unwrap();
        let signing_request = STANDARD.encode(self.identity.signing_request().unwrap());
        let answer = call(&link, &ToCenter::Renew { signing_request }).await;
        let FromCenter::Granted { grant } = answer else {
            panic!("not granted: {answer:?}");
        };
        let authority = self.identity.credentials().authority().unwrap();
        let grant = serde_json::from_value(grant).unwrap();
        let now = SystemTime::now();
        self.identity.adopt(grant, authority, now).unwrap();
    }

    pub(crate) fn verifier(&self) -> mesh::token::Verifier {
        self.identity.verifier()
    }

    pub(crate) fn authority(&self) -> mesh::certificate::Fingerprint {
        self.identity.credentials().authority().unwrap()
    }

    /// Says something else over its link.
    pub(crate) async fn say(&self, bytes: &[u8]) -> Result<Bytes, mesh::link::CallError> {
        let link = self.link.lock().unwrap().clone().unwrap();
        link.call(bytes, PATIENCE).await
    }
}

impl Drop for ScriptedNode {
    fn drop(&mut self) {
        let runtime = self.runtime.lock().unwrap().take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl Script {
    fn hello(&self, site: SiteSpec) -> NodeHello {
        let port = site.name.as_str().len(); // any number that tells sites apart
        let endpoint = |network: Option<&str>, host: &str| Endpoint {
            network: network.map(|it| it.parse().unwrap()),
            address: format!("{host}:{port}"),
        };
        let site_name = site.name.clone();
        NodeHello {
            endpoints: vec![
                endpoint(None, &format!("{}.example", site.name)),
                endpoint(Some("test:berlin"), "10.0.0.1"),
            ],
            site,
            certificate: Certificate::Pinned {
                sha256: "ab".repeat(32),
            },
            capacity: capacity(),
            version: "0".into(),
            lacks: Vec::new(),
            ingest: Ingest {
                rtmp: Some(format!("{}.example:1935", site_name)),
                srt: None,
                webrtc: Some("http://127.0.0.1:9".into()),
            },
            summary: self.summary(),
        }
    }

    fn summary(&self) -> Summary {
        let state = self.state.lock().unwrap();
        let apps = state.plan.releases.iter().map(|it| NodeApp {
            app: it.manifest.name().clone(),
            release: it.number,
            ready: true,
            warm: 0,
        });
        let manifests = |app| {
            let mut releases = state.plan.releases.iter();
            releases.find(|it| *it.manifest.name() == app)
        };
        let sessions = state
            .held
            .iter()
            .map(|((session, epoch), how)| SessionSummary {
                session: *session,
                epoch: *epoch,
                app: "test".parse().unwrap(),
                state: *how,
                quality: Quality::default(),
            });
        let needs =
            manifests("test".parse().unwrap()).and_then(|it| Some(it.manifest.stream()?.needs()));
        let taken = (0..state.held.len()).fold(Resources::default(), |sum, _| {
            sum.saturating_add(needs.unwrap_or_default())
        });
        Summary {
            free: capacity().checked_sub(taken).unwrap_or_default(),
            cpu_load: 0.1,
            draining: state.draining,
            apps: apps.collect(),
            sessions: sessions.collect(),
            links: state.links.clone(),
            cameras: state.cameras.clone(),
            viewers: state.viewers.clone(),
        }
    }

    fn answer(&self, ask: &ToNode) -> FromNode {
        let mut state = self.state.lock().unwrap();
        let refused = |why: &str| FromNode::Refused { why: why.into() };
        match ask {
            ToNode::Plan(plan) if plan.generation < state.plan.generation => refused("old"),
            ToNode::Plan(plan) => {
                state.plan = plan.clone();
                FromNode::Ok
            }
            ToNode::Reserve(_) if state.behaviour == Behaviour::Full => refused("it is full"),
            ToNode::Reserve(_) if state.held.len() >= PLACES => refused("every place is taken"),
            ToNode::Reserve(reserve) => {
                let key = (reserve.session, reserve.epoch);
                // As a real node, it reports a reservation like a session.
                state.held.insert(key, SessionState::Starting);
                FromNode::Reserved { warm: false }
            }
            ToNode::Confirm { .. } if state.behaviour == Behaviour::Broken => refused("no display"),
            ToNode::Confirm { session, epoch } => {
                let held = state.held.get_mut(&(*session, *epoch));
                held.map_or_else(
                    || refused("nothing was reserved"),
                    |it| {
                        *it = SessionState::Active;
                        FromNode::Ok
                    },
                )
            }
            ToNode::Release { session, epoch, .. } => {
                state.held.remove(&(*session, *epoch));
                FromNode::Ok
            }
            ToNode::Tell { .. } => FromNode::Ok,
            ToNode::Logs { session, lines } => {
                let said = format!("{session} says up to {lines} lines");
                FromNode::Logs { lines: vec![said] }
            }
            ToNode::Moments { .. } => refused("it has no eyes"),
        }
    }
}

impl Handler for Script {
    async fn call(&self, _: &Peer, request: Bytes) -> Result<Bytes, String> {
        let ask: ToNode = serde_json::from_slice(&request).map_err(|error| error.to_string())?;
        if self.state.lock().unwrap().behaviour == Behaviour::Mute {
            std::future::pending::<()>().await;
        }
        let answer = self.answer(&ask);
        if !matches!(ask, ToNode::Plan(_)) {
            self.asked.send_modify(|asked| asked.push(ask));
        }
        Ok(serde_json::to_vec(&answer).unwrap().into())
    }

    async fn notice(&self, _: &Peer, _: Bytes) {}
}

async fn call(link: &Link, ask: &ToCenter) -> FromCenter {
    let ask = serde_json::to_vec(ask).unwrap();
    let answer = link.call(&ask, PATIENCE).await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

fn capacity() -> Resources {
    Resources {
        cpu_millis: 8_000,
        memory: Amount::mb(8_000),
        encoders: 8,
    }
}

fn site_spec(name: &str) -> SiteSpec {
    let (title, lat, lon) = match name {
        "frankfurt" => ("Frankfurt", 50.11, 8.68),
        "shanghai" => ("Shanghai", 31.23, 121.47),
        "sao-paulo" => ("São Paulo", -23.55, -46.63),
        other => panic!("where is {other}?"),
    };
    SiteSpec {
        name: name.parse().unwrap(),
        title: title.into(),
        position: Position::new(lat, lon).unwrap(),
        network: None,
    }
}
