//! Looks and listens at cameras for moments that the event's other cameras notice, too.

use std::sync::Arc;
use std::time::Duration;

use api::link::CameraMoments;
use api::live::{self, ALIGN_SECONDS_MAX, Sense};
use futures::future::join_all;
use logic::mediaclock::{Clicks, Flashes};
use model::media::AudioConfig;
use model::picture::Header;
use model::{AppName, CameraName};
use relay::camera::{AUDIO_TRACK, VIDEO_TRACK};
use relay::priority;
use relay::subscribe::{Frame, Preferences};
use render::decoder::Decoder;
use render::picture::I420;
use render::sound::decoder::SoundDecoder;
use tokio::sync::mpsc;

use super::Live;
use crate::shared::Shared;

/// How long a camera's own track may take to come: it is ours.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(2);

/// Frames between the relay and a decoder. What comes while it is behind is waited for.
const FRAMES_MAX: usize = 64;

/// One row of so many is enough to see how bright a picture is.
const ROWS: usize = 8;

/// Every frame, in order, behind whatever is watched.
const ALL: Preferences = Preferences {
    priority: priority::AHEAD,
    max_age: Duration::from_secs(2),
};

/// What every camera of the event that publishes here notices in so many seconds.
pub(crate) async fn notice(
    live: &Live,
    event: &AppName,
    by: Sense,
    seconds: u8,
) -> Vec<CameraMoments> {
    // The center waits no longer.
    let length = Duration::from_secs(seconds.min(ALIGN_SECONDS_MAX).into());
    let cameras = live.told(event);
    let looking = cameras.into_iter().map(|(camera, told)| {
        let shared = Arc::clone(&live.shared);
        async move {
            let found = match by {
                Sense::Flash => look(&shared, event, &camera, length).await,
                Sense::Sound => match told.audio {
                    Some(config) => listen(&shared, event, &camera, &config, length).await,
                    None => Err("it sends no sound".to_owned()),
                },
            };
            let (found, why) = match found {
                Ok(found) => (found, None),
                Err(why) => (Vec::new(), Some(why)),
            };
            let micros = |it: Duration| u64::try_from(it.as_micros()).unwrap_or(u64::MAX);
            CameraMoments {
                camera,
                at_unix_us: found.into_iter().map(micros).collect(),
                why,
            }
        }
    });
    join_all(looking).await
}

async fn look(
    shared: &Shared,
    event: &AppName,
    camera: &CameraName,
    length: Duration,
) -> Result<Vec<Duration>, String> {
    let mut decoder = Decoder::open().ok_or("there is no memory for a decoder")?;
    let mut flashes = Flashes::default();
    let path = live::broadcast(event, camera);
    let pictures = decode(shared, &path, VIDEO_TRACK, length, move |frames| {
        let mut pictures = 0_u32;
        while let Some(frame) = frames.blocking_recv() {
            let Some((_, data)) = Header::split(&frame.payload) else {
                continue;
            };
            // Before the first keyframe, and where something is missing, there is nothing to see.
            if let Ok(Some(picture)) = decoder.decode(data) {
                pictures += 1;
                flashes.handle_picture(frame.timestamp, brightness(&picture));
            }
        }
        (pictures > 0).then(|| flashes.into_moments())
    });
    pictures.await?.ok_or_else(|| {
        "its picture cannot be decoded here: flashes are seen in H.264 only".to_owned()
    })
}

async fn listen(
    shared: &Shared,
    event: &AppName,
    camera: &CameraName,
    config: &AudioConfig,
    length: Duration,
) -> Result<Vec<Duration>, String> {
    let mut decoder = SoundDecoder::open(config).map_err(|it| it.to_string())?;
    let (mut clicks, rate) = (Clicks::default(), config.sample_rate);
    let path = live::broadcast(event, camera);
    let heard = decode(shared, &path, AUDIO_TRACK, length, move |frames| {
        while let Some(frame) = frames.blocking_recv() {
            if let Ok(samples) = decoder.decode(&frame.payload) {
                clicks.handle_sound(frame.timestamp, samples, rate);
            }
        }
        clicks.into_moments()
    });
    heard.await
}

/// Hands a track's frames to a thread that may take its time, and returns what it made of them.
async fn decode<T: Send + 'static>(
    shared: &Shared,
    path: &str,
    track: &str,
    length: Duration,
    work: impl FnOnce(&mut mpsc::Receiver<Frame>) -> T + Send + 'static,
) -> Result<T, String> {
    let subscribed = shared.relay.subscribe(path, track, ALL);
    let subscribed = tokio::time::timeout(SUBSCRIBE_MAX, subscribed).await;
    let Ok(Ok(mut track)) = subscribed else {
        return Err("it went off the air".to_owned());
    };
    let (tx, mut rx) = mpsc::channel(FRAMES_MAX);
    let worker = tokio::task::spawn_blocking(move || work(&mut rx));
    let carry = async {
        while let Ok(Some(frame)) = track.next().await {
            if tx.send(frame).await.is_err() {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(length, carry).await;
    drop(tx);
    worker.await.map_err(|_| "its decoder failed".to_owned())
}

/// The mean of a picture's brightness, 0 to 255.
fn brightness(picture: &I420) -> f64 {
    let [y, _, _] = picture.planes();
    let width = usize::from(picture.size().width()).max(1);
    let rows = y.chunks_exact(width).step_by(ROWS);
    let (sum, count) = rows.fold((0_u64, 0_u64), |(sum, count), row| {
        let row_sum: u64 = row.iter().map(|it| u64::from(*it)).sum();
        (sum + row_sum, count + row.len() as u64)
    });
    #[expect(
        clippy::cast_precision_loss,
        reason = "of the largest picture both are below 2^40"
    )]
    let mean = sum as f64 / count.max(1) as f64;
    mean
}
