//! The UDP half of a line: a flow for each client, each with a socket of its own towards the
//! target, so that the target sees clients apart.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::net::sockopt;

use super::context::{Cargo, Context, Direction, Source, Token, Wake, Way, Ways};
use super::sys::{self, Batch};

/// The most clients of one line at a time: each costs a descriptor. One more ends the flow that
/// has been idle for the longest.
const FLOWS_MAX: usize = 256;

/// How long a flow may be idle: longer than any QUIC connection of ours stays silent.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// What a socket may hold while the engine is busy elsewhere: about 50 ms at 500 Mbit/s. The
/// system may grant less.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Flows {
    line: u16,
    listener: UdpSocket,
    target: Option<SocketAddr>,
    by_client: BTreeMap<SocketAddr, u32>,
    /// Invariant: at most `FLOWS_MAX`, the same as in `by_client`.
    flows: BTreeMap<u32, Flow>,
    next_id: u32,
    /// Whether the agenda has a sweep of this line.
    sweeping: bool,
}

#[derive(Debug)]
struct Flow {
    client: SocketAddr,
    /// Connected to the target.
    socket: UdpSocket,
    last_used: Instant,
}

impl Flows {
    pub(super) fn new(line: u16, listener: UdpSocket, target: Option<SocketAddr>) -> Self {
        prepare(&listener);
        Self {
            line,
            listener,
            target,
            by_client: BTreeMap::new(),
            flows: BTreeMap::new(),
            next_id: 0,
            sweeping: false,
        }
    }

    pub(super) fn watch(&self, ctx: &Context<'_>) -> io::Result<()> {
        let token = Token {
            line: self.line,
            source: Source::Listener,
        };
        ctx.watch(&self.listener, token, EventFlags::IN)
    }

    /// Sends what clients sent on its way to the target.
    pub(super) fn receive_clients(&mut self, batch: &mut Batch, up: &mut Way, ctx: &mut Context) {
        if let Err(error) = batch.receive(&self.listener) {
            tracing::trace!(%error, "nothing from clients");
            return;
        }
        for message in batch.messages() {
            let Some(flow) = message.from.and_then(|it| self.flow_of(it, ctx)) else {
                up.counters().unrouted();
                continue;
            };
            let payload = message.payload.into();
            up.send(Cargo::Datagram { flow, payload }, message.arrived, ctx);
        }
    }

    /// Sends what the target sent to one client on its way back.
    pub(super) fn receive_target(
        &mut self,
        id: u32,
        batch: &mut Batch,
        down: &mut Way,
        ctx: &mut Context<'_>,
    ) {
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        flow.last_used = ctx.now;
        // The usual error is "refused": the target's port is closed. Clients find out by silence.
        if let Err(error) = batch.receive(&flow.socket) {
            tracing::trace!(%error, "nothing from the target");
            return;
        }
        for message in batch.messages() {
            let payload = message.payload.into();
            down.send(Cargo::Datagram { flow: id, payload }, message.arrived, ctx);
        }
    }

    /// Hands a datagram to the other side.
    pub(super) fn deliver(&self, id: u32, payload: &[u8], direction: Direction, ways: &mut Ways) {
        let counters = ways.get(direction).counters();
        let sent = self.flows.get(&id).map(|flow| match direction {
            Direction::Up => flow.socket.send(payload),
            Direction::Down => self.listener.send_to(payload, flow.client),
        });
        match sent {
            Some(Ok(size)) => counters.delivered(size),
            Some(Err(error)) => {
                tracing::trace!(%error, "a datagram was not accepted");
                counters.unrouted();
            }
            None => counters.unrouted(),
        }
    }

    /// Moves all flows to another target, or ends them.
    pub(super) fn set_target(&mut self, target: Option<SocketAddr>) {
        self.target = target;
        self.flows
            .retain(|_, flow| target.is_some_and(|it| flow.socket.connect(it).is_ok()));
        self.forget_clients_without_flow();
    }

    /// Ends idle flows and plans the next sweep.
    pub(super) fn sweep(&mut self, ctx: &mut Context<'_>) {
        self.sweeping = false;
        let now = ctx.now;
        self.flows
            .retain(|_, flow| now.saturating_duration_since(flow.last_used) < IDLE_MAX);
        self.forget_clients_without_flow();
        self.plan_sweep(ctx);
    }

    fn flow_of(&mut self, client: SocketAddr, ctx: &mut Context<'_>) -> Option<u32> {
        if let Some(id) = self.by_client.get(&client) {
            let flow = self.flows.get_mut(id)?;
            flow.last_used = ctx.now;
            return Some(*id);
        }
        let target = self.target?;
        match self.open(client, target, ctx) {
            Ok(id) => Some(id),
            Err(error) => {
                tracing::warn!(%client, %error, "no flow for a new client");
                None
            }
        }
    }

    fn open(
        &mut self,
        client: SocketAddr,
        target: SocketAddr,
        ctx: &mut Context<'_>,
    ) -> io::Result<u32> {
        let any: SocketAddr = if target.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(target)?;
        socket.set_nonblocking(true)?;
        prepare(&socket);

        if self.flows.len() == FLOWS_MAX {
            self.end_most_idle();
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let token = Token {
            line: self.line,
            source: Source::Flow(id),
        };
        ctx.watch(&socket, token, EventFlags::IN)?;
        let flow = Flow {
            client,
            socket,
            last_used: ctx.now,
        };
        self.flows.insert(id, flow);
        self.by_client.insert(client, id);
        self.plan_sweep(ctx);
        Ok(id)
    }

    fn end_most_idle(&mut self) {
        let idle = self.flows.iter().min_by_key(|(_, flow)| flow.last_used);
        if let Some(id) = idle.map(|(id, _)| *id) {
            self.flows.remove(&id);
            self.forget_clients_without_flow();
        }
    }

    fn forget_clients_without_flow(&mut self) {
        let Self {
            by_client, flows, ..
        } = self;
        by_client.retain(|_, id| flows.contains_key(id));
    }

    fn plan_sweep(&mut self, ctx: &mut Context<'_>) {
        let oldest = self.flows.values().map(|flow| flow.last_used).min();
        if let Some(oldest) = oldest.filter(|_| !self.sweeping) {
            let line = self.line;
            ctx.agenda.add(oldest + IDLE_MAX, Wake::Sweep { line });
            self.sweeping = true;
        }
    }
}

/// Large buffers and arrival times: both make the emulation truer, neither is worth failing for.
pub(super) fn prepare(socket: &UdpSocket) {
    let size = SOCKET_BUFFER_BYTES;
    let results = [
        sockopt::set_socket_recv_buffer_size_force(socket, size)
            .or_else(|_privilege| sockopt::set_socket_recv_buffer_size(socket, size))
            .map_err(io::Error::from),
        sockopt::set_socket_send_buffer_size_force(socket, size)
            .or_else(|_privilege| sockopt::set_socket_send_buffer_size(socket, size))
            .map_err(io::Error::from),
        sys::stamp_arrivals(socket),
    ];
    for error in results.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "a socket stays as it is");
    }
}
