//! The link to the center: joins, keeps the link up, renews certificates, carries questions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::link::{FromCenter, FromNode, Ingest, JoinRequest, NodeHello, Summary, ToCenter, ToNode};
use api::node::{Certificate, Endpoint};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mesh::certificate::Fingerprint;
use mesh::identity::Grant;
use mesh::link::{Handler, Link, Peer};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::node::Event;
use crate::peers::resolve;
use crate::shared::Shared;

/// What the center may take to answer anything.
const CALL_MAX: Duration = Duration::from_secs(5);

/// What this node may take to answer the center, besides watching what it is asked to watch.
/// Everything is decided in memory.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// After a lost link or a failed dial: at once, then twice as long each time.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// A center that returns is found again within this.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Notices that wait for a link. Ended sessions are also seen from the next hello, so losing one
/// loses nothing.
const NOTICES_MAX: usize = 256;

/// How a node talks to its center. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Uplink {
    notices: mpsc::Sender<ToCenter>,
    summary: watch::Sender<Summary>,
}

impl Uplink {
    /// Starts keeping the link. Questions of the center arrive as [`Event::Asked`].
    pub(crate) fn start(
        shared: &Arc<Shared>,
        address: SocketAddr,
        ingest: Ingest,
        events: &mpsc::Sender<Event>,
        ready: watch::Sender<bool>,
    ) -> Self {
        let (notices, notices_rx) = mpsc::channel(NOTICES_MAX);
        let (summary, summary_rx) = watch::channel(Summary {
            free: shared.capacity,
            ..Summary::default()
        });
        let keeper = Keeper {
            shared: Arc::clone(shared),
            address,
            ingest,
            events: events.clone(),
            notices: notices_rx,
            summary: summary_rx,
            ready,
        };
        // Ends with the node's last goodbye, not with its first.
        shared.tracker.spawn(keeper.run(shared.stop.clone()));
        Self { notices, summary }
    }

    /// Says how the node is. Replaces what was said before.
    pub(crate) fn summarize(&self, summary: Summary) {
        self.summary.send_replace(summary);
    }

    /// Tells the center something, if the link is up or comes up soon.
    pub(crate) fn tell(&self, notice: ToCenter) {
        if self.notices.try_send(notice).is_err() {
            debug!("the center hears of it from the next hello");
        }
    }
}

/// The task that keeps the link.
struct Keeper {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Where cameras can publish to.
    ingest: Ingest,
    events: mpsc::Sender<Event>,
    notices: mpsc::Receiver<ToCenter>,
    summary: watch::Receiver<Summary>,
    ready: watch::Sender<bool>,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        let mut wait = RETRY_MIN;
        loop {
            let round = async {
                match self.link().await {
                    Ok(link) => {
                        wait = RETRY_MIN;
                        self.serve(&link).await;
                        info!("the link to the center is down");
                    }
                    Err(error) => {
                        warn!(error = format!("{error:#}"), "no link to the center");
                    }
                }
                self.ready.send_replace(false);
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = round => {}
            }
        }
    }

    /// Joins if need be, dials, and says hello.
    async fn link(&mut self) -> anyhow::Result<Link> {
        let shared = &self.shared;
        let address = resolve(&shared.config.center, &shared.stop)
            .await
            .ok_or_else(|| anyhow::anyhow!("the node is stopping"))?;
        let now = SystemTime::now();
        let over = shared.identity.credentials().not_after();
        if over.is_none_or(|over| over <= now) {
            self.join(address).await?;
        }
        let handler = Arc::new(Questions {
            events: self.events.clone(),
        });
        let credentials = shared.identity.credentials();
        let link =
            mesh::link::dial(address, credentials, handler, &shared.tracker, CALL_MAX).await?;
        match call(&link, &ToCenter::Hello(Box::new(self.hello()))).await? {
            FromCenter::Welcome { stop } => {
                let _ = self.events.send(Event::Disowned(stop)).await;
            }
            other => anyhow::bail!("the center answered hello with {other:?}"),
        }
        info!(%address, "the link to the center is up");
        self.ready.send_replace(true);
        Ok(link)
    }

    async fn join(&self, address: SocketAddr) -> anyhow::Result<()> {
        let identity = &self.shared.identity;
        let known = identity.credentials().authority();
        let authority: Fingerprint = match (&self.shared.join, known) {
            (_, Some(known)) => known,
            (Some(token), None) => token.authority,
            (None, None) => anyhow::bail!("this node has no join token"),
        };
        let request = JoinRequest {
            secret: self.shared.join.as_ref().map(|it| it.secret.to_string()),
            site: self.shared.config.site.name.clone(),
            signing_request: STANDARD.encode(identity.signing_request()?),
        };
        let request = Bytes::from(serde_json::to_vec(&request)?);
        let answer = mesh::join::ask(address, authority, request, CALL_MAX).await?;
        let grant: Grant = serde_json::from_slice(&answer)?;
        identity.adopt(grant, authority, SystemTime::now())?;
        info!("joined");
        Ok(())
    }

    fn hello(&self) -> NodeHello {
        let shared = &self.shared;
        let config = &shared.config;
        let endpoints = match config.endpoints.as_slice() {
            [] => vec![Endpoint {
                network: None,
                address: self.address.to_string(),
            }],
            given => given.to_vec(),
        };
        NodeHello {
            site: config.site.clone(),
            endpoints,
            certificate: match shared.certificate.sha256() {
                Some(sha256) => Certificate::Pinned { sha256 },
                None => Certificate::Trusted,
            },
            capacity: shared.capacity,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lacks: shared.lacks.clone(),
            ingest: self.ingest.clone(),
            summary: self.summary.borrow().clone(),
        }
    }

    /// Carries notices and summaries until the link is down.
    async fn serve(&mut self, link: &Link) {
        loop {
            let renew_at = self.shared.identity.credentials().renew_at();
            let message = tokio::select! {
                _ = link.closed() => return,
                Some(notice) = self.notices.recv() => notice,
                Ok(()) = self.summary.changed() => {
                    ToCenter::Summary(self.summary.borrow_and_update().clone())
                }
                () = until(renew_at) => match self.renew(link).await {
                    Ok(()) => continue,
                    Err(error) => {
                        warn!(error = format!("{error:#}"), "the certificate was not renewed");
                        return;
                    }
                },
            };
            if let Err(error) = call(link, &message).await {
                warn!(
                    error = format!("{error:#}"),
                    "the center did not take a notice"
                );
            }
        }
    }

    async fn renew(&self, link: &Link) -> anyhow::Result<()> {
        let identity = &self.shared.identity;
        let signing_request = STANDARD.encode(identity.signing_request()?);
        match call(link, &ToCenter::Renew { signing_request }).await? {
            FromCenter::Granted { grant } => {
                let authority = identity
                    .credentials()
                    .authority()
                    .ok_or_else(|| anyhow::anyhow!("a linked node has an authority"))?;
                identity.adopt(serde_json::from_value(grant)?, authority, SystemTime::now())?;
                info!("the certificate was renewed");
                Ok(())
            }
            other => anyhow::bail!("the center answered renew with {other:?}"),
        }
    }
}

async fn until(time: Option<SystemTime>) {
    match time {
        Some(time) => {
            let wait = time.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::time::sleep(wait).await;
        }
        None => std::future::pending().await,
    }
}

async fn call(link: &Link, ask: &ToCenter) -> anyhow::Result<FromCenter> {
    let answer = link.call(&serde_json::to_vec(ask)?, CALL_MAX).await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Takes the center's questions to the node.
struct Questions {
    events: mpsc::Sender<Event>,
}

impl Handler for Questions {
    async fn call(&self, _center: &Peer, request: Bytes) -> Result<Bytes, String> {
        let ask: ToNode = serde_json::from_slice(&request)
            .map_err(|error| format!("the question is not understood: {error}"))?;
        let watched = match &ask {
            ToNode::Moments { seconds, .. } => Duration::from_secs((*seconds).into()),
            _ => Duration::ZERO,
        };
        let (answer_tx, answer) = oneshot::channel();
        let asked = async {
            self.events.send(Event::Asked(ask, answer_tx)).await.ok()?;
            answer.await.ok()
        };
        let answer: FromNode = tokio::time::timeout(watched + ANSWER_MAX, asked)
            .await
            .map_err(|_| "the node is too busy to answer".to_owned())?
            .ok_or_else(|| "the node is stopping".to_owned())?;
        serde_json::to_vec(&answer)
            .map(Bytes::from)
            .map_err(|error| error.to_string())
    }

    async fn notice(&self, _center: &Peer, _notice: Bytes) {}
}
