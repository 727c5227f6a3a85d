//! What a terminal sends to its app: events of the hand, and the control messages beside them.
//!
//! These are also the wire types of a session's `events`, `control` and `pong` tracks: JSON, tagged
//! by `t`. `docs/protocol.md` has the whole picture.

use serde::{Deserialize, Serialize};

/// The longest clipboard text either way.
pub const CLIPBOARD_MAX: crate::Bytes = crate::Bytes::new(256 * 1024);

/// The longest text of one [`InputEvent::Text`] in bytes: a long word, not a document.
pub const TEXT_MAX: usize = 1024;

/// The number of an event: increasing over the life of a terminal's page, starting at 1. Zero means
/// none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputSeq(pub u32);

/// One event of a person's hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum InputEvent {
    /// A key by its physical place, as W3C's `KeyboardEvent.code`.
    Key {
        seq: InputSeq,
        code: String,
        down: bool,
    },
    /// Text without a key of its own: another script, a virtual keyboard. At most [`TEXT_MAX`].
    Text { seq: InputSeq, text: String },
    /// The pointer, as fractions of the picture from its top left, 0 to 1.
    Move { seq: InputSeq, x: f32, y: f32 },
    /// The pointer moved by so many pixels of the picture.
    Relative { seq: InputSeq, dx: f32, dy: f32 },
    /// A pointer button by its DOM number: 0 left, 1 middle, 2 right, 3 back, 4 forward.
    Button {
        seq: InputSeq,
        button: u8,
        down: bool,
        /// Where, as in [`InputEvent::Move`]; absent under pointer lock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        x: Option<f32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        y: Option<f32>,
    },
    /// The wheel in notches, positive is right and down. Fractions add up.
    Wheel { seq: InputSeq, dx: f32, dy: f32 },
    /// The terminal's clipboard changed. At most [`CLIPBOARD_MAX`].
    Clipboard { seq: InputSeq, text: String },
    /// The terminal's window changed to so many pixels.
    Resize {
        seq: InputSeq,
        width: u16,
        height: u16,
    },
    /// A gamepad button by its number in the Standard Gamepad layout; the manifest maps it to a key.
    Gamepad {
        seq: InputSeq,
        button: u8,
        down: bool,
    },
    /// The terminal lost the focus: every key and button is up.
    Release,
}

impl InputEvent {
    /// The event's number, if it has one.
    pub const fn seq(&self) -> Option<InputSeq> {
        match self {
            Self::Key { seq, .. }
            | Self::Text { seq, .. }
            | Self::Move { seq, .. }
            | Self::Relative { seq, .. }
            | Self::Button { seq, .. }
            | Self::Wheel { seq, .. }
            | Self::Clipboard { seq, .. }
            | Self::Resize { seq, .. }
            | Self::Gamepad { seq, .. } => Some(*seq),
            Self::Release => None,
        }
    }
}

/// A message of a session's `control` track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Control {
    /// Answer with a [`Pong`] at once.
    Ping { id: u32, at: f64 },
    /// The picture is lost: send a keyframe.
    Keyframe,
    /// How the picture arrived.
    Report(Report),
}

/// How the picture arrived in the last window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Frames that arrived.
    pub received: u32,
    /// Frames that were sent and never arrived.
    pub lost: u32,
    /// The 95th percentile of arrival minus capture time, less its minimum over the last 10 s.
    pub late_ms: f32,
    /// Frames waiting for the decoder.
    pub decode_queue: u32,
    /// The round trip to the app's node and back, over every hop between.
    pub round_trip_ms: f32,
    /// The length of the window.
    pub window_ms: f32,
    /// Payload of the picture that arrived.
    pub bytes: u32,
}

/// The answer to [`Control::Ping`], on the `pong` track.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    /// The ping's number.
    pub id: u32,
    /// The ping's own time, echoed.
    pub at: f64,
}
