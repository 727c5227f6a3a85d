//! What a session's host tells its terminal on the `status` track. JSON, tagged by `t`.

use std::collections::BTreeMap;

use model::manifest::InputKind;
use model::{AppName, NodeId, SiteName};
use serde::{Deserialize, Serialize};

use crate::session::{Offer, Ticket};

/// A message of a session's `status` track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Status {
    /// Who serves, and what the terminal may do. First, and again whenever it changes.
    Hello(Hello),
    /// How the app is.
    App {
        state: AppState,
        /// Why it is so, in words for a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The app put a text on its clipboard.
    Clipboard { text: String },
    /// Use this ticket now; keep the old picture until the new one is there.
    Ticket {
        ticket: Box<Ticket>,
        why: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offer: Option<Offer>,
    },
    /// The session ends here.
    Bye {
        reason: ByeReason,
        /// In words for a person.
        text: String,
    },
}

/// Who serves a session, and what its terminal may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The site that runs the app.
    pub site: SiteName,
    /// The node that runs the app.
    pub node: NodeId,
    /// The app.
    pub app: AppName,
    /// What people read.
    pub title: String,
    /// The picture's width in pixels.
    pub width: u16,
    /// The picture's height in pixels.
    pub height: u16,
    /// Whether `resize` is obeyed.
    pub resizable: bool,
    /// What the app is made for.
    pub input: InputKind,
    /// Whether the app wants pointer lock.
    pub relative_pointer: bool,
    /// Whether there is sound.
    pub sound: SoundState,
    /// Gamepad buttons that mean something: `button0` … to W3C codes.
    pub gamepad: BTreeMap<String, String>,
}

/// Whether there is sound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundState {
    /// Whether the `audio` track carries any.
    pub available: bool,
    /// Why not, in words for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How an app is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// It is coming up.
    Starting,
    /// It runs.
    Running,
    /// It stopped by itself and is started again.
    Restarting,
    /// It stopped too often, or cannot be started.
    Failed,
}

/// Why a session ends at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// Another node serves it now.
    Superseded,
    /// Somebody closed it.
    Closed,
    /// Nobody touched it for longer than its idle limit.
    Idle,
    /// The app failed for good.
    Failed,
    /// The node is shutting down.
    Draining,
}
