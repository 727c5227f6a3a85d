//! Gets ready for what viewers here are about to turn to. Of every camera it is known how its own
//! pictures are sent, which spares a round trip; of the views that are hot the smallest rendition is received,
//! so that it is made, and here, before it is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::live::{self, rendition_track};
use logic::view::{Audience, Sent, seats};
use model::manifest::Live as Event;
use model::{AppName, CameraName};
use relay::camera::VIDEO_TRACK;
use relay::priority;
use relay::subscribe::{Announcement, Known, Preferences};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::{Live, viewer_label};
use crate::shared::Shared;

/// How often we look who watches what. Hands turn more slowly than a tenth of this would show.
const LOOK: Duration = Duration::from_millis(500);

/// Views of an event that are received ahead. Each costs the link its smallest rendition, and an
/// encoder where it is made.
const AHEAD_MAX: usize = 4;

/// Whatever somebody watches goes first.
const HIDDEN: Preferences = Preferences {
    priority: priority::AHEAD,
    max_age: Duration::ZERO,
};

/// How long an answer is waited for. Without, viewers wait for it themselves.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// After a track that is received ahead broke off.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks after every event here until the node stops.
pub(super) async fn run(live: Arc<Live>) {
    let mut events: BTreeMap<AppName, Ahead> = BTreeMap::new();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = live.shared.stop.cancelled() => return,
        }
        let present = live.events();
        events.retain(|name, ahead| {
            let event = present.get(name);
            event.is_some_and(|it| *it == ahead.event)
        });
        for (name, event) in present {
            let ahead = events.entry(name).or_insert_with(|| Ahead::new(event));
            ahead.look(&live.shared);
        }
    }
}

/// One event.
struct Ahead {
    event: Arc<Event>,
    audience: Audience,
    /// What is received ahead; it ends with its guard.
    held: BTreeMap<CameraName, DropGuard>,
    /// Keeps track of how cameras are sent, while anybody watches.
    knowing: Option<DropGuard>,
}

impl Ahead {
    fn new(event: Arc<Event>) -> Self {
        Self {
            audience: Audience::new(&seats(&event), Instant::now()),
            event,
            held: BTreeMap::new(),
            knowing: None,
        }
    }

    fn look(&mut self, shared: &Arc<Shared>) {
        let viewers = self.sent(shared);
        if viewers.is_empty() {
            self.knowing = None;
        } else if self.knowing.is_none() {
            let stop = shared.stop.child_token();
            let knowing = know(Arc::clone(shared), Arc::clone(&self.event), stop.clone());
            shared.tracker.spawn(knowing);
            self.knowing = Some(stop.drop_guard());
        }
        // Without a smaller form nothing is cheap enough to be received for nobody.
        let Some(form) = self.event.renditions.last() else {
            return;
        };
        let now = Instant::now();
        self.audience.handle_look(viewers, now);
        let hot = self.audience.hot(AHEAD_MAX, now);
        self.held.retain(|camera, _| hot.contains(camera));
        for camera in hot {
            let event = &self.event.name;
            self.held.entry(camera).or_insert_with_key(|camera| {
                debug!(%event, %camera, "viewers turn to a camera: it is received ahead");
                let stop = shared.stop.child_token();
                let hold = hold(
                    Arc::clone(shared),
                    live::broadcast(event, camera),
                    rendition_track(&form.name),
                    stop.clone(),
                );
                shared.tracker.spawn(hold);
                stop.drop_guard()
            });
        }
    }

    /// What each viewer who entered here was sent of each camera.
    fn sent(&self, shared: &Shared) -> BTreeMap<u64, Sent> {
        let root = format!("{}/", live::root(&self.event.name));
        let camera = |path: &str| path.strip_prefix(&root)?.parse().ok();
        let deliveries = shared.relay.deliveries(&viewer_label(&self.event.name));
        let viewers = deliveries.into_iter().map(|it| {
            let sent = it.broadcasts.into_iter();
            let sent = sent.filter_map(|(path, bytes)| Some((camera(&path)?, bytes)));
            (it.connection.0, sent.collect())
        });
        viewers.collect()
    }
}

/// Asks how each camera's own pictures are sent when it goes on air, and keeps the answers, until
/// `stop`.
async fn know(shared: Arc<Shared>, event: Arc<Event>, stop: CancellationToken) {
    let Ok(mut cameras) = shared.relay.announcements(&live::root(&event.name)) else {
        return;
    };
    // Bounded by the event's cameras, which are all that can be published below its name.
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let follow = async {
        while let Some(change) = cameras.next().await {
            match change {
                Announcement::Ended(path) => drop(known.remove(&path)),
                Announcement::Started(path) => {
                    let asked = shared.relay.ask_ahead(&path, VIDEO_TRACK);
                    if let Ok(Ok(answer)) = tokio::time::timeout(ANSWER_MAX, asked).await {
                        known.insert(path, answer);
                    }
                }
            }
        }
    };
    tokio::select! {
        () = follow => {}
        () = stop.cancelled() => {}
    }
}

/// Receives a track for nobody in particular until `stop`.
async fn hold(shared: Arc<Shared>, path: String, track: String, stop: CancellationToken) {
    let receive = async {
        loop {
            if let Ok(mut track) = shared.relay.subscribe(&path, &track, HIDDEN).await {
                while let Ok(Some(_)) = track.next().await {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = receive => {}
        () = stop.cancelled() => {}
    }
}
