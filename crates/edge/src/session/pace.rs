//! How fast a session's picture may be sent: carries between reports, `logic::rate` and the encoder.

use std::time::{Duration, Instant};

use logic::rate::{FrameRate, Limits, Rate, Receipt, Scale, Target};
use model::input::Report;
use model::manifest::Screen;
use model::{Bitrate, Bytes};
use tracing::debug;

use super::stage::Stage;

/// The rate control of one session.
pub(super) struct Pace {
    rate: Rate,
    /// What the encoder was last told.
    told: Option<Target>,
    /// Whether it was told to wait.
    held: bool,
}

impl Pace {
    pub(super) fn new(screen: &Screen, (width, height): (u16, u16), now: Instant) -> Self {
        let pixels = pixels(width, height);
        let limits = Limits {
            ceiling: enough(pixels),
            frame_rate: FrameRate::fps(screen.max_fps.into()),
            ..Limits::default()
        };
        Self {
            rate: Rate::new(limits, pixels, now),
            told: None,
            held: false,
        }
    }

    /// What an encoder begins with.
    pub(super) fn start(&self) -> Bitrate {
        self.rate.target().bitrate
    }

    /// What is allowed now.
    pub(super) fn target(&self) -> Bitrate {
        self.rate.target().bitrate
    }

    /// There is a new encoder: it knows nothing yet.
    pub(super) fn handle_stage(&mut self, size: (u16, u16)) {
        self.handle_resize(size);
        self.told = None;
        self.held = false;
    }

    /// The screen has another size.
    pub(super) fn handle_resize(&mut self, (width, height): (u16, u16)) {
        self.rate.handle_resize(pixels(width, height));
    }

    /// A terminal has come, or come back, perhaps by another way.
    pub(super) fn handle_join(&mut self, now: Instant) {
        self.rate.handle_join(now);
    }

    /// A picture of this size was sent.
    pub(super) fn handle_frame(&mut self, size: usize, now: Instant) {
        let size = Bytes::new(u64::try_from(size).unwrap_or(u64::MAX));
        self.rate.handle_frame(size, now);
    }

    pub(super) fn handle_report(&mut self, report: &Report, now: Instant) {
        let receipt = Receipt {
            window: millis(report.window_ms),
            received: report.received,
            lost: report.lost,
            late: millis(report.late_ms),
            decode_queue: report.decode_queue,
            round_trip: millis(report.round_trip_ms),
            bytes: Bytes::new(report.bytes.into()),
        };
        self.rate.handle_receipt(&receipt, now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.rate.handle_timeout(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.rate.poll_timeout()
    }

    /// Tells the encoder what has changed. To be called after everything that happens.
    pub(super) fn apply(&mut self, stage: Option<&Stage>, now: Instant) {
        let Some(stage) = stage else { return };
        let held = !self.rate.is_open(now);
        if held != self.held {
            self.held = held;
            debug!(held, "the way to the terminal");
            if held {
                stage.pipeline().hold();
            } else {
                stage.pipeline().go();
            }
        }
        let changed = self.rate.poll_target();
        let target = match (changed, self.told) {
            (Some(target), _) => target,
            (None, None) => self.rate.target(),
            (None, Some(_)) => return,
        };
        let before = self.told.replace(target);
        let pipeline = stage.pipeline();
        pipeline.set_bitrate(target.bitrate);
        if before.is_none_or(|it| it.frame_rate != target.frame_rate) {
            pipeline.set_max_fps(target.frame_rate);
        }
        // Each change of size costs a keyframe, so only a change is told.
        if before.map_or(Scale::Full, |it| it.scale) != target.scale {
            pipeline.set_scale(target.scale);
        }
    }
}

/// The rate beyond which nobody sees a difference: 6 Mbit/s at 1280x720, where a game has a PSNR of
/// 37 dB, and in proportion. Every bit more costs the encoder's time as well as the link's.
fn enough(pixels: u32) -> Bitrate {
    const BITS_PER_PIXEL_AND_SEC: f64 = 6_000_000.0 / (1280.0 * 720.0);
    const LEAST: Bitrate = Bitrate::kbps(3_000);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 4K, so below 60 Mbit/s, and not negative"
    )]
    let bps = (f64::from(pixels) * BITS_PER_PIXEL_AND_SEC) as u64;
    Bitrate::bps(bps).max(LEAST).min(Limits::default().ceiling)
}

fn pixels(width: u16, height: u16) -> u32 {
    u32::from(width) * u32::from(height)
}

/// A terminal's number of milliseconds, whatever it wrote.
fn millis(ms: f32) -> Duration {
    /// Longer than anything a rate control cares about.
    const MAX_MS: f32 = 60_000.0;
    if ms.is_finite() {
        Duration::from_secs_f32(ms.clamp(0.0, MAX_MS) / 1e3)
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_picture_may_take_more() {
        assert_eq!(enough(pixels(1280, 720)), Bitrate::kbps(6_000));
        assert_eq!(enough(pixels(1920, 1080)), Bitrate::kbps(13_500));
        assert_eq!(enough(pixels(3840, 2160)), Bitrate::kbps(20_000));
        assert_eq!(enough(pixels(360, 720)), Bitrate::kbps(3_000));
    }

    #[test]
    fn a_terminal_may_write_any_number() {
        assert_eq!(millis(1.5), Duration::from_micros(1_500));
        assert_eq!(millis(-1.0), Duration::ZERO);
        assert_eq!(millis(f32::NAN), Duration::ZERO);
        assert_eq!(millis(f32::INFINITY), Duration::ZERO);
        assert_eq!(millis(f32::MAX), Duration::from_secs(60));
    }
}
