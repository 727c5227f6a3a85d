//! Decides when what was read is played out: a recording at the pace of its timestamps, with its
//! pictures and sounds brought together; what is live as it comes, unless it comes far too fast.
//!
//! Samples of a kind leave in the order they came in. Between kinds the earlier timestamp goes
//! first, as far as it is known: containers keep pictures and sounds up to a fragment apart.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::Bytes;

/// How far apart a recording's pictures and sounds may be kept and still be brought together.
/// Fragments are one second, seldom two.
const SPAN: Duration = Duration::from_secs(2);

/// What may wait, in items and bytes: the span above at 40 Mbit/s, and 200 samples a second.
const ITEMS_MAX: usize = 512;
const BYTES_MAX: Bytes = Bytes::new(10 << 20);

/// What is live may be ahead of time by so much: tools send what they hold in one burst when they
/// are connected.
const AHEAD: Duration = Duration::from_secs(2);

/// What is live may be faster than our clock by this share for ever, and is never held: clocks
/// differ by a fifth of it.
const DRIFT: f64 = 0.001;

/// Timestamps that go further than this from where they should be have jumped: they go on from now.
const JUMP: Duration = Duration::from_secs(5);

/// How what is read comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as it is read: a recording. It leaves at the pace of its timestamps.
    Recorded,
    /// As it is made. It leaves as it comes, or it is held when it is far ahead of time.
    Live,
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of the picture.
    Picture,
    /// Of the sound.
    Sound,
}

/// What waits to be played out.
#[derive(Debug)]
pub struct Playout<T> {
    pace: Pace,
    pictures: VecDeque<Waiting<T>>,
    sounds: VecDeque<Waiting<T>>,
    bytes: u64,
    /// Nothing more comes.
    finished: bool,
    anchor: Option<Anchor>,
}

#[derive(Debug)]
struct Waiting<T> {
    timestamp: Duration,
    size: Bytes,
    item: T,
}

/// A timestamp, and when it is played.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    timestamp: Duration,
    at: Instant,
}

impl<T> Playout<T> {
    /// Creates an empty one.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            pictures: VecDeque::new(),
            sounds: VecDeque::new(),
            bytes: 0,
            finished: false,
            anchor: None,
        }
    }

    /// Something was read. `timestamp` is on the recording's clock.
    pub fn handle(&mut self, kind: Kind, timestamp: Duration, size: Bytes, item: T) {
        self.bytes += size.get();
        let queue = match kind {
            Kind::Picture => &mut self.pictures,
            Kind::Sound => &mut self.sounds,
        };
        queue.push_back(Waiting {
            timestamp,
            size,
            item,
        });
    }

    /// Nothing more is read.
    pub fn handle_end(&mut self) {
        self.finished = true;
    }

    /// Whether more should be read. What is live waits where it comes from, not here.
    pub fn wants_more(&self) -> bool {
        let items = self.pictures.len() + self.sounds.len();
        match self.pace {
            _ if self.finished => false,
            Pace::Live => items == 0,
            Pace::Recorded => items < ITEMS_MAX && self.bytes < BYTES_MAX.get() && !self.spans(),
        }
    }

    /// Whether everything has left.
    pub fn is_over(&self) -> bool {
        self.finished && self.pictures.is_empty() && self.sounds.is_empty()
    }

    /// What is due, if anything is. Drain it.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        let (kind, timestamp) = self.next()?;
        if self.due(timestamp, now)? > now {
            return None;
        }
        self.anchor_at(timestamp, now);
        let queue = match kind {
            Kind::Picture => &mut self.pictures,
            Kind::Sound => &mut self.sounds,
        };
        let waiting = queue.pop_front()?;
        self.bytes -= waiting.size.get();
        Some(waiting.item)
    }

    /// When something is due next. `None` before more is read.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let (_, timestamp) = self.next()?;
        self.due(timestamp, now)
    }

    /// What leaves next, if that is known.
    fn next(&self) -> Option<(Kind, Duration)> {
        let picture = self.pictures.front().map(|it| it.timestamp);
        let sound = self.sounds.front().map(|it| it.timestamp);
        match (picture, sound) {
            (Some(picture), Some(sound)) if sound < picture => Some((Kind::Sound, sound)),
            (Some(picture), Some(_)) => Some((Kind::Picture, picture)),
            // The other may come with an earlier timestamp yet.
            (one, other) if self.wants_more() && self.pace == Pace::Recorded => {
                debug_assert!(one.is_none() || other.is_none());
                None
            }
            (Some(picture), None) => Some((Kind::Picture, picture)),
            (None, Some(sound)) => Some((Kind::Sound, sound)),
            (None, None) => None,
        }
    }

    /// Whether what waits is as long as what is brought together.
    fn spans(&self) -> bool {
        let long = |queue: &VecDeque<Waiting<T>>| {
            let ends = queue.front().zip(queue.back());
            ends.is_some_and(|(first, last)| last.timestamp.saturating_sub(first.timestamp) >= SPAN)
        };
        long(&self.pictures) || long(&self.sounds)
    }

    /// When this is due; the past if it jumped, so that it is anchored anew.
    fn due(&self, timestamp: Duration, now: Instant) -> Option<Instant> {
        let Some(anchor) = self.anchor else {
            return Some(now);
        };
        let Some(passed) = timestamp.checked_sub(anchor.timestamp) else {
            return Some(anchor.at);
        };
        let passed = match self.pace {
            Pace::Recorded => passed,
            Pace::Live => passed.mul_f64(1.0 - DRIFT).saturating_sub(AHEAD),
        };
        let due = anchor.at.checked_add(passed)?;
        if due.saturating_duration_since(now) > JUMP {
            return Some(now);
        }
        Some(due)
    }

    /// Where time is counted from: the first, and what jumped.
    fn anchor_at(&mut self, timestamp: Duration, now: Instant) {
        let jumped = self.anchor.is_none_or(|anchor| {
            let passed = now.saturating_duration_since(anchor.at);
            let expected = anchor.timestamp + passed;
            let ahead = timestamp.saturating_sub(expected);
            let behind = expected.saturating_sub(timestamp);
            // What is live is late when its tool was: then time is counted from there.
            ahead > JUMP + AHEAD || behind > JUMP
        });
        if jumped {
            self.anchor = Some(Anchor { timestamp, at: now });
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one real instant to start from"
)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Reads `text` (p or s and a timestamp in milliseconds) as fast as it is wanted, and tells what
    /// leaves at which time: `p40@40`.
    fn check(pace: Pace, text: &str) -> String {
        let began = Instant::now();
        let mut now = began;
        let mut playout = Playout::new(pace);
        let mut input = text.split_whitespace();
        let mut told = Vec::new();
        while !playout.is_over() {
            while playout.wants_more() {
                let Some(item) = input.next() else {
                    playout.handle_end();
                    break;
                };
                let kind = match item.as_bytes()[0] {
                    b'p' => Kind::Picture,
                    _ => Kind::Sound,
                };
                let at = item[1..].parse().unwrap();
                playout.handle(kind, ms(at), Bytes::new(100), item);
            }
            if let Some(item) = playout.poll(now) {
                let at = now.duration_since(began).as_millis();
                told.push(format!("{item}@{at}"));
                continue;
            }
            if let Some(at) = playout.poll_timeout(now) {
                assert!(at > now, "it would spin");
                now = at;
            }
        }
        told.join(" ")
    }

    #[test]
    fn a_recording_leaves_at_its_own_pace() {
        assert_eq!(
            check(Pace::Recorded, "p5000 p5040 p5080 p5120"),
            "p5000@0 p5040@40 p5080@80 p5120@120"
        );
    }

    #[test]
    fn pictures_and_sounds_come_together_however_far_apart_they_are_kept() {
        assert_eq!(
            check(Pace::Recorded, "p0 p500 p1000 s10 s510 s900"),
            "p0@0 s10@10 p500@500 s510@510 s900@900 p1000@1000"
        );
        // A recording without sound is not waited on for longer than the span.
        assert!(check(Pace::Recorded, "p0 p1500 p3000 p4500").ends_with("p4500@4500"));
    }

    #[test]
    fn what_is_live_leaves_as_it_comes_until_it_is_far_ahead() {
        assert_eq!(
            check(Pace::Live, "p0 s10 p500 p2000 p4000"),
            "p0@0 s10@0 p500@0 p2000@0 p4000@1996"
        );
    }

    #[test]
    fn a_clock_that_jumps_goes_on_from_there() {
        assert_eq!(
            check(Pace::Recorded, "p100000 p100040 p3000 p3040"),
            "p100000@0 p100040@40 p3000@40 p3040@80"
        );
        assert_eq!(
            check(Pace::Recorded, "p0 p40 p900000 p900040"),
            "p0@0 p40@40 p900000@40 p900040@80"
        );
    }

    #[test]
    fn whatever_it_is_fed_it_holds_little_and_ends() {
        let mut state = 7_u64;
        for pace in [Pace::Recorded, Pace::Live] {
            for _ in 0..200 {
                let mut text = String::new();
                for _ in 0..60 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005) | 1;
                    let kind = if state >> 40 & 1 == 0 { 'p' } else { 's' };
                    text.push_str(&format!("{kind}{} ", (state >> 33) % 20_000));
                }
                let told = check(pace, &text);
                assert_eq!(told.split_whitespace().count(), 60);
            }
        }
        let mut playout = Playout::new(Pace::Recorded);
        let mut read = 0;
        while playout.wants_more() {
            playout.handle(Kind::Sound, ms(1), Bytes::new(1), ());
            read += 1;
        }
        assert_eq!(read, ITEMS_MAX);
    }
}
