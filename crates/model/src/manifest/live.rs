//! `kind = "live"`: an event that several cameras see at once.

mod raw;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Access, within};
use crate::space::{Angle, Direction, Point};
use crate::{AppName, Bitrate, CameraName, RenditionName};

use raw::{Raw, RawCamera};

pub(super) use raw::read;
#[cfg(test)]
pub(super) use raw::unknown_key;

/// Cameras of one event. More would not fit around a viewer's ring, nor into a page of TOML.
pub const CAMERAS_MAX: usize = 64;

/// Renditions of one event. Each that is in use costs an edge an encoder a view.
pub const RENDITIONS_MAX: usize = 8;

/// The keys of this kind at the top of a manifest, besides `kind`.
pub(super) const KEYS: &[&str] = &[
    "name",
    "title",
    "center",
    "cameras",
    "sound",
    "renditions",
    "ingest",
    "retention_secs",
    "access",
];

/// An event: a group of cameras that look at one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "Raw")]
pub struct Live {
    /// The event's name, also in its address: `/watch/<name>`.
    pub name: AppName,
    /// What people read. Default: the name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// What viewers turn around, in metres in the event's frame. Default: the origin.
    #[schema(value_type = [f64; 3])]
    pub center: Point,
    /// What can be watched, 1 to 64, in the manifest's order.
    #[schema(value_type = Vec<RawCamera>)]
    pub cameras: Vec<Camera>,
    /// The camera whose sound is heard whatever is seen. Default: the first camera.
    pub sound: CameraName,
    /// Forms in which every camera is offered besides its own, the highest bitrate first, at most 8.
    /// The last of them is what a view is switched to that was not there before. Default: 720, 480
    /// and 240 lines.
    pub renditions: Vec<Rendition>,
    /// What a camera may send.
    pub ingest: Ingest,
    /// How long pictures are to be kept for those who look back, which no edge does yet: it is
    /// checked and carried. Default 30, at most 3,600; 0 keeps only
    /// what is live.
    pub retention_secs: u32,
    /// Who may watch.
    pub access: Access,
}

impl Live {
    /// The camera of this name.
    pub fn camera(&self, name: &CameraName) -> Option<&Camera> {
        self.cameras.iter().find(|it| it.name == *name)
    }

    /// The rendition of this name. The camera's own stream is not among them.
    pub fn rendition(&self, name: &RenditionName) -> Option<&Rendition> {
        self.renditions.iter().find(|it| it.name == *name)
    }

    /// How long pictures are kept for those who look back.
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_secs.into())
    }
}

/// A camera and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(into = "RawCamera")]
pub struct Camera {
    /// Its name, also in the address it publishes to.
    pub name: CameraName,
    /// What people read. Default: the name.
    pub title: String,
    /// Where it stands, in metres in the event's frame.
    pub position: Point,
    /// Where it looks. Default: at the event's center.
    pub direction: Direction,
    /// How much it sees from left to right, in degrees, above 0 and below 180. Default 60.
    pub field_of_view: Angle,
}

/// A form in which cameras are offered. Made by an edge when somebody there needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rendition {
    /// Its name; `source` is taken.
    pub name: RenditionName,
    /// Lines of the picture, even, 64 to 2160; the width follows. A camera with fewer keeps its own.
    #[serde(deserialize_with = "height")]
    pub height: u16,
    /// Frames a second at most, 1 to 120. Default 30.
    #[serde(default = "max_fps_default", deserialize_with = "max_fps")]
    pub max_fps: u8,
    /// Bitrate in kbit/s, 50 to 50,000.
    #[serde(rename = "bitrate_kbps", with = "kbps")]
    #[schema(value_type = u32)]
    pub bitrate: Bitrate,
    /// From one keyframe to the next in ms, 100 to 2,000: a switch waits for one. Default 400.
    #[serde(default = "group_default", deserialize_with = "group")]
    pub group_ms: u16,
}

impl Rendition {
    /// From one keyframe to the next.
    pub fn group(&self) -> Duration {
        Duration::from_millis(self.group_ms.into())
    }
}

/// What a camera may send. Anything else is refused when it starts to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// Codecs of the picture. Default: all that are known.
    #[serde(deserialize_with = "some")]
    pub video: Vec<VideoCodec>,
    /// Codecs of the sound. Default: all that are known.
    pub audio: Vec<AudioCodec>,
    /// The highest bitrate in kbit/s, 50 to 50,000. Default 20,000.
    #[serde(rename = "bitrate_max_kbps", with = "kbps")]
    #[schema(value_type = u32, default = 20_000)]
    pub bitrate_max: Bitrate,
    /// The longest from one keyframe to the next in ms, 100 to 10,000. Default 2,000.
    #[serde(deserialize_with = "group_max")]
    pub group_max_ms: u16,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            video: VideoCodec::ALL.to_vec(),
            audio: AudioCodec::ALL.to_vec(),
            bitrate_max: Bitrate::kbps(20_000),
            group_max_ms: 2_000,
        }
    }
}

impl Ingest {
    /// The longest from one keyframe to the next.
    pub fn group_max(&self) -> Duration {
        Duration::from_millis(self.group_max_ms.into())
    }
}

/// Codecs of pictures.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// Decoded everywhere; the only one that edges make renditions of.
    H264,
    /// Passed through.
    Av1,
    /// Passed through.
    Vp9,
}

impl VideoCodec {
    /// All that are known, the most widely decoded first.
    pub const ALL: [Self; 3] = [Self::H264, Self::Av1, Self::Vp9];

    /// As it stands in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Av1 => "av1",
            Self::Vp9 => "vp9",
        }
    }
}

/// Codecs of sound.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AudioCodec {
    /// Passed through.
    Opus,
    /// Passed through.
    Aac,
}

impl AudioCodec {
    /// All that are known, the most widely decoded first.
    pub const ALL: [Self; 2] = [Self::Opus, Self::Aac];

    /// As it stands in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Aac => "aac",
        }
    }
}

mod kbps {
    use super::*;

    pub(super) fn serialize<S: Serializer>(rate: &Bitrate, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(rate.as_bps() / 1_000)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bitrate, D::Error> {
        let kbps: u32 = within(from, "the bitrate in kbit/s", 50, 50_000)?;
        Ok(Bitrate::kbps(kbps.into()))
    }
}

const fn max_fps_default() -> u8 {
    30
}

const fn group_default() -> u16 {
    400
}

fn height<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    super::stream::height(from)
}

fn max_fps<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    within(from, "max_fps", 1, 120)
}

fn group<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    within(from, "group_ms", 100, 2_000)
}

fn group_max<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    within(from, "group_max_ms", 100, 10_000)
}

fn some<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<VideoCodec>, D::Error> {
    let codecs = Vec::<VideoCodec>::deserialize(from)?;
    if codecs.is_empty() {
        return Err(serde::de::Error::custom(
            "no codec of pictures is allowed: name one, as in [\"h264\"]",
        ));
    }
    Ok(codecs)
}
