//! How exact the emulator is on this machine: packets with a time in them, sent through real
//! proxies, compared with the time at which the kernel has them at the other end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::sys::{self, Batch};
use super::{Link, Proxy, Wan, WanError, datagrams};

/// How long after the last packet should be there we still wait for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The size of a packet of video.
const PAYLOAD_BYTES: usize = 1_200;

/// The longest error that is told apart.
const ERROR_MAX: Duration = Duration::from_secs(10);

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// One proxy each; packets take turns.
    pub links: Vec<Link>,
    /// All packets of all proxies in a second.
    pub packets_per_sec: u32,
    /// For how long.
    pub time: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How far each packet's delay was from what was asked for, in nanoseconds. Jitter and waiting
    /// for a rate count as errors: measure without them.
    pub error_nanos: Histogram<u64>,
    /// Packets sent.
    pub sent: u64,
    /// Packets that arrived.
    pub received: u64,
    /// From the first arrival to the last.
    pub arriving: Duration,
    /// Payload of one packet times packets that arrived, in bits per second of `arriving`.
    pub received_bps: f64,
}

/// Why a measurement failed.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The emulator did not start.
    #[error("start the emulator to be measured")]
    Wan(#[from] WanError),
    /// A socket of the measurement itself.
    #[error("use the measurement's sockets")]
    Socket(#[from] io::Error),
    /// A thread of the measurement panicked.
    #[error("a thread of the measurement panicked")]
    Thread,
}

/// Sends a load through proxies of `wan` and compares. Blocks for the load's time and longest delay.
///
/// # Errors
/// When sockets cannot be had.
pub fn measure(wan: &Wan, load: &Load) -> Result<Measured, MeasureError> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let target = UdpSocket::bind(any)?;
    // What is lost must be lost on the way, not because we read late.
    datagrams::prepare(&target);
    let address = target.local_addr()?;
    let mut paths = Vec::new();
    for link in &load.links {
        let proxy = wan.proxy(any, Some(address), *link)?;
        let socket = UdpSocket::bind(any)?;
        socket.connect(proxy.address())?;
        paths.push(Path {
            _proxy: proxy,
            socket,
        });
    }
    let origin = Instant::now();
    let delays: Vec<Duration> = load.links.iter().map(|it| it.delay).collect();
    let longest = delays.iter().max().copied().unwrap_or_default();
    let until = origin + load.time + longest + PATIENCE;

    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&target, origin, &delays, load.packets(), until));
        let sender = scope.spawn(|| send(&paths, origin, load));
        let sent = sender.join().map_err(|_panic| MeasureError::Thread)??;
        let mut measured = receiver.join().map_err(|_panic| MeasureError::Thread)??;
        measured.sent = sent;
        Ok(measured)
    })
}

/// The processor time that all engines of this process have used so far.
///
/// # Errors
/// When the system does not tell.
pub fn engine_time() -> io::Result<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == super::THREAD_NAME {
            let times = std::fs::read_to_string(task.join("schedstat"))?;
            let on_cpu = times.split_whitespace().next();
            nanos += on_cpu.and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanos))
}

struct Path {
    _proxy: Proxy,
    socket: UdpSocket,
}

impl Load {
    fn packets(&self) -> u64 {
        (self.time.as_secs_f64() * f64::from(self.packets_per_sec)) as u64
    }
}

fn send(paths: &[Path], origin: Instant, load: &Load) -> io::Result<u64> {
    // Otherwise we would measure how long the sender waits between its clock and its socket.
    sys::be_prompt();
    let mut payload = [0; PAYLOAD_BYTES];
    let gap = Duration::from_secs(1) / load.packets_per_sec.max(1);
    let mut at = Instant::now();
    let packets = load.packets();
    for (number, (index, path)) in (0..packets).zip(paths.iter().enumerate().cycle()) {
        at += gap;
        if let Some(left) = at.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        payload[8..12].copy_from_slice(&(index as u32).to_le_bytes());
        payload[12..20].copy_from_slice(&number.to_le_bytes());
        let nanos = origin.elapsed().as_nanos() as u64;
        payload[..8].copy_from_slice(&nanos.to_le_bytes());
        path.socket.send(&payload)?;
    }
    Ok(packets)
}

fn receive(
    target: &UdpSocket,
    origin: Instant,
    delays: &[Duration],
    expected: u64,
    until: Instant,
) -> io::Result<Measured> {
    let mut batch = Batch::new();
    let mut error_nanos = Histogram::new_with_bounds(1, ERROR_MAX.as_nanos() as u64, 3)
        .expect("these bounds are valid");
    let (mut received, mut first, mut last) = (0, None, origin);
    while received < expected {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        if poll(&mut [PollFd::new(target, PollFlags::IN)], Some(&timeout))? == 0 {
            break;
        }
        batch.receive(target)?;
        for message in batch.messages() {
            let nanos = u64::from_le_bytes(word(message.payload, 0));
            let index = u32::from_le_bytes(word(message.payload, 8)) as usize;
            let Some(delay) = delays.get(index) else {
                continue;
            };
            let due = origin + Duration::from_nanos(nanos) + *delay;
            let late = message.arrived.saturating_duration_since(due);
            let early = due.saturating_duration_since(message.arrived);
            error_nanos.saturating_record((late + early).as_nanos() as u64);
            received += 1;
            first.get_or_insert(message.arrived);
            last = last.max(message.arrived);
        }
    }
    let arriving = last.saturating_duration_since(first.unwrap_or(last));
    let bits = received.saturating_sub(1) as f64 * PAYLOAD_BYTES as f64 * 8.0;
    Ok(Measured {
        error_nanos,
        sent: 0,
        received,
        arriving,
        received_bps: bits / arriving.as_secs_f64().max(1e-9),
    })
}

fn word<const N: usize>(payload: &[u8], at: usize) -> [u8; N] {
    let bytes = payload.get(at..at + N).unwrap_or(&[0; N]);
    bytes.try_into().expect("the slice has this length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is sent is counted; how exact it was is for the bench to say.
    #[test]
    fn nothing_is_missed() {
        let wan = Wan::start(1).unwrap();
        let ms = Duration::from_millis;
        let load = Load {
            links: vec![Link::from_delay(ms(1)), Link::from_delay(ms(9))],
            packets_per_sec: 1_000,
            time: ms(200),
        };
        let measured = measure(&wan, &load).unwrap();
        assert_eq!((measured.sent, measured.received), (200, 200));
        assert_eq!(measured.error_nanos.len(), 200);
        assert!(measured.arriving > ms(100));
        assert!(engine_time().unwrap() > Duration::ZERO);
    }
}
