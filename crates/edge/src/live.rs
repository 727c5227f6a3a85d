//! Live events at this node: cameras that publish here, and the smaller renditions of them that
//! somebody watches.
//!
//! A camera is a task ([`camera`]) from its admission to its end. Its broadcast goes into the relay,
//! where viewers and other nodes pull it: once for each node, only while somebody there watches.

mod ahead;
mod board;
mod camera;
mod gates;
mod moments;
mod renditions;
mod webrtc;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use api::link::{CameraSummary, Plan, PlannedStreamKey};
use api::live::Offsets;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use logic::mediaclock::Offset;
use model::manifest::Live as Event;
use model::{AppName, CameraName, Manifest};
use relay::Refusal;
use relay::camera::Told;
use relay::ingest::{Admit, Admitted, Asked, Limits};
use relay::media::publication;
use relay::webrtc::WebRtc;
use tokio::sync::Semaphore;

use crate::shared::Shared;
use board::Boards;
use camera::Camera;
pub(crate) use gates::Gates;
pub(crate) use moments::notice;

/// What viewers' connections are called; the event's name follows.
const VIEWER: &str = "viewer of ";

/// What a viewer's connection is called.
pub(crate) fn viewer_label(event: &AppName) -> String {
    format!("{VIEWER}{event}")
}

/// The live events of a node.
pub(crate) struct Live {
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// One for each rendition that may be made at a time.
    encoders: Arc<Semaphore>,
    boards: Boards,
    /// Set when its port is open.
    webrtc: OnceLock<WebRtc>,
}

#[derive(Default)]
struct State {
    events: BTreeMap<AppName, Arc<Event>>,
    keys: Vec<PlannedStreamKey>,
    offsets: BTreeMap<AppName, Offsets>,
    cameras: BTreeMap<(AppName, CameraName), Arc<Camera>>,
}

impl Live {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        let encoders = usize::try_from(shared.capacity.encoders).unwrap_or(usize::MAX);
        let live = Arc::new(Self {
            encoders: Arc::new(Semaphore::new(encoders.min(Semaphore::MAX_PERMITS))),
            shared,
            state: Mutex::default(),
            boards: Boards::default(),
            webrtc: OnceLock::new(),
        });
        let ahead = ahead::run(Arc::clone(&live));
        live.shared.tracker.spawn(ahead);
        live
    }

    /// The events that are planned here.
    fn events(&self) -> BTreeMap<AppName, Arc<Event>> {
        self.lock().events.clone()
    }

    /// Takes over what the center plans, and cuts off whose key or event is gone.
    pub(crate) fn adopt(&self, plan: &Plan) {
        let mut state = self.lock();
        let live = plan.releases.iter().filter_map(|it| match &it.manifest {
            Manifest::Live(event) => Some((event.name.clone(), Arc::new(event.clone()))),
            Manifest::Stream(_) => None,
        });
        state.events = live.collect();
        state.keys.clone_from(&plan.stream_keys);
        state.offsets.clone_from(&plan.offsets);
        let State {
            events,
            keys,
            offsets,
            cameras,
        } = &*state;
        for ((event, name), camera) in cameras {
            camera.correct(offset(offsets, event, name));
            let event = events.get(event);
            let known = event.is_some_and(|it| it.camera(name).is_some());
            let allowed = keys.iter().any(|it| it.hash == camera.key_hash);
            if !(known && allowed) {
                tracing::info!(camera = %name, "a camera is cut off: its key or its event is gone");
                camera.end(if known {
                    "the stream key was taken back"
                } else {
                    "the event has no such camera any more"
                });
            }
        }
    }

    /// Every camera that publishes here.
    pub(crate) fn cameras(&self) -> Vec<CameraSummary> {
        let state = self.lock();
        let cameras = state.cameras.iter();
        cameras
            .map(|((event, name), camera)| CameraSummary {
                event: event.clone(),
                camera: name.clone(),
                status: camera.status(),
            })
            .collect()
    }

    /// What is known of each camera of an event that publishes here.
    fn told(&self, event: &AppName) -> Vec<(CameraName, Told)> {
        let state = self.lock();
        let cameras = state.cameras.iter().filter(|((of, _), _)| of == event);
        cameras
            .map(|((_, name), camera)| (name.clone(), camera.told()))
            .collect()
    }

    /// Viewers that entered here, for each event that has any.
    pub(crate) fn viewers(&self) -> Vec<(AppName, u32)> {
        let mut viewers: BTreeMap<AppName, u32> = BTreeMap::new();
        let connections = self.shared.relay.connections().into_iter();
        let sessions = self.webrtc.get().map(WebRtc::labels).unwrap_or_default();
        for label in connections.map(|it| it.label).chain(sessions) {
            let event = label.strip_prefix(VIEWER);
            if let Some(event) = event.and_then(|it| it.parse().ok()) {
                *viewers.entry(event).or_default() += 1;
            }
        }
        viewers.into_iter().collect()
    }

    /// A publication that its key opens. One that is there already makes way: an encoder that lost
    /// its connection comes back before we notice.
    pub(crate) fn decide(self: &Arc<Self>, asked: &Asked) -> Result<Admitted, Refusal> {
        let mut state = self.lock();
        let event = state.events.get(&asked.event).cloned();
        let hash = hash(&asked.key);
        // The same words whether event or key is wrong: which events there are is nobody's business.
        let wrong = || {
            let text = format!(
                "the stream key is not good for {}: `selvedge live key create {}` makes one",
                asked.event, asked.event
            );
            Refusal(text.into())
        };
        let mut keys = state.keys.iter();
        let good = keys.any(|it| {
            let here = it.event == asked.event;
            here && it.hash == hash && it.camera.as_ref().is_none_or(|it| *it == asked.camera)
        });
        let event = event.filter(|_| good).ok_or_else(wrong)?;
        if event.camera(&asked.camera).is_none() {
            let known: Vec<_> = event.cameras.iter().map(|it| it.name.as_str()).collect();
            let text = format!(
                "{} has no camera {}: it has {}",
                event.name,
                asked.camera,
                known.join(", ")
            );
            return Err(Refusal(text.into()));
        }
        let (sink, publication) = publication();
        let limits = Limits {
            video: event.ingest.video.clone(),
            audio: event.ingest.audio.clone(),
            group_max: event.ingest.group_max(),
            bitrate_max: event.ingest.bitrate_max,
            ..Limits::default()
        };
        let stop = self.shared.stop.child_token();
        let camera = Camera::new(stop, sink.farewell(), hash, asked.gateway);
        camera.correct(offset(&state.offsets, &asked.event, &asked.camera));
        let camera = Arc::new(camera);
        let key = (asked.event.clone(), asked.camera.clone());
        let before = state.cameras.insert(key.clone(), Arc::clone(&camera));
        let (live, shared) = (Arc::clone(self), Arc::clone(&self.shared));
        let encoders = Arc::clone(&self.encoders);
        self.shared.tracker.spawn(async move {
            if let Some(before) = before {
                before.end("another publisher took over this camera");
                before.over.cancelled().await;
            }
            camera::run(&shared, &event, &key.1, &camera, publication, encoders).await;
            camera.over.cancel();
            live.forget(&key, &camera);
        });
        Ok(Admitted { sink, limits })
    }

    fn forget(&self, key: &(AppName, CameraName), camera: &Arc<Camera>) {
        let mut state = self.lock();
        // Its successor may have taken its place.
        if state
            .cameras
            .get(key)
            .is_some_and(|it| Arc::ptr_eq(it, camera))
        {
            state.cameras.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The node's own door: decides without asking the center.
pub(crate) struct Door(pub(crate) Arc<Live>);

impl Admit for Door {
    fn admit(&self, asked: Asked) -> BoxFuture<'_, Result<Admitted, Refusal>> {
        async move { self.0.decide(&asked) }.boxed()
    }
}

/// What is added to a camera's timestamps.
fn offset(offsets: &BTreeMap<AppName, Offsets>, event: &AppName, camera: &CameraName) -> Offset {
    let micros = offsets.get(event).and_then(|it| it.get(camera));
    Offset::micros(micros.copied().unwrap_or_default())
}

/// As the center hashes its secrets: SHA-256, hexadecimal.
fn hash(secret: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
    let bytes = digest.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hashed_as_the_center_does() {
        assert_eq!(
            hash("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
