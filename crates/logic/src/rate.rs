//! Decides how much of a picture to send: bitrate first, then frame rate, then size.
//!
//! What we know is what the terminal reports a few times a second, and what the encoder made. A
//! link that is too narrow shows as lateness that grows while less arrives than was sent. Then the
//! bitrate falls below what arrives, so that the queue drains, and comes back to just under it.
//! Upwards it feels its way: slowly near what was too much before, faster and faster beyond.
//!
//! **Invariant:** the bitrate is never above the ceiling or below the floor.
//!
//! Deliberately elsewhere: spreading one frame over time is `pacer`'s, the rhythm of capturing
//! `cadence`'s; both obey the [`Target`].

mod decoder;
mod flight;
mod history;
mod ladder;

use std::time::{Duration, Instant};

use model::{Bitrate, Bytes};

use decoder::Decoder;
use flight::Flight;
use history::{History, MOMENT, SECOND};
use ladder::Ladder;

/// Without a report for so long the bitrate is halved, once.
const SILENCE: Duration = Duration::from_secs(1);

/// Lateness over the floor that says nothing yet. One and a half frames come on top of it when
/// frames are far apart, because a large frame takes up to its own interval to pass.
const MARGIN_MIN: Duration = Duration::from_millis(30);
/// A retransmission takes a round trip and makes what follows late too, which is no queue. Beyond
/// this we do not wait for it.
const RETRANSMISSION_MAX: Duration = Duration::from_millis(150);
/// A keyframe is late because it is large, and so are the frames behind it: for so long its own
/// time to pass, at most this, is not held against the link.
const EXCUSED: Duration = Duration::from_millis(1_500);
const EXCUSE_MAX: Duration = Duration::from_millis(500);
/// How long lateness counts in full before another keyframe excuses it.
const EXCUSED_AGAIN: Duration = Duration::from_secs(1);
/// Late windows in a row that are taken for a queue if anything else speaks for one, and if not.
const LATE_WINDOWS: u32 = 3;
const LATE_WINDOWS_ALONE: u32 = 8;
/// Windows in a row in which frames were sent and none arrived, before that counts.
const EMPTY_WINDOWS: u32 = 3;
/// Lost frames, in percent, that count as a link too narrow, and that forbid to raise.
const LOSS_HIGH_PERCENT: u32 = 10;
const LOSS_LOW_PERCENT: u32 = 2;

/// How long a queue should take to drain after a cut.
const DRAIN: Duration = Duration::from_secs(1);
/// How long after a cut and a round trip its effect shows in the reports.
const SETTLE: Duration = Duration::from_millis(400);
/// How long a link that proved steady is left alone before we try for more: doubled each time.
const PATIENCE_MIN: Duration = Duration::from_secs(3);
const PATIENCE_MAX: Duration = Duration::from_secs(48);

/// Growth in thousandths a second: back to what has worked, near what was too much, and beyond.
const GROWTH_BACK: u64 = 1_000;
const GROWTH_NEAR: u64 = 40;
const GROWTH_MIN: u64 = 80;
const GROWTH_MAX: u64 = 500;

/// A bitrate is passed on when it differs by so much, in percent: less is not worth the encoder's
/// trouble.
const CHANGE_PERCENT: u64 = 2;

/// What a session may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Where to begin.
    pub start: Bitrate,
    /// Never less. Default 300 kbit/s.
    pub floor: Bitrate,
    /// Never more. Default 20 Mbit/s.
    pub ceiling: Bitrate,
    /// Never more pictures a second. Default 60.
    pub frame_rate: FrameRate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            start: Bitrate::kbps(6_000),
            floor: Bitrate::kbps(300),
            ceiling: Bitrate::kbps(20_000),
            frame_rate: FrameRate::fps(60),
        }
    }
}

/// Pictures a second, 1 to 120.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameRate(u32);

impl FrameRate {
    /// The most that is of use to anybody.
    const MAX: u32 = 120;

    /// So many pictures a second, cut to 1 to 120.
    pub const fn fps(fps: u32) -> Self {
        match fps {
            0 => Self(1),
            1..=Self::MAX => Self(fps),
            _ => Self(Self::MAX),
        }
    }

    /// Pictures a second.
    pub const fn as_fps(self) -> u32 {
        self.0
    }

    /// The time from one picture to the next.
    pub fn interval(self) -> Duration {
        Duration::from_secs(1) / self.0
    }
}

/// How large the encoded picture is compared to the screen, in each dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As large as the screen.
    Full,
    /// Three quarters.
    ThreeQuarters,
    /// One half.
    Half,
}

impl Scale {
    /// Numerator and denominator.
    pub const fn ratio(self) -> (u16, u16) {
        match self {
            Self::Full => (1, 1),
            Self::ThreeQuarters => (3, 4),
            Self::Half => (1, 2),
        }
    }
}

/// What the encoder should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Bits a second on average.
    pub bitrate: Bitrate,
    /// Pictures a second at most.
    pub frame_rate: FrameRate,
    /// The size of the pictures.
    pub scale: Scale,
}

/// What the terminal says of one window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The window's length.
    pub window: Duration,
    /// Frames that arrived.
    pub received: u32,
    /// Frames that were sent and never arrived.
    pub lost: u32,
    /// How late the latest frames were (95th percentile), over the least of the last 10 s.
    pub late: Duration,
    /// Frames waiting for the decoder.
    pub decode_queue: u32,
    /// From the terminal to the app and back. Zero: not known yet.
    pub round_trip: Duration,
    /// What arrived.
    pub bytes: Bytes,
}

/// How the link looks, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// There is room.
    Clear,
    /// Something is late or lost, but not enough to act.
    Busy,
    /// Too much was sent.
    Congested,
    /// The terminal is silent.
    Silent,
}

/// The control of one session's picture.
#[derive(Debug)]
pub struct Rate {
    limits: Limits,
    bitrate: Bitrate,
    view: View,
    ladder: Ladder,
    decoder: Decoder,
    /// What passed when it last was too much.
    capacity: Option<Bitrate>,
    /// Growth beyond what is known, in thousandths a second.
    growth: u64,
    /// No cut and no growth before the last cut shows.
    settled_at: Instant,
    /// No growth beyond what has worked before.
    patient_until: Instant,
    patience: Duration,
    history: History,
    flight: Flight,
    /// What was sent since the last receipt.
    sent: Bytes,
    excuse: Duration,
    excused_until: Instant,
    late_windows: u32,
    last_excess: Duration,
    last_receipt_at: Instant,
    told: Option<Target>,
}

/// What a receipt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Clear,
    Busy,
    /// Too much, and by how much the rest is late.
    Congested {
        excess: Duration,
    },
    /// Nothing gets through.
    Blocked,
}

impl Rate {
    /// Begins a session with a screen of so many pixels.
    pub fn new(limits: Limits, pixels: u32, now: Instant) -> Self {
        let floor = limits.floor.min(limits.ceiling);
        let limits = Limits { floor, ..limits };
        let bitrate = limits.start.clamp(limits.floor, limits.ceiling);
        let mut ladder = Ladder::new(limits.frame_rate, pixels);
        ladder.jump(bitrate);
        Self {
            limits,
            bitrate,
            view: View::Clear,
            ladder,
            decoder: Decoder::new(now),
            capacity: None,
            growth: GROWTH_MIN,
            settled_at: now,
            patient_until: now,
            patience: PATIENCE_MIN,
            history: History::default(),
            flight: Flight::default(),
            sent: Bytes::new(0),
            excuse: Duration::ZERO,
            excused_until: now,
            late_windows: 0,
            last_excess: Duration::ZERO,
            last_receipt_at: now,
            told: None,
        }
    }

    /// The screen has another size now.
    pub fn handle_resize(&mut self, pixels: u32) {
        self.ladder.handle_pixels(pixels);
        self.ladder.jump(self.bitrate);
    }

    /// The terminal has just come, or come back by another way. What was learnt of the way before
    /// is forgotten. The bitrate stays, because it is the best guess there is, and what silence
    /// took from it is given back.
    pub fn handle_join(&mut self, now: Instant) {
        if let Some(capacity) = self.capacity.filter(|_| self.view == View::Silent) {
            self.set(permille(capacity, 920));
        }
        self.flight = Flight::default();
        self.history = History::default();
        self.capacity = None;
        self.patience = PATIENCE_MIN;
        self.last_excess = Duration::ZERO;
        self.sent = Bytes::new(0);
        self.last_receipt_at = now;
        self.view = View::Clear;
        self.settle(now);
    }

    /// The encoder made a frame that is being sent.
    pub fn handle_frame(&mut self, size: Bytes, now: Instant) {
        self.handle_timeout(now);
        self.sent = self.sent.saturating_add(size);
        self.flight.handle_frame(size, now);
        // A keyframe, or what is as large as one.
        let fair = self.bitrate * (self.target().frame_rate.interval() * 3);
        if size > fair && now >= self.excused_until + EXCUSED_AGAIN {
            self.excused_until = now + EXCUSED + self.history.least_round_trip();
            self.excuse = air_time(size, self.bitrate).min(EXCUSE_MAX);
        }
    }

    /// The terminal reported.
    pub fn handle_receipt(&mut self, receipt: &Receipt, now: Instant) {
        self.handle_timeout(now);
        let elapsed = now.saturating_duration_since(self.last_receipt_at);
        self.last_receipt_at = now;
        if receipt.window.is_zero() || elapsed.is_zero() {
            return; // says nothing
        }
        let sent = std::mem::take(&mut self.sent);
        self.history.handle_receipt(receipt, sent, elapsed, now);
        let round_trip = self.history.least_round_trip();
        self.flight.handle_receipt(receipt, round_trip, now);
        let verdict = self.judge(receipt, now);
        self.view = match verdict {
            Verdict::Clear => View::Clear,
            Verdict::Busy => View::Busy,
            Verdict::Congested { .. } | Verdict::Blocked => View::Congested,
        };
        match verdict {
            Verdict::Clear => self.grow(elapsed, now),
            Verdict::Busy => self.growth = GROWTH_MIN,
            Verdict::Congested { excess } => self.cut(excess, now),
            Verdict::Blocked => self.halve(now),
        }
        self.ladder.handle_bitrate(self.bitrate, now);
        let rung = self.ladder.index();
        self.decoder
            .handle_queue(receipt.decode_queue, rung, self.ladder.lowest(), now);
    }

    /// Moves time forward.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.view != View::Silent && self.silent_at().is_some_and(|it| now >= it) {
            self.view = View::Silent;
            self.flight = Flight::default();
            // What has worked is worth coming back to when the terminal speaks again.
            self.capacity = self.capacity.or(Some(self.bitrate));
            self.halve(now);
            self.ladder.handle_bitrate(self.bitrate, now);
        }
        self.flight.handle_timeout(now);
    }

    /// Whether another frame should be sent at all. Not while one from long ago has not arrived:
    /// whatever follows would only wait behind it. Ask before each picture, and again after each
    /// receipt and timeout.
    pub fn is_open(&self, now: Instant) -> bool {
        // A terminal that says nothing at all may still see everything.
        let speaks = !self.history.is_empty() && self.view != View::Silent;
        !speaks || self.flight.is_open(self.history.least_round_trip(), now)
    }

    /// Returns what the encoder should do from now on, if that has changed.
    pub fn poll_target(&mut self) -> Option<Target> {
        let target = self.target();
        let changed = self.told.is_none_or(|told| {
            let before = told.bitrate.as_bps();
            let by = before.abs_diff(target.bitrate.as_bps());
            let at_limit =
                target.bitrate == self.limits.floor || target.bitrate == self.limits.ceiling;
            (told.frame_rate, told.scale) != (target.frame_rate, target.scale)
                || by * 100 >= before * CHANGE_PERCENT
                || (by > 0 && at_limit)
        });
        changed.then(|| *self.told.insert(target))
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silent_at = self.silent_at().filter(|_| self.view != View::Silent);
        silent_at
            .into_iter()
            .chain(self.flight.poll_timeout())
            .min()
    }

    /// What the encoder should do.
    pub fn target(&self) -> Target {
        let rung = self.ladder.rung_at_most(self.decoder.rung());
        Target {
            bitrate: self.bitrate,
            frame_rate: rung.frame_rate,
            scale: rung.scale,
        }
    }

    /// How the link looks.
    pub const fn view(&self) -> View {
        self.view
    }

    /// When the terminal has been silent for too long. Before its first report it is only starting.
    fn silent_at(&self) -> Option<Instant> {
        (!self.history.is_empty()).then(|| self.last_receipt_at + SILENCE)
    }

    fn judge(&mut self, receipt: &Receipt, now: Instant) -> Verdict {
        match self.flight.empty_windows() {
            _ if receipt.received > 0 => self.judge_lateness(receipt, now),
            0 => Verdict::Clear,
            EMPTY_WINDOWS.. if now >= self.settled_at => Verdict::Blocked,
            _ => Verdict::Busy,
        }
    }

    fn judge_lateness(&mut self, receipt: &Receipt, now: Instant) -> Verdict {
        let excess = receipt.late.saturating_sub(self.history.late_floor());
        let last_excess = std::mem::replace(&mut self.last_excess, excess);
        let excuse = if now < self.excused_until {
            self.excuse
        } else {
            Duration::ZERO
        };
        let margin = excuse + MARGIN_MIN.max(self.target().frame_rate.interval() * 3 / 2);
        let late = excess > margin;
        self.late_windows = if late { self.late_windows + 1 } else { 0 };
        if self.late_windows >= LATE_WINDOWS {
            // Behind a queue arrives just what passes.
            let passed = self.history.received_rate(SECOND);
            self.capacity = self.capacity.map(|it| it.min(passed));
        }

        let frames = receipt.received.saturating_add(receipt.lost);
        let lost_percent = receipt.lost.saturating_mul(100) / frames.max(1);
        let too_much_lost = lost_percent >= LOSS_HIGH_PERCENT && receipt.lost > 1;

        let (sent, received) = (
            self.history.sent_rate(MOMENT),
            self.history.received_rate(MOMENT),
        );
        let least = self.history.least_round_trip();
        let very_late = excess > margin + least.min(RETRANSMISSION_MAX);
        let behind = self.history.is_behind();
        let far = receipt.round_trip.saturating_sub(least) > margin / 2;
        let queue = (very_late && received < permille(sent, 850))
            || (self.late_windows >= LATE_WINDOWS && (very_late || behind || far))
            || self.late_windows >= LATE_WINDOWS_ALONE;
        let less = excess.as_millis() * 10 < last_excess.as_millis() * 9
            || received > permille(sent, 1_100);
        let draining = less && self.bitrate <= self.history.passed();
        let too_much = too_much_lost || (queue && !draining);
        if too_much && now >= self.settled_at {
            Verdict::Congested { excess }
        } else if late || too_much || lost_percent >= LOSS_LOW_PERCENT {
            Verdict::Busy
        } else {
            Verdict::Clear
        }
    }

    fn grow(&mut self, elapsed: Duration, now: Instant) {
        if now < self.settled_at || self.history.is_behind() {
            return;
        }
        let proven = self.history.proven(now);
        // After a pause of the reports we grow as if only one were missing.
        let elapsed = elapsed.min(Duration::from_millis(500));

        let (growth, most) = match self.capacity {
            Some(capacity) if self.bitrate < permille(capacity, 920) => {
                // It has worked before: no proof needed.
                (GROWTH_BACK, permille(capacity, 920))
            }
            Some(_) if now < self.patient_until => return,
            Some(capacity) if self.bitrate < permille(capacity, 1_100) => (GROWTH_NEAR, proven),
            Some(_) => {
                // More than was too much before passes: the link is another one now.
                self.capacity = None;
                self.patience = PATIENCE_MIN;
                (self.growth, proven)
            }
            None => (self.growth, proven),
        };
        if self.capacity.is_none() {
            let faster = self.growth + per_second(self.growth, elapsed);
            self.growth = faster.min(GROWTH_MAX);
        }
        let step = per_second(
            self.bitrate.as_bps().saturating_mul(growth) / 1_000,
            elapsed,
        );
        let wanted = Bitrate::bps(self.bitrate.as_bps().saturating_add(step));
        self.set(wanted.min(most).max(self.bitrate));
    }

    /// Less than what arrives, so that the queue drains.
    fn cut(&mut self, excess: Duration, now: Instant) {
        let sent = self.history.sent_rate(SECOND);
        let passed = self.history.passed();
        let drain = excess.as_millis() * 1_000 / DRAIN.as_millis();
        let drain = u64::try_from(drain).unwrap_or(u64::MAX).clamp(100, 500);
        let quiet = sent < permille(self.bitrate, 700);
        let wanted = if quiet && passed >= permille(sent, 850) {
            // What is late is not late because of us: we hardly send. Be careful, no more.
            permille(self.bitrate, 850)
        } else {
            self.learn(passed, now);
            permille(passed, 1_000 - drain)
        };
        self.set(wanted.min(self.bitrate));
        self.settle(now);
    }

    /// The link carries so much, and not more.
    fn learn(&mut self, passed: Bitrate, now: Instant) {
        let known = self
            .capacity
            .is_some_and(|it| passed > permille(it, 850) && passed < permille(it, 1_150));
        if !known {
            self.patience = PATIENCE_MIN;
        } else if now >= self.patient_until {
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
        }
        self.patient_until = now + self.patience;
        self.capacity = Some(passed);
    }

    fn halve(&mut self, now: Instant) {
        self.set(permille(self.bitrate, 500));
        self.settle(now);
    }

    fn settle(&mut self, now: Instant) {
        self.growth = GROWTH_MIN;
        self.late_windows = 0;
        self.settled_at = now + SETTLE + self.history.least_round_trip();
    }

    fn set(&mut self, wanted: Bitrate) {
        self.bitrate = wanted.clamp(self.limits.floor, self.limits.ceiling);
    }
}

fn air_time(size: Bytes, rate: Bitrate) -> Duration {
    let nanos = u128::from(size.get()) * 8 * 1_000_000_000 / u128::from(rate.as_bps().max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn permille(rate: Bitrate, permille: u64) -> Bitrate {
    let bps = u128::from(rate.as_bps()) * u128::from(permille) / 1_000;
    Bitrate::bps(u64::try_from(bps).unwrap_or(u64::MAX))
}

/// The share of an amount per second that falls into `elapsed`, which is less than a few seconds.
fn per_second(amount: u64, elapsed: Duration) -> u64 {
    let share = u128::from(amount) * elapsed.as_micros() / 1_000_000;
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one real instant to start from"
)]
mod tests;
