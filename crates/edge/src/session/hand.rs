//! The terminals of a session: each connection publishes its input, and we subscribe to it.
//!
//! Input goes from here straight into the X server: it waits for nothing that the session does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use api::session::ScreenSize;
use model::input::{CLIPBOARD_MAX, Control, InputEvent};
use relay::priority;
use relay::subscribe::{Preferences, Subscription};
use render::pipeline::PipelineHandle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::shared::Shared;

/// Connections of one session at once: two while one takes over from the other, and some that
/// their transport has not given up yet.
const CONNECTIONS_MAX: usize = 8;

/// Control messages that wait for the session; beyond, they are dropped. Ten a second are usual.
const MESSAGES_MAX: usize = 64;

/// Events in one frame. A terminal that sends more is not a hand.
const EVENTS_MAX: usize = 512;

/// How long a track may take to come after its broadcast was announced.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(10);

/// Input that is late is still input: losing a key's release is worse than a late one.
const INPUT_AGE: Duration = Duration::from_secs(10);

/// Reports and pings that are late are worth nothing.
const CONTROL_AGE: Duration = Duration::from_millis(500);

/// A control message and the connection it came by.
pub(super) struct Message {
    pub(super) from: String,
    pub(super) control: Control,
}

/// The connections of a session's terminal.
pub(super) struct Hands {
    shared: Arc<Shared>,
    sink: Arc<Sink>,
    /// The token ends the connection's tasks; the number says which is newest.
    joined: BTreeMap<String, (u64, CancellationToken)>,
    next: u64,
    messages: mpsc::Sender<Message>,
    messages_rx: Option<mpsc::Receiver<Message>>,
}

/// Where input goes.
#[derive(Default)]
struct Sink {
    pipeline: RwLock<Option<PipelineHandle>>,
    touched: AtomicBool,
    /// How large the terminal wants the screen to be: only the newest wish counts.
    wish: watch::Sender<Option<ScreenSize>>,
}

impl Hands {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (messages, messages_rx) = mpsc::channel(MESSAGES_MAX);
        Self {
            shared,
            sink: Arc::default(),
            joined: BTreeMap::new(),
            next: 0,
            messages,
            messages_rx: Some(messages_rx),
        }
    }

    /// What terminals say beside their input. Can be taken once.
    pub(super) fn messages(&mut self) -> mpsc::Receiver<Message> {
        self.messages_rx
            .take()
            .expect("the session takes it once, at its start")
    }

    /// How large the terminal wants the screen to be, if it ever said so.
    pub(super) fn wishes(&self) -> watch::Receiver<Option<ScreenSize>> {
        self.sink.wish.subscribe()
    }

    /// Input goes to this app from now on.
    pub(super) fn attach(&self, pipeline: PipelineHandle) {
        *self
            .sink
            .pipeline
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(pipeline);
    }

    /// Input goes nowhere from now on.
    pub(super) fn detach(&self) {
        *self
            .sink
            .pipeline
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A connection publishes its input at `path`.
    pub(super) fn join(&mut self, path: String) {
        if self.joined.len() >= CONNECTIONS_MAX {
            debug!(path, "too many connections of one terminal");
            return;
        }
        let stop = self.shared.stop.child_token();
        let events = read(
            Arc::clone(&self.shared),
            path.clone(),
            "events",
            INPUT_AGE,
            Reader::Events(Arc::clone(&self.sink)),
        );
        let control = read(
            Arc::clone(&self.shared),
            path.clone(),
            "control",
            CONTROL_AGE,
            Reader::Control(self.messages.clone()),
        );
        let ended = stop.clone();
        self.shared.tracker.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                ((), ()) = futures::future::join(events, control) => {}
            }
        });
        self.next += 1;
        self.joined.insert(path, (self.next, stop));
    }

    /// The connection is gone.
    pub(super) fn leave(&mut self, path: &str) {
        if let Some((_, stop)) = self.joined.remove(path) {
            stop.cancel();
        }
    }

    /// Whether this is the connection that came last.
    pub(super) fn is_newest(&self, path: &str) -> bool {
        let newest = self.joined.values().map(|(number, _)| number).max();
        self.joined.get(path).map(|(number, _)| number) == newest
    }

    /// Whether a hand has moved since the last call.
    pub(super) fn take_touched(&self) -> bool {
        self.sink.touched.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        for (_, stop) in self.joined.values() {
            stop.cancel();
        }
    }
}

/// What to do with the frames of a track.
enum Reader {
    Events(Arc<Sink>),
    Control(mpsc::Sender<Message>),
}

async fn read(
    shared: Arc<Shared>,
    path: String,
    track: &'static str,
    max_age: Duration,
    reader: Reader,
) {
    let preferences = Preferences {
        priority: priority::INPUT,
        max_age,
    };
    let subscribe = shared.relay.subscribe(&path, track, preferences);
    let mut subscription = match tokio::time::timeout(SUBSCRIBE_MAX, subscribe).await {
        Ok(Ok(subscription)) => subscription,
        Ok(Err(error)) => return debug!(path, track, %error, "no input from this connection"),
        Err(_) => return debug!(path, track, "this connection publishes no input"),
    };
    while let Some(payload) = next(&mut subscription).await {
        match &reader {
            Reader::Events(sink) => match events(&payload) {
                Ok(events) => {
                    shared
                        .metrics
                        .inputs
                        .add(u64::try_from(events.len()).unwrap_or(u64::MAX));
                    sink.give(events);
                }
                Err(why) => debug!(path, why, "not input"),
            },
            Reader::Control(messages) => match serde_json::from_slice(&payload) {
                // A full queue means that the session is behind: later reports say more.
                Ok(control) => drop(messages.try_send(Message {
                    from: path.clone(),
                    control,
                })),
                Err(error) => debug!(path, %error, "not a control message"),
            },
        }
    }
}

async fn next(subscription: &mut Subscription) -> Option<bytes::Bytes> {
    match subscription.next().await {
        Ok(frame) => frame.map(|it| it.payload),
        Err(error) => {
            debug!(%error, "input broke off");
            None
        }
    }
}

/// Reads a frame of the `events` track.
fn events(payload: &[u8]) -> Result<Vec<InputEvent>, String> {
    // A clipboard's text may double in JSON.
    let limit = 2 * usize::try_from(CLIPBOARD_MAX.get()).unwrap_or(usize::MAX);
    if payload.len() > limit {
        return Err(format!("{} bytes in one frame", payload.len()));
    }
    let events: Vec<InputEvent> =
        serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    if events.len() > EVENTS_MAX {
        return Err(format!("{} events in one frame", events.len()));
    }
    Ok(events)
}

impl Sink {
    fn give(&self, events: Vec<InputEvent>) {
        self.touched.store(true, Ordering::Relaxed);
        let wished = events.iter().rev().find_map(|event| match *event {
            InputEvent::Resize { width, height, .. } => Some(ScreenSize { width, height }),
            _ => None,
        });
        if wished.is_some() {
            self.wish.send_replace(wished);
        }
        let pipeline = self.pipeline.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = &*pipeline {
            pipeline.input(events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_read_and_nonsense_is_not() {
        let good = br#"[{"t":"key","seq":1,"code":"KeyA","down":true},{"t":"release"}]"#;
        assert_eq!(events(good).unwrap().len(), 2);
        for bad in [&b"{}"[..], b"[1]", b"\xff", b"[{\"t\":\"warp\"}]"] {
            assert!(events(bad).is_err());
        }
        let many = format!("[{}]", vec![r#"{"t":"release"}"#; EVENTS_MAX + 1].join(","));
        assert!(events(many.as_bytes()).is_err());
    }
}
