//! OpenH264's decoder, so that tests see what a terminal sees.
#![expect(unsafe_code, reason = "calls a C library")]

use std::ptr;

use openh264_sys2::{
    API as _, DECODER_OPTION_TRACE_LEVEL, DynamicAPI, ISVCDecoder, ISVCDecoderVtbl, SBufferInfo,
    SDecodingParam, WELS_LOG_QUIET,
};

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

pub(crate) struct Decoder {
    api: DynamicAPI,
    decoder: *mut ISVCDecoder,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        let api = DynamicAPI::from_source();
        let mut decoder: *mut ISVCDecoder = ptr::null_mut();
        let parameters = SDecodingParam::default();
        // SAFETY: calls as the library's own example makes them, each with valid pointers.
        unsafe {
            assert_eq!(api.WelsCreateDecoder(&raw mut decoder), 0);
            let mut quiet = WELS_LOG_QUIET;
            let table = table(decoder);
            let initialize = table.Initialize.unwrap();
            assert_eq!(initialize(decoder, &raw const parameters), 0);
            let set = table.SetOption.unwrap();
            set(decoder, DECODER_OPTION_TRACE_LEVEL, (&raw mut quiet).cast());
        }
        Self { api, decoder }
    }

    /// Decodes one frame of Annex B; `None` if it shows nothing.
    pub(crate) fn decode(&mut self, data: &[u8]) -> Option<Picture> {
        let mut planes = [ptr::null_mut::<u8>(); 3];
        let mut info = SBufferInfo::default();
        let len = i32::try_from(data.len()).unwrap();
        // SAFETY: the decoder lives; the data is only read; the planes it returns stay valid until
        // the next call and are copied before.
        unsafe {
            let decode = table(self.decoder).DecodeFrameNoDelay.unwrap();
            let state = decode(
                self.decoder,
                data.as_ptr(),
                len,
                planes.as_mut_ptr(),
                &raw mut info,
            );
            assert_eq!(state, 0, "a broken stream");
            if info.iBufferStatus != 1 {
                return None;
            }
            let buffer = info.UsrData.sSystemBuffer;
            let (width, height) = (buffer.iWidth as usize, buffer.iHeight as usize);
            let copy = |plane: *mut u8, stride: i32, width: usize, height: usize| {
                let mut out = Vec::with_capacity(width * height);
                for row in 0..height {
                    let start = plane.add(row * stride as usize);
                    out.extend_from_slice(std::slice::from_raw_parts(start, width));
                }
                out
            };
            Some(Picture {
                width,
                height,
                y: copy(planes[0], buffer.iStride[0], width, height),
                u: copy(planes[1], buffer.iStride[1], width / 2, height / 2),
                v: copy(planes[2], buffer.iStride[1], width / 2, height / 2),
            })
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by `new`, torn down once.
        unsafe {
            table(self.decoder).Uninitialize.unwrap()(self.decoder);
            self.api.WelsDestroyDecoder(self.decoder);
        }
    }
}

/// # Safety
/// The decoder must live.
unsafe fn table<'a>(decoder: *mut ISVCDecoder) -> &'a ISVCDecoderVtbl {
    // SAFETY: a live decoder begins with a pointer to its static table.
    unsafe { &**decoder }
}
