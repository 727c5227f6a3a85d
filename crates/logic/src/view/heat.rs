//! What an edge will be asked for next: learned from who switches where.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use model::CameraName;

use super::Seat;

/// Every so often all counts are halved: what was watched in the first half is no guide to the
/// second.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// Pairs of cameras that are counted. Those of 64 cameras around a ring with some jumps; of more,
/// the rarest is forgotten.
const PAIRS_MAX: usize = 1_024;

/// A count below this is nothing.
const COUNT_MIN: f64 = 0.05;

/// A view is hot when so many switches to it are expected within a half-life.
const HOT: f64 = 1.0;

/// It stays hot down to this.
const COOL: f64 = 0.4;

/// Without experience: each viewer is expected to go to each neighbour so often in a half-life.
const NEIGHBOUR: f64 = 0.15;

/// Counts switches at one edge, for one event.
#[derive(Debug)]
pub struct Heat {
    /// By bearing.
    cameras: Vec<CameraName>,
    /// Invariant: at most `PAIRS_MAX`, none below `COUNT_MIN`.
    counts: BTreeMap<(CameraName, CameraName), f64>,
    hot: BTreeSet<CameraName>,
    halved_at: Instant,
}

impl Heat {
    /// Nothing is known but where the cameras stand.
    pub fn new(seats: &[Seat], now: Instant) -> Self {
        let mut seats = seats.to_vec();
        seats.sort_by(|a, b| a.bearing.as_degrees().total_cmp(&b.bearing.as_degrees()));
        Self {
            cameras: seats.into_iter().map(|it| it.camera).collect(),
            counts: BTreeMap::new(),
            hot: BTreeSet::new(),
            halved_at: now,
        }
    }

    /// Takes in that a viewer here went from one view to another. Cameras that are not of the event
    /// count for nothing.
    pub fn handle_switch(&mut self, from: &CameraName, to: &CameraName, now: Instant) {
        self.handle_timeout(now);
        let known = |it| self.cameras.contains(it);
        if from == to || !known(from) || !known(to) {
            return;
        }
        let pair = (from.clone(), to.clone());
        if !self.counts.contains_key(&pair) && self.counts.len() == PAIRS_MAX {
            let rarest = self.counts.iter().min_by(|a, b| a.1.total_cmp(b.1));
            if let Some(rarest) = rarest.map(|it| it.0.clone()) {
                self.counts.remove(&rarest);
            }
        }
        *self.counts.entry(pair).or_default() += 1.0;
    }

    /// Moves time forward.
    pub fn handle_timeout(&mut self, now: Instant) {
        while now >= self.halved_at + HALF_LIFE {
            self.halved_at += HALF_LIFE;
            self.counts.retain(|_, count| {
                *count /= 2.0;
                *count >= COUNT_MIN
            });
            if self.counts.is_empty() {
                // However long it was: there is nothing left to halve.
                self.halved_at = self.halved_at.max(now);
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.counts.is_empty()).then(|| self.halved_at + HALF_LIFE)
    }

    /// Views that nobody here watches yet and that this edge should receive all the same, the
    /// hottest first, at most `slots`. `watched` says how many viewers each view has.
    pub fn hot(&mut self, watched: &BTreeMap<CameraName, u32>, slots: usize) -> Vec<CameraName> {
        let viewers = |it: &CameraName| watched.get(it).copied().unwrap_or(0);
        let mut scores: BTreeMap<&CameraName, f64> = BTreeMap::new();
        for ((from, to), count) in &self.counts {
            if viewers(from) > 0 {
                *scores.entry(to).or_default() += count;
            }
        }
        let cameras = self.cameras.len();
        for (at, camera) in self.cameras.iter().enumerate() {
            let expected = f64::from(viewers(camera)) * NEIGHBOUR;
            for there in [(at + 1) % cameras, (at + cameras - 1) % cameras] {
                *scores.entry(&self.cameras[there]).or_default() += expected;
            }
        }
        let mut hot: Vec<(f64, &CameraName)> = scores
            .into_iter()
            .filter(|(camera, _)| viewers(camera) == 0)
            .filter(|(camera, score)| {
                let enough = if self.hot.contains(*camera) {
                    COOL
                } else {
                    HOT
                };
                *score >= enough
            })
            .map(|(camera, score)| (score, camera))
            .collect();
        hot.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let hot: Vec<CameraName> = hot.into_iter().take(slots).map(|it| it.1.clone()).collect();
        self.hot = hot.iter().cloned().collect();
        hot
    }
}
