//! The TCP half of a line: each connection ends here and is made anew to the target, its bytes
//! take the time that the link takes.
//!
//! The kernel accepts a client at once, so the two ways of a handshake are made up for by gates:
//! until they open, what an end has sent is left unread.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::context::{Cargo, Context, Direction, Part, Source, Token, Wake, Way, Ways};

/// The most TCP connections of one line at a time: each costs two descriptors. One more is closed.
const CONNECTIONS_MAX: usize = 256;

/// The most bytes of one direction of a connection in our hands: 100 Mbit/s over a round trip of
/// 300 ms. Beyond it we stop reading, and the sender's own window does the rest.
const WINDOW_BYTES: usize = 4 << 20;

/// What one read takes where nothing limits the rate.
const CHUNK_BYTES: usize = 16 << 10;

/// What one read takes where something does: a segment, so that datagrams get their turn between.
const SEGMENT_BYTES: usize = 1_460;

/// How many reads one connection gets before the others have their turn.
const READS_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Streams {
    line: u16,
    acceptor: TcpListener,
    target: Option<SocketAddr>,
    /// Invariant: at most `CONNECTIONS_MAX`.
    connections: BTreeMap<u32, Connection>,
    next_id: u32,
}

#[derive(Debug)]
struct Connection {
    address: SocketAddr,
    /// When to connect to the target; `None` once that is done or has failed.
    dial_at: Option<Instant>,
    client: End,
    target: Option<End>,
    /// From when on the target's bytes are read.
    target_opens_at: Instant,
}

/// One of the two TCP connections that make one.
#[derive(Debug)]
struct End {
    stream: TcpStream,
    /// When the handshake would be over.
    opens_at: Instant,
    /// Whether a read or a write may succeed: edges of epoll set it, `WouldBlock` resets it.
    readable: bool,
    writable: bool,
    /// Nothing more is read from here.
    ended: bool,
    /// Bytes read here that the other end has not taken yet.
    on_the_way: usize,
    outgoing: VecDeque<Box<[u8]>>,
    /// How much of the first of `outgoing` is written.
    written: usize,
    /// Nothing follows `outgoing`.
    finishing: bool,
    /// The write side is shut.
    finished: bool,
    /// The agenda has an entry for this time already.
    wake_at: Option<Instant>,
}

impl Streams {
    pub(super) fn new(line: u16, acceptor: TcpListener, target: Option<SocketAddr>) -> Self {
        Self {
            line,
            acceptor,
            target,
            connections: BTreeMap::new(),
            next_id: 0,
        }
    }

    pub(super) fn watch(&self, ctx: &Context<'_>) -> io::Result<()> {
        let token = Token {
            line: self.line,
            source: Source::Acceptor,
        };
        ctx.watch(&self.acceptor, token, EventFlags::IN | EventFlags::ET)
    }

    /// Concerns connections to come.
    pub(super) fn set_target(&mut self, target: Option<SocketAddr>) {
        self.target = target;
    }

    /// Takes the clients that wait.
    pub(super) fn accept(&mut self, ways: &Ways, ctx: &mut Context<'_>) {
        loop {
            let client = match self.acceptor.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a TCP client");
                    return;
                }
            };
            let Some(address) = self.target else {
                continue; // closed: nobody is there
            };
            if self.connections.len() == CONNECTIONS_MAX {
                tracing::warn!("too many TCP connections on one line");
                continue;
            }
            if let Err(error) = self.open(client, address, ways, ctx) {
                tracing::warn!(%error, "cannot watch a TCP client");
            }
        }
    }

    /// An end has become readable or writable.
    pub(super) fn handle_end(
        &mut self,
        source: Source,
        flags: EventFlags,
        ways: &mut Ways,
        ctx: &mut Context<'_>,
    ) {
        let (id, end) = match source {
            Source::Client(id) => (id, self.connections.get_mut(&id).map(|it| &mut it.client)),
            Source::Target(id) => (
                id,
                self.connections
                    .get_mut(&id)
                    .and_then(|it| it.target.as_mut()),
            ),
            Source::Commands | Source::Listener | Source::Acceptor | Source::Flow(_) => return,
        };
        if let Some(end) = end {
            let gone = EventFlags::ERR | EventFlags::HUP;
            end.readable |= flags.intersects(EventFlags::IN | EventFlags::RDHUP | gone);
            end.writable |= flags.intersects(EventFlags::OUT | gone);
            self.pump(id, ways, ctx);
        }
    }

    /// Hands over what has arrived.
    pub(super) fn deliver(
        &mut self,
        id: u32,
        part: Part,
        direction: Direction,
        ways: &mut Ways,
        ctx: &mut Context<'_>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let end = match direction {
            Direction::Up => connection.target.as_mut(),
            Direction::Down => Some(&mut connection.client),
        };
        match (part, end) {
            (Part::Bytes(bytes), Some(end)) => {
                ways.get(direction).counters().delivered(bytes.len());
                end.outgoing.push_back(bytes);
            }
            (Part::Finish, Some(end)) => end.finishing = true,
            (Part::Abort, _) | (_, None) => {
                self.connections.remove(&id);
                return;
            }
        }
        self.pump(id, ways, ctx);
    }

    /// Gives every connection a chance: the link has changed.
    pub(super) fn pump_all(&mut self, ways: &mut Ways, ctx: &mut Context<'_>) {
        let all: Vec<u32> = self.connections.keys().copied().collect();
        for id in all {
            self.pump(id, ways, ctx);
        }
    }

    /// Does for a connection all that can be done now.
    pub(super) fn pump(&mut self, id: u32, ways: &mut Ways, ctx: &mut Context<'_>) {
        let line = self.line;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.dial(line, id, ways, ctx);
        let Connection { client, target, .. } = connection;
        if let Some(target) = target {
            client.on_the_way -= target.write(id, &mut ways.down, ctx);
            target.on_the_way -= client.write(id, &mut ways.up, ctx);
            target.read(id, &mut ways.down, ctx);
        }
        client.read(id, &mut ways.up, ctx);
        if client.finished && target.as_ref().is_some_and(|it| it.finished) {
            self.connections.remove(&id);
        }
    }

    fn open(
        &mut self,
        client: TcpStream,
        address: SocketAddr,
        ways: &Ways,
        ctx: &mut Context<'_>,
    ) -> io::Result<()> {
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let (line, source) = (self.line, Source::Client(id));
        ctx.watch(&client, Token { line, source }, End::FLAGS)?;

        let (up, down) = (ways.up.pipe.link().delay, ways.down.pipe.link().delay);
        let dial_at = ctx.now + up;
        let opens_at = dial_at + down;
        let connection = Connection {
            address,
            dial_at: Some(dial_at),
            client: End::new(client, opens_at),
            target: None,
            target_opens_at: opens_at + up,
        };
        self.connections.insert(id, connection);
        let connection = id;
        ctx.agenda
            .add(dial_at, Wake::Connection { line, connection });
        Ok(())
    }
}

impl Connection {
    /// Connects to the target when the first packet of the handshake would have reached it.
    fn dial(&mut self, line: u16, id: u32, ways: &mut Ways, ctx: &mut Context<'_>) {
        let Some(dial_at) = self.dial_at else {
            return;
        };
        if ctx.now < dial_at || ways.up.pipe.link().is_cut() {
            return;
        }
        self.dial_at = None;
        let source = Source::Target(id);
        let target = connect(self.address).and_then(|target| {
            target.set_nodelay(true)?;
            ctx.watch(&target, Token { line, source }, End::FLAGS)?;
            Ok(target)
        });
        match target {
            Ok(target) => self.target = Some(End::new(target, self.target_opens_at)),
            Err(error) => {
                tracing::debug!(address = %self.address, %error, "cannot reach the target by TCP");
                self.client.ended = true;
                ways.down.send(stream(id, Part::Abort), ctx.now, ctx);
            }
        }
    }
}

impl End {
    const FLAGS: EventFlags = EventFlags::IN
        .union(EventFlags::OUT)
        .union(EventFlags::RDHUP)
        .union(EventFlags::ET);

    fn new(stream: TcpStream, opens_at: Instant) -> Self {
        Self {
            stream,
            opens_at,
            readable: false,
            writable: false,
            ended: false,
            on_the_way: 0,
            outgoing: VecDeque::new(),
            written: 0,
            finishing: false,
            finished: false,
            wake_at: None,
        }
    }

    /// Sends what has come from here on its way, as far as the gate, the window and the link allow.
    fn read(&mut self, id: u32, way: &mut Way, ctx: &mut Context<'_>) {
        if ctx.now < self.opens_at {
            return self.wake(self.opens_at, id, way.line, ctx);
        }
        let link = way.pipe.link();
        if link.is_cut() {
            return; // a change of the link pumps
        }
        let mut buffer = [0; CHUNK_BYTES];
        let limit = link.rate.map_or(CHUNK_BYTES, |_| SEGMENT_BYTES);
        for _ in 0..READS_MAX {
            if !self.readable || self.ended || self.on_the_way >= WINDOW_BYTES {
                return;
            }
            if !way.pipe.has_room(ctx.now) {
                return self.wake(way.pipe.room_at(), id, way.line, ctx);
            }
            match self.stream.read(&mut buffer[..limit]) {
                Ok(0) => {
                    self.ended = true;
                    way.send(stream(id, Part::Finish), ctx.now, ctx);
                }
                Ok(size) => {
                    self.on_the_way += size;
                    let bytes = buffer[..size].into();
                    way.send(stream(id, Part::Bytes(bytes)), ctx.now, ctx);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fail(&error, id, way, ctx),
            }
        }
        self.wake(ctx.now, id, way.line, ctx);
    }

    /// Writes what has arrived and returns how many bytes were taken. `back` leads away from here.
    fn write(&mut self, id: u32, back: &mut Way, ctx: &mut Context<'_>) -> usize {
        let mut taken = 0;
        while self.writable {
            let Some(bytes) = self.outgoing.front() else {
                break;
            };
            match self.stream.write(&bytes[self.written..]) {
                Ok(size) => {
                    taken += size;
                    self.written += size;
                    if self.written == bytes.len() {
                        self.outgoing.pop_front();
                        self.written = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fail(&error, id, back, ctx),
            }
        }
        if self.finishing && self.outgoing.is_empty() && self.writable && !self.finished {
            self.finished = true;
            // An error means that the end is gone, which the next read tells.
            let _gone = self.stream.shutdown(Shutdown::Write);
        }
        taken
    }

    /// This end is gone: tell the other one, later, as the link allows.
    fn fail(&mut self, error: &io::Error, id: u32, way: &mut Way, ctx: &mut Context<'_>) {
        tracing::debug!(%error, "a TCP connection broke");
        self.ended = true;
        self.finished = true;
        self.readable = false;
        self.writable = false;
        self.outgoing.clear();
        way.send(stream(id, Part::Abort), ctx.now, ctx);
    }

    /// Has the connection pumped at `at`, once.
    fn wake(&mut self, at: Instant, connection: u32, line: u16, ctx: &mut Context<'_>) {
        if self.wake_at.is_none_or(|it| it <= ctx.now || at < it) {
            self.wake_at = Some(at);
            ctx.agenda.add(at, Wake::Connection { line, connection });
        }
    }
}

fn stream(connection: u32, part: Part) -> Cargo {
    Cargo::Stream { connection, part }
}

/// Begins to connect; the end becomes writable when that has succeeded.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}
