//! The layout of a picture on the wire, the same from a screen and from a camera. See
//! `docs/protocol.md`.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use model::input::InputSeq;

const VERSION: u8 = 1;
const KEYFRAME: u8 = 1;
const HEADER: usize = 16;

/// What goes before a picture's data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) keyframe: bool,
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// The last input before it was captured; 0 from a camera.
    pub(crate) input_seq: InputSeq,
    /// From capture to encoded; 0 from a camera.
    pub(crate) encode_time: Duration,
}

/// A picture with its header.
pub(crate) fn picture(header: Header, data: &[u8]) -> Bytes {
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
