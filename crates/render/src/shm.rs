//! A piece of memory shared with the X server, so that pictures are not copied through a socket.
#![expect(unsafe_code, reason = "maps memory that another process writes")]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// A mapped memfd, zeroed when made.
#[derive(Debug)]
pub(crate) struct Segment {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and is not tied to a thread.
unsafe impl Send for Segment {}

impl Segment {
    /// Makes a segment of `len` bytes and the descriptor that lets the X server map it too.
    pub(crate) fn new(len: usize) -> io::Result<(Self, OwnedFd)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memfd = rustix::fs::memfd_create("selvedge-screen", flags)?;
        let file_len = u64::try_from(len).map_err(io::Error::other)?;
        rustix::fs::ftruncate(&memfd, file_len)?;
        // Nobody can shrink it under us: reading beyond a file's end would kill the process.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memfd, seals)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours.
        let start: *mut c_void = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED,
                memfd.as_fd(),
                0,
            )?
        };
        let start = NonNull::new(start.cast()).expect("mmap never returns null on success");
        Ok((Self { start, len }, memfd))
    }

    /// The content.
    ///
    /// The X server writes only while it answers a request of ours for an image, and the requests
    /// are waited for before this is called.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` points to `len` mapped, initialised bytes until this value is dropped.
        // The seals keep them mapped; that nobody writes meanwhile is said above.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this address and length, and no slice of it
        // outlives this value.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        unmapped.expect("a mapping of ours can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_side_writes_is_seen_here() {
        let (segment, fd) = Segment::new(8192).unwrap();
        assert_eq!(segment.bytes(), [0; 8192]);
        rustix::io::pwrite(&fd, b"picture", 4096).unwrap();
        assert_eq!(&segment.bytes()[4096..4103], b"picture");
        assert!(rustix::fs::ftruncate(&fd, 1).is_err(), "sealed");
    }
}
