//! The words that the parts of the engine share: what wakes it, what it carries, which way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use model::Bytes;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::pipe::{Departure, Fate, Kind, Pipe};
use super::stats::{Counters, DirectionCounters};

/// From whoever connects to the target, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    Up,
    Down,
}

/// What travels through a pipe.
#[derive(Debug)]
pub(super) enum Cargo {
    Datagram { flow: u32, payload: Box<[u8]> },
    Stream { connection: u32, part: Part },
}

/// A piece of what one end of a TCP connection did.
#[derive(Debug)]
pub(super) enum Part {
    Bytes(Box<[u8]>),
    /// No more bytes follow.
    Finish,
    /// The end is gone.
    Abort,
}

/// A reason to wake at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    /// The head of this pipe is due.
    Pipe { line: u16, direction: Direction },
    /// This TCP connection may go on.
    Connection { line: u16, connection: u32 },
    /// A flow of this line may have been idle for too long.
    Sweep { line: u16 },
}

impl Wake {
    pub(super) const fn line(self) -> u16 {
        match self {
            Self::Pipe { line, .. } | Self::Connection { line, .. } | Self::Sweep { line } => line,
        }
    }
}

/// What to do when. Bound: per line two pipes and a sweep, per connection a few gates.
#[derive(Debug, Default)]
pub(super) struct Agenda(BinaryHeap<Reverse<(Instant, Wake)>>);

impl Agenda {
    pub(super) fn add(&mut self, at: Instant, wake: Wake) {
        self.0.push(Reverse((at, wake)));
    }

    /// Takes the next entry if it is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Wake> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, wake))| wake)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }
}

/// Which descriptor an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The engine's own wake-up call: there are commands.
    Commands,
    /// Datagrams from clients.
    Listener,
    /// TCP clients.
    Acceptor,
    /// Datagrams from the target to one client.
    Flow(u32),
    /// The client's end of a TCP connection.
    Client(u32),
    /// The target's end of a TCP connection.
    Target(u32),
}

/// A [`Source`] of a line, as the 64 bits that epoll gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) line: u16,
    pub(super) source: Source,
}

impl Token {
    fn pack(self) -> EventData {
        let (kind, number) = match self.source {
            Source::Commands => (0, 0),
            Source::Listener => (1, 0),
            Source::Acceptor => (2, 0),
            Source::Flow(it) => (3, it),
            Source::Client(it) => (4, it),
            Source::Target(it) => (5, it),
        };
        EventData::new_u64(kind << 48 | u64::from(self.line) << 32 | u64::from(number))
    }

    pub(super) fn unpack(data: EventData) -> Self {
        let bits = data.u64();
        let number = (bits & u64::from(u32::MAX)) as u32;
        let source = match bits >> 48 {
            1 => Source::Listener,
            2 => Source::Acceptor,
            3 => Source::Flow(number),
            4 => Source::Client(number),
            5 => Source::Target(number),
            _ => Source::Commands,
        };
        let line = (bits >> 32 & u64::from(u16::MAX)) as u16;
        Self { line, source }
    }
}

/// What every part needs to do its work at one moment.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) epoll: &'a OwnedFd,
    pub(super) agenda: &'a mut Agenda,
    pub(super) now: Instant,
}

impl Context<'_> {
    /// Watches a descriptor; closing it ends that.
    pub(super) fn watch(
        &self,
        descriptor: impl AsFd,
        token: Token,
        flags: EventFlags,
    ) -> io::Result<()> {
        Ok(epoll::add(self.epoll, descriptor, token.pack(), flags)?)
    }
}

/// A pipe with its counters and its place on the agenda.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) line: u16,
    pub(super) direction: Direction,
    pub(super) pipe: Pipe<Cargo>,
    /// Whether the agenda has an entry for the head of the pipe.
    pub(super) scheduled: bool,
    pub(super) stats: Arc<Counters>,
}

impl Way {
    /// Sends something that arrived at `arrived`.
    pub(super) fn send(&mut self, cargo: Cargo, arrived: Instant, ctx: &mut Context<'_>) {
        let (size, kind) = match &cargo {
            Cargo::Datagram { payload, .. } => (payload.len(), Kind::Datagram),
            Cargo::Stream { part, .. } => (part.len(), Kind::Stream),
        };
        let size = Bytes::new(size as u64);
        match self.pipe.handle_packet(cargo, size, kind, arrived) {
            Fate::Queued => self.schedule(ctx),
            Fate::Lost => self.counters().lost(),
            Fate::Overflowed => self.counters().overflowed(),
        }
    }

    /// Takes something that is due.
    pub(super) fn arrival(&mut self, now: Instant) -> Option<Cargo> {
        self.pipe.handle_timeout(now);
        let Departure { due, packet } = self.pipe.poll_transmit()?;
        self.counters().late(now.saturating_duration_since(due));
        Some(packet)
    }

    pub(super) fn schedule(&mut self, ctx: &mut Context<'_>) {
        if self.scheduled {
            return;
        }
        let Some(due) = self.pipe.poll_timeout() else {
            return;
        };
        let (line, direction) = (self.line, self.direction);
        ctx.agenda.add(due, Wake::Pipe { line, direction });
        self.scheduled = true;
    }

    pub(super) fn counters(&self) -> &DirectionCounters {
        match self.direction {
            Direction::Up => &self.stats.up,
            Direction::Down => &self.stats.down,
        }
    }
}

/// Both directions of a line.
#[derive(Debug)]
pub(super) struct Ways {
    pub(super) up: Way,
    pub(super) down: Way,
}

impl Ways {
    pub(super) fn get(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Finish | Self::Abort => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_epoll() {
        let sources = [
            Source::Commands,
            Source::Listener,
            Source::Acceptor,
            Source::Flow(u32::MAX),
            Source::Client(7),
            Source::Target(0),
        ];
        for source in sources {
            for line in [0, 1, u16::MAX] {
                let token = Token { line, source };
                assert_eq!(Token::unpack(token.pack()), token);
            }
        }
    }
}
