//! Turning H.264 back into pictures: OpenH264's decoder behind one safe function.
#![expect(unsafe_code, reason = "calls a C library")]

use std::{fmt, ptr};

use openh264_sys2::{
    API as _, DECODER_OPTION_TRACE_LEVEL, DynamicAPI, ISVCDecoder, ISVCDecoderVtbl, SBufferInfo,
    SDecodingParam, WELS_LOG_QUIET,
};

use crate::picture::{I420, Size};

/// The stream cannot be decoded; a keyframe helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decoder state {0:#x}")]
pub struct Broken(i32);

/// Owns a decoder. Never shared between threads, but may move to one.
pub struct Decoder {
    api: DynamicAPI,
    decoder: *mut ISVCDecoder,
}

// SAFETY: the library keeps no state a thread; `Decoder` has no `Sync`, so calls never overlap.
unsafe impl Send for Decoder {}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Decoder").field(&self.decoder).finish()
    }
}

impl Decoder {
    /// `None` when the library cannot start: no memory.
    pub fn open() -> Option<Self> {
        let api = DynamicAPI::from_source();
        let mut decoder: *mut ISVCDecoder = ptr::null_mut();
        // SAFETY: it writes a pointer to a new decoder where ours is, or fails.
        let failed = unsafe { api.WelsCreateDecoder(&raw mut decoder) } != 0;
        if failed || decoder.is_null() {
            return None;
        }
        let this = Self { api, decoder };
        let parameters = SDecodingParam::default();
        let mut quiet = WELS_LOG_QUIET;
        // SAFETY: the decoder lives; both arguments outlive the calls, which only read them.
        unsafe {
            let table = this.table();
            table.SetOption?(decoder, DECODER_OPTION_TRACE_LEVEL, (&raw mut quiet).cast());
            if table.Initialize?(decoder, &raw const parameters) != 0 {
                return None;
            }
        }
        Some(this)
    }

    /// Decodes one picture of Annex B; `None` if there is nothing to show.
    ///
    /// # Errors
    /// If the picture is damaged, builds on one that is missing, or has no size that
    /// [`Size`] allows. Go on with the next keyframe.
    pub fn decode(&mut self, data: &[u8]) -> Result<Option<I420>, Broken> {
        /// What the library says to what it cannot do, such as a picture above 2 GB.
        const INVALID: i32 = 0x1000;
        let len = i32::try_from(data.len()).map_err(|_| Broken(INVALID))?;
        let mut planes = [ptr::null_mut::<u8>(); 3];
        let mut info = SBufferInfo::default();
        // SAFETY: the decoder lives; it reads `len` bytes of `data` and writes the two others.
        let state = unsafe {
            let decode = self.table().DecodeFrameNoDelay.ok_or(Broken(INVALID))?;
            decode(
                self.decoder,
                data.as_ptr(),
                len,
                planes.as_mut_ptr(),
                &raw mut info,
            )
        };
        if state != 0 {
            return Err(Broken(state));
        }
        if info.iBufferStatus != 1 || planes.iter().any(|plane| plane.is_null()) {
            return Ok(None);
        }
        // SAFETY: with status 1 the union holds a system buffer.
        let buffer = unsafe { info.UsrData.sSystemBuffer };
        let side = |value: i32| u16::try_from(value).map_err(|_| Broken(INVALID));
        let size = Size::exact(side(buffer.iWidth)?, side(buffer.iHeight)?);
        let size = size.ok_or(Broken(INVALID))?;
        let (width, height) = (usize::from(size.width()), usize::from(size.height()));
        let stride = |value: i32| usize::try_from(value).map_err(|_| Broken(INVALID));
        let [luma, chroma] = buffer.iStride;
        let (luma, chroma) = (stride(luma)?, stride(chroma)?);
        // SAFETY: the planes have these sizes and stay as they are until the next call.
        let planes = unsafe {
            [
                copy(planes[0], luma, width, height),
                copy(planes[1], chroma, width / 2, height / 2),
                copy(planes[2], chroma, width / 2, height / 2),
            ]
        };
        Ok(I420::from_planes(size, planes))
    }

    fn table(&self) -> &ISVCDecoderVtbl {
        // SAFETY: a live decoder begins with a pointer to its table, which is static.
        unsafe { &**self.decoder }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by `open`, torn down once.
        unsafe {
            if let Some(uninitialize) = self.table().Uninitialize {
                uninitialize(self.decoder);
            }
            self.api.WelsDestroyDecoder(self.decoder);
        }
    }
}

/// Copies a plane without what the library keeps beside its rows.
///
/// # Safety
/// `plane` must have `height` rows of `width` bytes, `stride` apart.
unsafe fn copy(plane: *const u8, stride: usize, width: usize, height: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(width * height);
    for row in 0..height {
        // SAFETY: the caller's promise.
        out.extend_from_slice(unsafe {
            std::slice::from_raw_parts(plane.add(row * stride), width)
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_an_error_or_nothing() {
        let mut decoder = Decoder::open().expect("memory");
        for data in [
            &b""[..],
            b"nonsense",
            &[0, 0, 0, 1, 0x67, 0xff, 0xff],
            &[0, 0, 1, 0x65, 1],
        ] {
            if let Ok(Some(picture)) = decoder.decode(data) {
                panic!("{:?} from {data:?}", picture.size());
            }
        }
    }
}
