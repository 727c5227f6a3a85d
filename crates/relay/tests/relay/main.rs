//! The relay over real sockets: what terminals may do, what they get, and what links carry.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod fan;
mod grants;
mod harness;
mod links;
mod media;
mod road;
mod robust;
mod websocket;
