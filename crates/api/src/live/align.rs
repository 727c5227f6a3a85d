//! Bringing an event's cameras together in time, by moments that all of them saw or heard.

use std::collections::BTreeMap;
use std::fmt;

use model::CameraName;
use serde::{Deserialize, Serialize};

/// By what cameras are brought together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sense {
    /// Flashes of light. As exact as pictures are frequent: 33 ms at 30 a second.
    #[default]
    Flash,
    /// Clicks and claps: 5 ms, and what sound takes from the place to each microphone.
    Sound,
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flash => "flash",
            Self::Sound => "sound",
        })
    }
}

/// The shortest time to look and listen, in seconds: one moment and what is usual before it.
pub const ALIGN_SECONDS_MIN: u8 = 2;

/// The longest time to look and listen, in seconds: a request is answered within that.
pub const ALIGN_SECONDS_MAX: u8 = 10;

/// Asks to bring an event's cameras together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Align {
    /// By what.
    #[serde(default)]
    pub by: Sense,
    /// How long to look and listen, 2 to 10. Default 8.
    #[serde(default = "seconds_default")]
    pub seconds: u8,
    /// Whom the others follow. Default: the camera with the most moments, the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<CameraName>,
}

impl Default for Align {
    fn default() -> Self {
        Self {
            by: Sense::default(),
            seconds: seconds_default(),
            reference: None,
        }
    }
}

const fn seconds_default() -> u8 {
    8
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Aligned {
    /// Whom the others follow.
    pub reference: CameraName,
    /// Every camera of the event.
    pub cameras: Vec<AlignedCamera>,
}

/// What came of it for a camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlignedCamera {
    /// Its name.
    pub name: CameraName,
    /// What is added to its timestamps from now on, in milliseconds.
    pub offset_ms: f64,
    /// By how much that has changed.
    pub changed_ms: f64,
    /// Moments that it shares with the reference.
    pub moments: usize,
    /// The furthest that one of them is off, in milliseconds.
    pub spread_ms: f64,
    /// Why nothing was found, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What is added to the timestamps of an event's cameras, in microseconds.
pub type Offsets = BTreeMap<CameraName, i64>;
