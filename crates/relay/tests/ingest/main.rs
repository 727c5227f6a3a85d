//! Cameras as people publish them: real ffmpeg, real sockets.

mod harness;
mod rtmp;
