//! Sessions: discovery, tickets, moves, explanations.

use model::manifest::OnMove;
use model::{
    AccessNetwork, AppName, Epoch, NodeId, Position, ReleaseNumber, SessionId, SiteName, Terminal,
};
use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// Asks which places could serve this terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Discover {
    /// For this app.
    pub app: AppName,
    /// Who asks.
    #[serde(default)]
    pub terminal: Terminal,
}

/// The best places, and why the others are not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Discovered {
    /// Best first, at most five.
    pub candidates: Vec<Candidate>,
    /// Everything else, with reasons.
    pub rejected: Vec<Passed>,
}

/// A place that could serve the terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Candidate {
    /// Where to knock.
    pub entry: Entry,
    /// What the center expects the round trip to be.
    pub round_trip_ms: f64,
}

/// A node or site that was not chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Passed {
    /// The site.
    pub site: SiteName,
    /// The node.
    pub node: NodeId,
    /// Why, in words for a person.
    pub why: String,
}

/// Where a terminal enters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Entry {
    /// The site.
    pub site: SiteName,
    /// The node.
    pub node: NodeId,
    /// `host:port`; `https://<address>/moq` is the WebTransport address.
    pub address: String,
    /// The certificate to pin, when it is self-signed: SHA-256 in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<String>,
    /// The address for browsers without WebTransport.
    pub websocket: String,
}

/// Starts a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// Of this app.
    pub app: AppName,
    /// For this terminal.
    #[serde(default)]
    pub terminal: Terminal,
    /// The size of the terminal's window, for apps whose screen is resizable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<ScreenSize>,
}

/// A size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScreenSize {
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
}

/// A session that was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedSession {
    /// Its id.
    pub session: SessionId,
    /// The terminal's own key to this session. Kept by the terminal, sent as a bearer token.
    pub key: String,
    /// The way in.
    pub ticket: Ticket,
    /// Why there.
    pub explain: Explanation,
}

/// The way into a session for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Ticket {
    /// The session.
    pub session: SessionId,
    /// Its epoch; a higher one replaces a lower one.
    pub epoch: Epoch,
    /// The app.
    pub app: AppName,
    /// Where the app runs.
    pub host_site: SiteName,
    /// Where the terminal enters, which may be elsewhere.
    pub entry: Entry,
    /// Shown to the entry.
    pub token: String,
    /// When the token stops opening new connections.
    pub expires_unix_ms: UnixMillis,
    /// What the center expects the round trip between terminal and app to be.
    pub round_trip_ms: f64,
}

/// Asks for a ticket to a session that exists: after a reload, or when the connection was lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewTicket {
    /// Who asks.
    #[serde(default)]
    pub terminal: Terminal,
    /// The entry that stopped answering, if one did: it is avoided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_entry: Option<NodeId>,
}

/// A ticket, and what it means for the app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Renewed {
    /// The way in.
    pub ticket: Ticket,
    /// Whether it is the same instance.
    pub outcome: Outcome,
    /// What happened, in words for a person.
    pub why: String,
    /// A better place that the app would have to restart for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
}

/// What a renewal or a move did to the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The same instance by the same entry.
    Same,
    /// The same instance by another entry.
    Entry,
    /// A new instance at another node.
    Restarted,
}

/// A better place that the app would have to restart for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Offer {
    /// The better site.
    pub site: SiteName,
    /// Round trip to the app where it is now.
    pub here_ms: f64,
    /// Round trip to the app if it ran there.
    pub there_ms: f64,
}

/// Moves a session: because its terminal moved, or because an operator says so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveSession {
    /// Where the terminal is now. Default: where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
    /// To this very site. Default: the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// What happens to the instance. Default: as the manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<OnMove>,
}

/// A session as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// The app.
    pub app: AppName,
    /// The release it runs.
    pub release: ReleaseNumber,
    /// How it is.
    pub state: SessionState,
    /// How often it has moved, from 1.
    pub epoch: Epoch,
    /// The site that runs the app.
    pub host_site: SiteName,
    /// The node that runs the app.
    pub host_node: NodeId,
    /// The site by which the terminal was told to enter.
    pub entry_site: SiteName,
    /// Where the terminal says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The terminal's access network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<AccessNetwork>,
    /// When it was started.
    pub created_unix_ms: UnixMillis,
    /// How it goes, measured.
    pub quality: Quality,
}

/// How a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// The app is coming up.
    Starting,
    /// The app runs and the terminal is there.
    Active,
    /// The app runs and waits for its terminal to return.
    Waiting,
    /// Its node does not answer.
    Lost,
}

/// How a session goes, in the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Quality {
    /// The terminal's own measure of the round trip to the app.
    pub round_trip_ms: f64,
    /// Pictures sent in a second.
    pub frames_per_second: f64,
    /// Payload sent, kilobits (1000 bits) a second.
    pub kilobits_per_second: f64,
    /// What the rate control allows, kilobits a second.
    pub target_kilobits_per_second: f64,
    /// Pictures that did not arrive, share 0 to 1.
    pub loss: f64,
    /// Capture to encoded picture, mean.
    pub encode_ms: f64,
}

/// Why a session is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Explanation {
    /// When it was decided.
    pub decided_unix_ms: UnixMillis,
    /// What asked for the decision, such as "the terminal moved".
    pub cause: String,
    /// The site that was chosen.
    pub site: SiteName,
    /// The node that was chosen.
    pub node: NodeId,
    /// Why, in words for a person.
    pub why: String,
    /// Every other node, with the reason.
    pub passed: Vec<Passed>,
}

/// The decisions about a session, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Explanations {
    /// At most eight are kept.
    pub decisions: Vec<Explanation>,
}

/// What the app printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionLogs {
    /// Oldest first; the node keeps the last lines only.
    pub lines: Vec<String>,
}
