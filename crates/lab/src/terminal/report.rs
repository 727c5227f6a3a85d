//! How the picture arrives, every 200 ms: what the rate control at the other end lives on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use model::input::{Control, Report};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::screen::Screen;

const WINDOW: Duration = Duration::from_millis(200);

/// Windows over which the least delay is remembered: 10 s.
const MEMORY: usize = 50;

/// A ping goes with every fifth report: one a second.
const PING_EVERY: u32 = 5;

/// Arrivals in one window that count. 200 ms at 144 pictures a second are 29.
const ARRIVALS_MAX: usize = 256;

/// What arrived since the last report.
#[derive(Debug, Default)]
pub(super) struct Window {
    received: u32,
    lost: u32,
    bytes: u32,
    /// Arrival by our clock less capture by the node's, in milliseconds: only differences mean
    /// something.
    delays: Vec<f64>,
}

impl Window {
    /// A picture arrived. Both times have a zero of their own.
    pub(super) fn arrived(&mut self, at: Duration, captured: Duration, bytes: usize) {
        self.received += 1;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.delays.len() < ARRIVALS_MAX {
            self.delays
                .push((at.as_secs_f64() - captured.as_secs_f64()) * 1_000.0);
        }
    }

    /// So many pictures never came, as far as that can be known.
    pub(super) fn lost(&mut self, pictures: u32) {
        self.lost = self.lost.saturating_add(pictures);
    }
}

/// Makes reports of windows.
#[derive(Debug, Default)]
struct Reporter {
    least: VecDeque<f64>,
}

impl Reporter {
    fn report(&mut self, mut window: Window, decode_queue: usize, round_trip: Duration) -> Report {
        window.delays.sort_by(f64::total_cmp);
        if self.least.len() == MEMORY {
            self.least.pop_front();
        }
        self.least
            .push_back(window.delays.first().copied().unwrap_or(f64::INFINITY));
        let least = self.least.iter().copied().fold(f64::INFINITY, f64::min);
        let rank = (window.delays.len() * 95).div_ceil(100).saturating_sub(1);
        let late = window.delays.get(rank).map_or(0.0, |delay| delay - least);
        #[expect(clippy::cast_possible_truncation, reason = "seven digits are plenty")]
        Report {
            received: window.received,
            lost: window.lost,
            late_ms: late as f32,
            decode_queue: u32::try_from(decode_queue).unwrap_or(u32::MAX),
            round_trip_ms: round_trip.as_secs_f32() * 1_000.0,
            window_ms: WINDOW.as_secs_f32() * 1_000.0,
            bytes: window.bytes,
        }
    }
}

/// Reports until `stop`.
pub(super) async fn run(screen: Arc<Screen>, stop: CancellationToken) {
    let mut reporter = Reporter::default();
    let mut ticks = interval(WINDOW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0_u32.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if n % PING_EVERY == 0 {
            drop(screen.hand().start_ping());
        }
        let round_trip = screen.hand().round_trip().unwrap_or_default();
        let report = reporter.report(screen.take_window(), screen.decode_queue(), round_trip);
        screen.hand().say(&Control::Report(report));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn lateness_is_beyond_the_least_delay_of_ten_seconds() {
        let mut reporter = Reporter::default();
        let mut first = Window::default();
        for n in 0..20 {
            // The 95th percentile of 20 is the 19th: one straggler does not count.
            let straggle = if n == 19 { 100 } else { 0 };
            first.arrived(ms(1_000 + 16 * n + straggle), ms(16 * n), 1_000);
        }
        let report = reporter.report(first, 2, ms(30));
        assert_eq!(
            (report.received, report.lost, report.bytes),
            (20, 0, 20_000)
        );
        assert!(report.late_ms.abs() < 0.01, "{report:?}");
        assert_eq!((report.decode_queue, report.round_trip_ms), (2, 30.0));

        let mut late = Window::default();
        late.arrived(ms(2_040), ms(1_000), 5);
        late.lost(3);
        let report = reporter.report(late, 0, ms(30));
        assert!((report.late_ms - 40.0).abs() < 0.01, "{report:?}");
        assert_eq!(report.lost, 3);

        // Nothing arrives for so long that the least delay is forgotten.
        for _ in 0..MEMORY {
            assert_eq!(reporter.report(Window::default(), 0, ms(30)).late_ms, 0.0);
        }
        let mut after = Window::default();
        after.arrived(ms(20_040), ms(19_000), 5);
        assert_eq!(reporter.report(after, 0, ms(30)).late_ms, 0.0);
    }
}
