//! The threads that carry: one that works, and one that stands in when the first is held up. They
//! sleep until a socket has something, a packet is due (to the microsecond, which is why this is not
//! a task of an async runtime) or a command comes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::thread::CpuSet;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::Link;
use super::context::{Agenda, Context, Source, Token};
use super::line::Line;
use super::sys::{self, Batch, Promptness};

/// Commands that wait for the engine. It never blocks, so a sender usually waits for microseconds.
const COMMANDS_MAX: usize = 64;

/// How many sockets are looked at between two waits.
const EVENTS_MAX: usize = 64;

/// How many due entries of the agenda are worked off before sockets have their turn: a busy TCP
/// connection without delay always has a next one.
const WAKES_MAX: usize = 64;

/// By how much the first may be late before somebody stands in: about what waking takes anyway.
const STAND_IN_AFTER: Duration = Duration::from_micros(150);

/// The shortest time there is.
const MOMENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 1,
};

/// Changes of what the engine does.
#[derive(Debug)]
pub(super) enum Command {
    Open(Box<Line>),
    Links { id: u16, up: Link, down: Link },
    Target { id: u16, target: Option<SocketAddr> },
    Close { id: u16 },
    Stop,
}

/// Where whoever sent a command waits. It has room for the one word it is for.
type Done = SyncSender<()>;

/// The way to the engine for other threads.
#[derive(Debug)]
pub(super) struct Commands {
    tx: SyncSender<(Command, Done)>,
    bell: Arc<OwnedFd>,
}

impl Commands {
    /// Waits until it is done: whatever is sent afterwards meets the change.
    pub(super) fn send(&self, command: Command) {
        let (done, is_done) = sync_channel(1);
        if self.tx.send((command, done)).is_err() {
            tracing::warn!("the emulator's engine has stopped");
            return;
        }
        ring(&self.bell);
        // An engine that has stopped meanwhile has dropped its end.
        let _over = is_done.recv();
    }
}

fn ring(bell: &OwnedFd) {
    // The only failure is a counter that is full, and then the bell has been rung before.
    let _rung_before = rustix::io::write(bell, &1u64.to_ne_bytes());
}

/// Who runs the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// Waits for everything.
    First,
    /// Waits for what the first should have done by now. It may be that a processor does not let go
    /// of another program's system call for milliseconds; this one sits on another processor.
    StandIn,
}

#[derive(Debug)]
pub(super) struct Engine {
    epoll: OwnedFd,
    /// Calls the stand-in.
    timer: OwnedFd,
    bell: Arc<OwnedFd>,
    work: Mutex<Work>,
}

impl Engine {
    pub(super) fn new() -> io::Result<(Self, Commands)> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        make_room_for_descriptors(&epoll);
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (tx, rx) = sync_channel(COMMANDS_MAX);
        let mut work = Work {
            bell: Arc::clone(&bell),
            rx,
            lines: BTreeMap::new(),
            agenda: Agenda::default(),
            batch: Batch::new(),
            stand_in_at: None,
            stopped: false,
        };
        let token = Token {
            line: 0,
            source: Source::Commands,
        };
        work.with_context(&epoll, |_, _, ctx| ctx.watch(&*bell, token, EventFlags::IN))?;
        let commands = Commands {
            tx,
            bell: Arc::clone(&bell),
        };
        let work = Mutex::new(work);
        let engine = Self {
            epoll,
            timer,
            bell,
            work,
        };
        Ok((engine, commands))
    }

    /// Carries until told to stop.
    pub(super) fn run(&self, seat: Seat) {
        let _over = Over(self);
        be_prompt(seat);
        let mut events = Vec::<Event>::with_capacity(EVENTS_MAX);
        let mut next = None;
        loop {
            events.clear();
            if let Err(error) = self.wait(seat, next, &mut events) {
                tracing::error!(%error, "the emulator's engine cannot wait and stops");
                break;
            }
            let Ok(mut work) = self.work.lock() else {
                break; // the other one panicked, and says so
            };
            work.turn(&self.epoll, &events);
            if work.stopped {
                break;
            }
            next = work.agenda.next();
            self.plan_stand_in(next, &mut work);
        }
    }

    fn wait(
        &self,
        seat: Seat,
        next: Option<Instant>,
        events: &mut Vec<Event>,
    ) -> Result<(), Errno> {
        let timeout = match seat {
            Seat::First => next.map(time_until),
            Seat::StandIn => {
                rustix::io::retry_on_intr(|| rustix::io::read(&self.timer, &mut [0; 8]))?;
                Some(Timespec::default())
            }
        };
        match epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Has the stand-in woken if what is next is not done in time. Usually it is, and the timer
    /// moves on before it rings.
    fn plan_stand_in(&self, next: Option<Instant>, work: &mut Work) {
        let at = next.map(|it| it + STAND_IN_AFTER);
        if work.stand_in_at == at {
            return;
        }
        work.stand_in_at = at;
        let it_value = at.map_or(Timespec::default(), time_until);
        self.set_timer(it_value);
    }

    /// Lets the other one see that it is over, whatever it waits for.
    fn stop(&self) {
        if let Ok(mut work) = self.work.lock() {
            work.stopped = true;
        }
        ring(&self.bell);
        self.set_timer(MOMENT);
    }

    fn set_timer(&self, it_value: Timespec) {
        let time = Itimerspec {
            it_interval: Timespec::default(),
            it_value,
        };
        if let Err(error) = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &time) {
            tracing::debug!(%error, "nobody stands in when the emulator is held up");
        }
    }
}

/// Whoever leaves, even by a panic, takes the other one along.
struct Over<'a>(&'a Engine);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// What the one who has the turn works on.
#[derive(Debug)]
struct Work {
    bell: Arc<OwnedFd>,
    rx: Receiver<(Command, Done)>,
    lines: BTreeMap<u16, Line>,
    agenda: Agenda,
    batch: Batch,
    stand_in_at: Option<Instant>,
    stopped: bool,
}

impl Work {
    fn turn(&mut self, epoll: &OwnedFd, events: &[Event]) {
        self.handle_due(epoll);
        for event in events {
            self.handle_event(Token::unpack(event.data), event.flags, epoll);
            self.handle_due(epoll); // a burst on one socket must not make others late
        }
    }

    fn handle_due(&mut self, epoll: &OwnedFd) {
        for _ in 0..WAKES_MAX {
            let Some(wake) = self.agenda.pop_due(Instant::now()) else {
                return;
            };
            self.with_context(epoll, |lines, _, ctx| {
                if let Some(line) = lines.get_mut(&wake.line()) {
                    line.handle_wake(wake, ctx);
                }
            });
        }
    }

    fn handle_event(&mut self, token: Token, flags: EventFlags, epoll: &OwnedFd) {
        if token.source == Source::Commands {
            return self.handle_commands(epoll);
        }
        self.with_context(epoll, |lines, batch, ctx| {
            if let Some(line) = lines.get_mut(&token.line) {
                line.handle_event(token.source, flags, batch, ctx);
            }
        });
    }

    fn handle_commands(&mut self, epoll: &OwnedFd) {
        // Silence the bell first: a command that comes from now on rings again.
        let _silent_already = rustix::io::read(&self.bell, &mut [0; 8]);
        while let Ok((command, done)) = self.rx.try_recv() {
            if matches!(command, Command::Stop) {
                self.stopped = true;
                return;
            }
            self.with_context(epoll, |lines, _, ctx| handle_command(command, lines, ctx));
            let _nobody_waits = done.try_send(());
        }
    }

    fn with_context<T>(
        &mut self,
        epoll: &OwnedFd,
        work: impl FnOnce(&mut BTreeMap<u16, Line>, &mut Batch, &mut Context<'_>) -> T,
    ) -> T {
        let mut ctx = Context {
            epoll,
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

/// Never zero, which would be never for a timer.
fn time_until(at: Instant) -> Timespec {
    let left = at.saturating_duration_since(Instant::now());
    // A year is as good as for ever, and always fits.
    let left = left.min(Duration::from_secs(31_536_000));
    let left = Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    };
    left.max(MOMENT)
}

fn be_prompt(seat: Seat) {
    // By default the kernel may be 50 microseconds late, to save power.
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        tracing::debug!(%error, "the emulator's timer stays coarse");
    }
    match sys::be_prompt() {
        Promptness::Realtime => sit_on_a_processor(seat),
        promptness => tracing::debug!(
            ?promptness,
            "no real-time priority: under load, emulated delays are longer than asked for"
        ),
    }
}

/// A real-time thread is woken on the processor on which it last ran, so the two must not share one.
fn sit_on_a_processor(seat: Seat) {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    let mut processors = (0..CpuSet::MAX_CPU).filter(|it| allowed.is_set(*it));
    let (Some(first), Some(second)) = (processors.next(), processors.next()) else {
        return; // there is only one
    };
    let mut mine = CpuSet::new();
    mine.set(match seat {
        Seat::First => first,
        Seat::StandIn => second,
    });
    if let Err(error) = rustix::thread::sched_setaffinity(None, &mine) {
        tracing::debug!(%error, "the emulator's threads sit where they like");
    }
}
