//! Tells packets that were lost by chance, as radio loses them, from those that found a queue full.
//!
//! Who slows down for every lost packet carries `1.2 packets / (round trip x √loss)`, at one packet of
//! a hundred and 20 ms six megabits a second (Mathis et al. 1997), which is two cameras and no keyframe
//! in time. A full queue shows in the round trip before it loses anything; that is how TCP Veno (Fu and
//! Liew 2003) tells them apart. A line may also drop what is too much without a queue: so what counts
//! as chance is bounded.

use std::time::{Duration, Instant};

/// Up to this share of what is sent may be lost by chance. BBR (draft-ietf-ccwg-bbr) takes a fiftieth of
/// a round trip's packets; here it is counted over seconds, and of one camera's few packets.
const CHANCE_SHARE: f64 = 0.03;

/// So few bytes, three packets, are chance whatever share they are.
const CHANCE_MIN: u64 = 3_600;

/// A round trip that is longer than the least by this, or by a quarter, is a queue's: more than a busy
/// terminal takes to answer.
const QUEUE_MIN: Duration = Duration::from_millis(10);

/// Losses are counted over one to two of these.
const WINDOW: Duration = Duration::from_secs(4);

/// Why packets were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing says that there is too much on the way: to slow down would help nobody.
    Chance,
    /// There is too much on the way.
    Congestion,
}

/// Judges the losses of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    /// Whether packets wait on the way.
    queued: bool,
    now: Share,
    before: Share,
    turned: Option<Instant>,
}

/// Bytes that arrived and that did not.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    arrived: u64,
    lost: u64,
}

impl Losses {
    /// Takes in that bytes have arrived: the smoothed round trip, and the least there was.
    pub fn handle_arrival(
        &mut self,
        bytes: u64,
        round_trip: Duration,
        least: Duration,
        now: Instant,
    ) {
        self.turn(now);
        self.now.arrived = self.now.arrived.saturating_add(bytes);
        self.queued = round_trip.saturating_sub(least) > QUEUE_MIN.max(least / 4);
    }

    /// Takes in that bytes were lost.
    pub fn handle_loss(&mut self, bytes: u64, now: Instant) -> Cause {
        self.turn(now);
        self.now.lost = self.now.lost.saturating_add(bytes);
        let lost = self.now.lost.saturating_add(self.before.lost);
        let arrived = self.now.arrived.saturating_add(self.before.arrived);
        #[expect(
            clippy::cast_precision_loss,
            reason = "bytes of some seconds are far below 2^52"
        )]
        let share = lost as f64 / lost.saturating_add(arrived).max(1) as f64;
        if !self.queued && (lost <= CHANCE_MIN || share <= CHANCE_SHARE) {
            Cause::Chance
        } else {
            Cause::Congestion
        }
    }

    fn turn(&mut self, now: Instant) {
        let turned = *self.turned.get_or_insert(now);
        let age = now.saturating_duration_since(turned);
        if age < WINDOW {
            return;
        }
        let fresh = age < 2 * WINDOW;
        self.before = if fresh { self.now } else { Share::default() };
        self.now = Share::default();
        self.turned = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const PACKET: u64 = 1_200;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn start() -> Instant {
        Instant::now()
    }

    /// A line of 300 packets a second that loses each whose number `loses` names; how many of the
    /// losses were called congestion.
    fn congestions(
        seconds: u32,
        round_trip: impl Fn(u32) -> Duration,
        loses: impl Fn(u32) -> bool,
    ) -> usize {
        let start = start();
        let mut losses = Losses::default();
        let mut congestions = 0;
        for packet in 0..seconds * 300 {
            let now = start + packet * Duration::from_micros(3_333);
            if loses(packet) {
                let cause = losses.handle_loss(PACKET, now);
                congestions += usize::from(cause == Cause::Congestion);
            } else {
                losses.handle_arrival(PACKET, round_trip(packet), 20 * MS, now);
            }
        }
        congestions
    }

    #[test]
    fn one_of_a_hundred_on_a_calm_line_is_chance() {
        let found = congestions(60, |_| 22 * MS, |packet| packet % 100 == 50);
        assert_eq!(found, 0);
    }

    #[test]
    fn what_is_lost_while_packets_queue_is_congestion() {
        let found = congestions(60, |_| 45 * MS, |packet| packet % 100 == 50);
        assert_eq!(found, 180);
    }

    #[test]
    fn a_line_that_drops_what_is_too_much_is_noticed_without_a_queue() {
        // From the tenth second on one of ten.
        let found = congestions(
            20,
            |_| 20 * MS,
            |packet| packet > 3_000 && packet.is_multiple_of(10),
        );
        assert!(found > 200, "{found} of 300");
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let loses = |packet: u32| packet < 600 && packet.is_multiple_of(5) || packet % 100 == 50;
        let late = congestions(60, |_| 20 * MS, loses) - congestions(12, |_| 20 * MS, loses);
        assert_eq!(late, 0);
    }

    #[test]
    fn a_silent_line_starts_anew() {
        let start = start();
        let mut losses = Losses::default();
        for _ in 0..100 {
            losses.handle_loss(PACKET, start);
        }
        assert_eq!(losses.handle_loss(PACKET, start), Cause::Congestion);
        let later = start + 60 * WINDOW;
        assert_eq!(losses.handle_loss(PACKET, later), Cause::Chance);
    }
}
