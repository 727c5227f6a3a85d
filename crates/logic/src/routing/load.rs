//! How busy a node says it is.

use std::time::Duration;

/// A load counts as long as this, in seconds, as in an exponential average: routes must not follow a
/// single encode or a build.
const MEMORY_SECS: f64 = 10.0;

/// What is told again only when it has moved by so much: a twelfth of what a price can rise by.
const TELL_STEP: f64 = 0.05;

/// Smooths a node's own load, and says when its neighbours should hear of it. To them it is a part of
/// the price of its links, [`LinkMeasure::load`](super::LinkMeasure::load).
#[derive(Clone, Debug, Default)]
pub struct Load {
    share: Option<f64>,
    told: Option<f64>,
}

impl Load {
    /// Takes in the share of the node's cores in use, 0 to 1, over the time since the last look. What
    /// is not a number says nothing.
    pub fn handle_look(&mut self, share: f64, over: Duration) {
        if share.is_nan() {
            return;
        }
        let share = share.clamp(0.0, 1.0);
        let keep = (-over.as_secs_f64() / MEMORY_SECS).exp();
        // A node that has just begun is not busy: what it does then is beginning.
        let before = self.share.unwrap_or(0.0);
        self.share = Some(before * keep + share * (1.0 - keep));
    }

    /// The smoothed share, 0 to 1; 0 before the first look.
    pub fn share(&self) -> f64 {
        self.share.unwrap_or(0.0)
    }

    /// What neighbours should hear now, if anything.
    pub fn poll_tell(&mut self) -> Option<f64> {
        let share = self.share?;
        let moved = self.told.is_none_or(|it| (it - share).abs() >= TELL_STEP);
        moved.then(|| {
            self.told = Some(share);
            share
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_stays_is_told_and_a_burst_is_not() {
        let mut load = Load::default();
        assert_eq!(load.poll_tell(), None, "nothing is known");
        load.handle_look(0.1, SECOND);
        assert!(load.poll_tell().is_some(), "the first is told");

        load.handle_look(0.6, SECOND / 2);
        assert_eq!(load.poll_tell(), None, "half a second is a burst");

        for _ in 0..60 {
            load.handle_look(0.9, SECOND);
        }
        let told: Vec<_> = std::iter::from_fn(|| load.poll_tell()).collect();
        assert!(
            matches!(told[..], [share] if (0.85..=0.9).contains(&share)),
            "{told:?}"
        );
    }

    #[test]
    fn a_steady_load_with_noise_is_told_once() {
        let mut load = Load::default();
        for _ in 0..60 {
            load.handle_look(0.5, SECOND);
        }
        load.poll_tell();
        let mut told = 0;
        for look in 0..600 {
            load.handle_look(if look % 2 == 0 { 0.2 } else { 0.8 }, SECOND);
            told += usize::from(load.poll_tell().is_some());
        }
        assert_eq!(told, 0);
    }

    #[test]
    fn nonsense_is_no_load() {
        let mut load = Load::default();
        load.handle_look(f64::NAN, SECOND);
        assert_eq!((load.share(), load.poll_tell()), (0.0, None));
        load.handle_look(f64::INFINITY, Duration::MAX);
        assert!((0.0..=1.0).contains(&load.share()));
    }
}
