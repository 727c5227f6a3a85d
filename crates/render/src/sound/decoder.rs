//! Turning sound back into samples: Opus, and AAC as cameras send it.

use std::fmt;

use model::media::{AudioCodec, AudioConfig};
use opus::Channels;
use symphonia_codec_aac::AacDecoder;
use symphonia_core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia_core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia_core::packet::PacketRef;
use symphonia_core::units::{Duration, Timestamp};

/// The longest packet of Opus, 120 ms at 48 kHz, in samples of one channel.
const OPUS_MAX: usize = 5_760;

/// Sound cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SoundError(String);

/// Decodes one track of sound to one channel.
pub struct SoundDecoder {
    kind: Kind,
    mixed: Vec<f32>,
    interleaved: Vec<f32>,
}

enum Kind {
    Opus(opus::Decoder),
    Aac(Box<AacDecoder>),
}

impl fmt::Debug for SoundDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoundDecoder").finish_non_exhaustive()
    }
}

impl SoundDecoder {
    /// For sound that is coded so.
    ///
    /// # Errors
    /// If it is AAC of another profile than LC, or has more than two channels.
    pub fn open(config: &AudioConfig) -> Result<Self, SoundError> {
        let kind = match config.codec {
            AudioCodec::Opus => {
                let decoder = opus::Decoder::new(48_000, Channels::Stereo);
                Kind::Opus(decoder.map_err(failed)?)
            }
            AudioCodec::Aac => {
                let mut parameters = AudioCodecParameters::new();
                parameters
                    .for_codec(CODEC_ID_AAC)
                    .with_sample_rate(config.sample_rate)
                    .with_extra_data(config.description.clone().into());
                let options = AudioDecoderOptions::default();
                let decoder = AacDecoder::try_new(&parameters, &options).map_err(failed)?;
                Kind::Aac(Box::new(decoder))
            }
        };
        Ok(Self {
            kind,
            mixed: Vec::new(),
            interleaved: Vec::new(),
        })
    }

    /// Decodes a packet to samples from -1 to 1.
    ///
    /// # Errors
    /// If it is damaged. The next one may be whole.
    pub fn decode(&mut self, packet: &[u8]) -> Result<&[f32], SoundError> {
        let channels = match &mut self.kind {
            Kind::Opus(decoder) => {
                self.interleaved.resize(OPUS_MAX * 2, 0.0);
                let decoded = decoder.decode_float(packet, &mut self.interleaved, false);
                let samples = decoded.map_err(failed)?;
                self.interleaved.truncate(samples * 2);
                2
            }
            Kind::Aac(decoder) => {
                let packet = PacketRef::new(0, Timestamp::new(0), Duration::new(1_024), packet);
                let decoded = decoder.decode_ref(&packet).map_err(failed)?;
                decoded.copy_to_vec_interleaved(&mut self.interleaved);
                decoded.num_planes().max(1)
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "one or two")]
        let share = 1.0 / channels as f32;
        let frames = self.interleaved.chunks_exact(channels);
        self.mixed.clear();
        self.mixed
            .extend(frames.map(|it| it.iter().sum::<f32>() * share));
        Ok(&self.mixed)
    }
}

fn failed(error: impl fmt::Display) -> SoundError {
    SoundError(error.to_string())
}
