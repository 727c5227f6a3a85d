//! Real sockets, real handshakes, and people who should not get in.
#![expect(clippy::unwrap_used, reason = "a test fails where it is used")]

mod attack;
mod entry;
mod link;
mod world;
