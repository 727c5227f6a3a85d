//! What is written into every picture: for eyes a caption, for programs a strip of blocks.
//!
//! The strip is 32 blocks in a row, white for 1 and black for 0, most significant bit first. A block
//! is `b` pixels wide and high, `b` being the height of the picture / 90, rounded down to an even
//! number, at least 4. The first block's top left is at (2b, 2b), and the strip has a black border
//! of `b`. From the top: 16 bits number of the frame in the loop, 8 bits number of the camera,
//! 8 bits check, which is the sum of the other three bytes and [`SALT`], modulo 256.

use super::font;
use super::picture::Picture;

/// Added to the check, so that neither all black nor all white is a marker.
const SALT: u8 = 0xa5;
const BITS: usize = 32;
/// Luma from here on is white: halfway between black and white of limited range.
const WHITE_FROM: u32 = 126;

/// Which frame of which camera a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// From 0, in the loop.
    pub frame: u16,
    /// From 0, in the order of the event's cameras.
    pub camera: u8,
}

impl Marker {
    /// Reads it from the luma plane of a picture; `None` if there is no marker.
    pub fn read(luma: &[u8], stride: usize, height: usize) -> Option<Self> {
        let block = block(height);
        let mut word = 0_u32;
        for bit in 0..BITS {
            let (left, top) = (2 * block + bit * block, 2 * block);
            let (mut sum, mut count) = (0_u32, 0);
            // The inner part: edges blur.
            for row in top + block / 4..top + block - block / 4 {
                let from = row * stride + left;
                let line = luma.get(from + block / 4..from + block - block / 4)?;
                sum += line.iter().map(|it| u32::from(*it)).sum::<u32>();
                count += line.len() as u32;
            }
            word = word << 1 | u32::from(sum >= WHITE_FROM * count);
        }
        let [high, low, camera, check] = word.to_be_bytes();
        (check == check_of(high, low, camera)).then(|| Self {
            frame: u16::from_be_bytes([high, low]),
            camera,
        })
    }

    fn word(self) -> u32 {
        let [high, low] = self.frame.to_be_bytes();
        u32::from_be_bytes([high, low, self.camera, check_of(high, low, self.camera)])
    }

    /// Draws it, and below it the caption.
    pub(super) fn draw(self, caption: &str, picture: &mut Picture) {
        let (_, height) = picture.size();
        let block = block(height);
        for row in block..block * 4 {
            for column in block..block * (BITS + 3) {
                let inside = (2 * block..3 * block).contains(&row);
                let bit = (column / block).wrapping_sub(2);
                let on = inside && bit < BITS && self.word() >> (BITS - 1 - bit) & 1 == 1;
                set(picture, column, row, if on { 255 } else { 0 });
            }
        }
        let dot = (height / 360).max(1);
        let (left, top) = (2 * block, 5 * block);
        for row in 0..(font::HEIGHT + 2) * dot {
            for column in 0..(caption.len() * font::ADVANCE + 1) * dot {
                let (x, y) = (column / dot, row / dot);
                let letter = caption.chars().nth(x.saturating_sub(1) / font::ADVANCE);
                let ink = x > 0
                    && y > 0
                    && letter.is_some_and(|it| font::ink(it, (x - 1) % font::ADVANCE, y - 1));
                set(
                    picture,
                    left - dot + column,
                    top + row,
                    if ink { 245 } else { 18 },
                );
            }
        }
    }
}

fn check_of(high: u8, low: u8, camera: u8) -> u8 {
    SALT.wrapping_add(high)
        .wrapping_add(low)
        .wrapping_add(camera)
}

fn block(height: usize) -> usize {
    (height / 90 / 2 * 2).max(4)
}

fn set(picture: &mut Picture, column: usize, row: usize, level: u8) {
    let (width, height) = picture.size();
    if column < width && row < height {
        picture.set((column, row), [level; 3]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        for (width, height) in [(320, 180), (640, 360), (1280, 720)] {
            let mut picture = Picture::new(width, height, vec![[90, 120, 60]; width * height]);
            for (frame, camera) in [(0, 0), (719, 11), (65_535, 255)] {
                let marker = Marker { frame, camera };
                marker.draw("CAM01 0:01.29", &mut picture);
                assert_eq!(Marker::read(picture.planes(), width, height), Some(marker));
                picture.restore();
            }
            assert_eq!(Marker::read(picture.planes(), width, height), None);
        }
    }

    #[test]
    fn no_marker_is_no_marker() {
        assert_eq!(Marker::read(&[], 1280, 720), None);
        assert_eq!(Marker::read(&vec![16; 320 * 180], 320, 180), None);
        assert_eq!(Marker::read(&vec![235; 320 * 180], 320, 180), None);
    }
}
