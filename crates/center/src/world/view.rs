//! The world as the API shows it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use api::app::AppView;
use api::event::Snapshot;
use api::node::{NodeStatus, NodeView};
use api::place::Place;
use api::session::{Quality, SessionState, SessionView};
use api::site::{LinkView, SiteView};
use model::{AppName, NodeId, SessionId, SiteName};

use super::{Node, Session, World};

/// An owner may take this long to report a session that it was just told to start.
const STARTING_MAX: Duration = Duration::from_secs(3);

impl World {
    /// Everything, for those who begin to watch.
    pub(crate) fn snapshot(&self, places: &[Place]) -> Snapshot {
        Snapshot {
            sites: self.site_views(),
            nodes: self.node_views(),
            apps: self.app_views(),
            sessions: self.session_views(),
            links: self.link_views(),
            places: places.to_vec(),
        }
    }

    pub(crate) fn app_views(&self) -> Vec<AppView> {
        let names = self.apps.keys();
        names.filter_map(|it| self.app_view(it)).collect()
    }

    pub(crate) fn app_view(&self, name: &AppName) -> Option<AppView> {
        let release = self.apps.get(name)?.present()?.clone();
        let ready = self.ready().filter(|(_, live)| {
            let mut apps = live.summary.apps.iter();
            apps.any(|it| it.app == *name && it.ready)
        });
        let sites: BTreeSet<_> = ready.map(|(node, _)| node.site().clone()).collect();
        let sessions = self.sessions.values();
        Some(AppView {
            name: name.clone(),
            release,
            sites: sites.into_iter().collect(),
            sessions: count(sessions.filter(|it| it.record.app == *name)),
        })
    }

    pub(crate) fn node_views(&self) -> Vec<NodeView> {
        self.nodes.values().map(|it| self.view_of(it)).collect()
    }

    pub(crate) fn node_view(&self, id: NodeId) -> Option<NodeView> {
        self.nodes.get(&id).map(|it| self.view_of(it))
    }

    fn view_of(&self, node: &Node) -> NodeView {
        let record = &node.record;
        let live = node.live.as_ref();
        let warm = live.map_or(0, |it| it.summary.apps.iter().map(|it| it.warm).sum());
        NodeView {
            id: record.id,
            site: record.site.name.clone(),
            status: node.status(),
            endpoints: record.endpoints.clone(),
            capacity: record.capacity,
            free: live.map(|it| it.summary.free).unwrap_or_default(),
            cpu_load: live.map_or(0.0, |it| it.summary.cpu_load),
            sessions: self.sessions_of(record.id),
            warm,
            version: record.version.clone(),
            lacks: record.lacks.clone(),
        }
    }

    fn sessions_of(&self, node: NodeId) -> u32 {
        count(self.sessions.values().filter(|it| it.record.node == node))
    }

    pub(crate) fn site_views(&self) -> Vec<SiteView> {
        let names: BTreeSet<_> = self.nodes.values().map(Node::site).collect();
        let views = names.into_iter().filter_map(|it| self.site_view(it));
        views.collect()
    }

    pub(crate) fn site_view(&self, name: &SiteName) -> Option<SiteView> {
        let nodes = || self.nodes.values().filter(|it| it.site() == name);
        // The node that has linked up last knows best.
        let spec = &nodes().max_by_key(|it| it.revision)?.record.site;
        Some(SiteView {
            spec: spec.clone(),
            nodes: nodes().map(|it| it.record.id).collect(),
            up: nodes().any(|it| it.status() != NodeStatus::Silent),
            sessions: nodes().map(|it| self.sessions_of(it.record.id)).sum(),
            load: nodes().map(load).fold(0.0, f64::max),
        })
    }

    pub(crate) fn session_views(&self) -> Vec<SessionView> {
        let sessions = self.sessions.keys();
        sessions.filter_map(|it| self.session_view(*it)).collect()
    }

    pub(crate) fn session_view(&self, id: SessionId) -> Option<SessionView> {
        let session = self.sessions.get(&id)?;
        let record = &session.record;
        let site_of = |node| self.nodes.get(&node).map(|it| it.site().clone());
        let host_site = site_of(record.node).unwrap_or_else(|| record.explanation.site.clone());
        Some(SessionView {
            id,
            app: record.app.clone(),
            release: record.release,
            state: self.state_of(session),
            epoch: record.epoch,
            entry_site: site_of(record.entry).unwrap_or_else(|| host_site.clone()),
            host_site,
            host_node: record.node,
            position: record.terminal.position,
            network: record.terminal.network.clone(),
            created_unix_ms: record.created_unix_ms,
            quality: self.quality_of(session),
        })
    }

    pub(crate) fn state_of(&self, session: &Session) -> SessionState {
        let live = self.nodes.get(&session.record.node);
        let Some(live) = live.and_then(|it| it.live.as_ref()) else {
            return SessionState::Lost;
        };
        match live.session(&session.record) {
            Some(summary) => summary.state,
            None if is_starting(session, Instant::now()) => SessionState::Starting,
            None => SessionState::Lost,
        }
    }

    fn quality_of(&self, session: &Session) -> Quality {
        let node = self.nodes.get(&session.record.node);
        let live = node.and_then(|it| it.live.as_ref());
        let summary = live.and_then(|it| it.session(&session.record));
        summary.map(|it| it.quality).unwrap_or_default()
    }

    /// Measured pairs of sites: the shortest round trip where several nodes have measured.
    pub(crate) fn link_views(&self) -> Vec<LinkView> {
        let mut best = std::collections::BTreeMap::<(&SiteName, &SiteName), f64>::new();
        for node in self.nodes.values() {
            let Some(live) = &node.live else { continue };
            for link in &live.summary.links {
                let Some(peer) = self.nodes.get(&link.node) else {
                    continue;
                };
                if peer.live.is_none() || peer.site() == node.site() {
                    continue;
                }
                let shortest = best
                    .entry((node.site(), peer.site()))
                    .or_insert(f64::INFINITY);
                *shortest = shortest.min(link.round_trip_ms);
            }
        }
        best.into_iter()
            .map(|((from, to), round_trip_ms)| LinkView {
                from: from.clone(),
                to: to.clone(),
                round_trip_ms,
            })
            .collect()
    }
}

/// Whether its owner may still be about to report it.
pub(crate) fn is_starting(session: &Session, now: Instant) -> bool {
    now.saturating_duration_since(session.owned_since) < STARTING_MAX
}

/// The busiest share of a node's capacity.
fn load(node: &Node) -> f64 {
    let Some(live) = &node.live else { return 0.0 };
    let capacity = node.record.capacity;
    let used = capacity.checked_sub(live.summary.free).unwrap_or_default();
    capacity
        .share(used)
        .max(live.summary.cpu_load)
        .clamp(0.0, 1.0)
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
