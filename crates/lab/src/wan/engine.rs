//! The thread that carries. It sleeps until a socket has something, a packet is due (to the
//! microsecond, which is why this is not a task of an async runtime) or a command comes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::Link;
use super::context::{Agenda, Context, Source, Token};
use super::line::Line;
use super::sys::{self, Batch, Promptness};

/// Commands that wait for the engine. It never blocks, so a sender waits for microseconds at most.
const COMMANDS_MAX: usize = 64;

/// How many sockets are looked at between two waits.
const EVENTS_MAX: usize = 64;

/// How many due entries of the agenda are worked off before sockets have their turn: a busy TCP
/// connection without delay always has a next one.
const WAKES_MAX: usize = 64;

/// Changes of what the engine does.
#[derive(Debug)]
pub(super) enum Command {
    Open(Box<Line>),
    Links { id: u16, up: Link, down: Link },
    Target { id: u16, target: Option<SocketAddr> },
    Close { id: u16 },
    Stop,
}

/// The way to the engine for other threads.
#[derive(Debug)]
pub(super) struct Commands {
    tx: SyncSender<Command>,
    bell: Arc<OwnedFd>,
}

impl Commands {
    pub(super) fn send(&self, command: Command) {
        if self.tx.send(command).is_err() {
            tracing::warn!("the emulator's engine has stopped");
            return;
        }
        // The only failure is a counter that is full, and then the bell has been rung before.
        let _rung_before = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

#[derive(Debug)]
pub(super) struct Engine {
    epoll: OwnedFd,
    bell: Arc<OwnedFd>,
    rx: Receiver<Command>,
    lines: BTreeMap<u16, Line>,
    agenda: Agenda,
    batch: Batch,
    stopped: bool,
}

impl Engine {
    pub(super) fn new() -> io::Result<(Self, Commands)> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        make_room_for_descriptors(&epoll);
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (tx, rx) = sync_channel(COMMANDS_MAX);
        let commands = Commands {
            tx,
            bell: Arc::clone(&bell),
        };
        let mut engine = Self {
            epoll,
            bell,
            rx,
            lines: BTreeMap::new(),
            agenda: Agenda::default(),
            batch: Batch::new(),
            stopped: false,
        };
        let bell = Arc::clone(&engine.bell);
        let token = Token {
            line: 0,
            source: Source::Commands,
        };
        engine.with_context(|_, _, ctx| ctx.watch(&*bell, token, EventFlags::IN))?;
        Ok((engine, commands))
    }

    /// Carries until told to stop.
    pub(super) fn run(mut self) {
        be_prompt();
        let mut events = Vec::<Event>::with_capacity(EVENTS_MAX);
        while !self.stopped {
            events.clear();
            let timeout = self.agenda.next().map(time_until);
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the emulator's engine cannot wait and stops");
                    return;
                }
            }
            self.handle_due();
            for event in &events {
                self.handle_event(Token::unpack(event.data), event.flags);
                self.handle_due(); // a burst on one socket must not make others late
            }
        }
    }

    fn handle_due(&mut self) {
        for _ in 0..WAKES_MAX {
            let Some(wake) = self.agenda.pop_due(Instant::now()) else {
                return;
            };
            self.with_context(|lines, _, ctx| {
                if let Some(line) = lines.get_mut(&wake.line()) {
                    line.handle_wake(wake, ctx);
                }
            });
        }
    }

    fn handle_event(&mut self, token: Token, flags: EventFlags) {
        if token.source == Source::Commands {
            return self.handle_commands();
        }
        self.with_context(|lines, batch, ctx| {
            if let Some(line) = lines.get_mut(&token.line) {
                line.handle_event(token.source, flags, batch, ctx);
            }
        });
    }

    fn handle_commands(&mut self) {
        // Silence the bell first: a command that comes from now on rings again.
        let _silent_already = rustix::io::read(&self.bell, &mut [0; 8]);
        while let Ok(command) = self.rx.try_recv() {
            if matches!(command, Command::Stop) {
                self.stopped = true;
                return;
            }
            self.with_context(|lines, _, ctx| handle_command(command, lines, ctx));
        }
    }

    fn with_context<T>(
        &mut self,
        work: impl FnOnce(&mut BTreeMap<u16, Line>, &mut Batch, &mut Context<'_>) -> T,
    ) -> T {
        let mut ctx = Context {
            epoll: &self.epoll,
            agenda: &mut self.agenda,
            now: Instant::now(),
        };
        work(&mut self.lines, &mut self.batch, &mut ctx)
    }
}

fn handle_command(command: Command, lines: &mut BTreeMap<u16, Line>, ctx: &mut Context<'_>) {
    match command {
        Command::Open(line) => {
            if let Err(error) = line.watch(ctx) {
                tracing::error!(%error, "cannot watch a proxy's sockets: it carries nothing");
            }
            lines.insert(line.id(), *line);
        }
        Command::Links { id, up, down } => {
            if let Some(line) = lines.get_mut(&id) {
                line.set_links(up, down, ctx);
            }
        }
        Command::Target { id, target } => {
            if let Some(line) = lines.get_mut(&id) {
                line.set_target(target);
            }
        }
        Command::Close { id } => {
            lines.remove(&id);
        }
        Command::Stop => {}
    }
}

/// Whenever the process's table of descriptors grows, the thread that opens one waits for
/// milliseconds, and with it every packet. So we let it grow before the first comes.
fn make_room_for_descriptors(any: &OwnedFd) {
    // The second is what fits under the usual limit of 1,024.
    let _grown = [4_000, 1_000]
        .into_iter()
        .any(|it| rustix::io::fcntl_dupfd_cloexec(any, it).is_ok());
}

fn time_until(at: Instant) -> Timespec {
    let left = at.saturating_duration_since(Instant::now());
    // A year is as good as for ever, and always fits.
    let left = left.min(Duration::from_secs(31_536_000));
    Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    }
}

fn be_prompt() {
    // By default the kernel may be 50 microseconds late, to save power.
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        tracing::debug!(%error, "the emulator's timer stays coarse");
    }
    match sys::be_prompt() {
        Promptness::Realtime => tracing::debug!("the emulator runs at real-time priority"),
        promptness => tracing::debug!(
            ?promptness,
            "no real-time priority: under load, emulated delays are longer than asked for"
        ),
    }
}
