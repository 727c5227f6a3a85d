//! A picture as it was decoded.

use std::time::Duration;

use model::input::InputSeq;

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
