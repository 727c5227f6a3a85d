//! Waking a thread that waits for its X connection.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// A bell: rung by any thread, heard by the one that waits. Rings while nobody waits are kept.
#[derive(Debug)]
pub(crate) struct Wake(OwnedFd);

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(eventfd(0, flags)?))
    }

    /// Rings.
    pub(crate) fn ring(&self) {
        // It fails only when the counter is full, and then the bell rings already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Waits until the bell rings, `other` can be read, or the time is over. Swallows the rings.
    pub(crate) fn wait(&self, other: impl AsFd, timeout: Option<Duration>) -> io::Result<()> {
        let mut fds = [
            PollFd::new(&self.0, PollFlags::IN),
            PollFd::from_borrowed_fd(other.as_fd(), PollFlags::IN),
        ];
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if fds[0].revents().contains(PollFlags::IN) {
            // One read empties the counter; that another thread was faster cannot be.
            let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
        }
        Ok(())
    }
}

/// What one thread wants of another, who may be waiting for its X connection. Later wishes replace
/// or join earlier ones in `T`, so this needs no queue.
#[derive(Debug)]
pub(crate) struct Orders<T> {
    pub(crate) wake: Wake,
    orders: Mutex<T>,
}

impl<T: Default> Orders<T> {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            wake: Wake::new()?,
            orders: Mutex::default(),
        })
    }

    /// Adds to the orders and rings.
    pub(crate) fn give(&self, add: impl FnOnce(&mut T)) {
        add(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.ring();
    }

    /// Takes all orders given so far.
    pub(crate) fn take(&self) -> T {
        std::mem::take(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_bell_is_heard_from_another_thread_and_once() {
        let (silent, _other_end) = UnixStream::pair().unwrap();
        let orders = Arc::new(Orders::<Vec<u8>>::new().unwrap());
        let giver = orders.clone();
        let thread = std::thread::spawn(move || giver.give(|orders| orders.push(1)));
        orders.wake.wait(&silent, None).unwrap();
        thread.join().unwrap();
        assert_eq!(orders.take(), [1]);

        let before = Instant::now();
        let timeout = Duration::from_millis(20);
        orders.wake.wait(&silent, Some(timeout)).unwrap();
        assert!(before.elapsed() >= timeout, "the ring was swallowed");
    }
}
