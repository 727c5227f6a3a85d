//! Decides when what crashed is started again, and when no more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How patient to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The wait before the first restart; each further one doubles it. Default 250 ms.
    pub first: Duration,
    /// The longest wait. Default 30 s.
    pub longest: Duration,
    /// By how much a wait is made longer at most, in percent of it, so that many that crashed at
    /// once don't come back at once. Default 20.
    pub jitter_percent: u32,
    /// This many crashes within `window` are too many. At least 1. Default 5.
    pub crashes_max: usize,
    /// The time in which crashes are counted. Default 60 s.
    pub window: Duration,
    /// After running for this long it counts as mended: the waits begin anew. Default 30 s.
    pub stable: Duration,
}

/// What to do after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start again.
    Restart {
        /// When.
        at: Instant,
        /// The how-manieth restart in a row this is, from 1.
        attempt: u32,
    },
    /// Leave it: it would only crash again.
    GiveUp {
        /// How often it crashed.
        crashes: usize,
        /// Within which time.
        within: Duration,
    },
}

/// The history of one thing that may crash.
#[derive(Debug)]
pub struct Backoff {
    policy: Policy,
    seed: u64,
    /// Invariant: at most `policy.crashes_max`, oldest first.
    crashes: VecDeque<Instant>,
    started_at: Option<Instant>,
    attempt: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(30),
            jitter_percent: 20,
            crashes_max: 5,
            window: Duration::from_secs(60),
            stable: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// Creates a history without crashes. Different seeds wait differently long.
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            seed,
            crashes: VecDeque::new(),
            started_at: None,
            attempt: 0,
        }
    }

    /// It runs.
    pub fn handle_start(&mut self, now: Instant) {
        self.started_at = Some(now);
    }

    /// It crashed, or could not be started.
    pub fn handle_crash(&mut self, now: Instant) -> Verdict {
        let ran = self
            .started_at
            .take()
            .map(|it| now.saturating_duration_since(it));
        if ran.is_some_and(|it| it >= self.policy.stable) {
            self.attempt = 0;
            self.crashes.clear();
        }
        let window = self.policy.window;
        self.crashes
            .retain(|it| now.saturating_duration_since(*it) < window);
        self.crashes.push_back(now);
        if self.crashes.len() >= self.policy.crashes_max {
            let oldest = self.crashes.front().copied().unwrap_or(now);
            let verdict = Verdict::GiveUp {
                crashes: self.crashes.len(),
                within: now.saturating_duration_since(oldest),
            };
            self.crashes.pop_front();
            return verdict;
        }
        self.attempt = self.attempt.saturating_add(1);
        Verdict::Restart {
            at: now + self.wait(),
            attempt: self.attempt,
        }
    }

    fn wait(&self) -> Duration {
        let doublings = self.attempt.saturating_sub(1).min(31);
        let plain = self
            .policy
            .first
            .saturating_mul(1 << doublings)
            .min(self.policy.longest);
        let draw = mix(self.seed.wrapping_add(self.attempt.into())) % 1_000;
        let share = u64::from(self.policy.jitter_percent) * draw;
        let nanos = plain.as_nanos() * u128::from(share) / 100_000;
        plain + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// SplitMix64's finaliser: spreads neighbouring numbers over all of them.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_then_it_gives_up() {
        check("0 0.3 0.8 1.8 2", "+0.25 +0.5 +1 +1 stop(5 in 2)");
    }

    #[test]
    fn old_crashes_do_not_count() {
        check("0 1 2 11 12 13", "+0.25 +0.5 +1 +1 +1 +1");
    }

    #[test]
    fn what_ran_for_long_begins_anew() {
        // "r5" means that it ran for 5 s before it crashed.
        check("0 1 2 r5:7 7.5", "+0.25 +0.5 +1 +0.25 +0.5");
    }

    #[test]
    fn jitter_differs_by_seed_and_stays_in_its_bounds() {
        let now = start();
        let wait = |seed| match Backoff::new(Policy::default(), seed).handle_crash(now) {
            Verdict::Restart { at, attempt: 1 } => at - now,
            Verdict::Restart { attempt, .. } => panic!("attempt {attempt}"),
            Verdict::GiveUp { crashes, .. } => panic!("gives up after {crashes}"),
        };
        let waits: Vec<Duration> = (0..100).map(wait).collect();
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*least >= Duration::from_millis(250));
        assert!(*most <= Duration::from_millis(300));
        assert!(*most - *least > Duration::from_millis(40));
        assert_eq!(wait(7), wait(7));
    }

    /// Crashes at these seconds, and what is decided.
    fn check(crashes: &str, wanted: &str) {
        let policy = Policy {
            longest: Duration::from_secs(1),
            jitter_percent: 0,
            window: Duration::from_secs(10),
            stable: Duration::from_secs(5),
            ..Policy::default()
        };
        let start = start();
        let mut backoff = Backoff::new(policy, 1);
        let mut verdicts = Vec::new();
        for crash in crashes.split(' ') {
            let (ran, at) = match crash.split_once(':') {
                Some((ran, at)) => (ran[1..].parse().unwrap(), at),
                None => (0.1, crash),
            };
            let at = Duration::from_secs_f64(at.parse().unwrap());
            backoff.handle_start(start + at.saturating_sub(Duration::from_secs_f64(ran)));
            verdicts.push(match backoff.handle_crash(start + at) {
                Verdict::Restart { at: next, .. } => {
                    format!("+{}", (next - start - at).as_secs_f64())
                }
                Verdict::GiveUp { crashes, within } => {
                    format!("stop({crashes} in {})", within.as_secs_f64())
                }
            });
        }
        assert_eq!(verdicts.join(" "), wanted);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs one real instant to start from"
    )]
    fn start() -> Instant {
        Instant::now()
    }
}
