//! How fast the hand turns.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::Angle;

/// What counts for the speed: two frames of a slow screen and then some. A hand that says nothing
/// for so long is still.
const WINDOW: Duration = Duration::from_millis(120);

/// A shorter time between two gestures tells nothing of the speed: they came in one batch.
const SPAN_MIN: Duration = Duration::from_millis(8);

/// Gestures that are kept: those of the window at 120 a second. Of more, the oldest is forgotten.
const GESTURES_MAX: usize = 16;

/// Less than this, in degrees, is no turn.
const TURN_MIN: f64 = 1e-6;

/// Where the hand is and where it was a moment ago.
#[derive(Debug)]
pub(super) struct Hand {
    angle: Angle,
    /// Degrees since the beginning, over any number of turns.
    turned: f64,
    /// Invariant: at most `GESTURES_MAX`, oldest first.
    gestures: VecDeque<(Instant, f64)>,
}

impl Hand {
    pub(super) const fn new(angle: Angle) -> Self {
        Self {
            angle,
            turned: 0.0,
            gestures: VecDeque::new(),
        }
    }

    pub(super) const fn angle(&self) -> Angle {
        self.angle
    }

    /// Whether the hand turned at all.
    pub(super) fn turn(&mut self, angle: Angle, now: Instant) -> bool {
        let by = angle.from(self.angle).as_degrees();
        self.angle = angle;
        self.turned += by;
        while self.gestures.len() >= GESTURES_MAX
            || self.gestures.front().is_some_and(|it| now > it.0 + WINDOW)
        {
            self.gestures.pop_front();
        }
        self.gestures.push_back((now, self.turned));
        by.abs() > TURN_MIN
    }

    /// To be somewhere else is no turn.
    pub(super) fn jump(&mut self, angle: Angle) {
        self.angle = angle;
        self.gestures.clear();
    }

    /// In degrees a second, counterclockwise if positive.
    pub(super) fn speed(&self, now: Instant) -> f64 {
        let mut recent = self.gestures.iter().filter(|it| now < it.0 + WINDOW);
        let (Some(first), Some(last)) = (recent.next(), recent.next_back()) else {
            return 0.0;
        };
        let span = last.0 - first.0;
        if span < SPAN_MIN {
            return 0.0;
        }
        (last.1 - first.1) / (span.as_micros() as f64 / 1e6)
    }

    /// When a hand that says nothing any more is still.
    pub(super) fn still_at(&self) -> Option<Instant> {
        self.gestures.back().map(|it| it.0 + WINDOW)
    }
}
