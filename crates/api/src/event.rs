//! The event stream that the console lives on: `GET /v1/events`, server-sent events.
//!
//! The event's name is the tag `event`; the data is the rest. First a snapshot, then changes.

use serde::{Deserialize, Serialize};

use crate::app::AppView;
use crate::node::NodeView;
use crate::place::Place;
use crate::session::SessionView;
use crate::site::{LinkView, SiteView};

/// One event. Each carries the whole object, so a missed one is mended by the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// Everything, first.
    Snapshot(Box<Snapshot>),
    /// A site changed.
    Site(SiteView),
    /// A node changed.
    Node(NodeView),
    /// An app changed.
    App(Box<AppView>),
    /// A session changed.
    Session(SessionView),
    /// All live links.
    Links(Vec<LinkView>),
    /// Something is gone.
    Removed(Removed),
}

/// Everything there is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Snapshot {
    pub sites: Vec<SiteView>,
    pub nodes: Vec<NodeView>,
    pub apps: Vec<AppView>,
    pub sessions: Vec<SessionView>,
    pub links: Vec<LinkView>,
    pub places: Vec<Place>,
}

/// Something that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Removed {
    /// What kind of thing.
    pub kind: RemovedKind,
    /// Its id or name.
    pub id: String,
}

/// Kinds of things that can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemovedKind {
    Site,
    Node,
    App,
    Session,
}
