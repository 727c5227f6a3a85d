//! The network between cities, emulated on one machine without privileges.
//!
//! A [`Proxy`] listens on one port number, for UDP and for TCP, and passes everything on to a
//! target: later, and not always. A [`Wan`] carries hundreds of proxies and sleeps while no packet
//! is on its way. `pipe` holds the decisions and is pure; `engine` and what it
//! uses carry them out.
//!
//! What it does not do: reorder packets, corrupt them, or drop parts of a TCP stream (the kernel's
//! TCP ends here; its bytes only take their time). Rates count payload, not headers.

mod context;
mod datagrams;
mod engine;
mod line;
pub mod measure;
mod pipe;
mod random;
mod stats;
mod streams;
mod sys;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::Bitrate;
use model::geo::Position;

use engine::{Command, Commands, Engine, Seat};
use line::{Line, Parts};
pub use stats::{DirectionStats, Stats};

/// How often we ask the system for a port that is free for UDP and for TCP before giving up.
const PORT_TRIES: u32 = 32;

/// What the engine's threads are called in lists of threads.
const THREAD_NAME: &str = "wan";

/// One direction of a link between two places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// How long a packet travels at least. Default 0.
    pub delay: Duration,
    /// The most that chance adds to `delay`; the amount is uniform, the order of packets is kept.
    /// Default 0.
    pub jitter: Duration,
    /// The share of datagrams that is lost, 0 to 1. At 1 the link is cut, for TCP too. Default 0.
    pub loss: f64,
    /// What passes at most. Default: any amount.
    pub rate: Option<Bitrate>,
    /// How long a packet may wait for its turn where there is a `rate`; beyond it datagrams are
    /// dropped and streams pause. Default 200 ms.
    pub queue: Duration,
}

impl Link {
    /// A perfect link of this one-way delay.
    pub const fn from_delay(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            loss: 0.0,
            rate: None,
            queue: Duration::from_millis(200),
        }
    }

    /// A perfect link with half of this round trip in each direction.
    pub fn from_round_trip(round_trip: Duration) -> Self {
        Self::from_delay(round_trip / 2)
    }

    /// The same link with nothing getting through.
    #[must_use]
    pub const fn cut(self) -> Self {
        Self { loss: 1.0, ..self }
    }

    fn is_cut(self) -> bool {
        self.loss >= 1.0
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::from_delay(Duration::ZERO)
    }
}

/// Why the emulator could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WanError {
    /// The engine's own handles or its thread could not be made.
    #[error("start the emulator's engine")]
    Engine(#[source] io::Error),
    /// The address is taken or not ours.
    #[error("listen on {address} for UDP and TCP")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The engine holds as many proxies as it can number.
    #[error("more than {} proxies on one engine", u16::MAX)]
    TooMany,
}

/// An engine that carries the packets of all its proxies. Dropping it ends them all.
#[derive(Debug)]
pub struct Wan {
    commands: Arc<Commands>,
    seed: u64,
    next_id: AtomicU16,
    threads: Vec<JoinHandle<()>>,
}

impl Wan {
    /// Starts an engine. The seed decides which packets are lost and how much jitter each has.
    ///
    /// # Errors
    /// When the system gives no thread or no descriptors.
    pub fn start(seed: u64) -> Result<Self, WanError> {
        let (engine, commands) = Engine::new().map_err(WanError::Engine)?;
        let engine = Arc::new(engine);
        let mut wan = Self {
            commands: Arc::new(commands),
            seed,
            next_id: AtomicU16::new(0),
            threads: Vec::new(),
        };
        for seat in [Seat::First, Seat::StandIn] {
            let engine = Arc::clone(&engine);
            let thread = std::thread::Builder::new()
                .name(THREAD_NAME.to_owned())
                .spawn(move || engine.run(seat))
                .map_err(WanError::Engine)?;
            wan.threads.push(thread);
        }
        Ok(wan)
    }

    /// Opens a proxy on `listen` (port 0: any free one) with the same link in both directions.
    /// Without a target it takes packets and drops them.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the engine is full.
    pub fn proxy(
        &self,
        listen: SocketAddr,
        target: Option<SocketAddr>,
        link: Link,
    ) -> Result<Proxy, WanError> {
        let (udp, tcp) = bind(listen).map_err(|source| WanError::Listen {
            address: listen,
            source,
        })?;
        let address = udp.local_addr().map_err(WanError::Engine)?;
        let id = self
            .next_id
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_add(1))
            .map_err(|_full| WanError::TooMany)?;
        let stats = Arc::new(stats::Counters::default());
        let parts = Parts {
            id,
            udp,
            tcp,
            target,
            link,
            seed: self.seed,
            stats: Arc::clone(&stats),
        };
        let line = Line::new(parts, Instant::now());
        self.commands.send(Command::Open(Box::new(line)));
        Ok(Proxy {
            id,
            address,
            stats,
            commands: Arc::downgrade(&self.commands),
        })
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.commands.send(Command::Stop);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("the emulator's engine panicked");
            }
        }
    }
}

/// One end point of the emulated network. Dropping it closes its sockets and flows.
///
/// A change holds for whatever is sent after the call returns, and none is made once the [`Wan`] is
/// gone.
#[derive(Debug)]
pub struct Proxy {
    id: u16,
    address: SocketAddr,
    stats: Arc<stats::Counters>,
    commands: Weak<Commands>,
}

impl Proxy {
    /// Where it listens, for UDP and for TCP.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes both directions. What is on its way already arrives as it would have.
    pub fn set_link(&self, link: Link) {
        self.set_links(link, link);
    }

    /// Changes the direction to the target (`up`) and the one back (`down`).
    pub fn set_links(&self, up: Link, down: Link) {
        self.send(Command::Links {
            id: self.id,
            up,
            down,
        });
    }

    /// Changes where packets go. UDP flows move over, TCP connections stay with the old target.
    /// `None` ends the UDP flows and drops what comes.
    pub fn set_target(&self, target: Option<SocketAddr>) {
        self.send(Command::Target {
            id: self.id,
            target,
        });
    }

    /// What it has carried so far.
    pub fn stats(&self) -> Stats {
        self.stats.read()
    }

    fn send(&self, command: Command) {
        if let Some(commands) = self.commands.upgrade() {
            commands.send(command);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.send(Command::Close { id: self.id });
    }
}

/// The round trip to expect between two places: light in fibre (1 ms for 100 km there and back)
/// times the detours that cables make, plus 2 ms for the last mile.
///
/// The detours are a factor of 2.07 on long ways and 3.5 on short ones, as observed between real
/// cities. Between 500 and 1,000 km one passes into the other, so that farther never means sooner.
pub fn round_trip(a: Position, b: Position) -> Duration {
    const LAST_MILE_MS: f64 = 2.0;
    const SHORT_KM: f64 = 500.0;
    const LONG_KM: f64 = 1_000.0;
    const SHORT_DETOUR: f64 = 3.5;
    const LONG_DETOUR: f64 = 2.07;

    let km = a.distance_km(b);
    let cable_km = if km <= SHORT_KM {
        km * SHORT_DETOUR
    } else if km < LONG_KM {
        let (from, to) = (SHORT_KM * SHORT_DETOUR, LONG_KM * LONG_DETOUR);
        from + (to - from) * (km - SHORT_KM) / (LONG_KM - SHORT_KM)
    } else {
        km * LONG_DETOUR
    };
    Duration::from_secs_f64((cable_km / 100.0 + LAST_MILE_MS) / 1_000.0)
}

/// Takes one port number for both protocols. With port 0 the system picks a port that is free for
/// UDP; another program may have it for TCP, so we try a few.
fn bind(listen: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if listen.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let udp = UdpSocket::bind(listen)?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => {
                udp.set_nonblocking(true)?;
                tcp.set_nonblocking(true)?;
                return Ok((udp, tcp));
            }
            Err(error) => {
                tries -= 1;
                if tries == 0 {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
