//! The shape of the cursor, which the terminal draws itself so that it moves without delay.

use std::fmt;

use bytes::Bytes;
use x11rb::protocol::xfixes::GetCursorImageReply;

/// The largest side of a shape, in pixels. What is larger is cut: no browser shows more.
pub const CURSOR_MAX: u16 = 128;

/// A cursor's shape.
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The width in pixels.
    pub width: u16,
    /// The height in pixels.
    pub height: u16,
    /// Which pixel of it points, from the left.
    pub hot_x: u16,
    /// Which pixel of it points, from the top.
    pub hot_y: u16,
    /// False if nothing of it can be seen: the app hid it.
    pub visible: bool,
    /// Rows from the top; four bytes a pixel: red, green, blue, alpha. Colours are not multiplied
    /// by alpha.
    pub rgba: Bytes,
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            width,
            height,
            hot_x,
            hot_y,
            visible,
            ..
        } = self;
        write!(
            f,
            "Cursor({width}x{height} at {hot_x},{hot_y} visible={visible})"
        )
    }
}

impl Cursor {
    pub(crate) fn from_image(image: &GetCursorImageReply) -> Self {
        let width = image.width.min(CURSOR_MAX);
        let height = image.height.min(CURSOR_MAX);
        let rows = image
            .cursor_image
            .chunks_exact(usize::from(image.width.max(1)))
            .take(height.into());
        let pixels = rows.flat_map(|row| &row[..width.into()]);
        let rgba: Vec<u8> = pixels.flat_map(|&argb| straight(argb)).collect();
        Self {
            width,
            height,
            hot_x: image.xhot.min(width.saturating_sub(1)),
            hot_y: image.yhot.min(height.saturating_sub(1)),
            visible: rgba.chunks_exact(4).any(|pixel| pixel[3] != 0),
            rgba: rgba.into(),
        }
    }
}

/// From alpha, red, green, blue with colours multiplied by alpha.
fn straight(argb: u32) -> [u8; 4] {
    let [alpha, red, green, blue] = argb.to_be_bytes();
    let divide = |colour: u8| match alpha {
        0 => 0,
        _ => {
            let value = (u16::from(colour) * 255 + u16::from(alpha) / 2) / u16::from(alpha);
            u8::try_from(value).unwrap_or(u8::MAX)
        }
    };
    [divide(red), divide(green), divide(blue), alpha]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: u16, height: u16, pixels: Vec<u32>) -> GetCursorImageReply {
        GetCursorImageReply {
            width,
            height,
            xhot: 500,
            yhot: 1,
            cursor_image: pixels,
            ..GetCursorImageReply::default()
        }
    }

    #[test]
    fn colours_lose_their_alpha() {
        assert_eq!(straight(0xff12_3456), [0x12, 0x34, 0x56, 0xff]);
        assert_eq!(straight(0x8040_0080), [0x80, 0x00, 0xff, 0x80]);
        assert_eq!(straight(0x00ff_ffff), [0, 0, 0, 0]);
        assert_eq!(straight(0x01ff_ffff), [255, 255, 255, 1]);
    }

    #[test]
    fn shapes_are_cut_and_hidden_ones_known() {
        let cursor = Cursor::from_image(&image(300, 2, vec![0xff00_00ff; 600]));
        assert_eq!(
            (cursor.width, cursor.height, cursor.hot_x),
            (CURSOR_MAX, 2, CURSOR_MAX - 1)
        );
        assert_eq!(cursor.rgba.len(), usize::from(CURSOR_MAX) * 2 * 4);
        assert!(cursor.visible);
        assert!(!Cursor::from_image(&image(2, 2, vec![0; 4])).visible);
        assert!(!Cursor::from_image(&image(0, 0, vec![])).visible);
    }
}
