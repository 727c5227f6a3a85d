//! A terminal that cannot decode as fast as frames come gets fewer, whatever its link could carry.

use std::time::{Duration, Instant};

/// Frames waiting for the decoder that say it is too slow, in two windows in a row.
const DECODE_QUEUE_HIGH: u32 = 4;
/// How long the decoder must keep up before it is given more: doubled each time it then fails.
const DECODER_TRUST_MIN: Duration = Duration::from_secs(5);
const DECODER_TRUST_MAX: Duration = Duration::from_secs(80);

/// Watches whether the terminal decodes as fast as frames come.
#[derive(Debug)]
pub(super) struct Decoder {
    rung: usize,
    slow_windows: u32,
    last_queue: u32,
    /// Since when it has kept up.
    well_since: Instant,
    trust: Duration,
    raised_at: Option<Instant>,
}

impl Decoder {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rung: 0,
            slow_windows: 0,
            last_queue: 0,
            well_since: now,
            trust: DECODER_TRUST_MIN,
            raised_at: None,
        }
    }

    /// Takes the length of the queue, the rung of the ladder in use, and the lowest there is.
    pub(super) fn handle_queue(&mut self, queue: u32, ladder: usize, lowest: usize, now: Instant) {
        let slow = queue >= DECODE_QUEUE_HIGH && queue >= self.last_queue;
        self.last_queue = queue;
        self.slow_windows = if slow { self.slow_windows + 1 } else { 0 };
        if queue >= DECODE_QUEUE_HIGH {
            self.well_since = now;
        }
        if self.slow_windows >= 2 {
            self.slow_windows = 0;
            self.rung = (self.rung.max(ladder) + 1).min(lowest);
            // It failed with what it was just given: it waits longer for the next try.
            let failed = self
                .raised_at
                .take()
                .is_some_and(|it| now < it + self.trust);
            self.trust = if failed {
                (self.trust * 2).min(DECODER_TRUST_MAX)
            } else {
                DECODER_TRUST_MIN
            };
        } else if self.rung > 0 && now >= self.well_since + self.trust {
            self.rung -= 1;
            self.well_since = now;
            self.raised_at = Some(now);
        }
    }

    /// It gets no better than this rung of the ladder.
    pub(super) const fn rung(&self) -> usize {
        self.rung
    }
}
