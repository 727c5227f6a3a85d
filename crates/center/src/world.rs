//! What is known now: the records, and beside them what nodes report every second.
//!
//! Everything in here is either a copy of a record (and follows each write) or worthless after a
//! restart.

mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use api::app::Release;
use api::event::RemovedKind;
use api::link::{SessionSummary, Summary};
use api::node::NodeStatus;
use api::session::Explanation;
use mesh::link::Link;
use model::{AppName, NodeId, Resources, SessionId, SiteName};

use crate::records::{
    AlignmentRecord, NodeRecord, RecordError, Records, ReleaseRecord, Revision, SessionRecord,
    StreamKeyRecord,
};
use crate::sessions::Told;

pub(crate) use self::view::is_starting;

/// Decisions kept for each session.
const DECISIONS_MAX: usize = 8;

/// What is known now.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) apps: BTreeMap<AppName, App>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    /// By their ids.
    pub(crate) stream_keys: BTreeMap<String, (StreamKeyRecord, Revision)>,
    pub(crate) alignments: BTreeMap<AppName, (AlignmentRecord, Revision)>,
    /// Links of nodes that have not said who they are yet, too.
    pub(crate) links: BTreeMap<NodeId, Link>,
    /// Sessions that are about to get an owner: a node may report their reservation before the
    /// record is here.
    pub(crate) placing: BTreeSet<SessionId>,
    pub(crate) dirty: Dirty,
}

/// What has changed since the last look of the event stream.
#[derive(Default)]
pub(crate) struct Dirty {
    pub(crate) apps: BTreeSet<AppName>,
    pub(crate) nodes: BTreeSet<NodeId>,
    pub(crate) sites: BTreeSet<SiteName>,
    pub(crate) sessions: BTreeSet<SessionId>,
    pub(crate) links: bool,
    pub(crate) removed: Vec<(RemovedKind, String)>,
}

/// An app: its releases by number. Never empty.
#[derive(Default)]
pub(crate) struct App {
    pub(crate) releases: BTreeMap<u32, (Release, Revision)>,
}

impl App {
    /// The present release.
    pub(crate) fn present(&self) -> Option<&Release> {
        self.releases.values().next_back().map(|it| &it.0)
    }
}

/// A node that has linked up at least once.
pub(crate) struct Node {
    pub(crate) record: NodeRecord,
    pub(crate) revision: Revision,
    /// What it reports while its link is up.
    pub(crate) live: Option<Live>,
    /// Since when it has been as it is: up or silent.
    pub(crate) since: Instant,
    /// Whether it has linked up since the center started.
    pub(crate) seen: bool,
}

/// A node whose link is up.
pub(crate) struct Live {
    pub(crate) link: Link,
    pub(crate) summary: Summary,
    /// What was reserved since the summary, so that a burst spreads.
    pub(crate) reserved: Resources,
    /// The generation and content of the plan it has taken.
    pub(crate) planned: Option<Arc<api::link::Plan>>,
}

impl Live {
    /// What is left for more sessions.
    pub(crate) fn free(&self) -> Resources {
        self.summary
            .free
            .checked_sub(self.reserved)
            .unwrap_or_default()
    }

    /// What it says of a session.
    pub(crate) fn session(&self, session: &SessionRecord) -> Option<&SessionSummary> {
        let mut held = self.summary.sessions.iter();
        held.find(|it| it.session == session.id && it.epoch == session.epoch)
    }
}

impl Node {
    pub(crate) fn status(&self) -> NodeStatus {
        match &self.live {
            None => NodeStatus::Silent,
            Some(live) if live.summary.draining => NodeStatus::Draining,
            Some(_) => NodeStatus::Ready,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.status() == NodeStatus::Ready
    }

    pub(crate) fn site(&self) -> &SiteName {
        &self.record.site.name
    }
}

/// A session.
pub(crate) struct Session {
    pub(crate) record: SessionRecord,
    pub(crate) revision: Revision,
    /// One change of ownership at a time in this process; the store's compare-and-set is for the
    /// others.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    /// Newest first.
    pub(crate) decisions: VecDeque<Explanation>,
    /// When its present owner was written.
    pub(crate) owned_since: Instant,
    /// Since when its owner, though up, has not held it.
    pub(crate) missing_since: Option<Instant>,
    /// What its terminal has told last.
    pub(crate) told: Option<Told>,
}

impl World {
    /// Reads the records.
    pub(crate) async fn load(records: &Records) -> Result<Self, RecordError> {
        let mut world = Self::default();
        for (ReleaseRecord(release), revision) in records.all().await? {
            world.put_release(release, revision);
        }
        for (record, revision) in records.all().await? {
            world.put_node(record, revision);
        }
        for (record, revision) in records.all().await? {
            world.put_session(record, revision);
        }
        for (record, revision) in records.all().await? {
            world.put_stream_key(record, revision);
        }
        for (record, revision) in records.all().await? {
            world.put_alignment(record, revision);
        }
        world.dirty = Dirty::default();
        Ok(world)
    }

    pub(crate) fn put_release(&mut self, release: Release, revision: Revision) {
        let name = release.manifest.name().clone();
        let app = self.apps.entry(name.clone()).or_default();
        app.releases.insert(release.number.0, (release, revision));
        self.dirty.apps.insert(name);
    }

    /// Forgets a release, and the app with its last one.
    pub(crate) fn drop_release(&mut self, name: &AppName, number: u32) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        app.releases.remove(&number);
        if app.releases.is_empty() {
            self.apps.remove(name);
            self.dirty.apps.remove(name);
            let gone = (RemovedKind::App, name.to_string());
            self.dirty.removed.push(gone);
        }
    }

    pub(crate) fn put_stream_key(&mut self, record: StreamKeyRecord, revision: Revision) {
        self.stream_keys
            .insert(record.id.clone(), (record, revision));
    }

    pub(crate) fn put_alignment(&mut self, record: AlignmentRecord, revision: Revision) {
        self.alignments
            .insert(record.event.clone(), (record, revision));
    }

    /// Takes a node's record, unless a newer one is here already.
    pub(crate) fn put_node(&mut self, record: NodeRecord, revision: Revision) {
        let id = record.id;
        self.dirty.nodes.insert(id);
        self.dirty.sites.insert(record.site.name.clone());
        match self.nodes.get_mut(&id) {
            Some(node) if node.revision >= revision => {}
            Some(node) => {
                let before = std::mem::replace(&mut node.record, record);
                node.revision = revision;
                self.tell_site(before.site.name);
            }
            None => {
                let node = Node {
                    record,
                    revision,
                    live: None,
                    since: Instant::now(),
                    seen: false,
                };
                self.nodes.insert(id, node);
            }
        }
    }

    /// Says that a site looks different now, or is gone with the last of its nodes.
    fn tell_site(&mut self, site: SiteName) {
        if self.nodes.values().any(|it| *it.site() == site) {
            self.dirty.sites.insert(site);
        } else {
            let gone = (RemovedKind::Site, site.to_string());
            self.dirty.removed.push(gone);
        }
    }

    /// Takes a session's record after it was written.
    pub(crate) fn put_session(&mut self, record: SessionRecord, revision: Revision) {
        let id = record.id;
        self.touch_session(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            if session.revision >= revision {
                return;
            }
            let owner = (record.node, record.epoch);
            if (session.record.node, session.record.epoch) != owner {
                session.owned_since = Instant::now();
                session.missing_since = None;
            }
            if session.record.explanation != record.explanation {
                session.decisions.push_front(record.explanation.clone());
                session.decisions.truncate(DECISIONS_MAX);
            }
            session.record = record;
            session.revision = revision;
        } else {
            let session = Session {
                decisions: VecDeque::from([record.explanation.clone()]),
                record,
                revision,
                turn: Arc::default(),
                owned_since: Instant::now(),
                missing_since: None,
                told: None,
            };
            self.sessions.insert(id, session);
        }
        self.touch_session(id);
    }

    /// Forgets a session whose record was removed.
    pub(crate) fn drop_session(&mut self, id: SessionId) {
        self.touch_session(id);
        if self.sessions.remove(&id).is_some() {
            self.dirty.sessions.remove(&id);
            let gone = (RemovedKind::Session, id.to_string());
            self.dirty.removed.push(gone);
        }
    }

    /// Says that a session looks different now, and so do those who count it.
    pub(crate) fn touch_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        self.dirty.sessions.insert(id);
        self.dirty.apps.insert(session.record.app.clone());
        if let Some(node) = self.nodes.get(&session.record.node) {
            self.dirty.nodes.insert(node.record.id);
            self.dirty.sites.insert(node.record.site.name.clone());
        }
    }

    /// Says that a node's numbers have changed, and so have its site's.
    pub(crate) fn tell_node(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get(&id) {
            self.dirty.nodes.insert(id);
            self.dirty.sites.insert(node.record.site.name.clone());
        }
    }

    /// Says that a node came or went: its site, its links and its sessions look different now.
    pub(crate) fn touch_node(&mut self, id: NodeId) {
        self.tell_node(id);
        self.dirty.links = true;
        let sessions = self.sessions.values();
        let here = sessions.filter(|it| it.record.node == id);
        self.dirty.sessions.extend(here.map(|it| it.record.id));
    }

    /// Says that apps may be served elsewhere now.
    pub(crate) fn touch_apps(&mut self) {
        self.dirty.apps.extend(self.apps.keys().cloned());
    }

    /// The manifest of an app's release; the present one when that is gone.
    pub(crate) fn release(&self, app: &AppName, number: u32) -> Option<&Release> {
        let app = self.apps.get(app)?;
        match app.releases.get(&number) {
            Some((release, _)) => Some(release),
            None => app.present(),
        }
    }

    /// Ready nodes.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (&Node, &Live)> {
        let nodes = self.nodes.values().filter(|it| it.is_ready());
        nodes.filter_map(|it| it.live.as_ref().map(|live| (it, live)))
    }

    /// Whether a node's link is up.
    pub(crate) fn holds_link(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|it| it.live.is_some())
    }

    /// Whether a node is shutting down.
    pub(crate) fn is_draining(&self, node: NodeId) -> bool {
        let node = self.nodes.get(&node);
        node.is_some_and(|it| it.status() == NodeStatus::Draining)
    }
}
