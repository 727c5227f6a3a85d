//! What a node counts, as Prometheus reads it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use relay::Relay;

use crate::machine;

/// Counters of a node, from its start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Sessions set aside. Refusals are not counted here.
    pub(crate) reserved: Counter,
    /// Reservations refused.
    pub(crate) refused: Counter,
    /// Instances taken warm.
    pub(crate) warm_hits: Counter,
    /// Pictures sent; one to many terminals counts once.
    pub(crate) frames: Counter,
    /// Payload of those pictures.
    pub(crate) frame_bytes: Counter,
    /// Keyframes among them.
    pub(crate) keyframes: Counter,
    /// Input events taken. Those that were no events are not counted.
    pub(crate) inputs: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// The page that Prometheus reads.
    pub(crate) fn page(&self, relay: &Relay) -> String {
        let mut page = String::new();
        let counters = [
            ("selvedge_edge_reserved_total", &self.reserved),
            ("selvedge_edge_refused_total", &self.refused),
            ("selvedge_edge_warm_hits_total", &self.warm_hits),
            ("selvedge_edge_frames_total", &self.frames),
            ("selvedge_edge_frame_bytes_total", &self.frame_bytes),
            ("selvedge_edge_keyframes_total", &self.keyframes),
            ("selvedge_edge_inputs_total", &self.inputs),
        ];
        for (name, counter) in counters {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "# TYPE {name} counter\n{name} {}", counter.value());
        }
        let connections = relay.connections().len();
        let _ = writeln!(
            page,
            "# TYPE selvedge_edge_connections gauge\nselvedge_edge_connections {connections}"
        );
        let cpu = machine::own_cpu().as_secs_f64();
        let _ = writeln!(
            page,
            "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {cpu}"
        );
        page
    }
}
