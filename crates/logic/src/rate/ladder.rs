//! Which frame rate and which size a picture is worth at a bitrate.
//!
//! Down the ladder first pictures become fewer, then smaller; up again in reverse. Steps down are
//! quick, steps up wait: a change of size costs a keyframe, and flicker between two rungs is worse
//! than either.

use std::time::{Duration, Instant};

use model::Bitrate;

use super::{FrameRate, Scale};

/// Thousandths of a bit that a pixel of a picture needs to be worth looking at.
const MILLIBITS_PER_PIXEL: u64 = 50;

/// The frame rates below the highest. Fewer than 15 pictures a second are no motion any more.
const FRAME_RATES: [u32; 3] = [30, 20, 15];

/// How long a bitrate must be too low for a rung.
const DOWN_AFTER: Duration = Duration::from_millis(600);
/// How long it must be enough for the rung above.
const UP_AFTER: Duration = Duration::from_secs(2);
/// How much more than enough it must be, in percent.
const UP_MARGIN_PERCENT: u64 = 130;

/// One combination of frame rate and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rung {
    pub(super) frame_rate: FrameRate,
    pub(super) scale: Scale,
}

#[derive(Debug)]
pub(super) struct Ladder {
    /// From best to poorest; never empty.
    rungs: Vec<Rung>,
    pixels: u32,
    at: usize,
    /// Since when the bitrate asks for a step.
    asked: Option<(Step, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Down,
    Up,
}

impl Ladder {
    /// A ladder with us on its best rung.
    pub(super) fn new(best: FrameRate, pixels: u32) -> Self {
        let lower = FRAME_RATES.into_iter().map(FrameRate::fps);
        let frame_rates: Vec<_> = std::iter::once(best)
            .chain(lower.filter(|it| *it < best))
            .collect();
        let slowest = frame_rates.last().copied().unwrap_or(best);
        let full = frame_rates.into_iter().map(|frame_rate| Rung {
            frame_rate,
            scale: Scale::Full,
        });
        let small = [Scale::ThreeQuarters, Scale::Half].map(|scale| Rung {
            frame_rate: slowest,
            scale,
        });
        Self {
            rungs: full.chain(small).collect(),
            pixels,
            at: 0,
            asked: None,
        }
    }

    /// Where this bitrate puts us at once.
    pub(super) fn jump(&mut self, bitrate: Bitrate) {
        self.asked = None;
        self.at = (0..self.lowest())
            .find(|it| bitrate >= self.need(*it))
            .unwrap_or(self.lowest());
    }

    pub(super) fn handle_pixels(&mut self, pixels: u32) {
        self.pixels = pixels;
    }

    /// Takes a step if the bitrate has asked for it for long enough.
    pub(super) fn handle_bitrate(&mut self, bitrate: Bitrate, now: Instant) {
        let Some(step) = self.step(bitrate) else {
            self.asked = None;
            return;
        };
        let since = match self.asked {
            Some((asked, since)) if asked == step => since,
            Some(_) | None => now,
        };
        self.asked = Some((step, since));
        // Far too little leaves nothing to wait for.
        let patience = match step {
            Step::Down if bitrate < percent(self.need(self.at), 50) => Duration::ZERO,
            Step::Down => DOWN_AFTER,
            Step::Up => UP_AFTER,
        };
        if now.saturating_duration_since(since) >= patience {
            self.asked = None;
            self.at = match step {
                Step::Down => self.at + 1,
                Step::Up => self.at - 1,
            };
        }
    }

    /// This rung, or one further down.
    pub(super) fn rung_at_most(&self, index: usize) -> Rung {
        self.rungs[self.at.max(index).min(self.lowest())]
    }

    pub(super) fn index(&self) -> usize {
        self.at
    }

    pub(super) fn lowest(&self) -> usize {
        self.rungs.len() - 1
    }

    fn step(&self, bitrate: Bitrate) -> Option<Step> {
        if self.at < self.lowest() && bitrate < self.need(self.at) {
            return Some(Step::Down);
        }
        let above = self.at.checked_sub(1)?;
        (bitrate >= percent(self.need(above), UP_MARGIN_PERCENT)).then_some(Step::Up)
    }

    /// The least bitrate that a rung is worth.
    fn need(&self, index: usize) -> Bitrate {
        let Rung { frame_rate, scale } = self.rungs[index];
        let (numerator, denominator) = scale.ratio();
        let pixels = u64::from(self.pixels) * u64::from(numerator * numerator)
            / u64::from(denominator * denominator);
        Bitrate::bps(pixels * u64::from(frame_rate.as_fps()) * MILLIBITS_PER_PIXEL / 1_000)
    }
}

fn percent(rate: Bitrate, percent: u64) -> Bitrate {
    Bitrate::bps(rate.as_bps().saturating_mul(percent) / 100)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one real instant to start from"
)]
mod tests {
    use super::*;

    const PIXELS: u32 = 1_280 * 720;

    #[test]
    fn first_fewer_then_smaller() {
        let mut ladder = Ladder::new(FrameRate::fps(60), PIXELS);
        let mut seen = vec![show(&ladder)];
        let start = Instant::now();
        for second in 0..20 {
            ladder.handle_bitrate(Bitrate::kbps(100), start + Duration::from_secs(second));
            seen.push(show(&ladder));
        }
        seen.dedup();
        assert_eq!(seen.join(" "), "60/1 30/1 20/1 15/1 15/0.75 15/0.5");
        for second in 20..60 {
            ladder.handle_bitrate(Bitrate::kbps(9_000), start + Duration::from_secs(second));
            seen.push(show(&ladder));
        }
        seen.dedup();
        assert_eq!(
            seen[6..].join(" "),
            "15/0.75 15/1 20/1 30/1 60/1",
            "recovers in reverse"
        );
    }

    #[test]
    fn a_bitrate_jumps_to_its_rung() {
        let mut ladder = Ladder::new(FrameRate::fps(60), PIXELS);
        for (kbps, rung) in [
            (300, "15/0.5"),
            (500, "15/0.75"),
            (700, "15/1"),
            (1_000, "20/1"),
            (1_500, "30/1"),
            (3_000, "60/1"),
        ] {
            ladder.jump(Bitrate::kbps(kbps));
            assert_eq!(show(&ladder), rung, "{kbps} kbit/s");
        }
    }

    #[test]
    fn a_bitrate_between_two_rungs_does_not_flicker() {
        let mut ladder = Ladder::new(FrameRate::fps(60), PIXELS);
        let start = Instant::now();
        let mut changes = 0;
        let mut last = ladder.index();
        for step in 0..600u64 {
            // 60 pictures a second need 2,765 kbit/s.
            let kbps = if step % 20 < 10 { 2_700 } else { 2_900 };
            ladder.handle_bitrate(
                Bitrate::kbps(kbps),
                start + Duration::from_millis(step * 200),
            );
            changes += usize::from(ladder.index() != last);
            last = ladder.index();
        }
        assert!(changes <= 1, "{changes} changes");
    }

    #[test]
    fn a_slow_app_has_fewer_rungs() {
        let ladder = Ladder::new(FrameRate::fps(10), PIXELS);
        assert_eq!(ladder.lowest(), 2);
        assert_eq!(ladder.rung_at_most(9).frame_rate, FrameRate::fps(10));
    }

    fn show(ladder: &Ladder) -> String {
        let Rung { frame_rate, scale } = ladder.rung_at_most(0);
        let (numerator, denominator) = scale.ratio();
        format!(
            "{}/{}",
            frame_rate.as_fps(),
            f64::from(numerator) / f64::from(denominator)
        )
    }
}
