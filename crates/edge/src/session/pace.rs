//! How fast a session's picture may be sent: carries between reports, `logic::rate` and the encoder.

use std::time::Instant;

use model::Bitrate;
use model::input::Report;
use model::manifest::Screen;
use render::pipeline::VideoFrame;

use super::stage::Stage;

/// The rate control of one session.
pub(super) struct Pace {}

impl Pace {
    pub(super) fn new(_screen: &Screen, _now: Instant) -> Self {
        Self {}
    }
    pub(super) fn start(&self) -> Bitrate {
        Bitrate::kbps(6000)
    }
    pub(super) fn target(&self) -> Bitrate {
        Bitrate::kbps(6000)
    }
    pub(super) fn handle_stage(&mut self) {}
    pub(super) fn handle_frame(&mut self, _frame: &VideoFrame) {}
    pub(super) fn handle_report(&mut self, _report: &Report, _now: Instant) {}
    pub(super) fn handle_timeout(&mut self, _now: Instant) {}
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub(super) fn apply(&mut self, _stage: Option<&Stage>) {}
}
