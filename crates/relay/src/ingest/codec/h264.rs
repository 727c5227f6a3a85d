//! H.264: from any framing to Annex B with its parameter sets in band.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::Bits;
use super::sps::Sps;
use super::{Malformed, Picture};
use crate::media::{VideoCodec, VideoConfig};

/// The largest parameter set, in bytes. They are 20 to 100; scaling matrices make them 500.
const SET_MAX: usize = 2_048;

/// The most sets of a kind that a publication may have at a time. Encoders use one or two.
const SETS_MAX: usize = 16;

const START: [u8; 4] = [0, 0, 0, 1];

/// How units are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By start codes.
    AnnexB,
    /// Each by its length in so many bytes, 1 to 4.
    Lengths(u8),
}

/// Puts the pictures of one publication into one form.
#[derive(Debug, Default)]
pub(crate) struct H264 {
    sequences: BTreeMap<u32, (Bytes, Sps)>,
    pictures: BTreeMap<u32, Bytes>,
}

impl H264 {
    /// Takes a decoder configuration record (`avcC`), and says how pictures are framed from here on.
    pub(crate) fn handle_record(&mut self, record: &[u8]) -> Result<Framing, Malformed> {
        const BROKEN: Malformed = Malformed("the H.264 configuration is broken");
        let [1, _, _, _, lengths, sets, ..] = *record else {
            return Err(BROKEN);
        };
        self.sequences.clear();
        self.pictures.clear();
        let mut rest = record.get(6..).ok_or(BROKEN)?;
        let mut left = sets & 0x1f;
        for list in 0..2 {
            if list == 1 {
                let (count, after) = rest.split_first().ok_or(BROKEN)?;
                (left, rest) = (*count, after);
            }
            for _ in 0..left {
                let (length, after) = rest.split_first_chunk::<2>().ok_or(BROKEN)?;
                let length = usize::from(u16::from_be_bytes(*length));
                let (set, after) = after.split_at_checked(length).ok_or(BROKEN)?;
                self.handle_set(set)?;
                rest = after;
            }
        }
        match lengths & 3 {
            2 => Err(BROKEN),
            size => Ok(Framing::Lengths(size + 1)),
        }
    }

    /// Takes all units of one picture. Nothing comes of one without slices, nor before the
    /// parameter sets are known.
    pub(crate) fn handle_picture(
        &mut self,
        framing: Framing,
        data: &[u8],
    ) -> Result<Option<Picture>, Malformed> {
        let units = match framing {
            Framing::AnnexB => by_start_codes(data),
            Framing::Lengths(size) => by_lengths(data, size)?,
        };
        let (mut slices, mut keyframe) = (0, false);
        let mut changed = Vec::new();
        for unit in &units {
            match unit[0] & 0x1f {
                1..=4 => slices += 1,
                5 => (slices, keyframe) = (slices + 1, true),
                7 | 8 if self.handle_set(unit)? => changed.push(*unit),
                _ => {}
            }
        }
        let Some((_, first)) = self.sequences.values().next() else {
            return Ok(None);
        };
        if slices == 0 || self.pictures.is_empty() {
            return Ok(None);
        }
        let config = keyframe.then(|| config(*first));
        let mut out = BytesMut::with_capacity(data.len() + 256);
        let mut put = |unit: &[u8]| {
            out.put_slice(&START);
            out.put_slice(unit);
        };
        if keyframe {
            self.sequences.values().for_each(|(set, _)| put(set));
            self.pictures.values().for_each(|set| put(set));
        } else {
            changed.into_iter().for_each(&mut put);
        }
        // Slices and what belongs to them. Sets have been put, delimiters and filler are not needed.
        let kept = units.iter().filter(|it| matches!(it[0] & 0x1f, 1..=6));
        kept.for_each(|unit| put(unit));
        Ok(Some(Picture {
            keyframe,
            data: out.freeze(),
            config,
        }))
    }

    /// Whether the set is new.
    fn handle_set(&mut self, unit: &[u8]) -> Result<bool, Malformed> {
        const BROKEN: Malformed = Malformed("an H.264 parameter set is broken");
        if unit.len() > SET_MAX {
            return Err(BROKEN);
        }
        match unit.first().map(|it| it & 0x1f) {
            Some(7) => {
                let sps = Sps::parse(unit).ok_or(BROKEN)?;
                if self
                    .sequences
                    .get(&sps.id)
                    .is_some_and(|(it, _)| it == unit)
                {
                    return Ok(false);
                }
                // Another size: what else was known belongs to the one before.
                self.sequences
                    .retain(|_, (_, it)| (it.width, it.height) == (sps.width, sps.height));
                self.sequences
                    .insert(sps.id, (Bytes::copy_from_slice(unit), sps));
            }
            Some(8) => {
                let id = Bits::new(&unit[1..]).golomb().filter(|id| *id < 256);
                let id = id.ok_or(BROKEN)?;
                if self.pictures.get(&id).is_some_and(|it| it == unit) {
                    return Ok(false);
                }
                self.pictures.insert(id, Bytes::copy_from_slice(unit));
            }
            // Extensions for what nobody decodes.
            _ => return Ok(false),
        }
        if self.sequences.len().max(self.pictures.len()) > SETS_MAX {
            return Err(Malformed(
                "there are more H.264 parameter sets than anybody needs",
            ));
        }
        Ok(true)
    }
}

fn config(sps: Sps) -> VideoConfig {
    let [profile, constraints, level] = sps.profile;
    VideoConfig {
        codec: VideoCodec::H264,
        codec_string: format!("avc1.{profile:02x}{constraints:02x}{level:02x}"),
        width: sps.width,
        height: sps.height,
    }
}

/// Units between start codes, none of them empty.
pub(super) fn by_start_codes(data: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    let mut start = None;
    let mut at = 0;
    while at + 3 <= data.len() {
        // Look at the byte that decides first: most are beyond 1, and three are skipped at once.
        match (data[at], data[at + 1], data[at + 2]) {
            (0, 0, 1) => {
                units.extend(start.map(|from| &data[from..at]));
                at += 3;
                start = Some(at);
            }
            (_, _, 2..) => at += 3,
            _ => at += 1,
        }
    }
    units.extend(start.map(|from| &data[from..]));
    // A unit ends with a one bit: zeros behind it belong to the next start code.
    let trimmed = units.into_iter().map(|unit| {
        let end = unit
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |it| it + 1);
        &unit[..end]
    });
    trimmed.filter(|unit| !unit.is_empty()).collect()
}

fn by_lengths(data: &[u8], size: u8) -> Result<Vec<&[u8]>, Malformed> {
    const BROKEN: Malformed = Malformed("an H.264 picture is shorter than it says");
    let mut units = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (length, after) = rest.split_at_checked(size.into()).ok_or(BROKEN)?;
        let length = length
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let (unit, after) = after.split_at_checked(length).ok_or(BROKEN)?;
        if !unit.is_empty() {
            units.push(unit);
        }
        rest = after;
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: [u8; 23] = [
        0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40, 0, 0, 3, 0, 0x40, 0, 0,
        0x0c, 0x83, 0xc6, 0x0c, 0xa8,
    ];
    const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];

    #[test]
    fn units_are_between_start_codes() {
        let none: Vec<&[u8]> = vec![];
        assert_eq!(by_start_codes(&[]), none);
        assert_eq!(by_start_codes(&[1, 2, 3, 4]), none);
        assert_eq!(
            by_start_codes(&[0, 0, 0, 1, 7, 0, 5, 0, 0, 1, 8, 0, 0, 0, 0, 1, 0, 0, 1, 5]),
            [&[7_u8, 0, 5][..], &[8], &[5]]
        );
    }

    #[test]
    fn a_record_and_lengths_become_annex_b() {
        let mut h264 = H264::default();
        let framing = h264.handle_record(&record()).unwrap();
        assert_eq!(framing, Framing::Lengths(4));
        let key = [&[0, 0, 0, 2, 9, 0x10, 0, 0, 0, 3][..], &[0x65, 1, 2]].concat();
        let picture = h264.handle_picture(framing, &key).unwrap().unwrap();
        let want = [&START[..], &SPS, &START, &PPS, &START, &[0x65, 1, 2]].concat();
        assert_eq!(picture.data, want);
        assert!(picture.keyframe);
        let config = picture.config.unwrap();
        assert_eq!(
            (config.codec_string.as_str(), config.width, config.height),
            ("avc1.42c01f", 1280, 720)
        );
        let delta = h264
            .handle_picture(framing, &[0, 0, 0, 2, 0x41, 9])
            .unwrap()
            .unwrap();
        assert_eq!(delta.data, [&START[..], &[0x41, 9]].concat());
        assert_eq!(delta.config, None);
    }

    #[test]
    fn sets_in_band_are_kept_for_later_keyframes() {
        let mut h264 = H264::default();
        let early = h264.handle_picture(Framing::AnnexB, &[0, 0, 1, 0x65, 1]);
        assert_eq!(early, Ok(None), "nothing is known yet");
        let sets = [&START[..], &SPS, &START, &PPS].concat();
        assert_eq!(h264.handle_picture(Framing::AnnexB, &sets), Ok(None));
        let picture = h264.handle_picture(Framing::AnnexB, &[0, 0, 1, 0x65, 1]);
        let picture = picture.unwrap().unwrap();
        assert_eq!(picture.data, [&sets[..], &START, &[0x65, 1]].concat());
    }

    #[test]
    fn what_is_broken_is_told() {
        let mut h264 = H264::default();
        for length in 0..record().len() {
            assert!(h264.handle_record(&record()[..length]).is_err(), "{length}");
        }
        for broken in [&[0, 0, 0, 9, 1][..], &[0, 0], &[255, 255, 255, 255]] {
            let taken = h264.handle_picture(Framing::Lengths(4), broken);
            assert!(taken.is_err(), "{broken:?}");
        }
        let huge = [&START[..], &SPS, &[1; SET_MAX]].concat();
        assert!(h264.handle_picture(Framing::AnnexB, &huge).is_err());
    }

    fn record() -> Vec<u8> {
        [
            &[1, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0, 23][..],
            &SPS,
            &[1, 0, 4],
            &PPS,
        ]
        .concat()
    }
}
