//! A small football match, seen at the same instants by cameras all around it: a live event to try
//! and to test with, made here from nothing.
//!
//! Invariants: the same [`Settings`] give the same pictures; frame n of every camera shows the same
//! instant, and says so ([`Marker`]); the frame after the last is the first. What is rendered is encoded once and kept. Sending it is [`Publisher`]'s; who receives
//! it is not known here.

mod board;
mod body;
mod cache;
mod crowd;
mod encode;
mod flv;
mod font;
mod goal;
mod manifest;
mod marker;
mod picture;
mod play;
mod publish;
mod rig;
mod scene;
mod shadow;
mod solid;
mod sound;
mod stadium;
mod vector;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use model::Bitrate;
use serde::{Deserialize, Serialize};

pub use cache::prepare;
pub use manifest::manifest;
pub use marker::Marker;
pub use publish::{CameraState, Live, Publisher, Target};

/// Frames a second, of every camera.
pub const FPS: u32 = 30;
/// Frames from one keyframe to the next: half a second, so that a viewer who turns soon sees.
pub const GOP_FRAMES: u32 = 15;
/// Sound samples a second.
pub const SOUND_HZ: u32 = 48_000;
/// Raised whenever pictures, sound or files come out differently: what is kept is made anew.
const VERSION: u32 = 1;

/// What is to be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Pixels, even, at least 320. Default 1280.
    pub width: u32,
    /// Pixels, even, at least 180. Default 720.
    pub height: u32,
    /// How many, 1 to 64, evenly around the pitch. Default 12.
    pub cameras: u32,
    /// Length of the loop, 1 to 600. The match always plays through once, so a shorter loop is a
    /// faster match. Only a multiple of 8 loops without a gap in the sound (of less than 22 ms),
    /// because AAC comes in packets of 1,024 samples. Default 24.
    pub seconds: u32,
    /// Of the video of one camera, in kbit/s, over any second about constant. Default 3,000.
    pub video_kbps: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            width: 1280,
            height: 720,
            cameras: 12,
            seconds: 24,
            video_kbps: 3_000,
        }
    }
}

impl Settings {
    /// Frames of the loop, for one camera.
    pub const fn frames(&self) -> u32 {
        self.seconds * FPS
    }

    /// Of the video of one camera.
    pub const fn video_rate(&self) -> Bitrate {
        Bitrate::kbps(self.video_kbps as u64)
    }

    fn check(&self) -> Result<(), ArenaError> {
        let fault = if self.width < 320 || self.height < 180 {
            "pictures are at least 320x180"
        } else if self.width > 7_680 || self.height > 4_320 {
            "pictures are at most 7680x4320"
        } else if !self.width.is_multiple_of(2) || !self.height.is_multiple_of(2) {
            "width and height are even"
        } else if !(1..=64).contains(&self.cameras) {
            "there are 1 to 64 cameras"
        } else if !(1..=600).contains(&self.seconds) {
            "a loop takes 1 to 600 seconds"
        } else if !(100..=100_000).contains(&self.video_kbps) {
            "video takes 100 to 100000 kbit/s"
        } else {
            return Ok(());
        };
        Err(ArenaError::Settings(fault))
    }
}

/// An event that is ready to be published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What made it; not the same number, not the same files.
    pub version: u32,
    /// What was asked for.
    pub settings: Settings,
    /// What all cameras look at, in metres: x along the pitch to the east goal, y across it to the
    /// far stand, z up, from the middle spot.
    pub centre: [f32; 3],
    /// Counterclockwise as seen from above, the first at the main stand.
    pub cameras: Vec<Camera>,
    /// Where the files of the cameras are.
    #[serde(skip)]
    pub dir: PathBuf,
}

/// A camera of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Camera {
    /// Short, for names of streams: `cam01`.
    pub name: String,
    /// For people: where it stands.
    pub title: String,
    /// In metres; see [`Event::centre`].
    pub position: [f32; 3],
    /// Where it looks to; length 1. Up in the picture is as near to z as can be.
    pub direction: [f32; 3],
    /// How much it sees from its left edge to its right one.
    pub field_of_view_degrees: f32,
    /// FLV with H.264 and AAC, in [`Event::dir`].
    pub file: String,
}

impl Camera {
    /// Where it stands as seen from the middle: 0 at the east goal, counterclockwise, 0 to 360.
    pub fn bearing_degrees(&self) -> f32 {
        let [x, y, _] = self.position;
        y.atan2(x).to_degrees().rem_euclid(360.0)
    }
}

impl Event {
    /// What these settings will make, before anything is rendered.
    ///
    /// # Errors
    /// When the settings are out of their limits.
    pub fn plan(settings: &Settings) -> Result<Self, ArenaError> {
        settings.check()?;
        let cameras = rig::ring(settings.cameras).into_iter().map(|it| Camera {
            file: format!("{}.flv", it.name),
            name: it.name,
            title: it.title,
            position: [it.position.x, it.position.y, it.position.z],
            direction: [it.direction.x, it.direction.y, it.direction.z],
            field_of_view_degrees: it.field_of_view_degrees,
        });
        Ok(Self {
            version: VERSION,
            settings: settings.clone(),
            centre: [rig::CENTRE.x, rig::CENTRE.y, rig::CENTRE.z],
            cameras: cameras.collect(),
            dir: PathBuf::new(),
        })
    }

    /// How long the loop is.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.settings.seconds.into())
    }
}

/// How far the rendering is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Frames of all cameras that are ready, those from before included.
    pub done: u32,
    /// Frames of all cameras.
    pub total: u32,
}

/// Why there is no event.
#[derive(Debug, thiserror::Error)]
pub enum ArenaError {
    /// They are out of their limits.
    #[error("settings that cannot be: {0}")]
    Settings(&'static str),
    /// Whoever asked said stop.
    #[error("stopped; what is ready is kept")]
    Stopped,
    /// It is needed to encode and to publish.
    #[error("cannot start ffmpeg (Debian: apt-get install ffmpeg)")]
    NoFfmpeg {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It started, and failed.
    #[error("ffmpeg failed with {status} on {file}: {said}")]
    Ffmpeg {
        /// What it was to make.
        file: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        said: String,
    },
    /// A file could not be read or written.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// In what way.
        what: &'static str,
    },
}
