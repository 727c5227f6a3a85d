//! Puts what several publishers send onto one clock: the wall clock of the node they come in at.
//!
//! A publisher's timestamps start anywhere, run at their own pace, wrap and jump. What arrives has
//! been delayed by the network, which only ever adds: so the least delay of a while is the truth,
//! and the difference between the clocks is taken from it. [`Unwrap`] makes counters endless,
//! [`MediaClock`] maps timestamps; [`Flashes`] and [`Clicks`] find moments that every camera saw or
//! heard, and [`corrections`] brings cameras together by them.

mod moment;

use std::collections::VecDeque;
use std::time::Duration;

pub use self::moment::{Clicks, Correction, Flashes, corrections};

/// What is added to timestamps; may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset {
    micros: i64,
}

impl Offset {
    /// So many microseconds.
    pub const fn micros(micros: i64) -> Self {
        Self { micros }
    }

    /// In microseconds.
    pub const fn as_micros(self) -> i64 {
        self.micros
    }

    /// In seconds.
    pub fn as_secs_f64(self) -> f64 {
        exact(self.micros) / 1e6
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            micros: self.micros.saturating_add(other.micros),
        }
    }

    /// The time that is this much later, and never before its epoch.
    pub fn apply(self, time: Duration) -> Duration {
        let moved = micros(time).saturating_add(self.micros);
        Duration::from_micros(u64::try_from(moved).unwrap_or_default())
    }
}

/// Makes timestamps endless that count to a power of two and start over. One for all tracks that
/// share a clock.
#[derive(Clone, Debug)]
pub struct Unwrap {
    bits: u32,
    last: Option<u64>,
}

impl Unwrap {
    /// For counters of so many bits, at most 62: 32 in RTMP, 33 in MPEG-TS.
    pub fn new(bits: u32) -> Self {
        Self {
            bits: bits.min(62),
            last: None,
        }
    }

    /// The endless counter that `ticks` is nearest to. The first one is moved up by a whole turn, so
    /// that others may be earlier.
    pub fn handle(&mut self, ticks: u64) -> u64 {
        let turn = 1_u64 << self.bits;
        let ticks = ticks % turn;
        let Some(last) = self.last else {
            let first = ticks + turn;
            self.last = Some(first);
            return first;
        };
        let mut near = last - last % turn + ticks;
        if near + turn / 2 < last {
            near += turn;
        } else if near > last + turn / 2 && near >= turn {
            near -= turn;
        }
        self.last = Some(near);
        near
    }
}

/// How far back the least delay is looked for: longer than any hiccup of a network that is not an
/// outage, short enough to follow clocks that drift (100 ppm is 1 ms in it).
const WINDOW: Duration = Duration::from_secs(10);

/// Pieces of the window.
const PIECES: usize = 10;

/// While so young, the clock follows at once: the first samples come in a burst, late.
const SETTLING: Duration = Duration::from_secs(2);

/// Afterwards it creeps, so that pictures stay evenly spaced: this much of the time that passes.
const CREEP: f64 = 0.02;

/// Beyond this the publisher's clock has jumped.
const JUMP: i64 = 1_000_000;

/// Maps a publisher's timestamps to the wall clock. Both as time since an epoch of their own; the
/// wall clock's is usually 1970.
#[derive(Clone, Debug, Default)]
pub struct MediaClock {
    state: Option<State>,
    jumps: u64,
}

/// Microseconds throughout.
#[derive(Clone, Debug)]
struct State {
    /// What is added to a timestamp.
    offset: f64,
    /// Least delays, oldest first: when the piece began, and the least in it.
    pieces: VecDeque<(i64, i64)>,
    newest: i64,
    began: i64,
    moved: i64,
}

/// How a publisher's clock relates to ours.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClockEstimate {
    /// What is added to the publisher's timestamps.
    pub offset: Offset,
    /// How much later the last sample came than the earliest of the window: jitter and queues.
    pub late: Duration,
    /// How often the publisher's clock has jumped.
    pub jumps: u64,
}

impl MediaClock {
    /// Maps a timestamp that arrived at `now`.
    pub fn handle(&mut self, timestamp: Duration, now: Duration) -> Duration {
        let (timestamp, now) = (micros(timestamp), micros(now));
        let delay = now.saturating_sub(timestamp);
        match &mut self.state {
            Some(state) if !state.has_jumped(timestamp, delay) => state.follow(delay, now),
            state => {
                self.jumps += u64::from(state.is_some());
                *state = Some(State::new(delay, now));
            }
        }
        let state = self.state.as_mut().expect("just set");
        state.newest = state.newest.max(timestamp);
        let mapped = timestamp.saturating_add(whole(state.offset));
        Duration::from_micros(u64::try_from(mapped).unwrap_or_default())
    }

    /// What is known now.
    pub fn estimate(&self) -> ClockEstimate {
        let Some(state) = &self.state else {
            return ClockEstimate::default();
        };
        let late = state
            .moved
            .saturating_sub(state.newest)
            .saturating_sub(whole(state.offset));
        ClockEstimate {
            offset: Offset::micros(whole(state.offset)),
            late: Duration::from_micros(u64::try_from(late).unwrap_or_default()),
            jumps: self.jumps,
        }
    }
}

impl State {
    fn new(delay: i64, now: i64) -> Self {
        Self {
            offset: exact(delay),
            pieces: VecDeque::from([(now, delay)]),
            newest: i64::MIN,
            began: now,
            moved: now,
        }
    }

    /// A network delays; it neither brings anything before its time nor turns time back. Being late
    /// for the whole window is a clock that stood still.
    fn has_jumped(&self, timestamp: i64, delay: i64) -> bool {
        let ahead = delay < whole(self.offset).saturating_sub(JUMP);
        let back = timestamp < self.newest.saturating_sub(JUMP);
        let late = whole(self.offset).saturating_add(JUMP);
        let settled = self.moved - self.began > micros(WINDOW);
        let stood = settled && delay > late && self.pieces.iter().all(|(_, it)| *it > late);
        ahead || back || stood
    }

    fn follow(&mut self, delay: i64, now: i64) {
        let now = now.max(self.moved);
        let piece = micros(WINDOW) / PIECES as i64;
        match self.pieces.back_mut() {
            Some((began, least)) if now - *began < piece => *least = delay.min(*least),
            _ => self.pieces.push_back((now, delay)),
        }
        while self
            .pieces
            .front()
            .is_some_and(|(began, _)| now - began > micros(WINDOW))
        {
            self.pieces.pop_front();
        }
        let least = self.pieces.iter().map(|(_, it)| *it).min().unwrap_or(delay);
        let wanted = exact(least) - self.offset;
        self.offset += if now - self.began < micros(SETTLING) {
            wanted.min(0.0)
        } else {
            let most = exact(now - self.moved) * CREEP;
            wanted.clamp(-most, most)
        };
        self.moved = now;
    }
}

fn micros(time: Duration) -> i64 {
    // A quarter of the range, 73,000 years, so that sums and differences stay inside.
    i64::try_from(time.as_micros())
        .unwrap_or(i64::MAX)
        .min(i64::MAX / 4)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds since 1970 fit 53 bits until 2255"
)]
fn exact(micros: i64) -> f64 {
    micros as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float becomes the nearest that fits"
)]
fn whole(micros: f64) -> i64 {
    micros.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_700_000_000_000_000;

    /// Sends 30 pictures a second from `start` on the publisher's clock, which runs by `ppm` too
    /// fast, each delayed by `delay(n)` µs; answers how far each is from the truth, in µs.
    fn run(
        clock: &mut MediaClock,
        start: u64,
        from: u64,
        count: u64,
        ppm: i64,
        delay: impl Fn(u64) -> u64,
    ) -> Vec<i64> {
        let errors = (0..count).map(|n| {
            let passed = n * 33_333;
            let drift = i64::try_from(passed).unwrap() * ppm / 1_000_000;
            let timestamp = (start + passed).checked_add_signed(drift).unwrap();
            let captured = from + passed;
            let arrived = captured + delay(n);
            let mapped = clock.handle(
                Duration::from_micros(timestamp),
                Duration::from_micros(arrived),
            );
            i64::try_from(mapped.as_micros()).unwrap() - i64::try_from(captured).unwrap()
        });
        errors.collect()
    }

    /// Noise from 0 to `most`, the same every time.
    fn noise(n: u64, most: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) % most
    }

    #[test]
    fn jitter_does_not_show() {
        let mut clock = MediaClock::default();
        let errors = run(&mut clock, 12_345, WALL, 900, 0, |n| {
            5_000 + noise(n, 40_000)
        });
        let late = &errors[150..];
        let (least, most) = (late.iter().min().unwrap(), late.iter().max().unwrap());
        assert!(*least >= 5_000 && *most < 10_000, "{least} to {most}");
        let steps = errors.windows(2).skip(150).map(|it| (it[1] - it[0]).abs());
        assert!(steps.max().unwrap() <= 667, "pictures stay evenly spaced");
    }

    #[test]
    fn drift_is_followed() {
        for ppm in [-200, 200] {
            let mut clock = MediaClock::default();
            let errors = run(&mut clock, 0, WALL, 18_000, ppm, |n| {
                5_000 + noise(n, 20_000)
            });
            let worst = errors[300..].iter().map(|it| it.abs()).max().unwrap();
            assert!(worst < 12_000, "{ppm} ppm: {worst} µs");
            assert_eq!(clock.estimate().jumps, 0);
        }
    }

    #[test]
    fn an_outage_is_no_jump_and_a_jump_is() {
        let mut clock = MediaClock::default();
        run(&mut clock, 0, WALL, 600, 0, |_| 5_000);
        // The network stands for 3 s, then everything comes at once.
        let at = 600 * 33_333;
        let outage = |n: u64| 5_000 + 3_000_000_u64.saturating_sub(n * 33_333);
        let errors = run(&mut clock, at, WALL + at, 600, 0, outage);
        assert_eq!(clock.estimate().jumps, 0);
        assert!(
            errors.iter().all(|it| (it - 5_000).abs() < 500),
            "{errors:?}"
        );
        // The publisher starts again at 0, and later leaps ahead.
        for (start, jumps) in [(0, 1), (90_000_000_000, 2)] {
            let errors = run(&mut clock, start, WALL + 60_000_000 * jumps, 90, 0, |_| {
                5_000
            });
            assert_eq!(clock.estimate().jumps, jumps);
            assert!(
                errors.iter().all(|it| (it - 5_000).abs() < 500),
                "{errors:?}"
            );
        }
    }

    #[test]
    fn a_clock_that_stood_still_is_followed_in_time() {
        let mut clock = MediaClock::default();
        run(&mut clock, 0, WALL, 600, 0, |_| 5_000);
        let at = 600 * 33_333;
        let errors = run(&mut clock, at, WALL + at + 5_000_000, 600, 0, |_| 5_000);
        assert_eq!(errors.last(), Some(&5_000));
    }

    #[test]
    fn counters_wrap() {
        let mut ticks = Unwrap::new(33);
        let turn = 1_u64 << 33;
        let seen = [turn - 3_000, turn - 6_000, 0, turn - 1_500, 3_000];
        let got: Vec<i64> = seen
            .iter()
            .map(|it| i64::try_from(ticks.handle(*it)).unwrap() - 2 * i64::try_from(turn).unwrap())
            .collect();
        assert_eq!(got, [-3_000, -6_000, 0, -1_500, 3_000]);
        let mut short = Unwrap::new(32);
        let mut last = short.handle(0);
        for n in 1..40_u64 {
            let next = short.handle((n << 29) % (1 << 32));
            assert_eq!(next - last, 1 << 29);
            last = next;
        }
    }

    #[test]
    fn nothing_overflows() {
        let mut clock = MediaClock::default();
        for timestamp in [Duration::MAX, Duration::ZERO, Duration::MAX] {
            for now in [Duration::ZERO, Duration::MAX, Duration::ZERO] {
                clock.handle(timestamp, now);
                clock.estimate();
            }
        }
    }
}
