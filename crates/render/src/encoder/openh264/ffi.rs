//! The calls into OpenH264's C interface, each behind a safe function.
#![expect(unsafe_code, reason = "calls a C library")]

use std::ffi::{c_int, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use openh264_sys2 as sys;
use openh264_sys2::API as _;

use super::{EncoderError, NAME};
use crate::picture::I420;

/// What the library's fast paths need at least, by its own numbers: SSSE3 on x86, NEON on ARM.
const VECTOR_FLAGS: u32 = if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
    0x200
} else {
    0x4
};

unsafe extern "C" {
    /// Part of the library that `openh264-sys2` builds, though not of its bindings.
    fn WelsCPUFeatureDetect(processors: *mut i32) -> u32;
}

pub(super) fn has_vector_instructions() -> bool {
    // SAFETY: the function takes a null pointer for "do not count processors" and only reads.
    let features = unsafe { WelsCPUFeatureDetect(ptr::null_mut()) };
    features & VECTOR_FLAGS != 0
}

/// An encoder that has been set up.
pub(super) struct RawEncoder {
    encoder: NonNull<sys::ISVCEncoder>,
    api: sys::DynamicAPI,
    /// As the encoder was told them last: some can only be changed all at once.
    parameters: Box<sys::SEncParamExt>,
    /// The quantizer while it is fixed.
    quantizer: Option<u8>,
}

// SAFETY: the library ties an encoder to no thread, and every use of it here borrows it mutably.
unsafe impl Send for RawEncoder {}

impl fmt::Debug for RawEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawEncoder").field(&self.encoder).finish()
    }
}

impl RawEncoder {
    /// Makes an encoder from the library's default parameters as `fill` changes them.
    pub(super) fn open(fill: impl FnOnce(&mut sys::SEncParamExt)) -> Result<Self, EncoderError> {
        let api = sys::DynamicAPI::from_source();
        let mut encoder: *mut sys::ISVCEncoder = ptr::null_mut();
        // SAFETY: the pointer is a valid place for the result.
        check("making an encoder", unsafe {
            api.WelsCreateSVCEncoder(&raw mut encoder)
        })?;
        let encoder = NonNull::new(encoder).ok_or(missing("making an encoder"))?;
        let mut raw = Self {
            encoder,
            api,
            parameters: Box::default(),
            quantizer: None,
        };

        raw.set_option(sys::ENCODER_OPTION_TRACE_LEVEL, &mut {
            sys::WELS_LOG_QUIET
        })?;
        let mut parameters = sys::SEncParamExt::default();
        let defaults = raw.table().GetDefaultParams.ok_or(missing("defaults"))?;
        // SAFETY: the encoder lives, and `parameters` is the structure that the call fills.
        check("defaults", unsafe {
            defaults(raw.encoder.as_ptr(), &raw mut parameters)
        })?;
        fill(&mut parameters);
        let initialize = raw.table().InitializeExt.ok_or(missing("setting up"))?;
        // SAFETY: the encoder lives; the call reads `parameters` and keeps no pointer to it.
        check("setting up", unsafe {
            initialize(raw.encoder.as_ptr(), &raw const parameters)
        })?;
        *raw.parameters = parameters;
        Ok(raw)
    }

    pub(super) fn force_keyframe(&mut self) -> Result<(), EncoderError> {
        let force = self.table().ForceIntraFrame.ok_or(missing("a keyframe"))?;
        // SAFETY: the encoder lives and is set up.
        check("a keyframe", unsafe { force(self.encoder.as_ptr(), true) })
    }

    /// Encodes a picture of the size that was set up; says whether it is a keyframe.
    pub(super) fn encode(
        &mut self,
        picture: &I420,
        at: Duration,
    ) -> Result<(Vec<u8>, bool), EncoderError> {
        let (width, height) = (picture.size().width(), picture.size().height());
        let [y, u, v] = picture.planes().map(|plane| plane.as_ptr().cast_mut());
        let source = sys::SSourcePicture {
            iColorFormat: sys::videoFormatI420,
            iStride: [width.into(), (width / 2).into(), (width / 2).into(), 0],
            pData: [y, u, v, ptr::null_mut()],
            iPicWidth: width.into(),
            iPicHeight: height.into(),
            uiTimeStamp: i64::try_from(at.as_millis()).unwrap_or(i64::MAX),
            ..sys::SSourcePicture::default()
        };
        let mut info = sys::SFrameBSInfo::default();
        let encode = self.table().EncodeFrame.ok_or(missing("encoding"))?;
        // SAFETY: the encoder lives and is set up for this size; the planes are as long as size and
        // strides say and outlive the call, which only reads them (its type lacks the `const`).
        check("encoding", unsafe {
            encode(self.encoder.as_ptr(), &raw const source, &raw mut info)
        })?;

        let layers = usize::try_from(info.iLayerNum).unwrap_or(0);
        let mut data = Vec::with_capacity(usize::try_from(info.iFrameSizeInBytes).unwrap_or(0));
        for layer in info.sLayerInfo.iter().take(layers) {
            let units = usize::try_from(layer.iNalCount).unwrap_or(0);
            // SAFETY: a successful call leaves `iNalCount` lengths behind the pointer; they stay
            // until the next call, which needs `&mut self`.
            let lengths: &[c_int] = unsafe { slice::from_raw_parts(layer.pNalLengthInByte, units) };
            let len: c_int = lengths.iter().sum();
            // SAFETY: the units of a layer lie one behind the other in its buffer, as above.
            let bytes =
                unsafe { slice::from_raw_parts(layer.pBsBuf, usize::try_from(len).unwrap_or(0)) };
            data.extend_from_slice(bytes);
        }
        Ok((data, info.eFrameType == sys::videoFrameTypeIDR))
    }

    pub(super) fn set_bitrate(&mut self, bits_per_second: i32) -> Result<(), EncoderError> {
        let mut info = sys::SBitrateInfo {
            iLayer: sys::SPATIAL_LAYER_ALL,
            iBitrate: bits_per_second,
        };
        self.set_option(sys::ENCODER_OPTION_BITRATE, &mut info)?;
        self.parameters.iTargetBitrate = bits_per_second;
        self.parameters.sSpatialLayers[0].iSpatialBitrate = bits_per_second;
        Ok(())
    }

    pub(super) fn set_frame_rate(&mut self, mut per_second: f32) -> Result<(), EncoderError> {
        self.set_option(sys::ENCODER_OPTION_FRAME_RATE, &mut per_second)?;
        self.parameters.fMaxFrameRate = per_second;
        self.parameters.sSpatialLayers[0].fFrameRate = per_second;
        Ok(())
    }

    /// Sets the quantizer of all that follows, or lets the rate decide again.
    pub(super) fn set_fixed_quantizer(
        &mut self,
        quantizer: Option<u8>,
    ) -> Result<(), EncoderError> {
        if quantizer == self.quantizer {
            return Ok(());
        }
        let mut mode = sys::RC_BITRATE_MODE;
        if let Some(quantizer) = quantizer {
            let mut parameters = *self.parameters;
            parameters.sSpatialLayers[0].iDLayerQp = quantizer.into();
            self.set_option(sys::ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, &mut parameters)?;
            mode = sys::RC_OFF_MODE;
        }
        // Last: setting all parameters has set the mode as well.
        self.set_option(sys::ENCODER_OPTION_RC_MODE, &mut mode)?;
        self.quantizer = quantizer;
        Ok(())
    }

    /// The mean quantizer of the last picture.
    pub(super) fn last_quantizer(&mut self) -> Result<u8, EncoderError> {
        let mut statistics = sys::SEncoderStatistics::default();
        let option = self.table().GetOption.ok_or(missing("statistics"))?;
        let out: *mut c_void = (&raw mut statistics).cast();
        // SAFETY: the encoder lives and is set up; this option fills that structure.
        check("statistics", unsafe {
            option(
                self.encoder.as_ptr(),
                sys::ENCODER_OPTION_GET_STATISTICS,
                out,
            )
        })?;
        Ok(u8::try_from(statistics.uiAverageFrameQP).unwrap_or(u8::MAX))
    }

    /// `value` must have the type that the option has in `codec_api.h`.
    fn set_option<T>(
        &mut self,
        option: sys::ENCODER_OPTION,
        value: &mut T,
    ) -> Result<(), EncoderError> {
        let set = self.table().SetOption.ok_or(missing("an option"))?;
        let value: *mut c_void = ptr::from_mut(value).cast();
        // SAFETY: the encoder lives; each caller in this file passes the option's own type, which
        // the call reads and does not keep.
        check("an option", unsafe {
            set(self.encoder.as_ptr(), option, value)
        })
    }

    fn table(&self) -> &sys::ISVCEncoderVtbl {
        // SAFETY: a live encoder begins with a pointer to its static table of functions.
        unsafe { &**self.encoder.as_ptr() }
    }
}

impl Drop for RawEncoder {
    fn drop(&mut self) {
        // SAFETY: the encoder was made by this library and is destroyed once, here. It may be torn
        // down before it was set up.
        unsafe {
            if let Some(uninitialize) = self.table().Uninitialize {
                uninitialize(self.encoder.as_ptr());
            }
            self.api.WelsDestroySVCEncoder(self.encoder.as_ptr());
        }
    }
}

fn check(what: &'static str, code: c_int) -> Result<(), EncoderError> {
    if code == 0 {
        return Ok(());
    }
    Err(EncoderError::BackEnd {
        back_end: NAME,
        what,
        code,
    })
}

/// A function that every build of the library has is not there.
fn missing(what: &'static str) -> EncoderError {
    EncoderError::BackEnd {
        back_end: NAME,
        what,
        code: -1,
    }
}
