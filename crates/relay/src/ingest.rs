//! Ways in for tools that people have. A gateway speaks one protocol, asks [`Admit`] whether it may
//! publish, and gives the publication out as [`Published`](crate::media::Published).
//!
//! Invariants: nothing of a publication is parsed before it is admitted, beyond what names it; every
//! length that comes from outside is bounded before anything is allocated; a refusal is in words
//! that say what to change, and reaches the tool's user wherever its protocol has a place for words.

pub(crate) mod address;
pub(crate) mod codec;
mod flv;
#[cfg(test)]
mod fuzz;
pub(crate) mod gate;
pub mod input;
pub(crate) mod moq;
mod mp4;
pub mod rtmp;
pub mod srt;
mod ts;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use model::{AppName, Bitrate, CameraName};

use crate::access::Refusal;
use crate::media::{AudioCodec, Sink, VideoCodec};

/// Decides on every publication before anything of it is taken.
pub trait Admit: Send + Sync + 'static {
    /// Somebody wants to publish a camera. The refusal's words are for the tool's user.
    fn admit(&self, asked: Asked) -> BoxFuture<'_, Result<Admitted, Refusal>>;
}

/// Which way a publication comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gateway {
    /// RTMP over TCP: ffmpeg, OBS and most encoders.
    Rtmp,
    /// MPEG-TS over SRT: ffmpeg, OBS and most encoders.
    Srt,
    /// WebRTC: OBS and browsers.
    Whip,
    /// Media over QUIC: `selvedge live publish`, and publishers of people's own.
    Moq,
    /// Standard input: whatever writes MPEG-TS or fragmented MP4.
    Input,
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rtmp => "RTMP",
            Self::Srt => "SRT",
            Self::Whip => "WHIP",
            Self::Moq => "MoQ",
            Self::Input => "standard input",
        })
    }
}

/// What somebody wants to publish.
#[derive(Clone)]
pub struct Asked {
    /// The way it comes in.
    pub gateway: Gateway,
    /// The event.
    pub event: AppName,
    /// Its camera.
    pub camera: CameraName,
    /// The stream key as it was given; empty if there was none.
    pub key: String,
    /// Who asks; `None` on standard input.
    pub remote: Option<SocketAddr>,
}

/// Without the key: it is a secret, and this ends up in logs.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            gateway,
            event,
            camera,
            key,
            remote,
        } = self;
        f.debug_struct("Asked")
            .field("gateway", gateway)
            .field("event", event)
            .field("camera", camera)
            .field("key", &format_args!("{} characters", key.len()))
            .field("remote", remote)
            .finish()
    }
}

/// A publication that may go on.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Where it goes. Dropping the other end ends the publication.
    pub sink: Sink,
    /// What it may send.
    pub limits: Limits,
}

/// What a publication may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Codecs of the picture.
    pub video: Vec<VideoCodec>,
    /// Codecs of the sound.
    pub audio: Vec<AudioCodec>,
    /// Keyframes further apart than this earn a warning. Default 1 s.
    pub group_warn: Duration,
    /// Keyframes further apart than this end the publication. Default 2 s, at most 10 s whatever
    /// stands here.
    pub group_max: Duration,
    /// More than this for seconds earns a warning, and ends the publication if it stays so. Default
    /// 20 Mbit/s.
    pub bitrate_max: Bitrate,
    /// What happens to pictures in another order than they are shown (B-frames): they cost every
    /// viewer their time, browsers' WebRTC cannot play them. Default: refused.
    pub reordered: Reordered,
}

/// What happens to pictures in another order than they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reordered {
    /// They end the publication.
    Refused,
    /// They earn a warning.
    Taken,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            video: VideoCodec::ALL.to_vec(),
            audio: AudioCodec::ALL.to_vec(),
            group_warn: Duration::from_secs(1),
            group_max: Duration::from_secs(2),
            bitrate_max: Bitrate::kbps(20_000),
            reordered: Reordered::Refused,
        }
    }
}

/// Why a publication cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// We do not want it.
    #[error("{0}")]
    Refused(Refusal),
    /// It is not what it should be.
    #[error("{0}")]
    Malformed(#[from] codec::Malformed),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
