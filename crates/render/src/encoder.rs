//! Turning pictures into H.264.
//!
//! [`Encoder`] is what the pipeline knows; [`open`] picks the best back end that works on this
//! machine. Today that is OpenH264 in software; the back ends for graphics cards fit behind the same
//! trait.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use logic::cadence::Frame;
use logic::content::Mode;
use logic::rate::FrameRate;
use model::Bitrate;

use crate::picture::{I420, Size};

mod openh264;

/// The finest quantizer ever used: finer costs bits that nobody sees. (Zero would make OpenH264
/// choose a range of its own, too coarse for text.)
pub const QUANTIZER_MIN: u8 = 12;
/// The coarsest quantizer ever used: the format's coarsest.
pub const QUANTIZER_MAX: u8 = 51;

/// How pictures are to be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderConfig {
    /// The size of every picture.
    pub size: Size,
    /// What the pictures show.
    pub mode: Mode,
    /// The rate to aim at. A single keyframe may exceed it.
    pub bitrate: Bitrate,
    /// How many pictures a second share that rate.
    pub frame_rate: FrameRate,
    /// Threads that share a picture, 1 to 4; each has its own slice. Two halve the time of a picture
    /// at the same CPU.
    pub threads: u8,
}

/// An encoded picture.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// H.264 in Annex B form; a keyframe begins with its parameter sets.
    pub data: Bytes,
    /// What it is. Encoders may choose a keyframe by themselves when the whole picture changed.
    pub frame: Frame,
    /// How coarse it is on average, [`QUANTIZER_MIN`] to [`QUANTIZER_MAX`].
    pub quantizer: u8,
}

/// One stream of H.264.
pub trait Encoder: fmt::Debug + Send {
    /// Encodes the next picture. `at` is its time since any fixed moment.
    ///
    /// # Errors
    /// If the picture does not have the configured size or the back end fails; then the encoder is
    /// of no more use.
    fn encode(
        &mut self,
        picture: &I420,
        at: Duration,
        frame: Frame,
    ) -> Result<Encoded, EncoderError>;

    /// Encodes the next picture this fine, whatever that does to the rate.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    fn encode_at(
        &mut self,
        picture: &I420,
        at: Duration,
        quantizer: u8,
    ) -> Result<Encoded, EncoderError>;

    /// Changes the rate to aim at, from the next picture on.
    ///
    /// # Errors
    /// If the back end fails.
    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), EncoderError>;

    /// Changes how many pictures a second share the rate, from the next picture on.
    ///
    /// # Errors
    /// If the back end fails.
    fn set_frame_rate(&mut self, frame_rate: FrameRate) -> Result<(), EncoderError>;

    /// Begins anew with another size or mode. The next picture is a keyframe.
    ///
    /// # Errors
    /// If the back end fails.
    fn reshape(&mut self, size: Size, mode: Mode) -> Result<(), EncoderError>;

    /// How it encodes now.
    fn config(&self) -> EncoderConfig;

    /// The back end's name for people: `OpenH264`.
    fn name(&self) -> &'static str;
}

/// What can go wrong while encoding.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// The back end refused.
    #[error("{what} failed in {back_end} with code {code}")]
    BackEnd {
        /// The back end.
        back_end: &'static str,
        /// What was asked of it.
        what: &'static str,
        /// Its own number for why.
        code: i32,
    },
    /// A picture of another size than configured.
    #[error("a picture of {actual:?} came where {expected:?} was configured")]
    Size {
        /// The size configured.
        expected: Size,
        /// The size of the picture.
        actual: Size,
    },
}

/// Opens the best encoder of this machine.
///
/// # Errors
/// If no back end works.
pub fn open(config: EncoderConfig) -> Result<Box<dyn Encoder>, EncoderError> {
    Ok(Box::new(openh264::OpenH264::open(config)?))
}

/// Whether the software encoder uses the processor's vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simd {
    /// It does.
    Present,
    /// It does not: it was built without `nasm`, or the processor is too old. Encoding takes two
    /// and a half times the CPU.
    Missing,
}

/// Finds out what was really linked: it asks the encoder's own detection of the processor, which
/// is built from the same assembly and finds nothing when that is left out.
pub fn simd() -> Simd {
    openh264::simd()
}
