//! AAC: the configuration of a decoder, and frames that carry it with them (ADTS).

use super::Malformed;
use super::bits::Bits;
use crate::media::{AudioCodec, AudioConfig};

const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Samples a channel in one frame.
pub(crate) const FRAME_SAMPLES: u32 = 1_024;

/// Reads an AudioSpecificConfig.
pub(crate) fn config(description: &[u8]) -> Result<AudioConfig, Malformed> {
    const BROKEN: Malformed = Malformed("the AAC configuration is broken");
    if description.len() > model::media::DESCRIPTION_MAX {
        return Err(BROKEN);
    }
    let mut bits = Bits::new(description);
    let mut fields = || {
        let object = match bits.take(5)? {
            31 => 32 + bits.take(6)?,
            object => object,
        };
        let rate = match bits.take(4)? {
            15 => bits.take(24)?,
            index => *RATES.get(index as usize)?,
        };
        Some((object, rate, bits.take(4)?))
    };
    let (object, sample_rate, channels) = fields().ok_or(BROKEN)?;
    let channels = match channels {
        it @ 1..=6 => it,
        7 => 8,
        _ => return Err(Malformed("the AAC channels are in an order of their own")),
    };
    if object == 0 || !(7_000..=192_000).contains(&sample_rate) {
        return Err(BROKEN);
    }
    Ok(AudioConfig {
        codec: AudioCodec::Aac,
        codec_string: format!("mp4a.40.{object}"),
        sample_rate,
        channels: u8::try_from(channels).expect("at most 8"),
        description: description.to_vec(),
    })
}

/// One frame behind an ADTS header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Adts<'a> {
    /// Its AudioSpecificConfig.
    pub description: [u8; 2],
    pub frame: &'a [u8],
    pub rest: &'a [u8],
}

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Frame(Adts<'a>),
    /// More bytes are needed.
    Incomplete,
    /// No frame starts here.
    Nothing,
}

/// Looks for a frame at the start of `data`.
pub(crate) fn adts(data: &[u8]) -> Found<'_> {
    let Some(header) = data.first_chunk::<7>() else {
        return match data {
            [0xff, second, ..] if second & 0xf6 == 0xf0 => Found::Incomplete,
            [0xff] | [] => Found::Incomplete,
            _ => Found::Nothing,
        };
    };
    let header = header.map(u16::from);
    let [sync, flags, kind, more, middle, low, _] = header;
    if sync != 0xff || flags & 0xf6 != 0xf0 {
        return Found::Nothing;
    }
    let length = usize::from((more & 3) << 11 | middle << 3 | low >> 5);
    let start = if flags & 1 == 1 { 7 } else { 9 };
    if length <= start {
        return Found::Nothing;
    }
    let Some((whole, rest)) = data.split_at_checked(length) else {
        return Found::Incomplete;
    };
    let (object, rate, channels) = (
        (kind >> 6) + 1,
        kind >> 2 & 0xf,
        (kind & 1) << 2 | more >> 6,
    );
    Found::Frame(Adts {
        description: (object << 11 | rate << 7 | channels << 3).to_be_bytes(),
        frame: &whole[start..],
        rest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_in_use() {
        let told = |description: &[u8]| {
            config(description).map(|it| (it.codec_string, it.sample_rate, it.channels))
        };
        assert_eq!(told(&[0x11, 0x90]), Ok(("mp4a.40.2".into(), 48_000, 2)));
        assert_eq!(told(&[0x12, 0x08]), Ok(("mp4a.40.2".into(), 44_100, 1)));
        assert_eq!(
            told(&[0x2b, 0x92, 8, 0]),
            Ok(("mp4a.40.5".into(), 22_050, 2))
        );
        for broken in [&[][..], &[0x11], &[0xff; 3], &[0x11, 0x80], &[0; 65]] {
            assert!(told(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn frames_that_carry_their_configuration() {
        let data = [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 1, 2, 0xff];
        let Found::Frame(found) = adts(&data) else {
            panic!("{:?}", adts(&data));
        };
        assert_eq!((found.frame, found.rest), (&[1, 2][..], &[0xff][..]));
        assert_eq!(found.description, [0x11, 0x90]);
        for length in 0..9 {
            assert_eq!(adts(&data[..length]), Found::Incomplete, "{length}");
        }
        assert_eq!(adts(&[1, 2, 3]), Found::Nothing);
        assert_eq!(adts(&[0xff, 0xf1, 0, 0, 0, 0, 0]), Found::Nothing);
    }
}
