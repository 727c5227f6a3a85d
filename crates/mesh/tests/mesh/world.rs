//! A center and nodes on this machine.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mesh::authority::Authority;
use mesh::identity::{Grant, Identity};
use mesh::join::{JoinError, JoinSecret, JoinToken, ask};
use mesh::link::{DialError, Handler, Link, LinkServer, Peer, Service, dial};
use model::SiteName;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Generous: tests run on slow machines beside other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    directory: tempfile::TempDir,
    pub(crate) tasks: TaskTracker,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            tasks: TaskTracker::new(),
        }
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        Identity::load_or_create(&self.directory.path().join(name)).unwrap()
    }

    pub(crate) fn authority(&self, name: &str) -> Authority {
        Authority::load_or_create(&self.directory.path().join(name), SystemTime::now()).unwrap()
    }

    pub(crate) fn center(&self, name: &str) -> Center {
        let authority = self.authority(name);
        let server = LinkServer::bind(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            authority.credentials(),
        )
        .unwrap();
        let address = server.local_address().unwrap();
        let service = Arc::new(CenterService {
            authority,
            secrets: Mutex::default(),
            links: watch::Sender::default(),
            log: Log::default(),
            join_requests: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let running = self
            .tasks
            .spawn(server.run(Arc::clone(&service), stop.clone()));
        Center {
            service,
            address,
            stop,
            running,
        }
    }

    /// A node that has a certificate from `center`, without having asked for it.
    pub(crate) fn member(&self, name: &str, authority: &Authority) -> Identity {
        let identity = self.identity(name);
        grant(authority, &identity, SystemTime::now());
        identity
    }

    pub(crate) async fn dial(
        &self,
        address: SocketAddr,
        identity: &Identity,
    ) -> Result<(Link, Arc<Log>), DialError> {
        let log = Arc::new(Log::default());
        let credentials = identity.credentials();
        let link = dial(
            address,
            credentials,
            Arc::clone(&log),
            &self.tasks,
            PATIENCE,
        )
        .await?;
        Ok((link, log))
    }
}

pub(crate) struct Center {
    pub(crate) service: Arc<CenterService>,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<()>,
}

impl Center {
    pub(crate) fn authority(&self) -> &Authority {
        &self.service.authority
    }

    pub(crate) fn new_token(&self) -> JoinToken {
        let secret = JoinSecret::generate();
        let hash = secret.hash().to_string();
        self.service.secrets.lock().unwrap().insert(hash);
        JoinToken {
            authority: self.service.authority.fingerprint(),
            secret,
        }
    }

    /// Waits for the link of a node.
    pub(crate) async fn link_of(&self, identity: &Identity) -> Link {
        let mut links = self.service.links.subscribe();
        let find = |links: &Vec<Link>| {
            let id = Some(identity.node_id());
            let mut latest = links.iter().rev();
            latest.find(|it| it.peer().subject.node_id() == id).cloned()
        };
        let found = links.wait_for(|links| find(links).is_some());
        let links = tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap()
            .unwrap();
        find(&links).unwrap()
    }
}

pub(crate) struct CenterService {
    authority: Authority,
    secrets: Mutex<BTreeSet<String>>,
    links: watch::Sender<Vec<Link>>,
    pub(crate) log: Log,
    pub(crate) join_requests: Mutex<Vec<Bytes>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    pub(crate) secret: String,
    pub(crate) request: Vec<u8>,
}

impl Service for CenterService {
    async fn connected(&self, link: Link) {
        self.links.send_modify(|links| links.push(link.clone()));
        link.closed().await;
    }

    async fn join(&self, _from: SocketAddr, request: Bytes) -> Result<Bytes, String> {
        self.join_requests.lock().unwrap().push(request.clone());
        let request: JoinRequest =
            serde_json::from_slice(&request).map_err(|_| "not a request to join")?;
        let secret: JoinSecret = request.secret.parse().map_err(|_| "not a secret")?;
        if !self
            .secrets
            .lock()
            .unwrap()
            .remove(&secret.hash().to_string())
        {
            return Err("this token was used already, or never given out".to_owned());
        }
        let say = |error: mesh::authority::AuthorityError| error.to_string();
        let id = Authority::requester(&request.request).map_err(say)?;
        let grant = self
            .authority
            .issue(&request.request, id, &site(), SystemTime::now())
            .map_err(say)?;
        Ok(serde_json::to_vec(&grant).unwrap().into())
    }
}

impl Handler for CenterService {
    async fn call(&self, peer: &Peer, request: Bytes) -> Result<Bytes, String> {
        self.log.call(peer, request).await
    }

    async fn notice(&self, peer: &Peer, notice: Bytes) {
        self.log.notice(peer, notice).await;
    }
}

/// Remembers notices; answers requests by what they say.
#[derive(Default)]
pub(crate) struct Log {
    notices: watch::Sender<Vec<Bytes>>,
}

impl Log {
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Bytes> {
        let mut notices = self.notices.subscribe();
        let enough = notices.wait_for(|it| it.len() >= count);
        let notices = tokio::time::timeout(PATIENCE, enough)
            .await
            .unwrap()
            .unwrap();
        notices.clone()
    }
}

impl Handler for Log {
    async fn call(&self, peer: &Peer, request: Bytes) -> Result<Bytes, String> {
        match &*request {
            b"who am i" => Ok(peer.subject.to_string().into()),
            b"no" => Err("words for a person".to_owned()),
            b"never" => std::future::pending().await,
            b"too much" => Ok(vec![0; mesh::link::MESSAGE_MAX + 1].into()),
            _ => Ok(request),
        }
    }

    async fn notice(&self, _peer: &Peer, notice: Bytes) {
        self.notices.send_modify(|it| it.push(notice));
    }
}

pub(crate) async fn join(
    address: SocketAddr,
    identity: &Identity,
    token: &JoinToken,
) -> Result<(), JoinError> {
    let request = JoinRequest {
        secret: token.secret.to_string(),
        request: identity.signing_request().unwrap(),
    };
    let request = serde_json::to_vec(&request).unwrap().into();
    let answer = ask(address, token.authority, request, PATIENCE).await?;
    let grant: Grant = serde_json::from_slice(&answer).unwrap();
    identity
        .adopt(grant, token.authority, SystemTime::now())
        .unwrap();
    Ok(())
}

pub(crate) fn grant(authority: &Authority, identity: &Identity, at: SystemTime) {
    let request = identity.signing_request().unwrap();
    let grant = authority
        .issue(&request, identity.node_id(), &site(), at)
        .unwrap();
    identity.adopt(grant, authority.fingerprint(), at).unwrap();
}

pub(crate) fn site() -> SiteName {
    "frankfurt".parse().unwrap()
}
