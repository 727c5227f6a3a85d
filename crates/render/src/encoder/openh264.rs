//! OpenH264, the software encoder.

use std::time::Duration;

use bytes::Bytes;
use logic::cadence::Frame;
use logic::content::Mode;
use logic::rate::FrameRate;
use model::Bitrate;
use openh264_sys2 as sys;

use super::{Encoded, Encoder, EncoderConfig, EncoderError, QUANTIZER_MAX, QUANTIZER_MIN, Simd};
use crate::picture::{I420, Size};

mod ffi;

pub(super) const NAME: &str = "OpenH264";

/// Keyframes come only when asked for.
const NO_INTRA_PERIOD: u32 = 0;
/// The library's own most; it refuses what is beyond.
const BITRATE_MAX: u64 = 240_000_000;
/// The library's limits its rate control by this beside the rate to aim at; high, because the pacer
/// on the way out does that better.
const BURST_MAX: i32 = 240_000_000;
const THREADS_MAX: u8 = 4;

pub(super) fn simd() -> Simd {
    if ffi::has_vector_instructions() {
        Simd::Present
    } else {
        Simd::Missing
    }
}

#[derive(Debug)]
pub(super) struct OpenH264 {
    config: EncoderConfig,
    raw: ffi::RawEncoder,
}

impl OpenH264 {
    pub(super) fn open(config: EncoderConfig) -> Result<Self, EncoderError> {
        let raw = ffi::RawEncoder::open(|parameters| fill(parameters, &config))?;
        Ok(Self { config, raw })
    }

    fn encode_as_set(&mut self, picture: &I420, at: Duration) -> Result<Encoded, EncoderError> {
        if picture.size() != self.config.size {
            return Err(EncoderError::Size {
                expected: self.config.size,
                actual: picture.size(),
            });
        }
        let (data, keyframe) = self.raw.encode(picture, at)?;
        let frame = if keyframe { Frame::Key } else { Frame::Delta };
        Ok(Encoded {
            data: Bytes::from(data),
            frame,
            quantizer: self.raw.last_quantizer()?,
        })
    }
}

impl Encoder for OpenH264 {
    fn encode(
        &mut self,
        picture: &I420,
        at: Duration,
        frame: Frame,
    ) -> Result<Encoded, EncoderError> {
        self.raw.set_fixed_quantizer(None)?;
        if frame == Frame::Key {
            self.raw.force_keyframe()?;
        }
        self.encode_as_set(picture, at)
    }

    fn encode_at(
        &mut self,
        picture: &I420,
        at: Duration,
        quantizer: u8,
    ) -> Result<Encoded, EncoderError> {
        let quantizer = quantizer.clamp(QUANTIZER_MIN, QUANTIZER_MAX);
        self.raw.set_fixed_quantizer(Some(quantizer))?;
        self.encode_as_set(picture, at)
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), EncoderError> {
        self.raw.set_bitrate(bits_per_second(bitrate))?;
        self.config.bitrate = bitrate;
        Ok(())
    }

    fn set_frame_rate(&mut self, frame_rate: FrameRate) -> Result<(), EncoderError> {
        self.raw.set_frame_rate(per_second(frame_rate))?;
        self.config.frame_rate = frame_rate;
        Ok(())
    }

    fn reshape(&mut self, size: Size, mode: Mode) -> Result<(), EncoderError> {
        let config = EncoderConfig {
            size,
            mode,
            ..self.config
        };
        *self = Self::open(config)?;
        Ok(())
    }

    fn config(&self) -> EncoderConfig {
        self.config
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

fn bits_per_second(bitrate: Bitrate) -> i32 {
    i32::try_from(bitrate.as_bps().clamp(1, BITRATE_MAX)).expect("it was cut to fit")
}

#[expect(clippy::cast_precision_loss, reason = "at most 120")]
fn per_second(frame_rate: FrameRate) -> f32 {
    frame_rate.as_fps() as f32
}

fn fill(parameters: &mut sys::SEncParamExt, config: &EncoderConfig) {
    let (width, height) = (config.size.width().into(), config.size.height().into());
    let bitrate = bits_per_second(config.bitrate);
    let frame_rate = per_second(config.frame_rate);
    let threads = config.threads.clamp(1, THREADS_MAX);
    let text = config.mode == Mode::Text;

    parameters.iUsageType = if text {
        sys::SCREEN_CONTENT_REAL_TIME
    } else {
        sys::CAMERA_VIDEO_REAL_TIME
    };
    parameters.iPicWidth = width;
    parameters.iPicHeight = height;
    parameters.iTargetBitrate = bitrate;
    parameters.iMaxBitrate = BURST_MAX;
    parameters.iRCMode = sys::RC_BITRATE_MODE;
    parameters.fMaxFrameRate = frame_rate;
    parameters.iComplexityMode = sys::LOW_COMPLEXITY;
    parameters.uiIntraPeriod = NO_INTRA_PERIOD;
    parameters.iNumRefFrame = 1;
    parameters.eSpsPpsIdStrategy = sys::CONSTANT_ID;
    parameters.iEntropyCodingModeFlag = 0; // CABAC costs more CPU than it saves bits at this speed
    parameters.bEnableFrameSkip = false; // a skipped frame would be a key press unseen
    parameters.iMinQp = QUANTIZER_MIN.into();
    parameters.iMaxQp = QUANTIZER_MAX.into();
    parameters.iMultipleThreadIdc = threads.into();
    parameters.bEnableAdaptiveQuant = false;
    parameters.bEnableBackgroundDetection = false;
    parameters.bEnableDenoise = false;
    parameters.bEnableLongTermReference = false;
    // In motion it would make keyframes of explosions; for text the library insists on it.
    parameters.bEnableSceneChangeDetect = text;
    parameters.iTemporalLayerNum = 1;
    parameters.iSpatialLayerNum = 1;

    let layer = &mut parameters.sSpatialLayers[0];
    layer.iVideoWidth = width;
    layer.iVideoHeight = height;
    layer.fFrameRate = frame_rate;
    layer.iSpatialBitrate = bitrate;
    layer.iMaxSpatialBitrate = BURST_MAX;
    layer.uiProfileIdc = sys::PRO_BASELINE;
    layer.sSliceArgument.uiSliceMode = if threads > 1 {
        sys::SM_FIXEDSLCNUM_SLICE
    } else {
        sys::SM_SINGLE_SLICE
    };
    layer.sSliceArgument.uiSliceNum = threads.into();
    // BT.709, limited range: what `picture` makes, said in the stream.
    layer.bVideoSignalTypePresent = true;
    layer.uiVideoFormat = 5;
    layer.bFullRange = false;
    layer.bColorDescriptionPresent = true;
    layer.uiColorPrimaries = 1;
    layer.uiTransferCharacteristics = 1;
    layer.uiColorMatrix = 1;
}
