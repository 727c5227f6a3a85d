//! One camera that publishes here, from its admission to its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::live::{CameraInfo, CameraStatus};
use logic::mediaclock::MediaClock;
use logic::meter::Meter;
use model::manifest::Live as Event;
use model::media::VideoCodec;
use model::{Bytes, CameraName};
use relay::media::{Publication, Published, Sample};
use relay::publish::Demand;
use render::transcode::{Made, Transcoder, Unit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::outlet::Outlet;
use crate::shared::Shared;

/// How often the figures are looked at.
const TICK: Duration = Duration::from_millis(500);

/// A rendition is made for so long after its last viewer has left: who turns to and fro finds it
/// there.
const LINGER: Duration = Duration::from_secs(3);

/// The open group is kept for a rendition that somebody asks for in its middle. A camera whose
/// groups are larger makes its viewers wait for the next one.
const GROUP_MAX: usize = 240;

/// What other tasks see of a camera.
pub(super) struct Camera {
    /// Ends it.
    pub(super) stop: CancellationToken,
    /// The hash of the key that opened it.
    pub(super) key_hash: String,
    status: Mutex<CameraStatus>,
}

impl Camera {
    pub(super) fn new(stop: CancellationToken, key_hash: String, protocol: String) -> Self {
        let since_unix_ms = u64::try_from(now().as_millis()).unwrap_or(u64::MAX);
        Self {
            stop,
            key_hash,
            status: Mutex::new(CameraStatus {
                protocol,
                since_unix_ms,
                ..CameraStatus::default()
            }),
        }
    }

    pub(super) fn status(&self) -> CameraStatus {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.clone()
    }

    fn update(&self, change: impl FnOnce(&mut CameraStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Carries a publication into the relay until it ends.
pub(super) async fn run(
    shared: &Shared,
    event: &Event,
    name: &CameraName,
    camera: &Camera,
    mut publication: Publication,
    encoders: Arc<Semaphore>,
) {
    let outlet = match Outlet::open(shared, event, name) {
        Ok(outlet) => outlet,
        Err(error) => {
            return warn!(event = %event.name, camera = %name, %error, "a camera cannot be published");
        }
    };
    info!(event = %event.name, camera = %name, "a camera is on air");
    let mut task = Task::new(event, camera, outlet, encoders);
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            biased;
            () = camera.stop.cancelled() => break,
            Some(made) = task.workshop.next() => task.outlet.made(&made),
            published = publication.next() => match published {
                Some(published) => task.handle(published),
                None => break,
            },
            _ = tick.tick() => task.tick(),
        }
    }
    info!(event = %event.name, camera = %name, "a camera is off air");
}

/// The state of the loop.
struct Task<'a> {
    camera: &'a Camera,
    outlet: Outlet,
    /// One for picture and sound, so that they stay in step.
    clock: MediaClock,
    meter: Meter,
    info: CameraInfo,
    told: Option<CameraInfo>,
    workshop: Workshop,
}

impl<'a> Task<'a> {
    fn new(event: &Event, camera: &'a Camera, outlet: Outlet, encoders: Arc<Semaphore>) -> Self {
        Self {
            camera,
            clock: MediaClock::default(),
            meter: Meter::default(),
            info: CameraInfo::default(),
            told: None,
            workshop: Workshop::new(event, &outlet, encoders),
            outlet,
        }
    }

    fn handle(&mut self, published: Published) {
        match published {
            Published::Video(config) => {
                self.camera.update(|it| {
                    it.video = Some(config.codec);
                    (it.width, it.height) = (config.width, config.height);
                });
                self.workshop.handle_video(config.codec, config.height);
                self.info.renditions = self.workshop.offered();
                self.info.video = Some(config);
                self.tell();
            }
            Published::Audio(config) => {
                self.camera.update(|it| it.audio = Some(config.codec));
                self.info.audio = Some(config);
                self.tell();
            }
            Published::VideoSample(sample) => self.picture(&sample),
            Published::AudioSample(sample) => {
                let now = now();
                let at = self.clock.handle(sample.timestamp, now);
                self.meter.handle_sound(size(&sample), now);
                self.outlet.sound(at, sample);
            }
            Published::Lost(pieces) => self.meter.handle_lost(pieces),
            Published::Warning(warning) => self.camera.update(|it| it.warnings.push(warning.text)),
            Published::Ended(how) => info!(?how, "the publication ended"),
        }
    }

    fn picture(&mut self, sample: &Sample) {
        let now = now();
        let at = self.clock.handle(sample.timestamp, now);
        let bytes = size(sample);
        self.meter
            .handle_picture(sample.timestamp, bytes, sample.keyframe, now);
        let size = self
            .info
            .video
            .as_ref()
            .map_or((0, 0), |it| (it.width, it.height));
        self.outlet.picture(at, size, sample);
        self.workshop.handle_picture(Unit {
            timestamp: at,
            keyframe: sample.keyframe,
            data: sample.data.clone(),
        });
    }

    fn tick(&mut self) {
        let figures = self.meter.figures(now());
        let bits = figures.video.as_bps() + figures.audio.as_bps();
        let group_ms = figures
            .group
            .map_or(0.0, |it| it.length.as_secs_f64() * 1e3);
        let late = self.clock.estimate().late;
        #[expect(clippy::cast_precision_loss, reason = "bitrates are far below 2^52")]
        let kilobits = bits as f64 / 1e3;
        let (renditions, watched) = (self.workshop.making(), self.outlet.demand().is_wanted());
        self.camera.update(|it| {
            it.frames_per_second = figures.pictures_per_sec;
            it.kilobits_per_second = kilobits;
            it.group_ms = group_ms;
            it.offset_ms = late.as_secs_f64() * 1e3;
            it.lost = figures.lost;
            it.subscribers = watched.into();
            it.renditions = renditions;
        });
        // Rounded, so that newcomers know about it and nobody is told of noise.
        self.info.kilobits_per_second = (kilobits / 100.0).round() * 100.0;
        self.info.group_ms = (group_ms / 50.0).round() * 50.0;
        self.workshop.tick();
        self.tell();
    }

    fn tell(&mut self) {
        if self.info.video.is_none() && self.info.audio.is_none() {
            return;
        }
        if self.told.as_ref() != Some(&self.info) {
            self.outlet.info(now(), &self.info);
            self.told = Some(self.info.clone());
        }
    }
}

/// Where a camera's renditions are made, while somebody wants them.
struct Workshop {
    event: Event,
    encoders: Arc<Semaphore>,
    demands: Vec<Demand>,
    /// Which of the event's renditions this camera can have: smaller ones than its own.
    possible: Vec<bool>,
    places: Vec<Place>,
    /// The open group of the camera, for who comes in its middle.
    group: Vec<Unit>,
    running: Option<(Transcoder, mpsc::Receiver<Made>)>,
}

/// A rendition's place among the node's encoders.
#[derive(Default)]
struct Place {
    permit: Option<OwnedSemaphorePermit>,
    wanted_at: Option<std::time::Instant>,
}

impl Workshop {
    fn new(event: &Event, outlet: &Outlet, encoders: Arc<Semaphore>) -> Self {
        let count = event.renditions.len();
        Self {
            event: event.clone(),
            encoders,
            demands: outlet.demands(),
            possible: vec![false; count],
            places: (0..count).map(|_| Place::default()).collect(),
            group: Vec::new(),
            running: None,
        }
    }

    /// What is made next; never while nothing is.
    async fn next(&mut self) -> Option<Made> {
        match &mut self.running {
            Some((_, made)) => made.recv().await,
            None => std::future::pending().await,
        }
    }

    fn handle_video(&mut self, codec: VideoCodec, height: u16) {
        let renditions = self.event.renditions.iter();
        let possible = |lines: u16| codec == VideoCodec::H264 && lines < height;
        self.possible = renditions.map(|it| possible(it.height)).collect();
        self.group.clear();
    }

    /// The renditions that can be had of this camera.
    fn offered(&self) -> Vec<model::RenditionName> {
        self.chosen(&self.possible)
    }

    /// The renditions that are being made.
    fn making(&self) -> Vec<model::RenditionName> {
        let made: Vec<bool> = self.places.iter().map(|it| it.permit.is_some()).collect();
        self.chosen(&made)
    }

    fn chosen(&self, which: &[bool]) -> Vec<model::RenditionName> {
        let all = self.event.renditions.iter().zip(which);
        let chosen = all.filter(|(_, it)| **it);
        chosen.map(|(it, _)| it.name.clone()).collect()
    }

    fn handle_picture(&mut self, unit: Unit) {
        if self.possible.iter().all(|it| !it) {
            return;
        }
        if unit.keyframe {
            self.group.clear();
        }
        self.follow_demand();
        if let Some((transcoder, _)) = &self.running
            && !transcoder.push(unit.clone())
        {
            self.running = None;
        }
        if self.group.len() < GROUP_MAX {
            self.group.push(unit);
        }
    }

    fn tick(&mut self) {
        self.follow_demand();
        let idle = self.places.iter().all(|it| it.permit.is_none());
        if idle {
            self.running = None;
        }
    }

    /// Takes and gives back encoders as viewers come and go.
    fn follow_demand(&mut self) {
        let now = std::time::Instant::now();
        let mut changed = false;
        for ((place, demand), possible) in self
            .places
            .iter_mut()
            .zip(&self.demands)
            .zip(&self.possible)
        {
            if *possible && demand.is_wanted() {
                place.wanted_at = Some(now);
            }
            let wanted = place.wanted_at.is_some_and(|it| now < it + LINGER);
            match (wanted, place.permit.is_some()) {
                (true, false) => {
                    // Without a free encoder viewers stay with what there is.
                    place.permit = Arc::clone(&self.encoders).try_acquire_owned().ok();
                    changed |= place.permit.is_some();
                }
                (false, true) => {
                    place.permit = None;
                    changed = true;
                }
                (true, true) | (false, false) => {}
            }
        }
        if changed {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let wanted: Vec<bool> = self.places.iter().map(|it| it.permit.is_some()).collect();
        if self.running.is_none() && wanted.contains(&true) {
            let started = Transcoder::start(self.event.renditions.clone());
            match started {
                Ok((transcoder, made)) => {
                    for unit in &self.group {
                        transcoder.push(unit.clone());
                    }
                    self.running = Some((transcoder, made));
                }
                Err(error) => return warn!(%error, "renditions cannot be made"),
            }
        }
        if let Some((transcoder, _)) = &self.running {
            transcoder.want(wanted);
        }
    }
}

fn size(sample: &Sample) -> Bytes {
    Bytes::new(u64::try_from(sample.data.len()).unwrap_or(u64::MAX))
}

/// The wall clock, since 1970: the one that all cameras of an event are put on.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
