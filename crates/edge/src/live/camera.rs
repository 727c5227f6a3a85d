//! One camera that publishes here, from its admission to its end.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::live::{self, CameraInfo, CameraStatus};
use bytes::Bytes;
use logic::mediaclock::Offset;
use model::manifest::Live as Event;
use model::{CameraName, RenditionName};
use relay::Refusal;
use relay::camera::{Carry, Told};
use relay::ingest::Gateway;
use relay::media::{Farewell, Publication};
use relay::publish::PublishError;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::renditions::{self, Renditions};
use crate::shared::Shared;

/// How far a group may fall behind the newest and still be sent: the longest group that is taken by
/// default. Viewers ask for less.
const KEEP: Duration = Duration::from_secs(2);

/// What other tasks see of a camera.
pub(super) struct Camera {
    /// Ends it.
    pub(super) stop: CancellationToken,
    /// It has ended: its broadcast is gone, and another can have its name.
    pub(super) over: CancellationToken,
    /// Says why.
    farewell: Farewell,
    /// The hash of the key that opened it.
    pub(super) key_hash: String,
    gateway: Gateway,
    since_unix_ms: u64,
    told: watch::Sender<Told>,
    /// What is added to its timestamps.
    correction: watch::Sender<Offset>,
    /// Renditions that are being made.
    made: watch::Sender<Vec<RenditionName>>,
}

impl Camera {
    pub(super) fn new(
        stop: CancellationToken,
        farewell: Farewell,
        key_hash: String,
        gateway: Gateway,
    ) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = now.unwrap_or_default().as_millis();
        Self {
            stop,
            over: CancellationToken::new(),
            farewell,
            key_hash,
            gateway,
            since_unix_ms: u64::try_from(since).unwrap_or(u64::MAX),
            told: watch::Sender::default(),
            correction: watch::Sender::default(),
            made: watch::Sender::default(),
        }
    }

    /// Ends it, in words for its owner.
    pub(super) fn end(&self, why: &'static str) {
        self.farewell.say(Refusal(why.into()));
        self.stop.cancel();
    }

    /// What is added to its timestamps from the next group on.
    pub(super) fn correct(&self, offset: Offset) {
        self.correction.send_if_modified(|it| {
            let changed = *it != offset;
            *it = offset;
            changed
        });
    }

    /// What is known of it.
    pub(super) fn told(&self) -> Told {
        self.told.borrow().clone()
    }

    /// How it is, for people.
    pub(super) fn status(&self) -> CameraStatus {
        let told = self.told.borrow();
        let video = told.video.as_ref();
        CameraStatus {
            protocol: self.gateway.to_string(),
            since_unix_ms: self.since_unix_ms,
            video: video.map(|it| it.codec),
            audio: told.audio.as_ref().map(|it| it.codec),
            width: video.map_or(0, |it| it.width),
            height: video.map_or(0, |it| it.height),
            frames_per_second: told.figures.pictures_per_sec,
            kilobits_per_second: kilobits(&told),
            group_ms: group_ms(&told),
            late_ms: told.clock.late.as_secs_f64() * 1e3,
            offset_ms: self.correction.borrow().as_secs_f64() * 1e3,
            lost: told.figures.lost,
            renditions: self.made.borrow().clone(),
            warnings: told.warnings.iter().map(|it| it.text.clone()).collect(),
        }
    }
}

/// Carries a publication into the relay until it ends.
pub(super) async fn run(
    shared: &Shared,
    event: &Event,
    name: &CameraName,
    camera: &Camera,
    publication: Publication,
    encoders: Arc<Semaphore>,
) {
    let carried = async {
        let path = live::broadcast(&event.name, name);
        let broadcast = shared.relay.publish(&path)?;
        let renditions = Renditions::open(&broadcast, &event.renditions, encoders)?;
        let forms = event.renditions.clone();
        let describe =
            move |told: &Told| info_of(told, renditions::possible(&forms, told.video.as_ref()));
        let carry = Carry {
            keep: KEEP,
            correction: camera.correction.subscribe(),
            told: camera.told.clone(),
            describe: Box::new(describe),
        };
        let making = renditions.run(shared, &path, camera.told.subscribe(), &camera.made);
        tokio::select! {
            carried = carry.run(&broadcast, publication) => carried.map(drop),
            () = making => Ok(()),
        }
    };
    info!(event = %event.name, camera = %name, "a camera is on air");
    tokio::select! {
        carried = carried => {
            let carried: Result<(), PublishError> = carried;
            if let Err(error) = carried {
                warn!(event = %event.name, camera = %name, %error, "a camera cannot be carried on");
            }
        }
        () = camera.stop.cancelled() => {}
    }
    info!(event = %event.name, camera = %name, "a camera is off air");
}

/// What a player must know before it decodes. Rounded, so that nobody is told of noise.
fn info_of(told: &Told, renditions: Vec<RenditionName>) -> Bytes {
    let info = CameraInfo {
        video: told.video.clone(),
        audio: told.audio.clone(),
        renditions,
        group_ms: (group_ms(told) / 50.0).round() * 50.0,
        kilobits_per_second: (kilobits(told) / 250.0).round() * 250.0,
    };
    serde_json::to_vec(&info)
        .expect("it has text keys and finite numbers")
        .into()
}

fn group_ms(told: &Told) -> f64 {
    let group = told.figures.group;
    group.map_or(0.0, |it| it.length.as_secs_f64() * 1e3)
}

fn kilobits(told: &Told) -> f64 {
    let bits = told.figures.video.as_bps() + told.figures.audio.as_bps();
    #[expect(clippy::cast_precision_loss, reason = "bitrates are far below 2^52")]
    let kilobits = bits as f64 / 1e3;
    kilobits
}
