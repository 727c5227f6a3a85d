//! Reads a publisher's tracks, each in its order, and hands on what passes.

use std::time::Duration;

use moq_net::origin;
use tokio::time::timeout;

use super::Intake;
use crate::access::Refusal;
use crate::camera::{AUDIO_TRACK, INFO_TRACK, VIDEO_TRACK};
use crate::ingest::{Admitted, Fault};
use crate::media::Ended;
use crate::priority;
use crate::subscribe::{Frame, Preferences, SubscribeError, Subscription};

/// Silence for so long is a broken publisher, as with other ways in.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// How far a group may be behind the newest before it is left out: what a link holds back for
/// longer, viewers have given up on.
const BEHIND_MAX: Duration = Duration::from_secs(5);

/// Why nothing more is read.
#[derive(Debug)]
pub(crate) enum End {
    /// The publisher ended its tracks.
    Done,
    /// It may not go on, and must not come again as it is.
    Refused(Refusal),
    /// It broke off.
    Broken(String),
}

impl End {
    /// As the publication is told.
    pub(crate) fn ended(&self) -> Ended {
        match self {
            Self::Done => Ended::Done,
            Self::Refused(why) => Ended::Refused(why.to_string()),
            Self::Broken(why) => Ended::Broken(why.clone()),
        }
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Refused(match fault {
            Fault::Refused(refusal) => refusal,
            Fault::Malformed(malformed) => Refusal(malformed.0.into()),
        })
    }
}

impl From<SubscribeError> for End {
    fn from(error: SubscribeError) -> Self {
        Self::Broken(crate::server::chain(&error))
    }
}

/// Takes the broadcast at `path` until it ends.
pub(crate) async fn take(table: origin::Consumer, path: &str, admitted: &Admitted) -> End {
    let mut reader = Reader {
        table,
        path,
        info: Track::default(),
        video: Track::default(),
        audio: Track::default(),
    };
    let mut intake = Intake::new(admitted.limits.clone());
    let sink = &admitted.sink;
    let taken = async {
        loop {
            let frame = timeout(IDLE_MAX, reader.next(&intake)).await;
            let frame = frame.map_err(|_| End::Broken(silent(path)))??;
            match frame {
                Some(Arrived::Info(frame)) => intake.handle_info(&frame.payload)?,
                Some(Arrived::Picture(frame, lost)) => intake.handle_picture(&frame, lost)?,
                Some(Arrived::Sound(frame, lost)) => intake.handle_sound(&frame, lost)?,
                None => return Ok(()),
            }
            while let Some(published) = intake.poll() {
                let sent = sink.send(published).await;
                sent.map_err(|_| End::Refused(sink.why()))?;
            }
        }
    };
    let taken: Result<(), End> = tokio::select! {
        taken = taken => taken,
        () = sink.closed() => Err(End::Refused(sink.why())),
    };
    taken.map_or_else(|end| end, |()| End::Done)
}

fn silent(path: &str) -> String {
    let seconds = IDLE_MAX.as_secs();
    format!("nothing came for {seconds} seconds: publish {path} with the tracks info and video")
}

/// A frame, and how many groups before it broke off.
enum Arrived {
    Info(Frame),
    Picture(Frame, u64),
    Sound(Frame, u64),
}

struct Reader<'a> {
    table: origin::Consumer,
    path: &'a str,
    info: Track,
    video: Track,
    audio: Track,
}

#[derive(Default)]
struct Track {
    open: Option<Subscription>,
    over: bool,
    /// Groups that had broken off when the last frame came.
    broken: u64,
}

impl Reader<'_> {
    /// The next frame of any track; `None` when pictures and sounds are over. Tracks are subscribed
    /// to when `intake` has been told of them.
    async fn next(&mut self, intake: &Intake) -> Result<Option<Arrived>, SubscribeError> {
        if self.info.is_new() {
            self.info.open = Some(self.subscribe(INFO_TRACK, priority::CURSOR).await?);
        }
        if intake.has_video() && self.video.is_new() {
            self.video.open = Some(self.subscribe(VIDEO_TRACK, priority::VIDEO).await?);
        }
        if intake.has_audio() && self.audio.is_new() {
            self.audio.open = Some(self.subscribe(AUDIO_TRACK, priority::AUDIO).await?);
        }
        while !self.is_over() {
            let arrived = tokio::select! {
                frame = self.info.next() => frame?.map(|(frame, _)| Arrived::Info(frame)),
                frame = self.video.next() => frame?.map(|(frame, lost)| Arrived::Picture(frame, lost)),
                frame = self.audio.next() => frame?.map(|(frame, lost)| Arrived::Sound(frame, lost)),
            };
            if arrived.is_some() {
                return Ok(arrived);
            }
        }
        Ok(None)
    }

    /// What is described later must still come: before the first picture, only silence ends it.
    fn is_over(&self) -> bool {
        let media = self.video.open.is_none() && self.audio.open.is_none();
        media && (self.video.over || self.audio.over || self.info.over)
    }

    async fn subscribe(&self, track: &str, priority: u8) -> Result<Subscription, SubscribeError> {
        let preferences = Preferences {
            priority,
            max_age: BEHIND_MAX,
        };
        Subscription::open(&self.table, self.path, track, preferences).await
    }
}

impl Track {
    const fn is_new(&self) -> bool {
        self.open.is_none() && !self.over
    }

    /// The next frame, and how many groups broke off before it; `None` once, when the track is over.
    async fn next(&mut self) -> Result<Option<(Frame, u64)>, SubscribeError> {
        let Some(open) = &mut self.open else {
            return std::future::pending().await;
        };
        let Some(frame) = open.next().await? else {
            (self.open, self.over) = (None, true);
            return Ok(None);
        };
        let lost = open.skipped_groups() - self.broken;
        self.broken = open.skipped_groups();
        Ok(Some((frame, lost)))
    }
}
