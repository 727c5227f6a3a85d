//! One direction of an emulated link: when does a packet leave, and is it lost on the way?
//!
//! Pure: time and the seed are arguments. After each `handle_*`, call
//! [`poll_transmit`](Pipe::poll_transmit) until it returns `None`, then sleep until
//! [`poll_timeout`](Pipe::poll_timeout).
//!
//! **Invariant:** packets leave in the order in which they came, so the head of the queue is the
//! only one that needs a timer. Sockets, flows and threads are elsewhere (`engine`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::{Bitrate, Bytes};

use super::Link;
use super::random::Random;

/// The most packets on their way in one direction: 200 ms at 80,000 packets a second. Beyond it a
/// packet is dropped as if the queue before the link were full.
const PACKETS_MAX: usize = 16_384;

/// How a packet wants to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// May be lost and dropped.
    Datagram,
    /// Part of a byte stream: takes its time on the link, is never dropped. Whoever sends these
    /// asks [`Pipe::has_room`] first.
    Stream,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It will leave.
    Queued,
    /// Chance took it.
    Lost,
    /// The queue before the link was full.
    Overflowed,
}

/// A packet that leaves now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Departure<T> {
    /// When it should have left: the difference to now is the emulator's own error.
    pub(super) due: Instant,
    pub(super) packet: T,
}

/// One direction of a link, carrying packets of type `T`.
#[derive(Debug)]
pub(super) struct Pipe<T> {
    link: Link,
    random: Random,
    /// Invariant: `due` never falls from front to back; at most `PACKETS_MAX` datagrams more than
    /// the stream's own window.
    queue: VecDeque<Departure<T>>,
    /// When the last packet has passed the bottleneck.
    free_at: Instant,
    /// When the last queued packet leaves.
    last_due: Instant,
    now: Instant,
}

impl<T> Pipe<T> {
    /// An empty direction.
    pub(super) fn new(link: Link, random: Random, now: Instant) -> Self {
        Self {
            link,
            random,
            queue: VecDeque::new(),
            free_at: now,
            last_due: now,
            now,
        }
    }

    /// Changes the link. What is on its way already arrives as it would have.
    pub(super) fn handle_link(&mut self, link: Link, now: Instant) {
        self.handle_timeout(now);
        self.link = link;
    }

    /// Takes a packet that arrived at `now`.
    pub(super) fn handle_packet(
        &mut self,
        packet: T,
        size: Bytes,
        kind: Kind,
        now: Instant,
    ) -> Fate {
        // Both are drawn for every packet, so that a change of one setting leaves the other's
        // sequence as it was.
        let luck = self.random.share();
        let jitter = self.link.jitter.mul_f64(self.random.share());
        if kind == Kind::Datagram {
            if luck < self.link.loss {
                return Fate::Lost;
            }
            if !self.has_room(now) {
                return Fate::Overflowed;
            }
        }
        if let Some(rate) = self.link.rate {
            self.free_at = self.free_at.max(now) + air_time(size, rate);
        }
        let passed = self.free_at.max(now);
        let due = self.last_due.max(passed + self.link.delay + jitter);
        self.last_due = due;
        self.queue.push_back(Departure { due, packet });
        Fate::Queued
    }

    /// Moves time forward.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Whether a packet that arrives at `now` would be queued.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.queue.len() < PACKETS_MAX && self.free_at <= now + self.link.queue
    }

    /// When the queue before the link has room again, given that it has none now.
    pub(super) fn room_at(&self) -> Instant {
        let head = self.queue.front().map_or(self.now, |it| it.due);
        let drained = self
            .free_at
            .checked_sub(self.link.queue)
            .unwrap_or(self.now);
        if self.queue.len() < PACKETS_MAX {
            drained
        } else {
            drained.max(head)
        }
    }

    /// Returns a packet that leaves now.
    pub(super) fn poll_transmit(&mut self) -> Option<Departure<T>> {
        let now = self.now;
        self.queue.pop_front_if(|it| it.due <= now)
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), if ever.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.queue.front().map(|it| it.due)
    }

    /// The link as it is now.
    pub(super) fn link(&self) -> Link {
        self.link
    }
}

fn air_time(size: Bytes, rate: Bitrate) -> Duration {
    let nanos = u128::from(size.get()) * 8 * 1_000_000_000 / u128::from(rate.as_bps().max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SIZE: Bytes = Bytes::new(1_000);

    #[test]
    fn a_plain_link_delays_each_packet_alike() {
        let link = Link::from_delay(20 * MS);
        let sent: Vec<_> = (0..100).map(|it| it * MS / 5).collect();
        let arrived = run(link, 1, &sent);
        let wanted: Vec<_> = sent
            .iter()
            .enumerate()
            .map(|(index, at)| (index, *at + 20 * MS))
            .collect();
        assert_eq!(arrived.packets, wanted);
        assert_eq!((arrived.lost, arrived.overflowed), (0, 0));
    }

    #[test]
    fn jitter_keeps_the_order_and_its_bound() {
        let link = Link {
            jitter: 10 * MS,
            ..Link::from_delay(5 * MS)
        };
        let sent: Vec<_> = (0..2_000).map(|it| it * MS).collect();
        let arrived = run(link, 7, &sent);
        assert!(arrived.packets.is_sorted());
        let delays: Vec<_> = arrived
            .packets
            .iter()
            .map(|(index, at)| *at - sent[*index])
            .collect();
        assert!(delays.iter().all(|it| (5 * MS..15 * MS).contains(it)));
        assert!(delays.iter().any(|it| *it > 14 * MS), "no jitter seen");
    }

    #[test]
    fn loss_takes_its_share() {
        let link = Link {
            loss: 0.05,
            ..Link::from_delay(MS)
        };
        let sent = vec![Duration::ZERO; 10_000];
        let arrived = run(link, 3, &sent);
        assert!((400..600).contains(&arrived.lost), "{}", arrived.lost);
        assert_eq!(arrived.packets.len() + arrived.lost, sent.len());
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let link = Link {
            jitter: 3 * MS,
            loss: 0.1,
            ..Link::from_delay(MS)
        };
        let sent: Vec<_> = (0..500).map(|it| it * MS).collect();
        assert_eq!(run(link, 5, &sent), run(link, 5, &sent));
        assert_ne!(run(link, 5, &sent), run(link, 6, &sent));
    }

    #[test]
    fn loss_does_not_move_the_jitter_of_the_others() {
        let sent: Vec<_> = (0..500).map(|it| it * 20 * MS).collect();
        let calm = Link {
            jitter: 3 * MS,
            ..Link::from_delay(MS)
        };
        let lossy = Link { loss: 0.2, ..calm };
        let all = run(calm, 5, &sent).packets;
        let some = run(lossy, 5, &sent).packets;
        assert!(some.len() < all.len());
        assert!(some.iter().all(|it| all.contains(it)));
    }

    #[test]
    fn a_rate_spaces_packets_and_a_full_queue_drops() {
        // 1,000 bytes at 1 Mbit/s take 8 ms; a queue of 80 ms holds ten beside the one on the air.
        let link = Link {
            rate: Some(Bitrate::kbps(1_000)),
            queue: 80 * MS,
            ..Link::from_delay(20 * MS)
        };
        let arrived = run(link, 1, &[Duration::ZERO; 20]);
        let wanted: Vec<_> = (0..11u32)
            .map(|it| (it as usize, 20 * MS + (it + 1) * 8 * MS))
            .collect();
        assert_eq!(arrived.packets, wanted);
        assert_eq!(arrived.overflowed, 9);
    }

    #[test]
    fn an_idle_link_saves_up_nothing() {
        let link = Link {
            rate: Some(Bitrate::kbps(1_000)),
            ..Link::from_delay(Duration::ZERO)
        };
        let arrived = run(link, 1, &[Duration::ZERO, 1_000 * MS, 1_000 * MS]);
        let times: Vec<_> = arrived.packets.iter().map(|it| it.1).collect();
        assert_eq!(times, [8 * MS, 1_008 * MS, 1_016 * MS]);
    }

    #[test]
    fn a_stream_is_never_dropped_but_knows_when_there_is_room() {
        let start = Instant::now();
        let link = Link {
            rate: Some(Bitrate::kbps(1_000)),
            queue: 16 * MS,
            loss: 1.0,
            ..Link::from_delay(Duration::ZERO)
        };
        let mut pipe = Pipe::new(link, Random::new(1, 1), start);
        for packet in 0..4 {
            let fate = pipe.handle_packet(packet, SIZE, Kind::Stream, start);
            assert_eq!(fate, Fate::Queued);
        }
        assert!(!pipe.has_room(start));
        assert_eq!(pipe.room_at() - start, 16 * MS);
        assert!(pipe.has_room(pipe.room_at()));
    }

    #[test]
    fn a_shorter_link_overtakes_nobody() {
        let start = Instant::now();
        let mut pipe = Pipe::new(Link::from_delay(100 * MS), Random::new(1, 1), start);
        pipe.handle_packet('a', SIZE, Kind::Datagram, start);
        pipe.handle_link(Link::from_delay(10 * MS), start + MS);
        pipe.handle_packet('b', SIZE, Kind::Datagram, start + 2 * MS);
        pipe.handle_timeout(start + 99 * MS);
        assert_eq!(pipe.poll_transmit(), None);
        pipe.handle_timeout(start + 100 * MS);
        let order: Vec<_> = std::iter::from_fn(|| pipe.poll_transmit())
            .map(|it| it.packet)
            .collect();
        assert_eq!(order, ['a', 'b']);
        assert_eq!(pipe.poll_timeout(), None);
    }

    #[test]
    fn the_number_of_packets_on_their_way_is_bounded() {
        let start = Instant::now();
        let mut pipe = Pipe::new(Link::from_delay(100 * MS), Random::new(1, 1), start);
        let fates: Vec<_> = (0..PACKETS_MAX + 5)
            .map(|it| pipe.handle_packet(it, SIZE, Kind::Datagram, start))
            .collect();
        let overflowed = fates.iter().filter(|it| **it == Fate::Overflowed).count();
        assert_eq!(overflowed, 5);
        assert_eq!(pipe.room_at(), start + 100 * MS);
    }

    #[derive(Debug, PartialEq)]
    struct Run {
        packets: Vec<(usize, Duration)>,
        lost: usize,
        overflowed: usize,
    }

    /// Sends packets at these times through a link and waits, in virtual time, for all to leave.
    fn run(link: Link, seed: u64, sent: &[Duration]) -> Run {
        let start = Instant::now();
        let mut pipe = Pipe::new(link, Random::new(seed, 1), start);
        let mut run = Run {
            packets: Vec::new(),
            lost: 0,
            overflowed: 0,
        };
        for (index, at) in sent.iter().enumerate() {
            match pipe.handle_packet(index, SIZE, Kind::Datagram, start + *at) {
                Fate::Queued => {}
                Fate::Lost => run.lost += 1,
                Fate::Overflowed => run.overflowed += 1,
            }
        }
        while let Some(next) = pipe.poll_timeout() {
            pipe.handle_timeout(next);
            while let Some(departure) = pipe.poll_transmit() {
                assert_eq!(departure.due, next);
                run.packets.push((departure.packet, next - start));
            }
        }
        run
    }
}
