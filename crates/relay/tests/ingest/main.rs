//! Cameras as people publish them: real ffmpeg, real sockets.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod camera;
mod harness;
mod input;
mod moq;
#[path = "../relay/road.rs"]
mod road;
mod rtmp;
mod srt;
