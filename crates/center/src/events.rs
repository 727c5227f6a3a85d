//! Those who watch: a snapshot first, then every change, a few times a second at most.
//!
//! **Invariant:** a watcher that reads slowly costs a bounded amount of memory: what it misses is
//! made good by a new snapshot.

use std::sync::Arc;
use std::time::Duration;

use api::event::{Event, Removed};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::world::{Dirty, World};

/// An object is told about at most this often.
const INTERVAL: Duration = Duration::from_millis(200);

/// Batches that a slow watcher may fall behind: about three seconds.
const BEHIND_MAX: usize = 16;

/// Watchers at once. A watcher is a person with the console open.
const WATCHERS_MAX: usize = 64;

/// Silence is broken this often, so that proxies and watchers know that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Tells all watchers.
pub(crate) struct Hub {
    batches: broadcast::Sender<Bytes>,
    places: Arc<Semaphore>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            batches: broadcast::Sender::new(BEHIND_MAX),
            places: Arc::new(Semaphore::new(WATCHERS_MAX)),
        }
    }
}

/// One watcher's place.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    batches: broadcast::Receiver<Bytes>,
    first: Option<Bytes>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// Takes a place; `None` when there are too many watchers.
    pub(crate) fn new(shared: &Arc<Shared>, stop: CancellationToken) -> Option<Self> {
        let place = Arc::clone(&shared.hub.places).try_acquire_owned().ok()?;
        let (first, batches) = begin(shared);
        Some(Self {
            shared: Arc::clone(shared),
            batches,
            first: Some(first),
            stop,
            _place: place,
        })
    }

    /// The next piece of the stream; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let batch = tokio::select! {
            () = self.stop.cancelled() => return None,
            batch = tokio::time::timeout(KEEP_ALIVE, self.batches.recv()) => batch,
        };
        match batch {
            Ok(Ok(batch)) => Some(batch),
            Ok(Err(broadcast::error::RecvError::Closed)) => None,
            Ok(Err(broadcast::error::RecvError::Lagged(_))) => {
                self.shared.metrics.events.lagged.add(1);
                let (first, batches) = begin(&self.shared);
                self.batches = batches;
                Some(first)
            }
            Err(_) => Some(Bytes::from_static(b": alive\n\n")),
        }
    }
}

/// A snapshot, and a place in the stream of changes right behind it.
fn begin(shared: &Shared) -> (Bytes, broadcast::Receiver<Bytes>) {
    let (snapshot, batches) = {
        // `run` publishes under the same lock, so nothing falls between the two.
        let world = shared.world();
        let snapshot = world.snapshot(&shared.config.places);
        (snapshot, shared.hub.batches.subscribe())
    };
    shared.metrics.events.snapshots.add(1);
    let mut text = Vec::new();
    write_event(&mut text, &Event::Snapshot(Box::new(snapshot)));
    (text.into(), batches)
}

/// Publishes what has changed until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let stopped = stop.run_until_cancelled(async {
        loop {
            shared.wake.events.notified().await;
            publish(&shared);
            tokio::time::sleep(INTERVAL).await;
        }
    });
    stopped.await;
}

fn publish(shared: &Shared) {
    let mut world = shared.world();
    let dirty = std::mem::take(&mut world.dirty);
    if shared.hub.batches.receiver_count() == 0 {
        return;
    }
    let events = events(&world, dirty);
    if events.is_empty() {
        return;
    }
    shared.metrics.events.published.add(events.len() as u64);
    let mut text = Vec::new();
    for event in &events {
        write_event(&mut text, event);
    }
    // Fails only when the last watcher has just left.
    let _ = shared.hub.batches.send(text.into());
}

fn events(world: &World, dirty: Dirty) -> Vec<Event> {
    let mut events = Vec::new();
    for (kind, id) in dirty.removed {
        events.push(Event::Removed(Removed { kind, id }));
    }
    let sites = dirty.sites.iter().filter_map(|it| world.site_view(it));
    events.extend(sites.map(Event::Site));
    let nodes = dirty.nodes.iter().filter_map(|it| world.node_view(*it));
    events.extend(nodes.map(Event::Node));
    let apps = dirty.apps.iter().filter_map(|it| world.app_view(it));
    events.extend(apps.map(|it| Event::App(Box::new(it))));
    let sessions = dirty.sessions.iter();
    let sessions = sessions.filter_map(|it| world.session_view(*it));
    events.extend(sessions.map(Event::Session));
    if dirty.links {
        events.push(Event::Links(world.link_views()));
    }
    events
}

/// The event as it stands in the stream: its name and its data, each on one line.
fn write_event(text: &mut Vec<u8>, event: &Event) {
    let whole = serde_json::to_value(event).expect("events are maps with text keys");
    let name = whole["event"].as_str().unwrap_or_default();
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\ndata: ");
    serde_json::to_writer(&mut *text, &whole["data"]).expect("writing to memory does not fail");
    text.extend_from_slice(b"\n\n");
}
