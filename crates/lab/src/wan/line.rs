//! What stands behind one proxy: two pipes, the UDP flows and the TCP connections that share them.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::epoll::EventFlags;

use super::Link;
use super::context::{Cargo, Context, Direction, Source, Wake, Way, Ways};
use super::datagrams::Flows;
use super::pipe::Pipe;
use super::random::Random;
use super::stats::Counters;
use super::streams::Streams;
use super::sys::Batch;

/// How many packets leave one pipe before other work has its turn.
const DEPARTURES_MAX: usize = 128;

#[derive(Debug)]
pub(super) struct Line {
    id: u16,
    ways: Ways,
    flows: Flows,
    streams: Streams,
}

/// What a line is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) id: u16,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
    pub(super) target: Option<SocketAddr>,
    pub(super) link: Link,
    /// The engine's: each direction of each line draws a sequence of its own from it.
    pub(super) seed: u64,
    pub(super) stats: Arc<Counters>,
}

impl Line {
    pub(super) fn new(parts: Parts, now: Instant) -> Self {
        let Parts {
            id,
            udp,
            tcp,
            target,
            link,
            seed,
            stats,
        } = parts;
        let way = |direction| Way {
            line: id,
            direction,
            pipe: Pipe::new(
                link,
                Random::new(seed, u64::from(id) * 2 + direction as u64),
                now,
            ),
            scheduled: false,
            stats: Arc::clone(&stats),
        };
        Self {
            id,
            ways: Ways {
                up: way(Direction::Up),
                down: way(Direction::Down),
            },
            flows: Flows::new(id, udp, target),
            streams: Streams::new(id, tcp, target),
        }
    }

    pub(super) const fn id(&self) -> u16 {
        self.id
    }

    pub(super) fn watch(&self, ctx: &Context<'_>) -> io::Result<()> {
        self.flows.watch(ctx)?;
        self.streams.watch(ctx)
    }

    pub(super) fn set_links(&mut self, up: Link, down: Link, ctx: &mut Context<'_>) {
        self.ways.up.pipe.handle_link(up, ctx.now);
        self.ways.down.pipe.handle_link(down, ctx.now);
        self.streams.pump_all(&mut self.ways, ctx);
    }

    pub(super) fn set_target(&mut self, target: Option<SocketAddr>) {
        self.flows.set_target(target);
        self.streams.set_target(target);
    }

    /// One of the line's sockets has something.
    pub(super) fn handle_event(
        &mut self,
        source: Source,
        flags: EventFlags,
        batch: &mut Batch,
        ctx: &mut Context<'_>,
    ) {
        let ways = &mut self.ways;
        match source {
            Source::Listener => self.flows.receive_clients(batch, &mut ways.up, ctx),
            Source::Flow(id) => self.flows.receive_target(id, batch, &mut ways.down, ctx),
            Source::Acceptor => self.streams.accept(ways, ctx),
            Source::Client(_) | Source::Target(_) => {
                self.streams.handle_end(source, flags, ways, ctx);
            }
            Source::Commands => {}
        }
    }

    /// It is time for something.
    pub(super) fn handle_wake(&mut self, wake: Wake, ctx: &mut Context<'_>) {
        match wake {
            Wake::Pipe { direction, .. } => self.deliver_due(direction, ctx),
            Wake::Connection { connection, .. } => {
                self.streams.pump(connection, &mut self.ways, ctx);
            }
            Wake::Sweep { .. } => self.flows.sweep(ctx),
        }
    }

    fn deliver_due(&mut self, direction: Direction, ctx: &mut Context<'_>) {
        // What is sent meanwhile must not put the pipe on the agenda: we do that at the end.
        self.ways.get(direction).scheduled = true;
        for _ in 0..DEPARTURES_MAX {
            let Some(cargo) = self.ways.get(direction).arrival(Instant::now()) else {
                break;
            };
            match cargo {
                Cargo::Datagram { flow, payload } => {
                    self.flows
                        .deliver(flow, &payload, direction, &mut self.ways);
                }
                Cargo::Stream { connection, part } => {
                    self.streams
                        .deliver(connection, part, direction, &mut self.ways, ctx);
                }
            }
        }
        let way = self.ways.get(direction);
        way.scheduled = false;
        way.schedule(ctx);
    }
}
