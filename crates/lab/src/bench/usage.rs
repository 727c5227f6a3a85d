//! What a process takes, from `/proc`.

use std::time::Instant;

use anyhow::Context as _;

/// Linux counts processor time in hundredths of a second, whatever its own clock.
const TICKS_PER_SEC: f64 = 100.0;

/// What a process has taken until a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    at: Instant,
    cpu_secs: f64,
    /// Resident memory that is not shared with files, in megabytes.
    pub(super) resident_mb: f64,
}

impl Usage {
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let at = Instant::now();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, after_name) = stat.rsplit_once(')').context("a stat has a name")?;
        let ticks: f64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|it| it.parse::<f64>().ok())
            .sum();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib: f64 = status
            .lines()
            .find_map(|it| it.strip_prefix("RssAnon:"))
            .and_then(|it| it.split_whitespace().next()?.parse().ok())
            .context("a status tells its memory")?;
        let shared_kib: f64 = status
            .lines()
            .find_map(|it| it.strip_prefix("RssShmem:"))
            .and_then(|it| it.split_whitespace().next()?.parse().ok())
            .unwrap_or(0.0);
        Ok(Self {
            at,
            cpu_secs: ticks / TICKS_PER_SEC,
            resident_mb: (kib + shared_kib) * 1024.0 / 1e6,
        })
    }

    /// Seconds of processor time since then.
    pub(super) fn cpu_secs_since(&self, before: &Self) -> f64 {
        self.cpu_secs - before.cpu_secs
    }

    /// Cores in use since then, on average.
    pub(super) fn cores_since(&self, before: &Self) -> f64 {
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        (self.cpu_secs - before.cpu_secs) / seconds.max(1e-3)
    }
}
