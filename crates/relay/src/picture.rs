//! The layout of a picture on the wire, the same from a screen, a camera and a rendition. See
//! `docs/protocol.md`.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use model::input::InputSeq;

const VERSION: u8 = 1;
const KEYFRAME: u8 = 1;
/// The header before every picture, in bytes.
pub const HEADER: usize = 16;

/// What goes before a picture's data.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// It can be decoded without any other.
    pub keyframe: bool,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// The last input before it was captured; 0 from a camera.
    pub input_seq: InputSeq,
    /// From capture to encoded; 0 from a camera.
    pub encode_time: Duration,
}

impl Header {
    /// Of a picture of a camera: no input belongs to it, and when it was captured is the camera's
    /// secret.
    pub const fn of_camera(keyframe: bool, width: u16, height: u16) -> Self {
        Self {
            keyframe,
            width,
            height,
            input_seq: InputSeq(0),
            encode_time: Duration::ZERO,
        }
    }
}

/// The data of a frame and whether it starts a group; `None` if it is no picture of this layout.
pub fn split(frame: &Bytes) -> Option<(bool, Bytes)> {
    let (flags, version) = (*frame.first()?, *frame.get(1)?);
    let known = version == VERSION && frame.len() >= HEADER;
    known.then(|| (flags & KEYFRAME != 0, frame.slice(HEADER..)))
}

/// A picture with its header.
pub fn frame(header: Header, data: &[u8]) -> Bytes {
    let mut payload = BytesMut::with_capacity(HEADER + data.len());
    payload.put_u8(if header.keyframe { KEYFRAME } else { 0 });
    payload.put_u8(VERSION);
    payload.put_u16_le(header.width);
    payload.put_u16_le(header.height);
    payload.put_u16_le(0);
    payload.put_u32_le(header.input_seq.0);
    payload.put_u32_le(u32::try_from(header.encode_time.as_micros()).unwrap_or(u32::MAX));
    payload.extend_from_slice(data);
    payload.freeze()
}
