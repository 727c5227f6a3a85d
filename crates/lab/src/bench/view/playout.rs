//! When the viewer page shows a picture: as soon as it is there, but evenly. The rule of
//! `console/js/watch/playout.js` for a viewer without sound.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Delays are judged over this long.
const WINDOW: Duration = Duration::from_secs(2);

/// So many of a window.
const SAMPLES_MAX: usize = 240;

/// Nobody waits longer than this for evenness, in seconds.
const EVEN_MAX: f64 = 0.1;

/// Faster or slower by no more than this, in seconds a second.
const SLEW: f64 = 0.01;

/// What is farther off than this, in seconds, is set at once.
const JUMP: f64 = 0.12;

/// A new view's first picture may have come sooner than most of it will: by so much, in seconds, it
/// waits, if the view before did.
const FIRST_WAITS: f64 = 0.02;

/// In a new view pictures that were kept come in a burst, later than those that follow.
const BURST: Duration = Duration::from_millis(500);

/// Decides for the pictures of what is seen. Delays are in seconds.
#[derive(Debug)]
pub(super) struct Playout {
    pictures: VecDeque<(Instant, f64)>,
    delay: Option<f64>,
    since: Instant,
    now: Instant,
    /// What [`Playout::target`] works on.
    ranked: Vec<f64>,
}

impl Playout {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pictures: VecDeque::new(),
            delay: None,
            since: now,
            now,
            ranked: Vec::new(),
        }
    }

    /// From now on the pictures of another view come.
    pub(super) fn handle_view(&mut self, now: Instant) {
        self.pictures.clear();
        self.since = now;
    }

    /// A picture is there that was made so long ago; returns when it is shown.
    pub(super) fn handle_picture(&mut self, late: Duration, now: Instant) -> Instant {
        let late = late.as_secs_f64();
        if self.delay.is_none() {
            self.since = now;
        }
        let bursts = now < self.since + BURST;
        let least = self.least();
        if bursts && !self.pictures.is_empty() && late < least - 0.005 {
            self.pictures.clear();
        }
        self.pictures.push_back((now, late));
        while self.pictures.len() > SAMPLES_MAX
            || self.pictures.front().is_some_and(|it| it.0 + WINDOW < now)
        {
            self.pictures.pop_front();
        }
        let delay = self.slew(bursts, now);
        now + Duration::from_secs_f64((delay - late).max(0.0))
    }

    fn slew(&mut self, bursts: bool, now: Instant) -> f64 {
        let target = self.target();
        let step = SLEW * (now - self.now).as_secs_f64();
        self.now = now;
        let delay = match self.delay {
            Some(delay) if (target - delay).abs() > JUMP => target,
            Some(delay) if bursts && target < delay => delay.min(target + FIRST_WAITS),
            Some(delay) => delay + (target - delay).clamp(-step, step),
            None => target,
        };
        self.delay = Some(delay);
        delay
    }

    /// Nine of ten pictures come in time.
    fn target(&mut self) -> f64 {
        let (ranked, most) = (&mut self.ranked, self.pictures.len());
        ranked.clear();
        ranked.extend(self.pictures.iter().map(|it| it.1));
        let rank = (most * 9).div_ceil(10).saturating_sub(1);
        let even = if rank < most {
            *ranked.select_nth_unstable_by(rank, f64::total_cmp).1
        } else {
            0.0
        };
        even.min(self.least() + EVEN_MAX)
    }

    fn least(&self) -> f64 {
        let delays = self.pictures.iter().map(|it| it.1);
        delays.fold(f64::INFINITY, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_that_come_unevenly_are_shown_evenly() {
        let start = Instant::now();
        let mut playout = Playout::new(start);
        let mut shown = Vec::new();
        for picture in 0..120_u32 {
            let made = Duration::from_millis(33) * picture;
            let late = Duration::from_millis([30, 45, 38][picture as usize % 3]);
            shown.push(playout.handle_picture(late, start + made + late));
        }
        let steps = shown[90..].windows(2).map(|it| it[1] - it[0]);
        let uneven = steps.filter(|it| it.abs_diff(Duration::from_millis(33)).as_millis() > 1);
        assert_eq!(uneven.count(), 0);
    }

    #[test]
    fn a_view_that_comes_sooner_is_shown_sooner() {
        let start = Instant::now();
        let mut playout = Playout::new(start);
        playout.handle_picture(Duration::from_millis(80), start);
        let now = start + Duration::from_secs(1);
        playout.handle_view(now);
        let shown = playout.handle_picture(Duration::from_millis(20), now);
        assert_eq!(shown, now + Duration::from_millis(20));
    }

    #[test]
    fn a_view_whose_first_picture_came_sooner_than_the_next_leaves_no_gap() {
        let start = Instant::now();
        let mut playout = Playout::new(start);
        playout.handle_picture(Duration::from_millis(40), start);
        let now = start + Duration::from_secs(1);
        playout.handle_view(now);
        let first = playout.handle_picture(Duration::from_millis(20), now);
        let next = now + Duration::from_millis(33 + 20);
        let next = playout.handle_picture(Duration::from_millis(40), next);
        assert!(
            next - first <= Duration::from_millis(34),
            "{:?}",
            next - first
        );
    }
}
