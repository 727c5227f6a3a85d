//! The link between a node and the center: JSON requests and answers, both ways.
//!
//! The node asks with [`ToCenter`] and the center answers with [`FromCenter`]; the center asks with
//! [`ToNode`] and the node answers with [`FromNode`].

use std::collections::BTreeMap;

use model::manifest::Stream;
use model::{
    AppName, CameraName, Epoch, Manifest, NodeId, ReleaseNumber, Resources, SessionId, SiteName,
    Terminal,
};
use serde::{Deserialize, Serialize};

use crate::UnixMillis;
use crate::live::{CameraStatus, Offsets, Sense};
use crate::node::{Certificate, Endpoint};
use crate::session::{Quality, ScreenSize, SessionState};
use crate::site::SiteSpec;
use crate::terminal::Status;

/// What a machine without a certificate, or with one that has run out, asks before there is a link.
/// The answer is a [`Grant`] of its own, as JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The secret of the join token. A node that has joined before needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Where the machine is.
    pub site: SiteName,
    /// Its certificate signing request: PKCS #10, DER, in base64.
    pub signing_request: String,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// What the center grants to a node: the node link's own `Grant`, which is not looked into here.
pub type Grant = serde_json::Value;

/// What a node asks of the center.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum ToCenter {
    /// First on every link: who the node is and what it holds.
    Hello(Box<NodeHello>),
    /// Once a second: how it goes. Replaces the one before.
    Summary(Summary),
    /// An instance is gone for good.
    Ended {
        session: SessionId,
        epoch: Epoch,
        why: String,
    },
    /// A certificate for another day. The signing request is as in [`JoinRequest`].
    Renew { signing_request: String },
}

/// The center's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum FromCenter {
    /// To [`ToCenter::Hello`].
    Welcome {
        /// Sessions the node holds and no longer owns: it must stop them.
        stop: Vec<(SessionId, Epoch)>,
    },
    /// To [`ToCenter::Renew`].
    Granted { grant: Grant },
    /// Taken.
    Ok,
}

/// Who a node is and what it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeHello {
    /// Its site.
    pub site: SiteSpec,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
    /// The certificate of its terminal entry.
    pub certificate: Certificate,
    /// What it has for sessions.
    pub capacity: Resources,
    /// Version of the software.
    pub version: String,
    /// What it cannot do, in words.
    pub lacks: Vec<String>,
    /// Where cameras can publish to.
    #[serde(default)]
    pub ingest: Ingest,
    /// The first summary.
    pub summary: Summary,
}

/// Where a node takes the streams of cameras: `host:port` each, if nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// By RTMP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtmp: Option<String>,
    /// By SRT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srt: Option<String>,
    /// By WHIP, and where viewers play by WHEP: the beginning of the address, `http://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webrtc: Option<String>,
}

/// How a node is now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What is left of its capacity.
    pub free: Resources,
    /// Share of its cores in use, 0 to 1.
    pub cpu_load: f64,
    /// Whether it is shutting down.
    pub draining: bool,
    /// Apps whose required files it has, and how many warm instances of each.
    pub apps: Vec<NodeApp>,
    /// Every session it runs.
    pub sessions: Vec<SessionSummary>,
    /// Round trips to its peers.
    pub links: Vec<PeerRoundTrip>,
    /// Every camera that publishes here.
    #[serde(default)]
    pub cameras: Vec<CameraSummary>,
    /// Viewers that entered here, for each event that has any.
    #[serde(default)]
    pub viewers: Vec<(AppName, u32)>,
}

/// A camera that publishes at a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CameraSummary {
    /// The event.
    pub event: AppName,
    /// The camera.
    pub camera: CameraName,
    /// How it is.
    pub status: CameraStatus,
}

/// An app a node can run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeApp {
    /// The app.
    pub app: AppName,
    /// The release the node knows.
    pub release: ReleaseNumber,
    /// Whether the files it requires are there.
    pub ready: bool,
    /// Instances that are started and frozen.
    pub warm: u32,
}

/// How a session is on its node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSummary {
    /// The session.
    pub session: SessionId,
    /// The epoch the node holds.
    pub epoch: Epoch,
    /// The app.
    pub app: AppName,
    /// How it is.
    pub state: SessionState,
    /// How it goes.
    pub quality: Quality,
}

/// A measured round trip to a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerRoundTrip {
    /// The peer.
    pub node: NodeId,
    /// In milliseconds.
    pub round_trip_ms: f64,
}

/// What the center asks of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum ToNode {
    /// All that the node should know: releases to hold and peers to link with. Replaces what was
    /// said before, unless its generation is older.
    Plan(Plan),
    /// Set the needs of a session aside. Expires unless confirmed.
    Reserve(Box<Reserve>),
    /// The session is the node's: start it.
    Confirm { session: SessionId, epoch: Epoch },
    /// The session, or its reservation, is not the node's any more.
    Release {
        session: SessionId,
        epoch: Epoch,
        why: ReleaseWhy,
    },
    /// Pass this on to the session's terminal.
    Tell {
        session: SessionId,
        epoch: Epoch,
        status: Box<Status>,
    },
    /// What did the app print?
    Logs { session: SessionId, lines: u32 },
    /// Watch the event's cameras that publish here for so long: when were there flashes or clicks?
    Moments {
        event: AppName,
        by: Sense,
        seconds: u8,
    },
}

/// Why a node loses a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseWhy {
    /// Another node serves it under a higher epoch: keep the picture until the terminal has left.
    Superseded,
    /// Somebody closed it.
    Closed,
    /// The reservation is not needed.
    Cancelled,
}

/// What a node should know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Increases with every change; an older one is refused.
    pub generation: u64,
    /// The present release of every app.
    pub releases: Vec<PlannedRelease>,
    /// Nodes to link with.
    pub peers: Vec<Peer>,
    /// Who may publish.
    #[serde(default)]
    pub stream_keys: Vec<PlannedStreamKey>,
    /// What brings cameras together, for each event where anything does.
    #[serde(default)]
    pub offsets: BTreeMap<AppName, Offsets>,
}

/// A key that lets cameras publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStreamKey {
    /// To this event.
    pub event: AppName,
    /// As this camera; as any without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraName>,
    /// The SHA-256 of its secret, hexadecimal.
    pub hash: String,
}

/// A release a node should be able to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedRelease {
    /// Its number.
    pub number: ReleaseNumber,
    /// What to run.
    pub manifest: Manifest,
}

/// A node to link with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub node: NodeId,
    /// Its site.
    pub site: SiteName,
    /// Its address for this node.
    pub address: String,
}

/// Sets the needs of a session aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reserve {
    /// The session.
    pub session: SessionId,
    /// The epoch the node would hold.
    pub epoch: Epoch,
    /// The release to run.
    pub release: ReleaseNumber,
    /// What to run.
    pub manifest: Stream,
    /// The wanted size, where the app's screen is resizable.
    pub screen: Option<ScreenSize>,
    /// The terminal, for the log.
    pub terminal: Terminal,
    /// When the reservation expires by itself.
    pub expires_unix_ms: UnixMillis,
}

/// The node's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum FromNode {
    /// Done.
    Ok,
    /// To [`ToNode::Reserve`]: it fits and is set aside.
    Reserved { warm: bool },
    /// No, and why in words for a person.
    Refused { why: String },
    /// To [`ToNode::Logs`], oldest first.
    Logs { lines: Vec<String> },
    /// To [`ToNode::Moments`].
    Moments { cameras: Vec<CameraMoments> },
}

/// What a camera saw or heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraMoments {
    /// The camera.
    pub camera: CameraName,
    /// When, in microseconds since 1970 on the event's clock, its present offset added.
    pub at_unix_us: Vec<u64>,
    /// Why it could not be looked at, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
