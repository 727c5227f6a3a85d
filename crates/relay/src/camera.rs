//! Carries a camera's publication on as a broadcast.
//!
//! Tracks: `video`, one group from keyframe to keyframe, every frame behind the header that pictures
//! of screens have too; `audio`, one group a second; `info`, JSON of whoever carries, one group for
//! each change. Timestamps of both are wall time of this node in microseconds since 1970: the same
//! clock maps pictures and sound, so they stay together as they were published.
//!
//! Deliberately elsewhere: what `info` says (the edge, as [`Carry::describe`]), other renditions
//! (tracks that the edge adds to the same broadcast).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use logic::mediaclock::{ClockEstimate, MediaClock, Offset};
use logic::meter::{Figures, Meter};
use model::picture::Header;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::debug;

use crate::media::{AudioConfig, Ended, Publication, Published, Sample, VideoConfig, Warning};
use crate::publish::{Broadcast, Demand, Place, PublishError, Track, TrackOptions};

/// The camera's own pictures.
pub const VIDEO_TRACK: &str = "video";

/// Its sound.
pub const AUDIO_TRACK: &str = "audio";

/// How they are coded, and whatever else a player must know before it decodes.
pub const INFO_TRACK: &str = "info";

/// Whoever joins hears at most so much that is past.
const AUDIO_GROUP: Duration = Duration::from_secs(1);

/// Figures change all the time; this often is enough for people.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Warnings kept: there are fewer kinds, and each comes once.
const WARNINGS_MAX: usize = 8;

/// What is known of a camera that is carried.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// How its pictures are coded, once there was one.
    pub video: Option<VideoConfig>,
    /// How its sound is coded, once there was some.
    pub audio: Option<AudioConfig>,
    /// What comes.
    pub figures: Figures,
    /// How its clock relates to ours.
    pub clock: ClockEstimate,
    /// What its owner should change, oldest first.
    pub warnings: Vec<Warning>,
}

/// How to carry a camera.
pub struct Carry {
    /// How far an older group of pictures or sound may fall behind the newest and still be delivered
    /// to those who want it.
    pub keep: Duration,
    /// What brings it together with the event's other cameras. Added to its timestamps; a change
    /// takes effect with the next group of pictures and sound.
    pub correction: watch::Receiver<Offset>,
    /// Told once a second, and whenever a configuration or a warning comes.
    pub told: watch::Sender<Told>,
    /// What the track `info` says. Asked as often; a group is written when the answer differs.
    pub describe: Box<dyn Fn(&Told) -> Bytes + Send + Sync>,
}

impl Carry {
    /// Carries the publication until it ends, or the broadcast breaks. The broadcast is announced
    /// with the first configuration: from then on there is something to see. `None` if the gateway
    /// was torn down.
    pub async fn run(
        self,
        broadcast: &Broadcast,
        mut publication: Publication,
    ) -> Result<Option<Ended>, PublishError> {
        let mut camera = Camera::new(broadcast, self.keep)?;
        let mut announced = false;
        let mut tick = ticking();
        loop {
            let published = tokio::select! {
                published = publication.next() => published,
                _ = tick.tick() => {
                    self.tell(&mut camera)?;
                    continue;
                }
            };
            let tells = match published {
                None => return Ok(None),
                Some(Published::Ended(ended)) => return Ok(Some(ended)),
                Some(published) => {
                    let tells = matches!(
                        published,
                        Published::Video(_) | Published::Audio(_) | Published::Warning(_)
                    );
                    camera.handle(published, *self.correction.borrow(), wall_time())?;
                    tells
                }
            };
            if tells {
                self.tell(&mut camera)?;
            }
            if tells && !announced {
                broadcast.announce()?;
                announced = true;
            }
        }
    }

    fn tell(&self, camera: &mut Camera) -> Result<(), PublishError> {
        let now = wall_time();
        let told = camera.told(now);
        camera.write_info((self.describe)(&told), now)?;
        self.told.send_replace(told);
        Ok(())
    }
}

/// A camera's tracks: what is published goes in, frames come out. Time is an argument, so that
/// whoever replays a recording can use it too; [`Carry`] is how to use it for what is live.
pub struct Camera {
    video: Track,
    audio: Track,
    info: Track,
    /// Puts timestamps on our wall clock; without it they stay as they came.
    clock: Option<MediaClock>,
    meter: Meter,
    told: Told,
    /// No picture is written before the next keyframe.
    waiting: bool,
    correction: Offset,
    audio_group: Option<Duration>,
    said: Bytes,
}

impl Camera {
    /// Adds the tracks to a broadcast, with timestamps on our wall clock.
    pub fn new(broadcast: &Broadcast, keep: Duration) -> Result<Self, PublishError> {
        Self::open(broadcast, keep, Some(MediaClock::default()))
    }

    /// Adds the tracks to a broadcast, with timestamps as they came: whoever reads it has the clock.
    pub fn as_published(broadcast: &Broadcast, keep: Duration) -> Result<Self, PublishError> {
        Self::open(broadcast, keep, None)
    }

    fn open(
        broadcast: &Broadcast,
        keep: Duration,
        clock: Option<MediaClock>,
    ) -> Result<Self, PublishError> {
        let track = |name, priority| broadcast.track(name, TrackOptions { priority, keep });
        Ok(Self {
            video: track(VIDEO_TRACK, crate::priority::VIDEO)?,
            audio: track(AUDIO_TRACK, crate::priority::AUDIO)?,
            info: track(INFO_TRACK, crate::priority::CURSOR)?,
            clock,
            meter: Meter::default(),
            told: Told::default(),
            waiting: true,
            correction: Offset::default(),
            audio_group: None,
            said: Bytes::new(),
        })
    }

    /// Writes what was published, if it is anything to write. `now` is wall time since 1970, and when
    /// it arrived.
    pub fn handle(
        &mut self,
        published: Published,
        correction: Offset,
        now: Duration,
    ) -> Result<(), PublishError> {
        match published {
            Published::VideoSample(sample) => self.picture(sample, correction, now)?,
            Published::AudioSample(sample) => self.sound(sample, correction, now)?,
            Published::Video(config) => self.told.video = Some(config),
            Published::Audio(config) => {
                self.told.audio = Some(config);
                // Whoever joins must not begin with packets of another kind.
                self.audio_group = None;
            }
            Published::Lost(pieces) => self.meter.handle_lost(pieces),
            Published::Warning(warning) if self.told.warnings.len() < WARNINGS_MAX => {
                self.told.warnings.push(warning);
            }
            Published::Warning(_) | Published::Ended(_) => {}
        }
        Ok(())
    }

    /// What is known of the camera.
    pub fn told(&self, now: Duration) -> Told {
        Told {
            figures: self.meter.figures(now),
            clock: self
                .clock
                .as_ref()
                .map(MediaClock::estimate)
                .unwrap_or_default(),
            ..self.told.clone()
        }
    }

    /// Writes what players must know, if it is something else than before.
    pub fn write_info(&mut self, info: Bytes, now: Duration) -> Result<(), PublishError> {
        if info.is_empty() || info == self.said {
            return Ok(());
        }
        self.said = info.clone();
        self.info.write(Place::NewGroup, now, info)?;
        // Whole at once: nobody waits for more.
        self.info.finish_group();
        Ok(())
    }

    /// Whether anybody watches the camera's own pictures.
    pub fn demand(&self) -> Demand {
        self.video.demand()
    }

    fn picture(
        &mut self,
        sample: Sample,
        correction: Offset,
        now: Duration,
    ) -> Result<(), PublishError> {
        let Sample {
            timestamp,
            keyframe,
            data,
        } = sample;
        let size = model::Bytes::new(data.len() as u64);
        self.meter.handle_picture(timestamp, size, keyframe, now);
        if keyframe {
            self.correction = correction;
        }
        let mapped = self.mapped(timestamp, now);
        if self.waiting && !keyframe {
            return Ok(());
        }
        self.waiting = false;
        let (width, height) = self
            .told
            .video
            .as_ref()
            .map_or((0, 0), |it| (it.width, it.height));
        let header = Header::of_camera(keyframe, width, height);
        match self.video.write_picture(mapped, header, &data) {
            Err(PublishError::GroupFull) => {
                debug!("a group is full: waiting for the next keyframe");
                self.waiting = true;
                Ok(())
            }
            written => written.map(drop),
        }
    }

    fn mapped(&mut self, timestamp: Duration, now: Duration) -> Duration {
        let mapped = match &mut self.clock {
            Some(clock) => clock.handle(timestamp, now),
            None => timestamp,
        };
        self.correction.apply(mapped)
    }

    fn sound(
        &mut self,
        sample: Sample,
        correction: Offset,
        now: Duration,
    ) -> Result<(), PublishError> {
        self.meter
            .handle_sound(model::Bytes::new(sample.data.len() as u64), now);
        let began = self.audio_group.filter(|began| {
            let length = sample.timestamp.checked_sub(*began);
            length.is_some_and(|it| it < AUDIO_GROUP)
        });
        if began.is_none() && self.told.video.is_none() {
            // With pictures it changes with them: both at once, or they would come apart.
            self.correction = correction;
        }
        let mapped = self.mapped(sample.timestamp, now);
        let place = if began.is_some() {
            Place::SameGroup
        } else {
            Place::NewGroup
        };
        self.audio_group = Some(began.unwrap_or(sample.timestamp));
        match self.audio.write(place, mapped, sample.data) {
            Err(PublishError::GroupFull) => {
                self.audio_group = None;
                Ok(())
            }
            written => written,
        }
    }
}

/// How often what is known is told.
pub(crate) fn ticking() -> Interval {
    let mut tick = interval(TELL_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// Since 1970. A clock before that is one that was never set.
pub(crate) fn wall_time() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}
