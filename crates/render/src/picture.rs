//! Pictures: their sizes, and from what the screen shows (BGRA) to what encoders take (I420).

use std::ops::Range;

use logic::rate::Scale;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
    bgra_to_yuv420,
};

/// The size of a picture in pixels. Both sides are even, as the colour planes have half of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    width: u16,
    height: u16,
}

impl Size {
    /// The least of either side. Encoders refuse pictures below a macroblock.
    pub const MIN: u16 = 64;
    /// The most of either side: 4K.
    pub const MAX: u16 = 4096;

    /// Constructs a size, each side rounded down to an even number within [`Self::MIN`] and
    /// [`Self::MAX`].
    pub const fn new(width: u16, height: u16) -> Self {
        Self {
            width: Self::side(width),
            height: Self::side(height),
        }
    }

    /// Constructs this very size, of a picture that somebody else has encoded: also below
    /// [`Self::MIN`]. `None` if a side is odd, zero or above [`Self::MAX`].
    pub fn exact(width: u16, height: u16) -> Option<Self> {
        let fits = |side: u16| side > 0 && side <= Self::MAX && side.is_multiple_of(2);
        (fits(width) && fits(height)).then_some(Self { width, height })
    }

    const fn side(side: u16) -> u16 {
        match side {
            ..Self::MIN => Self::MIN,
            Self::MAX.. => Self::MAX,
            side => side & !1,
        }
    }

    /// The width in pixels.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// The height in pixels.
    pub const fn height(self) -> u16 {
        self.height
    }

    /// The number of pixels.
    pub fn area(self) -> usize {
        usize::from(self.width) * usize::from(self.height)
    }

    /// The size cut down to fit within another.
    #[must_use]
    pub fn within(self, most: Self) -> Self {
        Self {
            width: self.width.min(most.width),
            height: self.height.min(most.height),
        }
    }

    /// The size after scaling down.
    #[must_use]
    pub fn scaled(self, scale: Scale) -> Self {
        let (parts, of) = scale.ratio();
        let side = |side: u16| (side / of * parts) & !1;
        Self {
            width: side(self.width),
            height: side(self.height),
        }
    }
}

/// A picture as one plane of brightness and two of colour at half its width and height (BT.709,
/// limited range).
#[derive(Clone, Debug)]
pub struct I420 {
    size: Size,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

impl I420 {
    /// A black picture.
    pub fn black(size: Size) -> Self {
        let area = size.area();
        Self {
            size,
            y: vec![16; area],
            u: vec![128; area / 4],
            v: vec![128; area / 4],
        }
    }

    /// Constructs a picture of its planes; `None` if they are not as long as the size says.
    pub fn from_planes(size: Size, [y, u, v]: [Vec<u8>; 3]) -> Option<Self> {
        let area = size.area();
        let fits = y.len() == area && u.len() == area / 4 && v.len() == area / 4;
        fits.then_some(Self { size, y, u, v })
    }

    /// The planes, as [`planes`](Self::planes).
    pub fn into_planes(self) -> [Vec<u8>; 3] {
        [self.y, self.u, self.v]
    }

    /// The size.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// The planes: brightness (one byte a pixel), then the two of colour (one byte for four).
    pub fn planes(&self) -> [&[u8]; 3] {
        [&self.y, &self.u, &self.v]
    }

    /// The planes, to be written.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        [&mut self.y, &mut self.u, &mut self.v]
    }

    /// Takes over some rows of a whole picture in BGRA that has the same size.
    ///
    /// # Panics
    /// If `bgra` is shorter than a picture of this size.
    pub fn convert(&mut self, bgra: &[u8], rows: Range<u16>) {
        let width = usize::from(self.size.width);
        let first = usize::from(rows.start & !1);
        let end = usize::from(rows.end.min(self.size.height).next_multiple_of(2));
        if first >= end {
            return;
        }
        let luma = first * width..end * width;
        let chroma = luma.start / 4..luma.end / 4;
        let stride = u32::from(self.size.width);
        let mut planes = YuvPlanarImageMut {
            y_plane: BufferStoreMut::Borrowed(&mut self.y[luma.clone()]),
            y_stride: stride,
            u_plane: BufferStoreMut::Borrowed(&mut self.u[chroma.clone()]),
            u_stride: stride / 2,
            v_plane: BufferStoreMut::Borrowed(&mut self.v[chroma]),
            v_stride: stride / 2,
            width: stride,
            height: u32::try_from(end - first).expect("rows are counted in 16 bits"),
        };
        bgra_to_yuv420(
            &mut planes,
            &bgra[luma.start * 4..luma.end * 4],
            stride * 4,
            YuvRange::Limited,
            YuvStandardMatrix::Bt709,
            YuvConversionMode::Fast,
        )
        .expect("every plane was cut to the size above");
    }

    /// Fills `small`, whose size is this one's [`scaled`](Size::scaled) by `scale`.
    pub fn scale_into(&self, small: &mut Self, scale: Scale) {
        let width = usize::from(self.size.width);
        let small_width = usize::from(small.size.width);
        for (plane, small_plane, part) in [
            (&self.y, &mut small.y, 1),
            (&self.u, &mut small.u, 2),
            (&self.v, &mut small.v, 2),
        ] {
            let (from, to) = (width / part, small_width / part);
            match scale {
                Scale::Full => small_plane.copy_from_slice(plane),
                Scale::ThreeQuarters => three_quarters(plane, from, small_plane, to),
                Scale::Half => half(plane, from, small_plane, to),
            }
        }
    }
}

/// Every four rows become three, every four pixels of a row three: each the mix of its two nearest.
fn three_quarters(plane: &[u8], width: usize, small: &mut [u8], small_width: usize) {
    let mut mixed = vec![0; width];
    let row = |index: usize| {
        let start = index * width;
        // The last group of rows may be short: its last row stands in for the missing.
        plane
            .get(start..start + width)
            .unwrap_or(&plane[plane.len() - width..])
    };
    for (index, line) in small.chunks_exact_mut(small_width).enumerate() {
        let group = index / 3 * 4;
        match index % 3 {
            0 => mix(row(group), row(group + 1), 3, &mut mixed),
            1 => mix(row(group + 1), row(group + 2), 2, &mut mixed),
            _ => mix(row(group + 2), row(group + 3), 1, &mut mixed),
        }
        let (groups, _) = mixed.as_chunks::<4>();
        let (outs, tail) = line.as_chunks_mut::<3>();
        for (&[a, b, c, d], out) in groups.iter().zip(outs.iter_mut()) {
            let [a, b, c, d] = [a, b, c, d].map(u16::from);
            *out = [
                (a * 3 + b + 2) / 4,
                (b + c).div_ceil(2),
                (c + d * 3 + 2) / 4,
            ]
            .map(low_byte);
        }
        let rest = &mixed[width - tail.len().min(width)..];
        tail.copy_from_slice(rest);
    }
}

/// Every four pixels become their mean.
fn half(plane: &[u8], width: usize, small: &mut [u8], small_width: usize) {
    let mut mixed = vec![0; width];
    for (rows, line) in plane
        .chunks_exact(width * 2)
        .zip(small.chunks_exact_mut(small_width))
    {
        let (upper, lower) = rows.split_at(width);
        mix(upper, lower, 2, &mut mixed);
        for (&[a, b], out) in mixed.as_chunks::<2>().0.iter().zip(line) {
            *out = low_byte((u16::from(a) + u16::from(b)).div_ceil(2));
        }
    }
}

/// Mixes two rows, `quarters` of the first and the rest of the second. A loop without branches over
/// bytes: the compiler makes SIMD of it.
fn mix(first: &[u8], second: &[u8], quarters: u16, mixed: &mut [u8]) {
    for ((&a, &b), out) in first.iter().zip(second).zip(mixed) {
        *out = low_byte((u16::from(a) * quarters + u16::from(b) * (4 - quarters) + 2) / 4);
    }
}

/// The mean of bytes is a byte; a checked conversion would keep SIMD away.
const fn low_byte(value: u16) -> u8 {
    (value & 0xff) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solid(size: Size, [b, g, r]: [u8; 3]) -> Vec<u8> {
        [b, g, r, 0].repeat(size.area())
    }

    #[track_caller]
    fn check_colour(picture: &I420, expected: [u8; 3]) {
        let near = |plane: &[u8], value: u8| plane.iter().all(|&at| at.abs_diff(value) <= 2);
        for (plane, value) in picture.planes().into_iter().zip(expected) {
            assert!(near(plane, value), "{:?} is not {value}", &plane[..4]);
        }
    }

    const BLUE: ([u8; 3], [u8; 3]) = ([255, 0, 0], [32, 240, 118]);
    const GREEN: ([u8; 3], [u8; 3]) = ([0, 255, 0], [173, 42, 26]);

    #[test]
    fn sizes_are_even_and_within_bounds() {
        assert_eq!(Size::new(1281, 721), Size::new(1280, 720));
        assert_eq!(Size::new(0, u16::MAX), Size::new(Size::MIN, Size::MAX));
        let size = Size::new(1366, 768);
        assert_eq!(size.scaled(Scale::ThreeQuarters), Size::new(1022, 576));
        assert_eq!(size.scaled(Scale::Half), Size::new(682, 384));
        assert_eq!(size.within(Size::new(1280, 1024)), Size::new(1280, 768));
    }

    #[test]
    fn only_the_asked_rows_are_converted() {
        let size = Size::new(640, 480);
        let mut picture = I420::black(size);
        picture.convert(&solid(size, BLUE.0), 0..480);
        check_colour(&picture, BLUE.1);

        picture.convert(&solid(size, GREEN.0), 101..103);
        let rows: Vec<u8> = (0..480).map(|row| picture.y[row * 640]).collect();
        let green: Vec<usize> = (0..480).filter(|&row| rows[row] > 100).collect();
        assert_eq!(green, [100, 101, 102, 103], "whole pairs of rows");
    }

    #[test]
    fn scaling_keeps_colours_and_places() {
        for size in [
            Size::new(1280, 720),
            Size::new(1366, 770),
            Size::new(130, 98),
        ] {
            for scale in [Scale::Full, Scale::ThreeQuarters, Scale::Half] {
                let mut bgra = solid(size, BLUE.0);
                let middle = size.area() / 2 / usize::from(size.width) * usize::from(size.width);
                bgra[middle * 4..].copy_from_slice(&solid(size, GREEN.0)[middle * 4..]);
                let mut picture = I420::black(size);
                picture.convert(&bgra, 0..size.height);
                let mut small = I420::black(size.scaled(scale));
                picture.scale_into(&mut small, scale);

                let width = usize::from(small.size.width);
                let rows: Vec<u8> = small.y.chunks(width).map(|row| row[width - 1]).collect();
                let (top, bottom) = (rows.len() / 2 - 2, rows.len() / 2 + 2);
                assert!(
                    rows[..top].iter().all(|&y| y.abs_diff(BLUE.1[0]) <= 2),
                    "{size:?}"
                );
                assert!(
                    rows[bottom..].iter().all(|&y| y.abs_diff(GREEN.1[0]) <= 2),
                    "{size:?}"
                );
            }
        }
    }
}
