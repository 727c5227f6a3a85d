//! What is on air of one event, wherever it comes in: told by each camera's broadcast, read once for
//! all viewers here that cannot read it themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use api::live::{self, CameraInfo};
use model::{AppName, CameraName};
use relay::camera::INFO_TRACK;
use relay::priority;
use relay::subscribe::{Announcement, Preferences};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use crate::shared::Shared;

/// The newest is all that counts.
const NEWEST: Preferences = Preferences {
    priority: priority::CURSOR,
    max_age: Duration::ZERO,
};

/// How long a camera's word may take to come over however many nodes. Afterwards it is asked again.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(5);

/// More announcements than an event can have cameras are of no event.
const CAMERAS_MAX: usize = model::manifest::live::CAMERAS_MAX;

/// Cameras that are on air and have said how they send.
pub(super) type OnAir = BTreeMap<CameraName, CameraInfo>;

/// The events that are looked at.
#[derive(Default)]
pub(super) struct Boards(Mutex<BTreeMap<AppName, Weak<Board>>>);

/// One event, for as long as somebody looks.
pub(super) struct Board {
    pub(super) on_air: watch::Receiver<OnAir>,
    _reading: DropGuard,
}

impl Boards {
    pub(super) fn of(&self, shared: &Arc<Shared>, event: &AppName) -> Arc<Board> {
        let mut boards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        boards.retain(|_, it| it.strong_count() > 0);
        if let Some(board) = boards.get(event).and_then(Weak::upgrade) {
            return board;
        }
        let (tx, on_air) = watch::channel(OnAir::new());
        let stop = shared.stop.child_token();
        let reading = read(Arc::clone(shared), event.clone(), tx, stop.clone());
        shared.tracker.spawn(reading);
        let board = Arc::new(Board {
            on_air,
            _reading: stop.drop_guard(),
        });
        boards.insert(event.clone(), Arc::downgrade(&board));
        board
    }
}

/// Follows announcements until it is stopped.
async fn read(
    shared: Arc<Shared>,
    event: AppName,
    on_air: watch::Sender<OnAir>,
    stop: CancellationToken,
) {
    let root = live::root(&event);
    let Ok(mut announcements) = shared.relay.announcements(&root) else {
        return;
    };
    let mut readers: BTreeMap<CameraName, DropGuard> = BTreeMap::new();
    loop {
        let announcement = tokio::select! {
            announcement = announcements.next() => announcement,
            () = stop.cancelled() => return,
        };
        let camera = |path: &str| {
            let name = path.strip_prefix(&root)?.strip_prefix('/')?;
            name.parse::<CameraName>().ok()
        };
        match announcement {
            Some(Announcement::Started(path)) => {
                let Some(name) = camera(&path) else { continue };
                if readers.len() >= CAMERAS_MAX {
                    continue;
                }
                let stop = stop.child_token();
                let reading = read_camera(shared.clone(), path, name.clone(), on_air.clone());
                let stopped = stop.clone();
                shared.tracker.spawn(async move {
                    tokio::select! {
                        () = reading => {}
                        () = stopped.cancelled() => {}
                    }
                });
                readers.insert(name, stop.drop_guard());
            }
            Some(Announcement::Ended(path)) => {
                if let Some(name) = camera(&path) {
                    readers.remove(&name);
                    on_air.send_if_modified(|it| it.remove(&name).is_some());
                }
            }
            None => return,
        }
    }
}

/// Follows what one camera says, for as long as it is announced.
async fn read_camera(
    shared: Arc<Shared>,
    path: String,
    name: CameraName,
    on_air: watch::Sender<OnAir>,
) {
    loop {
        let asked = shared.relay.subscribe(&path, INFO_TRACK, NEWEST);
        let Ok(Ok(mut info)) = tokio::time::timeout(SUBSCRIBE_MAX, asked).await else {
            // It is announced, so it comes; or it is retracted, and this ends.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        while let Ok(Some(frame)) = info.next().await {
            match serde_json::from_slice::<CameraInfo>(&frame.payload) {
                Ok(said) if said.video.is_some() => {
                    on_air
                        .send_if_modified(|it| it.insert(name.clone(), said.clone()) != Some(said));
                }
                Ok(_) => {}
                Err(error) => debug!(path, %error, "a camera's word is not understood"),
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
