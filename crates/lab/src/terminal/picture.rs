//! A picture on the wire and decoded.

use std::time::Duration;

use model::input::InputSeq;

/// The only layout there is.
const VERSION: u8 = 1;
const KEYFRAME: u8 = 1;
const LEN: usize = 16;

/// What precedes every picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// It can be decoded without any other.
    pub keyframe: bool,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// The last event that the app had before it; 0 is none.
    pub input_seq: InputSeq,
    /// From capture to encoded.
    pub encode_time: Duration,
}

impl Header {
    /// Splits a frame into header and H.264. `None` if it is no picture of a layout we know.
    pub fn split(frame: &[u8]) -> Option<(Self, &[u8])> {
        let (header, data) = frame.split_first_chunk::<LEN>()?;
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

/// A decoded picture: brightness and colours apart (I420, BT.709, limited range).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// The last event that the app had before it.
    pub input_seq: InputSeq,
    /// When it was captured, since the session began on its node.
    pub captured: Duration,
    pub(super) y: Vec<u8>,
    pub(super) u: Vec<u8>,
    pub(super) v: Vec<u8>,
}

impl Picture {
    /// The colour of a pixel as red, green and blue.
    ///
    /// # Panics
    /// When the pixel is outside of the picture.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to a byte before"
    )]
    pub fn rgb(&self, x: usize, y: usize) -> [u8; 3] {
        let chroma = y / 2 * (self.width / 2) + x / 2;
        let luma = (f32::from(self.y[y * self.width + x]) - 16.0) * 255.0 / 219.0;
        let blue = (f32::from(self.u[chroma]) - 128.0) * 255.0 / 224.0;
        let red = (f32::from(self.v[chroma]) - 128.0) * 255.0 / 224.0;
        let byte = |value: f32| value.round().clamp(0.0, 255.0) as u8;
        [
            byte(luma + 1.5748 * red),
            byte(luma - 0.1873 * blue - 0.4681 * red),
            byte(luma + 1.8556 * blue),
        ]
    }

    /// Whether a pixel has about this colour.
    ///
    /// # Panics
    /// When the pixel is outside of the picture.
    pub fn shows(&self, x: usize, y: usize, rgb: [u8; 3]) -> bool {
        /// What the encoder may change and nobody sees.
        const TOLERANCE: u8 = 24;
        let pairs = self.rgb(x, y).into_iter().zip(rgb);
        pairs.into_iter().all(|(a, b)| a.abs_diff(b) <= TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_is_written() {
        let mut frame = vec![1, 1, 0, 5, 208, 2, 0, 0, 7, 0, 0, 0, 0x10, 0x27, 0, 0];
        frame.extend_from_slice(b"h264");
        let expected = Header {
            keyframe: true,
            width: 1280,
            height: 720,
            input_seq: InputSeq(7),
            encode_time: Duration::from_millis(10),
        };
        assert_eq!(Header::split(&frame), Some((expected, &b"h264"[..])));
        assert_eq!(Header::split(&frame[..15]), None);
        frame[1] = 2;
        assert_eq!(Header::split(&frame), None);
    }

    #[test]
    fn colours_come_back() {
        let picture = |y, u, v| Picture {
            width: 2,
            height: 2,
            input_seq: InputSeq(0),
            captured: Duration::ZERO,
            y: vec![y; 4],
            u: vec![u],
            v: vec![v],
        };
        assert_eq!(picture(16, 128, 128).rgb(1, 1), [0, 0, 0]);
        assert_eq!(picture(235, 128, 128).rgb(0, 1), [255, 255, 255]);
        assert!(picture(63, 102, 240).shows(0, 0, [255, 0, 0]));
        assert!(!picture(63, 102, 240).shows(0, 0, [0, 0, 255]));
    }
}
