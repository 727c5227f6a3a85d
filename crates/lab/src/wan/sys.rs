//! The system calls without a safe wrapper: many datagrams in one call, each with the time at which
//! the kernel got it, and a thread that is woken promptly.
#![expect(
    unsafe_code,
    reason = "recvmmsg with timestamps and sched_setattr have no safe wrapper"
)]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many datagrams one call takes: enough to make the call cheap for each, few enough that
/// packets which are due meanwhile wait no more than some tens of microseconds.
pub(super) const BATCH: usize = 32;

/// The largest datagram there is.
const DATAGRAM_MAX: usize = 65_536;

/// A kernel timestamp that claims to be older says only that the clock was set.
const AGE_MAX: Duration = Duration::from_millis(100);

/// Room for one control message that holds a `timespec`.
type Control = [u64; 8];

/// Room for the datagrams of one call.
#[derive(Debug)]
pub(super) struct Batch {
    payloads: Box<[u8]>,
    messages: Vec<(usize, Option<SocketAddr>, Instant)>,
}

/// One datagram.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) payload: &'a [u8],
    /// `None` on a connected socket.
    pub(super) from: Option<SocketAddr>,
    /// When the kernel got it.
    pub(super) arrived: Instant,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            payloads: vec![0; BATCH * DATAGRAM_MAX].into_boxed_slice(),
            messages: Vec::with_capacity(BATCH),
        }
    }

    /// Takes what is there, at most `BATCH` datagrams. An error leaves the batch empty.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.messages.clear();
        // SAFETY: all-zero is a valid value of these plain C structs.
        let mut addresses: [libc::sockaddr_storage; BATCH] = unsafe { mem::zeroed() };
        let mut controls: [Control; BATCH] = [[0; 8]; BATCH];
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut slices: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        for (index, payload) in self.payloads.chunks_exact_mut(DATAGRAM_MAX).enumerate() {
            slices[index].iov_base = payload.as_mut_ptr().cast();
            slices[index].iov_len = payload.len();
            let header = &mut headers[index].msg_hdr;
            header.msg_name = (&raw mut addresses[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut slices[index];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut controls[index]).cast();
            header.msg_controllen = size_of::<Control>();
        }
        // SAFETY: every header points at an address, a slice and a control buffer of our own, all
        // of which outlive the call and have the lengths given.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_negative| io::Error::last_os_error())?;

        let (now, clock) = (Instant::now(), SystemTime::now());
        for (header, address) in headers.iter().zip(&addresses).take(received) {
            let age = stamp(&header.msg_hdr)
                .and_then(|it| clock.duration_since(it).ok())
                .filter(|it| *it < AGE_MAX)
                .unwrap_or_default();
            let length = (header.msg_len as usize).min(DATAGRAM_MAX);
            self.messages
                .push((length, socket_address(address), now - age));
        }
        Ok(())
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.payloads
            .chunks_exact(DATAGRAM_MAX)
            .zip(&self.messages)
            .map(|(payload, (length, from, arrived))| Message {
                payload: &payload[..*length],
                from: *from,
                arrived: *arrived,
            })
    }
}

/// Asks the kernel to note when each datagram arrives. Without it the time of reading is taken.
pub(super) fn stamp_arrivals(socket: &UdpSocket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length describe `on`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// How promptly the calling thread is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promptness {
    /// Before every ordinary thread.
    Realtime,
    /// Among ordinary threads, but in short turns, which the kernel grants early.
    ShortTurns,
    /// Like any other.
    Ordinary,
}

/// Makes the calling thread as prompt as this process is allowed to. It works a few microseconds
/// for each packet and sleeps otherwise, so nobody else is starved.
pub(super) fn be_prompt() -> Promptness {
    /// The lowest real-time priority already comes before all ordinary threads.
    const PRIORITY: u32 = 1;
    /// The shortest turn that the kernel takes.
    const TURN_NANOS: u64 = 100_000;

    // SAFETY: all-zero is a valid value of this plain C struct.
    let base: libc::sched_attr = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_flags: libc::SCHED_FLAG_RESET_ON_FORK as u64,
        ..unsafe { mem::zeroed() }
    };
    let realtime = libc::sched_attr {
        sched_policy: libc::SCHED_FIFO as u32,
        sched_priority: PRIORITY,
        ..base
    };
    let short_turns = libc::sched_attr {
        sched_policy: libc::SCHED_OTHER as u32,
        sched_runtime: TURN_NANOS,
        ..base
    };
    if schedule(&realtime) {
        Promptness::Realtime
    } else if schedule(&short_turns) {
        Promptness::ShortTurns
    } else {
        Promptness::Ordinary
    }
}

fn schedule(attributes: &libc::sched_attr) -> bool {
    const THIS_THREAD: libc::pid_t = 0;
    const NO_FLAGS: libc::c_uint = 0;
    // SAFETY: the kernel reads `size` bytes of the struct, which is what it has.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            THIS_THREAD,
            ptr::from_ref(attributes),
            NO_FLAGS,
        )
    };
    result == 0
}

/// The time that the kernel noted.
fn stamp(header: &libc::msghdr) -> Option<SystemTime> {
    // SAFETY: the kernel filled the header; its control buffer is still there.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: not null, so it points at a whole control header inside the buffer.
        let (level, kind) = unsafe { ((*control).cmsg_level, (*control).cmsg_type) };
        if level == libc::SOL_SOCKET && kind == libc::SCM_TIMESTAMPNS {
            // SAFETY: this kind of message carries a timespec, perhaps not aligned.
            let time: libc::timespec =
                unsafe { ptr::read_unaligned(libc::CMSG_DATA(control).cast()) };
            let secs = u64::try_from(time.tv_sec).ok()?;
            let nanos = u32::try_from(time.tv_nsec).ok()?;
            return UNIX_EPOCH.checked_add(Duration::new(secs, nanos));
        }
        // SAFETY: `control` came from this header.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    None
}

fn socket_address(address: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is what the storage holds.
            let it = unsafe { &*ptr::from_ref(address).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(it.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(it.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is what the storage holds.
            let it = unsafe { &*ptr::from_ref(address).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(it.sin6_addr.s6_addr);
            let port = u16::from_be(it.sin6_port);
            Some(SocketAddrV6::new(ip, port, it.sin6_flowinfo, it.sin6_scope_id).into())
        }
        _ => None,
    }
}
