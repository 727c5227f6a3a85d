//! How a session goes, measured over the last second.

use std::time::{Duration, Instant};

use api::session::Quality;
use model::Bitrate;
use model::input::Report;
use render::pipeline::VideoFrame;

/// Counts what is sent and what the terminal says of it.
pub(super) struct Meter {
    since: Instant,
    frames: u32,
    bytes: usize,
    encoding: Duration,
    received: u32,
    lost: u32,
    quality: Quality,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            frames: 0,
            bytes: 0,
            encoding: Duration::ZERO,
            received: 0,
            lost: 0,
            quality: Quality::default(),
        }
    }

    /// A picture was encoded and takes so many bytes on the wire.
    pub(super) fn handle_frame(&mut self, frame: &VideoFrame, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes;
        self.encoding += frame.encode_time;
    }

    pub(super) fn handle_report(&mut self, report: &Report) {
        self.received = self.received.saturating_add(report.received);
        self.lost = self.lost.saturating_add(report.lost);
        self.quality.round_trip_ms = f64::from(report.round_trip_ms);
    }

    /// A second is over.
    pub(super) fn tick(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        if seconds < 0.1 {
            return;
        }
        let frames = f64::from(self.frames);
        let arrived = f64::from(self.received) + f64::from(self.lost);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a second's bytes fit a double exactly"
        )]
        let bits = self.bytes as f64 * 8.0;
        self.quality.frames_per_second = frames / seconds;
        self.quality.kilobits_per_second = bits / seconds / 1e3;
        self.quality.loss = f64::from(self.lost) / arrived.max(1.0);
        self.quality.encode_ms = self.encoding.as_secs_f64() * 1e3 / frames.max(1.0);
        let quality = self.quality;
        *self = Self::new(now);
        self.quality = quality;
    }

    /// How it went in the last second.
    pub(super) fn quality(&self, target: Bitrate) -> Quality {
        #[expect(
            clippy::cast_precision_loss,
            reason = "rates of pictures fit a double exactly"
        )]
        let target = target.as_bps() as f64 / 1e3;
        Quality {
            target_kilobits_per_second: target,
            ..self.quality
        }
    }
}
