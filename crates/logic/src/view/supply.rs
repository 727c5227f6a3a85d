//! What the link and the decoder carry: found out by trying, kept while it holds.

use std::time::{Duration, Instant};

use model::Bitrate;

use super::{Form, Report};

/// Frames later than this wait somewhere: the link is full.
const LATE_BAD: Duration = Duration::from_millis(150);

/// Frames this late are as usual.
const LATE_GOOD: Duration = Duration::from_millis(60);

/// So many frames before the decoder are a quarter of a second.
const QUEUE_BAD: u32 = 8;

/// So many are one batch from the link.
const QUEUE_GOOD: u32 = 3;

/// A form must have been seen for so long, without trouble, before a better one is tried.
const CLEAN: Duration = Duration::from_secs(1);

/// Trouble is told until what was changed arrives: it counts once in this time.
const FALL_EVERY: Duration = Duration::from_millis(600);

/// After trouble, how long nothing better is tried. Doubles while trying fails.
const HOLD: Duration = Duration::from_secs(2);

/// The longest of these.
const HOLD_MAX: Duration = Duration::from_secs(32);

/// What trouble leaves of the link is used to this share, in tenths.
const SHARE_TENTHS: u64 = 8;

/// Forms are known by their place, the best first.
#[derive(Debug)]
pub(super) struct Supply {
    bitrates: Vec<Bitrate>,
    /// The best form that is believed to be carried.
    reach: usize,
    clean_since: Option<Instant>,
    held_until: Instant,
    hold: Duration,
    rose_at: Option<Instant>,
    fell_at: Option<Instant>,
}

impl Supply {
    /// Begins with the smallest form: the first picture should be there at once.
    pub(super) fn new(forms: &[Form], now: Instant) -> Self {
        Self {
            bitrates: forms.iter().map(|it| it.bitrate).collect(),
            reach: forms.len() - 1,
            clean_since: None,
            held_until: now,
            hold: HOLD,
            rose_at: None,
            fell_at: None,
        }
    }

    pub(super) const fn reach(&self) -> usize {
        self.reach
    }

    /// What is seen comes in another form now: what was told before is not about it.
    pub(super) fn handle_change(&mut self, now: Instant) {
        self.clean_since = Some(now);
    }

    pub(super) fn handle_report(&mut self, report: &Report, shown: usize, now: Instant) {
        let bad = report.late >= LATE_BAD || report.decode_queue >= QUEUE_BAD;
        let good = report.late <= LATE_GOOD && report.decode_queue <= QUEUE_GOOD;
        if bad {
            self.clean_since = None;
            let share = report.throughput.as_bps() / 10 * SHARE_TENTHS;
            let fits = self.bitrates.iter().position(|it| it.as_bps() <= share);
            let fits = fits.unwrap_or(self.bitrates.len() - 1);
            self.fall(fits.max(shown + 1), now);
        } else if good {
            let since = *self.clean_since.get_or_insert(now);
            let proven = now >= since + CLEAN && shown == self.reach;
            if proven && self.reach > 0 && now >= self.held_until {
                self.reach -= 1;
                self.rose_at = Some(now);
                self.clean_since = None;
            }
        } else {
            self.clean_since = None;
        }
    }

    /// A form that should have been seen did not come in time.
    pub(super) fn handle_failure(&mut self, form: usize, now: Instant) {
        self.clean_since = None;
        self.fall(form + 1, now);
    }

    fn fall(&mut self, to: usize, now: Instant) {
        if self.fell_at.is_some_and(|it| now < it + FALL_EVERY) {
            return;
        }
        let tried = self
            .rose_at
            .take()
            .is_some_and(|it| now < it + 2 * self.hold);
        self.hold = if tried {
            (2 * self.hold).min(HOLD_MAX)
        } else {
            HOLD
        };
        self.held_until = now + self.hold;
        self.fell_at = Some(now);
        self.reach = self.reach.max(to).min(self.bitrates.len() - 1);
    }
}
