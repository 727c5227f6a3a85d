//! From samples to packets.

use bytes::Bytes;

use super::SoundError;

/// Per packet of 10 ms: 480 for either ear.
const SAMPLES: usize = 960;
/// Bits per second: nobody hears more on a phone or in headphones.
const BITRATE: i32 = 96_000;
/// Of 0 to 10. Five halves the CPU of ten at a quality that differs in measurements only.
const COMPLEXITY: i32 = 5;
/// What a packet can take at most, by the format.
const PACKET_MAX: usize = 1275;
/// Packets of silence that are sent before no more are: one second, in which an echo may fade.
const SILENT_MAX: u32 = 100;

/// Cuts samples into packets and encodes them.
#[derive(Debug)]
pub(super) struct Packer {
    encoder: opus::Encoder,
    /// Invariant: shorter than `SAMPLES` between calls.
    samples: Vec<i16>,
    /// The first byte of a sample whose second is still to come.
    odd: Option<u8>,
    /// Packets of silence in a row.
    silent: u32,
}

impl Packer {
    pub(super) fn new() -> Result<Self, SoundError> {
        let (rate, mode) = (48_000, opus::Application::LowDelay);
        let encoder = opus::Encoder::new(rate, opus::Channels::Stereo, mode)
            .and_then(|mut encoder| {
                encoder.set_bitrate(opus::Bitrate::Bits(BITRATE))?;
                encoder.set_complexity(COMPLEXITY)?;
                Ok(encoder)
            })
            .map_err(SoundError::Codec)?;
        Ok(Self {
            encoder,
            samples: Vec::with_capacity(SAMPLES),
            odd: None,
            silent: SILENT_MAX,
        })
    }

    /// A stream begins anew: what is left of the one before is forgotten.
    pub(super) fn begin(&mut self) {
        self.samples.clear();
        self.odd = None;
        self.silent = SILENT_MAX;
    }

    /// Takes in samples: 16 bits each, little endian, left and right in turn.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        mut give: impl FnMut(Bytes),
    ) -> Result<(), SoundError> {
        let mut bytes = self.odd.take().into_iter().chain(bytes.iter().copied());
        while let Some(low) = bytes.next() {
            let Some(high) = bytes.next() else {
                self.odd = Some(low);
                break;
            };
            self.samples.push(i16::from_le_bytes([low, high]));
            if self.samples.len() == SAMPLES {
                if let Some(packet) = self.pack()? {
                    give(packet);
                }
                self.samples.clear();
            }
        }
        Ok(())
    }

    fn pack(&mut self) -> Result<Option<Bytes>, SoundError> {
        if self.samples.iter().any(|&sample| sample != 0) {
            self.silent = 0;
        } else if self.silent >= SILENT_MAX {
            return Ok(None);
        } else {
            self.silent += 1;
        }
        let packet = self.encoder.encode_vec(&self.samples, PACKET_MAX);
        packet
            .map(|packet| Some(packet.into()))
            .map_err(SoundError::Codec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(packer: &mut Packer, bytes: &[u8]) -> Vec<Bytes> {
        let mut packets = Vec::new();
        packer.push(bytes, |packet| packets.push(packet)).unwrap();
        packets
    }

    /// 10 ms of a tone of 1 kHz.
    fn tone() -> Vec<u8> {
        let sample = |at: usize| {
            let angle = at as f32 / 48.0 * std::f32::consts::TAU;
            ((angle.sin() * 12_000.0) as i16).to_le_bytes()
        };
        (0..480)
            .flat_map(|at| [sample(at), sample(at)].concat())
            .collect()
    }

    #[test]
    fn a_tone_survives_and_pieces_of_any_size_make_the_same_packets() {
        let sound = tone().repeat(20);
        let whole = packets(&mut Packer::new().unwrap(), &sound);
        assert_eq!(whole.len(), 20);
        let mut packer = Packer::new().unwrap();
        let pieces: Vec<Bytes> = sound
            .chunks(777)
            .flat_map(|piece| packets(&mut packer, piece))
            .collect();
        assert_eq!(whole, pieces);

        let mut decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap();
        let mut samples = [0; SAMPLES];
        for packet in &whole {
            assert_eq!(decoder.decode(packet, &mut samples, false).unwrap(), 480);
        }
        let loudest = samples.iter().max().unwrap();
        assert!((9_000..15_000).contains(loudest), "{loudest}");
    }

    #[test]
    fn silence_ends_after_a_second_and_sound_begins_at_once() {
        let mut packer = Packer::new().unwrap();
        let silence = vec![0; SAMPLES * 2 * 300];
        assert_eq!(packets(&mut packer, &silence).len(), 0, "from the start");
        assert_eq!(packets(&mut packer, &tone()).len(), 1);
        assert_eq!(packets(&mut packer, &silence).len(), 100);
        assert_eq!(packets(&mut packer, &tone()).len(), 1);
    }
}
