//! A decoder, so that tests see what a terminal sees.

use render::decoder;

/// A decoded picture, brightness and colours apart.
#[derive(Clone)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) y: Vec<u8>,
    pub(crate) u: Vec<u8>,
    pub(crate) v: Vec<u8>,
}

impl Picture {
    /// Brightness, blueness and redness of the middle of a small square around a pixel.
    pub(crate) fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let chroma = y / 2 * (self.width / 2) + x / 2;
        [self.y[y * self.width + x], self.u[chroma], self.v[chroma]]
    }

    /// Whether a pixel has about the colour 0xRRGGBB.
    pub(crate) fn shows(&self, x: usize, y: usize, rgb: u32) -> bool {
        let expected = yuv(rgb);
        let actual = self.at(x, y);
        (0..3).all(|i| actual[i].abs_diff(expected[i]) <= 10)
    }

    /// How faithful the brightness is, in decibels.
    pub(crate) fn psnr(&self, y: &[u8]) -> f64 {
        assert_eq!(self.y.len(), y.len());
        let pairs = self.y.iter().zip(y);
        let error: f64 = pairs.map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
        10.0 * (255.0 * 255.0 / (error / y.len() as f64).max(1e-9)).log10()
    }
}

/// BT.709, limited range.
fn yuv(rgb: u32) -> [u8; 3] {
    let [_, r, g, b] = rgb.to_be_bytes().map(f64::from);
    let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let limit = |value: f64| value.round().clamp(0.0, 255.0) as u8;
    [
        limit(16.0 + y * 219.0 / 255.0),
        limit(128.0 + (b - y) / 1.8556 * 224.0 / 255.0),
        limit(128.0 + (r - y) / 1.5748 * 224.0 / 255.0),
    ]
}

pub(crate) struct Decoder(decoder::Decoder);

impl Decoder {
    pub(crate) fn new() -> Self {
        Self(decoder::Decoder::open().unwrap())
    }

    /// Decodes one frame of Annex B; `None` if it shows nothing.
    pub(crate) fn decode(&mut self, data: &[u8]) -> Option<Picture> {
        let picture = self.0.decode(data).expect("a broken stream")?;
        let size = picture.size();
        let [y, u, v] = picture.into_planes();
        Some(Picture {
            width: size.width().into(),
            height: size.height().into(),
            y,
            u,
            v,
        })
    }
}
