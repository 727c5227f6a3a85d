//! Live events: keys to publish with, tickets to watch with, and how the cameras are.

mod align;

use model::manifest::Live;
use model::manifest::live::{AudioCodec, VideoCodec};
use model::media::{AudioConfig, VideoConfig};
use model::{AppName, CameraName, NodeId, RenditionName, SiteName, Terminal};
use serde::{Deserialize, Serialize};

use crate::UnixMillis;
use crate::session::Entry;

pub use self::align::{
    ALIGN_SECONDS_MAX, ALIGN_SECONDS_MIN, Align, Aligned, AlignedCamera, Offsets, Sense,
};

/// The broadcasts of an event lie below this.
pub fn root(event: &AppName) -> String {
    format!("live/{event}")
}

/// The broadcast of one camera.
pub fn broadcast(event: &AppName, camera: &CameraName) -> String {
    format!("live/{event}/{camera}")
}

/// The track of a rendition in its camera's broadcast; `video` is the camera's own.
pub fn rendition_track(rendition: &RenditionName) -> String {
    format!("video/{rendition}")
}

/// The track `info` of a camera's broadcast: what a player must know before it decodes. A group for
/// each change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CameraInfo {
    /// How the camera's own pictures are coded; renditions are H.264 whatever the camera sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoConfig>,
    /// How its sound is coded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioConfig>,
    /// Renditions that can be had, by name: smaller than the camera's own picture.
    pub renditions: Vec<RenditionName>,
    /// From one keyframe of the camera's own to the next.
    pub group_ms: f64,
    /// Kilobits a second of the camera's own picture and sound.
    pub kilobits_per_second: f64,
}

/// The path that opens an entry to whoever publishes a camera with this key.
pub fn publish_path(event: &AppName, camera: &CameraName, key: &str) -> String {
    format!("/moq?publish={key}&event={event}&camera={camera}")
}

/// Asks for a key that lets cameras publish to an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateStreamKey {
    /// What it is for, in the owner's words; at most 64 characters.
    #[serde(default)]
    pub label: String,
    /// The only camera it is good for. Default: all of the event's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraName>,
}

/// A key that was made. The secret is told once and not kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedStreamKey {
    /// What is known of it.
    #[serde(flatten)]
    pub view: StreamKeyView,
    /// The secret itself.
    pub key: String,
}

impl std::fmt::Debug for CreatedStreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedStreamKey")
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StreamKeyView {
    /// To revoke it by.
    pub id: String,
    /// The event.
    pub event: AppName,
    /// What it is for.
    pub label: String,
    /// The only camera it is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraName>,
    /// When it was made.
    pub created_unix_ms: UnixMillis,
}

/// Asks to watch an event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchEvent {
    /// Who asks.
    #[serde(default)]
    pub terminal: Terminal,
    /// The entry that stopped answering, if one did: it is avoided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_entry: Option<NodeId>,
}

/// The way to an event for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WatchTicket {
    /// The event with its cameras and renditions.
    pub event: Live,
    /// Where the viewer enters.
    pub entry: Entry,
    /// Shown to the entry.
    pub token: String,
    /// When the token stops opening new connections.
    pub expires_unix_ms: UnixMillis,
    /// What the center expects the round trip to the entry to be.
    pub round_trip_ms: f64,
    /// Cameras that publish now.
    pub on_air: Vec<CameraName>,
}

/// Asks where to publish a camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishCamera {
    /// The camera.
    pub camera: CameraName,
    /// Who asks.
    #[serde(default)]
    pub terminal: Terminal,
    /// To this very site. Default: the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// The entry that stopped answering, if one did: it is avoided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_entry: Option<NodeId>,
}

/// Where to publish a camera. The stream key opens it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PublishWay {
    /// Where the publisher enters.
    pub entry: Entry,
    /// The broadcast to publish there.
    pub broadcast: String,
    /// What the center expects the round trip to the entry to be.
    pub round_trip_ms: f64,
}

/// How an event is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveView {
    /// Its name.
    pub name: AppName,
    /// What people read.
    pub title: String,
    /// Every camera of the manifest, in its order.
    pub cameras: Vec<CameraView>,
    /// Connections that watch, at every edge together.
    pub viewers: u32,
    /// Where cameras can publish to.
    pub ingest: Vec<IngestAddress>,
}

/// Where cameras can publish to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IngestAddress {
    /// The site.
    pub site: SiteName,
    /// The node.
    pub node: NodeId,
    /// `rtmp://host:port/<event>`, if it takes RTMP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtmp: Option<String>,
    /// `srt://host:port`, if it takes SRT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srt: Option<String>,
    /// `http://host:port/whip/<event>`, if it takes WHIP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whip: Option<String>,
}

/// A camera, and how it is if it publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CameraView {
    /// Its name.
    pub name: CameraName,
    /// Where its stream comes in; nothing while it does not publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// How it is; nothing while it does not publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<CameraStatus>,
}

/// How a camera that publishes is, over the last seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CameraStatus {
    /// How it publishes: `RTMP`, `SRT`, `WHIP`, `MoQ`.
    pub protocol: String,
    /// Since when.
    pub since_unix_ms: UnixMillis,
    /// The codec of its picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoCodec>,
    /// The codec of its sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioCodec>,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Pictures a second.
    pub frames_per_second: f64,
    /// Kilobits a second, picture and sound.
    pub kilobits_per_second: f64,
    /// From one keyframe to the next.
    pub group_ms: f64,
    /// How much later its last picture came than the earliest of the last seconds: jitter and queues
    /// on its way.
    pub late_ms: f64,
    /// What is added to its timestamps so that it agrees with the event's other cameras.
    #[serde(default)]
    pub offset_ms: f64,
    /// Pictures that are known to be missing since it started.
    pub lost: u64,
    /// Renditions that are being made because somebody watches them.
    pub renditions: Vec<RenditionName>,
    /// What the owner should change, in words.
    pub warnings: Vec<String>,
}
