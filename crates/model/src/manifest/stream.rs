//! `kind = "stream"`: an unmodified program whose picture is carried to a terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Access, within};
use crate::{AppName, Bytes, Resources, SiteName};

/// The largest picture: 4K.
const WIDTH_MAX: u16 = 3840;
/// The largest picture: 4K.
const HEIGHT_MAX: u16 = 2160;
/// The smallest picture either way, in pixels.
const SIDE_MIN: u16 = 64;

/// The keys of this kind at the top of a manifest, besides `kind`.
pub(super) const KEYS: &[&str] = &[
    "name",
    "title",
    "command",
    "requires",
    "env",
    "services",
    "screen",
    "input",
    "sound",
    "resources",
    "session",
    "placement",
    "access",
];

/// A program with a window: its picture and sound are streamed, input comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// The app's name, also in its address: `/play/<name>`.
    pub name: AppName,
    /// What people read. Default: the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The program and its arguments.
    #[serde(deserialize_with = "command")]
    pub command: Vec<String>,
    /// Files that must exist on a node for the app to be offered there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Variables added to the otherwise nearly empty environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Helper programs that run beside the command on the same display, such as a window manager.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Vec<String>>,
    /// The picture.
    #[serde(default)]
    pub screen: Screen,
    /// The hand.
    #[serde(default)]
    pub input: Input,
    /// The sound.
    #[serde(default)]
    pub sound: Sound,
    /// What one session takes.
    #[serde(default)]
    pub resources: Needs,
    /// How long a session lives and what a move means.
    #[serde(default)]
    pub session: SessionRules,
    /// Where the app may run.
    #[serde(default)]
    pub placement: Placement,
    /// Who may use it.
    #[serde(default)]
    pub access: Access,
}

impl Stream {
    /// What one session of this app takes from a node.
    pub fn needs(&self) -> Resources {
        Resources {
            cpu_millis: self.resources.cpu.0,
            memory: self.resources.memory,
            encoders: 1,
        }
    }
}

/// The picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Screen {
    /// Pixels, even, 64 to 3840. Default 1280.
    #[serde(deserialize_with = "width")]
    pub width: u16,
    /// Pixels, even, 64 to 2160. Default 720.
    #[serde(deserialize_with = "height")]
    pub height: u16,
    /// What the picture shows. Default `auto`.
    pub content: Content,
    /// Frames a second at most, 1 to 120. Default 60.
    #[serde(deserialize_with = "max_fps")]
    pub max_fps: u8,
    /// Whether the picture follows the size of the terminal's window. Default false.
    pub resizable: bool,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            width: 1280,
            height: 720,
            content: Content::Auto,
            max_fps: 60,
            resizable: false,
        }
    }
}

/// What a picture shows, which decides how it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Games, video, 3D.
    Motion,
    /// Desktops, browsers, editors.
    Text,
    /// Chosen from the share of the picture that changes.
    Auto,
}

/// The hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Input {
    /// Keyboard and mouse, or a finger. Default `keyboard`.
    pub kind: InputKind,
    /// Whether the app wants pointer lock. Default false.
    pub relative_pointer: bool,
    /// The XKB layout of the app's keyboard. Default `us`.
    pub layout: String,
    /// Gamepad buttons of the Standard Gamepad (`button0` …) to keys by W3C code.
    pub gamepad: BTreeMap<String, String>,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            kind: InputKind::Keyboard,
            relative_pointer: false,
            layout: "us".into(),
            gamepad: BTreeMap::new(),
        }
    }
}

/// What the app is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// Keyboard and mouse.
    Keyboard,
    /// A finger on glass.
    Touch,
}

/// The sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sound {
    /// Whether the app makes any. Default false.
    pub enabled: bool,
}

/// What one session takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Needs {
    /// Cores, 0.01 to 64. Default 0.5.
    pub cpu: Cores,
    /// Memory, as in "256MB". Default 256 MB.
    pub memory: Bytes,
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            cpu: Cores(500),
            memory: Bytes::mb(256),
        }
    }
}

/// Cores in thousandths; written as a number of cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::ToSchema)]
#[schema(value_type = f64)]
pub struct Cores(pub u32);

impl Serialize for Cores {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1e3)
    }
}

impl<'de> Deserialize<'de> for Cores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cores = f64::deserialize(deserializer)?;
        if (0.01..=64.0).contains(&cores) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 10 and 64,000 by the line above"
            )]
            Ok(Self((cores * 1e3).round() as u32))
        } else {
            Err(serde::de::Error::custom(format!(
                "{cores} cores: expected 0.01 to 64"
            )))
        }
    }
}

/// How long a session lives and what a move means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SessionRules {
    /// What happens to the instance when its terminal moves. Default `stay`.
    pub on_move: OnMove,
    /// How long an instance waits for its terminal to return. Default 60, at most 86,400.
    #[serde(deserialize_with = "seconds")]
    pub reconnect_grace_secs: u32,
    /// How long a session lives without input. 0 means for ever. Default 0, at most 86,400.
    #[serde(deserialize_with = "seconds")]
    pub idle_limit_secs: u32,
}

impl Default for SessionRules {
    fn default() -> Self {
        Self {
            on_move: OnMove::Stay,
            reconnect_grace_secs: 60,
            idle_limit_secs: 0,
        }
    }
}

impl SessionRules {
    /// How long an instance waits for its terminal to return.
    pub fn reconnect_grace(&self) -> Duration {
        Duration::from_secs(self.reconnect_grace_secs.into())
    }

    /// How long a session lives without input, if not for ever.
    pub fn idle_limit(&self) -> Option<Duration> {
        (self.idle_limit_secs > 0).then(|| Duration::from_secs(self.idle_limit_secs.into()))
    }
}

/// What happens to an instance when its terminal moves: a program's memory cannot travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMove {
    /// The instance stays; the terminal enters at its nearest edge and the relays carry the picture.
    Stay,
    /// A new instance at the nearest edge takes over.
    Restart,
}

/// Where an app may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Placement {
    /// Instances kept started and frozen on each node, 0 to 16. Default 0.
    #[serde(deserialize_with = "warm")]
    pub warm: u8,
    /// Up to this round trip a place is as good as any. Default 60 ms.
    pub latency_soft_ms: u32,
    /// Beyond this round trip a place is refused. Default 400 ms.
    pub latency_hard_ms: u32,
    /// The only sites allowed; empty means all. Default empty.
    pub sites: Vec<SiteName>,
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            warm: 0,
            latency_soft_ms: 60,
            latency_hard_ms: 400,
            sites: Vec::new(),
        }
    }
}

fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let command = Vec::<String>::deserialize(deserializer)?;
    match command.first() {
        Some(program) if !program.is_empty() => Ok(command),
        _ => Err(serde::de::Error::custom(
            "the command is empty: write the program and its arguments, as in [\"xterm\", \"-e\", \"top\"]",
        )),
    }
}

fn side<'de, D: Deserializer<'de>>(deserializer: D, what: &str, max: u16) -> Result<u16, D::Error> {
    let pixels = within(deserializer, what, SIDE_MIN, max)?;
    if pixels.is_multiple_of(2) {
        Ok(pixels)
    } else {
        Err(serde::de::Error::custom(format!(
            "{what} is {pixels}: video needs even numbers, so {} would do",
            pixels - 1
        )))
    }
}

fn width<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    side(deserializer, "the width", WIDTH_MAX)
}

pub(super) fn height<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    side(deserializer, "the height", HEIGHT_MAX)
}

fn max_fps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    within(deserializer, "max_fps", 1, 120)
}

fn warm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    within(deserializer, "warm", 0, 16)
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    within(deserializer, "the time", 0, 86_400)
}
