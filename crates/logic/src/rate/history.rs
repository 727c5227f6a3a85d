//! What the last seconds of receipts say of the link.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::{Bitrate, Bytes};

use super::{Receipt, permille};

/// How far back the least lateness is looked for: what even the best window has is jitter.
const FLOOR_WINDOW: Duration = Duration::from_secs(10);
/// Receipts kept for that: five a second for ten seconds, and then some.
const HISTORY_MAX: usize = 64;
/// Receipts before jitter is believed. Until then lateness counts in full.
const HISTORY_MIN: usize = 10;
/// Jitter beyond this is not forgiven: it may be a queue that was there from the start.
const FLOOR_MAX: Duration = Duration::from_millis(60);

/// No round trip is longer: who says so is wrong, or up to no good.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(5);

/// Receipts over which rates are averaged: a second, so that single frames do not count, and a
/// moment, for when the link has just changed.
pub(super) const SECOND: usize = 5;
pub(super) const MOMENT: usize = 2;

/// Beyond this multiple of what has arrived lately, in percent, nothing is known.
const PROVEN_PERCENT: u64 = 140;
/// How far back "lately" reaches.
const PROVEN_WINDOW: Duration = Duration::from_secs(5);

/// What is remembered of a receipt.
#[derive(Debug)]
struct Past {
    at: Instant,
    sent: Bitrate,
    received: Bitrate,
    /// Averaged, this one included.
    received_in_second: Bitrate,
    /// `None` if nothing arrived.
    late: Option<Duration>,
    /// `None` if not known.
    round_trip: Option<Duration>,
}

/// Invariant: at most `HISTORY_MAX` receipts, none older than `FLOOR_WINDOW`.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Past>);

impl History {
    /// Adds a receipt, and what was sent since the one before.
    pub(super) fn handle_receipt(
        &mut self,
        receipt: &Receipt,
        sent: Bytes,
        elapsed: Duration,
        now: Instant,
    ) {
        let received = rate_of(receipt.bytes, receipt.window);
        let before = self.0.iter().rev().take(SECOND - 1);
        let sum = before.fold(received.as_bps(), |sum, it| {
            sum.saturating_add(it.received.as_bps())
        });
        self.0.push_back(Past {
            at: now,
            sent: rate_of(sent, elapsed),
            received,
            received_in_second: Bitrate::bps(sum / SECOND as u64),
            late: (receipt.received > 0).then_some(receipt.late),
            round_trip: Some(receipt.round_trip.min(ROUND_TRIP_MAX)).filter(|it| !it.is_zero()),
        });
        let old = |it: &mut Past| now.saturating_duration_since(it.at) > FLOOR_WINDOW;
        while self.0.pop_front_if(old).is_some() {}
        if self.0.len() > HISTORY_MAX {
            self.0.pop_front();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lateness that even the best window had.
    pub(super) fn late_floor(&self) -> Duration {
        if self.0.len() < HISTORY_MIN {
            return Duration::ZERO;
        }
        let least = self.0.iter().filter_map(|it| it.late).min();
        least.unwrap_or_default().min(FLOOR_MAX)
    }

    /// The round trip without a queue. Zero if none is known.
    pub(super) fn least_round_trip(&self) -> Duration {
        let least = self.0.iter().filter_map(|it| it.round_trip).min();
        least.unwrap_or_default()
    }

    /// What was sent in so many windows.
    pub(super) fn sent_rate(&self, windows: usize) -> Bitrate {
        mean(self.0.iter().rev().take(windows).map(|it| it.sent))
    }

    /// What arrived in so many windows.
    pub(super) fn received_rate(&self, windows: usize) -> Bitrate {
        mean(self.0.iter().rev().take(windows).map(|it| it.received))
    }

    /// Whether less arrives than is sent.
    pub(super) fn is_behind(&self) -> bool {
        self.received_rate(SECOND) < permille(self.sent_rate(SECOND), 960)
    }

    /// What arrives while there is a queue. Averaged, unless the link has just shrunk.
    pub(super) fn passed(&self) -> Bitrate {
        let (moment, second) = (self.received_rate(MOMENT), self.received_rate(SECOND));
        if moment < permille(second, 700) {
            moment
        } else {
            second
        }
    }

    /// What may be tried. That the little of a quiet screen arrives in time proves nothing.
    pub(super) fn proven(&self, now: Instant) -> Bitrate {
        let recent = |it: &&Past| now.saturating_duration_since(it.at) <= PROVEN_WINDOW;
        let recent = self.0.iter().rev().take_while(recent);
        let best = recent.map(|it| it.received_in_second).max();
        permille(best.unwrap_or_default(), PROVEN_PERCENT * 10)
    }
}

pub(super) fn rate_of(bytes: Bytes, time: Duration) -> Bitrate {
    let bits = u128::from(bytes.get()) * 8 * 1_000_000_000;
    let bps = bits / time.as_nanos().max(1);
    Bitrate::bps(u64::try_from(bps).unwrap_or(u64::MAX))
}

fn mean(rates: impl Iterator<Item = Bitrate>) -> Bitrate {
    let (sum, count) = rates.fold((0u128, 0u128), |(sum, count), it| {
        (sum + u128::from(it.as_bps()), count + 1)
    });
    Bitrate::bps(u64::try_from(sum / count.max(1)).unwrap_or(u64::MAX))
}
