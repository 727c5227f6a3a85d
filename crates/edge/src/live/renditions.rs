//! The smaller renditions of one camera, made while somebody wants them: its own stream is decoded
//! once, and encoded once for each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::live::rendition_track;
use futures::StreamExt as _;
use model::RenditionName;
use model::manifest::live::Rendition;
use model::media::{VideoCodec, VideoConfig};
use model::picture::Header;
use relay::camera::{Told, VIDEO_TRACK};
use relay::priority;
use relay::publish::{Broadcast, Demand, PublishError, Track, TrackOptions};
use relay::subscribe::{Preferences, Subscription};
use render::transcode::{Made, Transcoder, Unit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};
use tracing::{debug, warn};

use crate::shared::Shared;

/// How far a group may fall behind the newest and still be sent.
const KEEP: Duration = Duration::from_secs(2);

/// A rendition is made for so long after its last viewer has left: who turns to and fro finds it
/// there.
const LINGER: Duration = Duration::from_secs(3);

/// How often we look whether somebody still wants what is made, or an encoder is free for what is not.
const LOOK: Duration = Duration::from_millis(500);

/// How long the camera's own track may take to come: it is ours.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(2);

/// The open group from its keyframe, however long it is open.
const OWN: Preferences = Preferences {
    priority: priority::VIDEO,
    max_age: Duration::ZERO,
};

/// The renditions that a camera can have: smaller than its own picture, which must be H.264.
pub(super) fn possible(renditions: &[Rendition], own: Option<&VideoConfig>) -> Vec<RenditionName> {
    let own = own.filter(|it| it.codec == VideoCodec::H264);
    let lines = own.map_or(0, |it| it.height);
    let smaller = renditions.iter().filter(|it| it.height < lines);
    smaller.map(|it| it.name.clone()).collect()
}

/// The renditions of one camera.
pub(super) struct Renditions {
    forms: Vec<Rendition>,
    shelves: Vec<Shelf>,
    encoders: Arc<Semaphore>,
}

/// One rendition.
struct Shelf {
    track: Track,
    wanted_at: Option<Instant>,
    /// Its place among the node's encoders, while it is made.
    permit: Option<OwnedSemaphorePermit>,
}

/// What makes them, while it runs.
struct Workshop {
    own: Subscription,
    transcoder: Transcoder,
    made: mpsc::Receiver<Made>,
}

impl Renditions {
    /// Adds their tracks to the camera's broadcast.
    pub(super) fn open(
        broadcast: &Broadcast,
        forms: &[Rendition],
        encoders: Arc<Semaphore>,
    ) -> Result<Self, PublishError> {
        let options = TrackOptions {
            priority: priority::VIDEO,
            keep: KEEP,
        };
        let shelf = |form: &Rendition| {
            Ok(Shelf {
                track: broadcast.track(&rendition_track(&form.name), options)?,
                wanted_at: None,
                permit: None,
            })
        };
        Ok(Self {
            forms: forms.to_vec(),
            shelves: forms.iter().map(shelf).collect::<Result<_, _>>()?,
            encoders,
        })
    }

    /// Makes what is wanted of the camera at `path`, for as long as it is on air.
    pub(super) async fn run(
        mut self,
        shared: &Shared,
        path: &str,
        mut told: watch::Receiver<Told>,
        making: &watch::Sender<Vec<RenditionName>>,
    ) {
        let mut workshop: Option<Workshop> = None;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                made = made(workshop.as_mut()) => match made {
                    Some(Work::Made(made)) => self.write(&made),
                    Some(Work::Own(unit)) => {
                        if let Some(shop) = &workshop && !shop.transcoder.push(unit) {
                            workshop = None;
                        }
                    }
                    None => workshop = None,
                },
                () = self.something_changes(&told, &mut look) => {
                    told.mark_unchanged();
                    if !self.follow_demand(&told) && workshop.is_some() == self.is_busy() {
                        continue;
                    }
                    making.send_replace(self.chosen());
                    if !self.is_busy() {
                        workshop = None;
                    } else if workshop.is_none() {
                        workshop = self.start(shared, path).await;
                    }
                    if let Some(shop) = &workshop {
                        let wanted = self.shelves.iter().map(|it| it.permit.is_some());
                        shop.transcoder.want(wanted.collect());
                    }
                }
            }
        }
    }

    /// Waits until there is something to look at: somebody wants what nobody wanted, the camera has
    /// told of itself, or, while anything is wanted, a while is over. Nothing ticks otherwise.
    fn something_changes(
        &self,
        told: &watch::Receiver<Told>,
        look: &mut Interval,
    ) -> impl Future<Output = ()> {
        let possible = possible(&self.forms, told.borrow().video.as_ref());
        let shelves = self.forms.iter().zip(&self.shelves);
        let idle = shelves
            .filter(|(form, shelf)| shelf.wanted_at.is_none() && possible.contains(&form.name));
        let idle: Vec<Demand> = idle.map(|(_, shelf)| shelf.track.demand()).collect();
        let wanted = self.shelves.iter().any(|it| it.wanted_at.is_some());
        let mut told = told.clone();
        async move {
            let anybody = idle.iter().map(|it| Box::pin(it.wanted()));
            let anybody: futures::stream::FuturesUnordered<_> = anybody.collect();
            let mut anybody = std::pin::pin!(anybody.filter(|it| futures::future::ready(*it)));
            tokio::select! {
                Some(_) = anybody.next() => {}
                Ok(()) = told.changed(), if !wanted => {}
                _ = look.tick(), if wanted => {}
                else => std::future::pending().await,
            }
        }
    }

    async fn start(&self, shared: &Shared, path: &str) -> Option<Workshop> {
        let subscribe = shared.relay.subscribe(path, VIDEO_TRACK, OWN);
        let own = match tokio::time::timeout(SUBSCRIBE_MAX, subscribe).await {
            Ok(Ok(own)) => own,
            Ok(Err(error)) => {
                debug!(path, %error, "a camera's own stream cannot be had");
                return None;
            }
            Err(_) => return None,
        };
        match Transcoder::start(self.forms.clone()) {
            Ok((transcoder, made)) => Some(Workshop {
                own,
                transcoder,
                made,
            }),
            Err(error) => {
                warn!(path, %error, "renditions cannot be made");
                None
            }
        }
    }

    /// Takes and gives back encoders as viewers come and go. Says whether anything has changed.
    fn follow_demand(&mut self, told: &watch::Receiver<Told>) -> bool {
        let possible = possible(&self.forms, told.borrow().video.as_ref());
        let now = Instant::now();
        let mut changed = false;
        for (form, shelf) in self.forms.iter().zip(&mut self.shelves) {
            if possible.contains(&form.name) && shelf.track.demand().is_wanted() {
                shelf.wanted_at = Some(now);
            }
            shelf.wanted_at = shelf.wanted_at.filter(|it| now < *it + LINGER);
            let wanted = shelf.wanted_at.is_some();
            if wanted && shelf.permit.is_none() {
                // Without a free encoder viewers stay with what there is.
                shelf.permit = Arc::clone(&self.encoders).try_acquire_owned().ok();
                changed |= shelf.permit.is_some();
            } else if !wanted && shelf.permit.take().is_some() {
                // Who comes later must not begin with a picture of now.
                shelf.track.forget();
                changed = true;
            }
        }
        changed
    }

    fn is_busy(&self) -> bool {
        self.shelves.iter().any(|it| it.permit.is_some())
    }

    fn chosen(&self) -> Vec<RenditionName> {
        let all = self.forms.iter().zip(&self.shelves);
        let made = all.filter(|(_, shelf)| shelf.permit.is_some());
        made.map(|(form, _)| form.name.clone()).collect()
    }

    fn write(&mut self, made: &Made) {
        let Some(shelf) = self.shelves.get_mut(made.rendition) else {
            return;
        };
        let header = Header::of_camera(made.keyframe, made.size.width(), made.size.height());
        let written = shelf
            .track
            .write_picture(made.timestamp, header, &made.data);
        if let Err(error) = written {
            debug!(%error, "a picture of a rendition was not sent");
        }
    }
}

/// What happens in a workshop.
enum Work {
    /// A picture of the camera's own has come.
    Own(Unit),
    /// A picture of a rendition is ready.
    Made(Made),
}

/// What happens next; never while there is no workshop, nothing when it has ended.
async fn made(workshop: Option<&mut Workshop>) -> Option<Work> {
    let Some(workshop) = workshop else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            biased;
            made = workshop.made.recv() => return made.map(Work::Made),
            frame = workshop.own.next() => {
                let frame = frame.ok()??;
                // Anything else would be a mistake of ours, and is passed over.
                if let Some((header, data)) = Header::split(&frame.payload) {
                    return Some(Work::Own(Unit {
                        timestamp: frame.timestamp,
                        keyframe: header.keyframe,
                        data: frame.payload.slice_ref(data),
                    }));
                }
            }
        }
    }
}
