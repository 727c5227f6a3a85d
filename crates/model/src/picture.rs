//! What precedes every picture on the wire, the same from a screen, a camera and a rendition. See
//! `docs/protocol.md`.

use std::time::Duration;

use crate::input::InputSeq;

/// The length of a [`Header`] on the wire, in bytes.
pub const HEADER_LEN: usize = 16;

/// The only layout there is.
const VERSION: u8 = 1;
const KEYFRAME: u8 = 1;

/// What precedes a picture's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// It can be decoded without any other.
    pub keyframe: bool,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// The last event that the app had before it; 0 is none, as for a camera.
    pub input_seq: InputSeq,
    /// From capture to encoded, to microseconds; an hour at most. Zero for a camera, whose secret
    /// it is.
    pub encode_time: Duration,
}

impl Header {
    /// Of a picture of a camera or its rendition.
    pub const fn of_camera(keyframe: bool, width: u16, height: u16) -> Self {
        Self {
            keyframe,
            width,
            height,
            input_seq: InputSeq(0),
            encode_time: Duration::ZERO,
        }
    }

    /// As it stands on the wire.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let micros = u32::try_from(self.encode_time.as_micros()).unwrap_or(u32::MAX);
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = if self.keyframe { KEYFRAME } else { 0 };
        bytes[1] = VERSION;
        bytes[2..4].copy_from_slice(&self.width.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.height.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.input_seq.0.to_le_bytes());
        bytes[12..].copy_from_slice(&micros.to_le_bytes());
        bytes
    }

    /// Splits a frame into header and data. `None` if it is no picture of a layout we know.
    pub fn split(frame: &[u8]) -> Option<(Self, &[u8])> {
        let (header, data) = frame.split_first_chunk::<HEADER_LEN>()?;
        let [
            flags,
            version,
            w0,
            w1,
            h0,
            h1,
            _,
            _,
            seq @ ..,
            e0,
            e1,
            e2,
            e3,
        ] = *header;
        if version != VERSION {
            return None;
        }
        let encode_time = u32::from_le_bytes([e0, e1, e2, e3]);
        let header = Self {
            keyframe: flags & KEYFRAME != 0,
            width: u16::from_le_bytes([w0, w1]),
            height: u16::from_le_bytes([h0, h1]),
            input_seq: InputSeq(u32::from_le_bytes(seq)),
            encode_time: Duration::from_micros(encode_time.into()),
        };
        Some((header, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout that `docs/protocol.md` promises, byte by byte.
    #[test]
    fn golden() {
        let header = Header {
            keyframe: true,
            width: 1280,
            height: 720,
            input_seq: InputSeq(42),
            encode_time: Duration::from_micros(1_500),
        };
        let wire = [1, 1, 0, 5, 0xd0, 2, 0, 0, 42, 0, 0, 0, 0xdc, 5, 0, 0];
        assert_eq!(header.to_bytes(), wire);
        let frame = [&wire[..], b"h264"].concat();
        assert_eq!(Header::split(&frame), Some((header, &b"h264"[..])));
    }

    #[test]
    fn what_is_no_picture_is_none() {
        let mut frame = Header::of_camera(false, 2, 2).to_bytes();
        assert!(Header::split(&frame).is_some());
        assert_eq!(Header::split(&frame[..15]), None);
        frame[1] = 2;
        assert_eq!(Header::split(&frame), None, "another version");
    }

    #[test]
    fn a_time_beyond_what_fits_is_cut() {
        let header = Header {
            encode_time: Duration::from_secs(1 << 40),
            ..Header::of_camera(true, 2, 2)
        };
        assert_eq!(header.to_bytes()[12..], [0xff; 4]);
    }
}
