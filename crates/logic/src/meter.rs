//! Measures one publication: how much comes, how often, how well.

use std::collections::VecDeque;
use std::time::Duration;

use model::{Bitrate, Bytes};

/// What is averaged over.
const WINDOW: Duration = Duration::from_secs(2);

/// Samples in the window at most: 120 pictures and 400 packets of sound a second. Beyond it the
/// oldest are forgotten early.
const SAMPLES_MAX: usize = 1_040;

/// Measures one publication. Times are of the node, since any epoch.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    samples: VecDeque<Measured>,
    began: Option<Duration>,
    keyframe: Option<Keyframe>,
    group: Option<Group>,
    group_max: Duration,
    pictures: u64,
    lost: u64,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    at: Duration,
    size: Bytes,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Picture,
    Sound,
}

#[derive(Clone, Copy, Debug)]
struct Keyframe {
    /// On the publisher's clock.
    timestamp: Duration,
    at: Duration,
    pictures: u32,
}

/// The last complete group: from one keyframe to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// How long.
    pub length: Duration,
    /// How many pictures.
    pub pictures: u32,
}

/// What a publication is like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Of pictures, over the last 2 s.
    pub video: Bitrate,
    /// Of sound, over the last 2 s.
    pub audio: Bitrate,
    /// Pictures a second, over the last 2 s.
    pub pictures_per_sec: f64,
    /// The last complete group.
    pub group: Option<Group>,
    /// The longest group so far.
    pub group_max: Duration,
    /// Since the last keyframe came.
    pub keyframe_age: Option<Duration>,
    /// Pictures so far.
    pub pictures: u64,
    /// Pieces of the transport that were lost so far.
    pub lost: u64,
}

impl Meter {
    /// A picture came.
    pub fn handle_picture(
        &mut self,
        timestamp: Duration,
        size: Bytes,
        keyframe: bool,
        now: Duration,
    ) {
        self.handle(Kind::Picture, size, now);
        self.pictures += 1;
        if keyframe {
            if let Some(last) = self.keyframe {
                let length = timestamp.saturating_sub(last.timestamp);
                self.group = Some(Group {
                    length,
                    pictures: last.pictures,
                });
                self.group_max = self.group_max.max(length);
            }
            self.keyframe = Some(Keyframe {
                timestamp,
                at: now,
                pictures: 1,
            });
        } else if let Some(last) = &mut self.keyframe {
            last.pictures = last.pictures.saturating_add(1);
        }
    }

    /// A packet of sound came.
    pub fn handle_sound(&mut self, size: Bytes, now: Duration) {
        self.handle(Kind::Sound, size, now);
    }

    /// So many pieces of the transport were lost. The group that is open says nothing any more.
    pub fn handle_lost(&mut self, pieces: u64) {
        self.lost = self.lost.saturating_add(pieces);
        self.keyframe = None;
    }

    /// What the publication is like at `now`.
    pub fn figures(&self, now: Duration) -> Figures {
        let from = now.saturating_sub(WINDOW);
        // Younger than the window: what came came in less time.
        let began = self.began.unwrap_or(now).max(from);
        let span = now.saturating_sub(began).max(Duration::from_millis(100));
        let of = |kind| {
            let inside = self.samples.iter().filter(move |it| it.at >= from);
            inside.filter(move |it| it.kind == kind)
        };
        let rate = |kind| {
            let size = of(kind).fold(0, |sum, it| it.size.get().saturating_add(sum));
            let bits = u128::from(size) * 8 * 1_000_000 / span.as_micros();
            Bitrate::bps(u64::try_from(bits).unwrap_or(u64::MAX))
        };
        let pictures = u32::try_from(of(Kind::Picture).count()).unwrap_or(u32::MAX);
        Figures {
            video: rate(Kind::Picture),
            audio: rate(Kind::Sound),
            pictures_per_sec: f64::from(pictures) / span.as_secs_f64(),
            group: self.group,
            group_max: self.group_max,
            keyframe_age: self.keyframe.map(|it| now.saturating_sub(it.at)),
            pictures: self.pictures,
            lost: self.lost,
        }
    }

    fn handle(&mut self, kind: Kind, size: Bytes, now: Duration) {
        self.began.get_or_insert(now);
        let from = now.saturating_sub(WINDOW);
        while self.samples.front().is_some_and(|it| it.at < from)
            || self.samples.len() >= SAMPLES_MAX
        {
            self.samples.pop_front();
        }
        self.samples.push_back(Measured {
            at: now,
            size,
            kind,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_steady_stream() {
        let mut meter = Meter::default();
        assert_eq!(meter.figures(ms(0)), Figures::default());
        for n in 0..250_u64 {
            let at = ms(n * 40);
            meter.handle_picture(at, Bytes::new(5_000), n % 10 == 0, at + ms(7_000));
            meter.handle_sound(Bytes::new(500), at + ms(7_000));
        }
        let figures = meter.figures(ms(7_000 + 249 * 40));
        assert_eq!(
            figures.group,
            Some(Group {
                length: ms(400),
                pictures: 10
            })
        );
        assert_eq!((figures.pictures, figures.group_max), (250, ms(400)));
        assert_eq!(figures.keyframe_age, Some(ms(360)));
        assert!(
            (24.5..=25.6).contains(&figures.pictures_per_sec),
            "{figures:?}"
        );
        assert!(
            (980..=1_030).contains(&(figures.video.as_bps() / 1_000)),
            "{figures:?}"
        );
        assert!(
            (98..=103).contains(&(figures.audio.as_bps() / 1_000)),
            "{figures:?}"
        );
    }

    #[test]
    fn a_stream_that_stands_still_falls_to_nothing() {
        let mut meter = Meter::default();
        for n in 0..50 {
            meter.handle_picture(ms(n * 40), Bytes::new(5_000), n == 0, ms(n * 40));
        }
        let figures = meter.figures(ms(9_000));
        assert_eq!(
            (figures.video, figures.pictures_per_sec),
            (Bitrate::bps(0), 0.0)
        );
        assert_eq!(figures.keyframe_age, Some(ms(9_000)));
        meter.handle_lost(3);
        let figures = meter.figures(ms(9_000));
        assert_eq!((figures.lost, figures.keyframe_age), (3, None));
    }

    #[test]
    fn memory_is_bounded() {
        let mut meter = Meter::default();
        for _ in 0..10_000 {
            meter.handle_sound(Bytes::new(u64::MAX), ms(1));
        }
        assert_eq!(meter.samples.len(), SAMPLES_MAX);
        meter.figures(ms(1));
    }
}
