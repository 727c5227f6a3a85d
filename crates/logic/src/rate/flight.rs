//! The frames on their way, and when they are so many that another one must wait.
//!
//! Frames are counted, not named: a report says how many arrived or were lost. Of those that are lost
//! a terminal does not know all, so that the count drifts: but frames arrive in order, and what is
//! older than those that arrive now never will. What is never mentioned at all is forgotten.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::Bytes;

use super::Receipt;

/// How long a frame may be on its way, beyond a round trip and the time between two reports, before
/// no other is sent: a screen can wait, a queue only grows.
const ON_THE_WAY_MAX: Duration = Duration::from_millis(400);
/// The time between two reports.
const REPORT_INTERVAL: Duration = Duration::from_millis(200);
/// How long the first frame may be on its way. A terminal that has just come must ask for them first,
/// and over a relay far away each of its questions takes a round trip.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// What may be on its way before anything has arrived: the first keyframe and a third of a second.
const START_WINDOW: Bytes = Bytes::new(256_000);
/// A frame that no receipt has mentioned for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// So are all after so many windows in which none arrived, to see whether another one does.
const FORGETTING_WINDOWS: u32 = 8;
/// Frames on their way that are remembered: two seconds of the fastest.
const FRAMES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Flight {
    /// When the frames were sent that no receipt has mentioned. Invariant: at most `FRAMES_MAX`.
    frames: VecDeque<Instant>,
    /// What was sent in all.
    sent: Bytes,
    arrived: bool,
    empty_windows: u32,
}

impl Flight {
    pub(super) fn handle_frame(&mut self, size: Bytes, now: Instant) {
        if self.frames.len() == FRAMES_MAX {
            self.frames.pop_front();
        }
        self.frames.push_back(now);
        self.sent = self.sent.saturating_add(size);
    }

    /// So many frames arrived, so late, and so many never will.
    pub(super) fn handle_receipt(&mut self, receipt: &Receipt, round_trip: Duration, now: Instant) {
        let Receipt { received, lost, .. } = *receipt;
        let count = usize::try_from(received.saturating_add(lost)).unwrap_or(usize::MAX);
        self.frames.drain(..count.min(self.frames.len()));
        if received > 0 {
            // The first of those was sent a report and its way ago; where nothing is known to be
            // lost there is no hurry to believe it.
            let way = receipt.late.min(FORGOTTEN)
                + match lost {
                    0 => patience(round_trip),
                    _ => round_trip + REPORT_INTERVAL,
                };
            let is_gone = |it: &mut Instant| now > *it + way;
            while self.frames.pop_front_if(is_gone).is_some() {}
        }
        if received > 0 || self.frames.is_empty() {
            self.arrived |= received > 0;
            self.empty_windows = 0;
            return;
        }
        self.empty_windows += 1;
        if self.empty_windows.is_multiple_of(FORGETTING_WINDOWS) {
            self.frames.clear();
            self.sent = Bytes::new(0);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let forgotten = |it: &mut Instant| now >= *it + FORGOTTEN;
        while self.frames.pop_front_if(forgotten).is_some() {}
    }

    /// Windows in a row in which frames were on their way and none arrived.
    pub(super) const fn empty_windows(&self) -> u32 {
        self.empty_windows
    }

    pub(super) fn is_open(&self, round_trip: Duration, now: Instant) -> bool {
        let mut patience = patience(round_trip);
        if !self.arrived {
            patience = patience.max(FIRST_WAIT);
        }
        (self.arrived || self.sent < START_WINDOW)
            && self.frames.front().is_none_or(|it| now < *it + patience)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.frames.front().map(|it| *it + FORGOTTEN)
    }
}

/// How long a frame may be on its way, a report of its arrival included.
fn patience(round_trip: Duration) -> Duration {
    round_trip + REPORT_INTERVAL + ON_THE_WAY_MAX
}
