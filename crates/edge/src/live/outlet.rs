//! What a camera publishes: its broadcast with the tracks `video`, `video/<rendition>`, `audio` and
//! `info`. Layouts are in `docs/protocol.md`.

use std::time::Duration;

use api::live::{self, CameraInfo};
use model::CameraName;
use model::input::InputSeq;
use model::manifest::Live as Event;
use relay::media::Sample;
use relay::priority;
use relay::publish::{Broadcast, Demand, Place, PublishError, Track, TrackOptions};
use render::transcode::Made;
use tracing::debug;

use crate::payload::{self, Header};
use crate::shared::Shared;

/// How far a group of a camera may fall behind the newest and still be sent: a whole group of the
/// longest that is allowed by default. Viewers ask for less.
const PICTURE_KEEP: Duration = Duration::from_secs(2);

/// Sound is a thirtieth of the picture and is missed more.
const SOUND_KEEP: Duration = Duration::from_secs(2);

const INFO_KEEP: Duration = Duration::from_secs(10);

/// Sound in a group: so that those who join lose no more.
const SOUND_GROUP: Duration = Duration::from_millis(500);

/// The broadcast of one camera.
pub(super) struct Outlet {
    video: Track,
    renditions: Vec<Track>,
    audio: Track,
    sound_group: Option<Duration>,
    info: Track,
    /// Ends with this.
    _broadcast: Broadcast,
}

impl Outlet {
    pub(super) fn open(
        shared: &Shared,
        event: &Event,
        camera: &CameraName,
    ) -> Result<Self, PublishError> {
        let path = live::broadcast(&event.name, camera);
        let broadcast = shared.relay.publish(&path)?;
        let track =
            |name: &str, priority, keep| broadcast.track(name, TrackOptions { priority, keep });
        let picture = |name: &str| track(name, priority::VIDEO, PICTURE_KEEP);
        let renditions = event.renditions.iter();
        let outlet = Self {
            video: picture("video")?,
            renditions: renditions
                .map(|it| picture(&live::rendition_track(&it.name)))
                .collect::<Result<_, _>>()?,
            audio: track("audio", priority::AUDIO, SOUND_KEEP)?,
            sound_group: None,
            info: track("info", priority::CURSOR, INFO_KEEP)?,
            _broadcast: broadcast,
        };
        outlet._broadcast.announce()?;
        Ok(outlet)
    }

    /// Who watches each rendition, in the event's order.
    pub(super) fn demands(&self) -> Vec<Demand> {
        self.renditions.iter().map(Track::demand).collect()
    }

    /// Who watches the camera's own stream.
    pub(super) fn demand(&self) -> Demand {
        self.video.demand()
    }

    /// Sends a picture of the camera's own, shown at `at`.
    pub(super) fn picture(&mut self, at: Duration, size: (u16, u16), sample: &Sample) {
        let header = header(sample.keyframe, size);
        let payload = payload::picture(header, &sample.data);
        send(&mut self.video, place(sample.keyframe), at, payload);
    }

    /// Sends a picture of a rendition.
    pub(super) fn made(&mut self, made: &Made) {
        let size = (made.size.width(), made.size.height());
        let payload = payload::picture(header(made.keyframe, size), &made.data);
        if let Some(track) = self.renditions.get_mut(made.rendition) {
            send(track, place(made.keyframe), made.timestamp, payload);
        }
    }

    /// Sends a packet of sound, played at `at`.
    pub(super) fn sound(&mut self, at: Duration, sample: Sample) {
        let began = self.sound_group;
        let fresh = began.is_none_or(|it| at < it || at - it >= SOUND_GROUP);
        if fresh {
            self.sound_group = Some(at);
        }
        send(&mut self.audio, place(fresh), at, sample.data);
    }

    /// Says how it is coded.
    pub(super) fn info(&mut self, at: Duration, info: &CameraInfo) {
        let payload = serde_json::to_vec(info).expect("it has text keys and finite numbers");
        send(&mut self.info, Place::NewGroup, at, payload.into());
        self.info.finish_group();
    }
}

fn header(keyframe: bool, (width, height): (u16, u16)) -> Header {
    Header {
        keyframe,
        width,
        height,
        input_seq: InputSeq(0),
        encode_time: Duration::ZERO,
    }
}

fn place(starts: bool) -> Place {
    if starts {
        Place::NewGroup
    } else {
        Place::SameGroup
    }
}

fn send(track: &mut Track, place: Place, at: Duration, payload: bytes::Bytes) {
    // What follows a full or broken group is refused until the next keyframe.
    if let Err(error) = track.write(place, at, payload) {
        debug!(%error, "not sent");
    }
}
