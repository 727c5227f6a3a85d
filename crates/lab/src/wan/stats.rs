//! What a proxy counts. The engine adds, anyone reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::Bytes;

/// What one proxy has carried since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// From whoever connects to the target.
    pub up: DirectionStats,
    /// From the target back.
    pub down: DirectionStats,
}

/// What one direction has carried. A piece of a TCP stream counts as a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionStats {
    /// Packets handed on.
    pub delivered_packets: u64,
    /// Payload handed on.
    pub delivered: Bytes,
    /// Datagrams taken by chance.
    pub lost_packets: u64,
    /// Datagrams that found the queue full.
    pub overflowed_packets: u64,
    /// Datagrams that had nowhere to go: no target, too many flows, or the system refused.
    pub unrouted_packets: u64,
    /// The most by which a packet left later than it should have: the emulator's own error.
    pub late_max: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) up: DirectionCounters,
    pub(super) down: DirectionCounters,
}

impl Counters {
    pub(super) fn read(&self) -> Stats {
        Stats {
            up: self.up.read(),
            down: self.down.read(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct DirectionCounters {
    delivered_packets: AtomicU64,
    delivered_bytes: AtomicU64,
    lost_packets: AtomicU64,
    overflowed_packets: AtomicU64,
    unrouted_packets: AtomicU64,
    late_max_nanos: AtomicU64,
}

impl DirectionCounters {
    pub(super) fn delivered(&self, size: usize) {
        self.delivered_packets.fetch_add(1, Ordering::Relaxed);
        self.delivered_bytes
            .fetch_add(size as u64, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) {
        self.lost_packets.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn overflowed(&self) {
        self.overflowed_packets.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unrouted(&self) {
        self.unrouted_packets.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn late(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.late_max_nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    fn read(&self) -> DirectionStats {
        let load = |it: &AtomicU64| it.load(Ordering::Relaxed);
        DirectionStats {
            delivered_packets: load(&self.delivered_packets),
            delivered: Bytes::new(load(&self.delivered_bytes)),
            lost_packets: load(&self.lost_packets),
            overflowed_packets: load(&self.overflowed_packets),
            unrouted_packets: load(&self.unrouted_packets),
            late_max: Duration::from_nanos(load(&self.late_max_nanos)),
        }
    }
}
