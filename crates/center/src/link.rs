//! The center's side of node links: who may join, who is there, what they report.

mod join;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::link::{FromCenter, NodeHello, Summary, ToCenter};
use bytes::Bytes;
use mesh::certificate::Subject;
use mesh::link::{Handler, Link, Peer, Service};
use model::{NodeId, Resources};

use crate::error::chain;
use crate::reconcile;
use crate::records::{NodeRecord, RecordError};
use crate::sessions;
use crate::shared::Shared;
use crate::world::Live;

pub(crate) use self::join::create_token;

/// A hello may overtake the task that notes the link.
const LINK_NOTED_MAX: Duration = Duration::from_secs(1);

/// The most of each kind that a node may list: far beyond any real machine, and a bound on what a
/// broken one makes us hold.
const LISTED_MAX: usize = 4_096;

/// Serves the links of all nodes.
pub(crate) struct NodeService {
    shared: Arc<Shared>,
}

impl NodeService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn handle(&self, peer: &Peer, request: &[u8]) -> Result<FromCenter, String> {
        let request: ToCenter = serde_json::from_slice(request)
            .map_err(|error| format!("the request is not understood: {error}"))?;
        let Subject::Node { id, site } = &peer.subject else {
            return Err("only nodes speak here".into());
        };
        match request {
            ToCenter::Hello(hello) => {
                if hello.site.name != *site {
                    return Err(format!(
                        "the certificate is for site {site}, not {}",
                        hello.site.name
                    ));
                }
                self.hello(*id, peer.address, *hello).await
            }
            ToCenter::Summary(summary) => self.summary(*id, peer.address, summary),
            ToCenter::Ended {
                session,
                epoch,
                why,
            } => {
                sessions::ended(&self.shared, *id, session, epoch, &why).await?;
                Ok(FromCenter::Ok)
            }
            ToCenter::Renew { signing_request } => {
                let grant = join::renew(&self.shared, *id, site, &signing_request).await?;
                Ok(FromCenter::Granted { grant })
            }
        }
    }

    /// A node says who it is: from now on it takes sessions.
    async fn hello(
        &self,
        id: NodeId,
        address: SocketAddr,
        mut hello: NodeHello,
    ) -> Result<FromCenter, String> {
        bound(&mut hello.summary);
        hello.endpoints.truncate(LISTED_MAX);
        hello.lacks.truncate(LISTED_MAX);
        let link = self.noted_link(id, address).await?;
        let record = NodeRecord {
            id,
            site: hello.site,
            endpoints: hello.endpoints,
            certificate: hello.certificate,
            capacity: hello.capacity,
            version: hello.version,
            lacks: hello.lacks,
            ingest: hello.ingest,
        };
        self.keep(record).await.map_err(|error| {
            tracing::error!(node = %id, error = %chain(&error), "a node could not be noted");
            "the center could not note the node".to_owned()
        })?;
        let stop = {
            let mut world = self.shared.world();
            let stop = reconcile::sessions::strays(&world, id, &hello.summary);
            let node = world
                .nodes
                .get_mut(&id)
                .ok_or("the node is being removed")?;
            node.live = Some(Live {
                link,
                summary: hello.summary,
                reserved: Resources::default(),
                planned: None,
            });
            node.since = Instant::now();
            node.seen = true;
            world.touch_node(id);
            world.touch_apps();
            stop
        };
        tracing::info!(node = %id, %address, "a node is here");
        self.shared.changed();
        self.shared.wake.plan.notify_one();
        self.shared.wake.sessions.notify_one();
        self.shared.wake.links.notify_waiters();
        Ok(FromCenter::Welcome { stop })
    }

    /// Writes the node's record where it differs from the one there is.
    async fn keep(&self, record: NodeRecord) -> Result<(), RecordError> {
        let known = {
            let world = self.shared.world();
            let node = world.nodes.get(&record.id);
            node.map(|it| (it.record == record, it.revision))
        };
        if let Some((true, _)) = known {
            return Ok(());
        }
        let revision = self
            .shared
            .records
            .write(&record, known.map(|it| it.1))
            .await?;
        self.shared.world().put_node(record, revision);
        Ok(())
    }

    /// The link with this very address.
    async fn noted_link(&self, id: NodeId, address: SocketAddr) -> Result<Link, String> {
        let noted = async {
            loop {
                let changed = self.shared.wake.links.notified();
                tokio::pin!(changed);
                changed.as_mut().enable(); // before the look, so that no change is missed
                let link = self.shared.world().links.get(&id).cloned();
                match link.filter(|it| it.peer().address == address) {
                    Some(link) => return link,
                    None => changed.await,
                }
            }
        };
        tokio::time::timeout(LINK_NOTED_MAX, noted)
            .await
            .map_err(|_| "this link was replaced by another one of the same node".into())
    }

    fn summary(
        &self,
        id: NodeId,
        address: SocketAddr,
        mut summary: Summary,
    ) -> Result<FromCenter, String> {
        bound(&mut summary);
        let mut world = self.shared.world();
        let world = &mut *world;
        let live = world.nodes.get_mut(&id).and_then(|it| it.live.as_mut());
        let live = live
            .filter(|it| it.link.peer().address == address)
            .ok_or("say hello first")?;
        self.shared.metrics.links.summaries.add(1);
        live.reserved = Resources::default();
        if live.summary == summary {
            return Ok(FromCenter::Ok);
        }
        let before = std::mem::replace(&mut live.summary, summary);
        let after = &live.summary;
        let moved = before.sessions.len() != after.sessions.len();
        let other_status = before.draining != after.draining;
        let other_apps = before.apps != after.apps || other_status;
        let other_links = before.links != after.links;
        let told = after.sessions.iter();
        let told = told.filter(|it| !before.sessions.contains(it));
        let mut touched: Vec<_> = told.map(|it| it.session).collect();
        if moved {
            touched.extend(before.sessions.iter().map(|it| it.session));
        }
        world.tell_node(id);
        world.dirty.sessions.extend(touched);
        world.dirty.links |= other_links;
        if other_apps {
            world.touch_apps();
        }
        if moved || other_status {
            self.shared.wake.sessions.notify_one();
        }
        self.shared.changed();
        Ok(FromCenter::Ok)
    }

    /// Forgets what a link said, unless a newer link has taken its place.
    fn gone(&self, id: NodeId, address: SocketAddr) {
        let mut world = self.shared.world();
        if world
            .links
            .get(&id)
            .is_some_and(|it| it.peer().address == address)
        {
            world.links.remove(&id);
        }
        world.touch_node(id);
        if let Some(node) = world.nodes.get_mut(&id) {
            let live = node.live.as_ref();
            if live.is_some_and(|it| it.link.peer().address == address) {
                node.live = None;
                node.since = Instant::now();
            }
        }
        world.touch_apps();
    }
}

impl Handler for NodeService {
    async fn call(&self, peer: &Peer, request: Bytes) -> Result<Bytes, String> {
        let answer = self.handle(peer, &request).await?;
        Ok(encode(&answer))
    }

    async fn notice(&self, peer: &Peer, notice: Bytes) {
        if let Err(error) = self.handle(peer, &notice).await {
            tracing::warn!(peer = %peer.subject, error, "a notice was refused");
        }
    }
}

impl Service for NodeService {
    async fn connected(&self, link: Link) {
        let Some(id) = link.peer().subject.node_id() else {
            return;
        };
        let address = link.peer().address;
        let before = self.shared.world().links.insert(id, link.clone());
        if let Some(before) = before {
            before.close("replaced by a newer link");
        }
        self.shared.metrics.links.connected.add(1);
        self.shared.wake.links.notify_waiters();
        let reason = link.closed().await;
        tracing::info!(node = %id, %address, %reason, "a node's link is gone");
        self.shared.metrics.links.lost.add(1);
        self.gone(id, address);
        self.shared.changed();
        self.shared.wake.sessions.notify_one();
        self.shared.wake.links.notify_waiters();
    }

    async fn join(&self, from: SocketAddr, request: Bytes) -> Result<Bytes, String> {
        let grant = join::join(&self.shared, &request).await;
        match &grant {
            Ok((node, _)) => tracing::info!(%node, %from, "a machine has joined"),
            Err(error) => tracing::warn!(%from, error, "a machine was not let in"),
        }
        grant.map(|(_, grant)| encode(&grant))
    }
}

fn bound(summary: &mut Summary) {
    summary.apps.truncate(LISTED_MAX);
    summary.sessions.truncate(LISTED_MAX);
    summary.links.truncate(LISTED_MAX);
    summary.cameras.truncate(LISTED_MAX);
    summary.viewers.truncate(LISTED_MAX);
}

fn encode<T: serde::Serialize>(message: &T) -> Bytes {
    serde_json::to_vec(message)
        .expect("messages are maps with text keys")
        .into()
}
