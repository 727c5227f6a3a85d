//! A picture that is mostly the same all the time: only what was drawn over its background is put
//! back, and only that is converted anew for the encoder.

use super::solid::Area;

/// Red, green and blue as shown, 0 to 1; more is burnt out.
pub(super) type Colour = [f32; 3];

/// Pixels on the side of what is put back and converted at once. Even, for the chroma planes.
const TILE: usize = 16;

/// The background of a camera, with the picture over it.
#[derive(Debug)]
pub(super) struct Picture {
    width: usize,
    height: usize,
    background: Vec<[u8; 3]>,
    pixels: Vec<[u8; 3]>,
    /// How far away what was drawn is; infinite where the background shows.
    depths: Vec<f32>,
    /// By tile: something was drawn there since the last `restore`.
    touched: Vec<bool>,
    /// By tile: the planes don't show what the pixels do.
    stale: Vec<bool>,
    /// Luma, then both chromas at half the width and height: what the encoder takes.
    planes: Vec<u8>,
}

impl Picture {
    /// Shows a background, row by row.
    pub(super) fn new(width: usize, height: usize, background: Vec<[u8; 3]>) -> Self {
        assert_eq!(
            background.len(),
            width * height,
            "one colour for each pixel"
        );
        let tiles = width.div_ceil(TILE) * height.div_ceil(TILE);
        Self {
            width,
            height,
            pixels: background.clone(),
            background,
            depths: vec![f32::INFINITY; width * height],
            touched: vec![false; tiles],
            stale: vec![true; tiles],
            planes: vec![0; width * height + 2 * (width.div_ceil(2) * height.div_ceil(2))],
        }
    }

    /// Makes what it shows the background.
    pub(super) fn keep(self) -> Self {
        Self::new(self.width, self.height, self.pixels)
    }

    /// Shows nothing but the background again.
    pub(super) fn restore(&mut self) {
        for tile in 0..self.touched.len() {
            if !std::mem::take(&mut self.touched[tile]) {
                continue;
            }
            self.stale[tile] = true;
            let area = self.tile_area(tile);
            for row in area.rows.0..area.rows.1 {
                let line = row * self.width + area.columns.0..row * self.width + area.columns.1;
                self.pixels[line.clone()].copy_from_slice(&self.background[line.clone()]);
                self.depths[line].fill(f32::INFINITY);
            }
        }
    }

    /// Something covers a share of a pixel.
    pub(super) fn cover(
        &mut self,
        (column, row): (usize, usize),
        share: f32,
        depth: f32,
        colour: Colour,
    ) {
        let index = row * self.width + column;
        self.blend(index, share, colour);
        if share > 0.4 {
            self.depths[index] = depth;
        }
        self.touch(column, row);
    }

    /// Something that is part of the background too hides what was drawn behind it.
    pub(super) fn hide(
        &mut self,
        (column, row): (usize, usize),
        share: f32,
        depth: f32,
        colour: Colour,
    ) {
        let index = row * self.width + column;
        if self.depths[index].is_finite() && depth < self.depths[index] {
            self.blend(index, share, colour);
        }
    }

    /// Less light falls there.
    pub(super) fn darken(&mut self, (column, row): (usize, usize), share: f32) {
        let left = ((1.0 - share) * 256.0) as u16;
        let pixel = &mut self.pixels[row * self.width + column];
        *pixel = pixel.map(|it| ((u16::from(it) * left) >> 8) as u8);
        self.touch(column, row);
    }

    pub(super) fn set(&mut self, (column, row): (usize, usize), colour: [u8; 3]) {
        self.pixels[row * self.width + column] = colour;
        self.touch(column, row);
    }

    pub(super) const fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    #[cfg(test)]
    pub(super) fn pixels(&self) -> &[[u8; 3]] {
        &self.pixels
    }

    /// The picture as the encoder takes it: 4:2:0, BT.709, limited range.
    pub(super) fn planes(&mut self) -> &[u8] {
        for tile in 0..self.stale.len() {
            if std::mem::take(&mut self.stale[tile]) || self.touched[tile] {
                self.convert(self.tile_area(tile));
            }
        }
        &self.planes
    }

    fn blend(&mut self, index: usize, share: f32, colour: Colour) {
        let pixel = &mut self.pixels[index];
        for (old, new) in pixel.iter_mut().zip(colour) {
            let old_level = f32::from(*old);
            *old = (old_level + (new * 255.0 - old_level) * share + 0.5) as u8;
        }
    }

    fn touch(&mut self, column: usize, row: usize) {
        let across = self.width.div_ceil(TILE);
        self.touched[row / TILE * across + column / TILE] = true;
    }

    fn tile_area(&self, tile: usize) -> Area {
        let across = self.width.div_ceil(TILE);
        let (left, top) = (tile % across * TILE, tile / across * TILE);
        Area {
            columns: (left, (left + TILE).min(self.width)),
            rows: (top, (top + TILE).min(self.height)),
        }
    }

    fn convert(&mut self, area: Area) {
        let (luma, chroma) = self.planes.split_at_mut(self.width * self.height);
        let half = chroma.len() / 2;
        let (blue, red) = chroma.split_at_mut(half);
        let half_width = self.width.div_ceil(2);
        for top in (area.rows.0..area.rows.1).step_by(2) {
            for left in (area.columns.0..area.columns.1).step_by(2) {
                let mut sum = [0_i32; 3];
                for row in top..(top + 2).min(self.height) {
                    for column in left..(left + 2).min(self.width) {
                        let index = row * self.width + column;
                        let [r, g, b] = self.pixels[index].map(i32::from);
                        luma[index] =
                            ((11_966 * r + 40_254 * g + 4_064 * b + 1_081_344) >> 16) as u8;
                        sum = [sum[0] + r, sum[1] + g, sum[2] + b];
                    }
                }
                let [r, g, b] = sum;
                let index = top / 2 * half_width + left / 2;
                let middle = 128 << 18;
                blue[index] =
                    ((-6_596 * r - 22_189 * g + 28_784 * b + middle + 131_072) >> 18) as u8;
                red[index] = ((28_784 * r - 26_145 * g - 2_639 * b + middle + 131_072) >> 18) as u8;
            }
        }
    }
}

/// As shown, from 0 to 255.
pub(super) fn bytes(colour: Colour) -> [u8; 3] {
    colour.map(|it| (it * 255.0 + 0.5) as u8)
}
