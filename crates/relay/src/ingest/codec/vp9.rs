//! VP9: what a frame's header says.

use bytes::Bytes;

use super::bits::Bits;
use super::{Malformed, Picture};
use crate::media::{VideoCodec, VideoConfig};

/// Most pixels a picture and the level that takes 60 of them a second.
const LEVELS: [(u64, u8); 6] = [
    (245_760, 21),
    (552_960, 30),
    (983_040, 40),
    (2_228_224, 41),
    (8_912_896, 51),
    (35_651_584, 61),
];

/// Takes one superframe. Nothing comes of an empty one.
pub(crate) fn picture(data: Bytes) -> Result<Option<Picture>, Malformed> {
    if data.is_empty() {
        return Ok(None);
    }
    let config = header(&data).ok_or(Malformed("the header of a VP9 frame is broken"))?;
    Ok(Some(Picture {
        keyframe: config.is_some(),
        data,
        config,
    }))
}

/// The configuration, if it is a keyframe.
fn header(data: &[u8]) -> Option<Option<VideoConfig>> {
    let mut bits = Bits::new(data);
    if bits.take(2)? != 2 {
        return None;
    }
    let profile = u32::from(bits.bit()?) | u32::from(bits.bit()?) << 1;
    if profile == 3 {
        bits.bit()?;
    }
    let again = bits.bit()?;
    if again {
        return Some(None);
    }
    let inter = bits.bit()?;
    bits.skip(2)?; // Shown, resilient.
    if inter {
        return Some(None);
    }
    if bits.take(24)? != 0x49_83_42 {
        return None;
    }
    let depth = match profile {
        0 | 1 => 8,
        _ if bits.bit()? => 12,
        _ => 10,
    };
    const RGB: u32 = 7;
    let space = bits.take(3)?;
    if space != RGB {
        bits.bit()?; // Range.
    }
    match (profile & 1, space) {
        (1, RGB) => bits.skip(1)?,
        (1, _) => bits.skip(3)?,
        _ => {}
    }
    let width = bits.take(16)? + 1;
    let height = bits.take(16)? + 1;
    let level = LEVELS
        .iter()
        .find(|(most, _)| u64::from(width) * u64::from(height) <= *most);
    let (_, level) = level.unwrap_or(&LEVELS[LEVELS.len() - 1]);
    Some(Some(VideoConfig {
        codec: VideoCodec::Vp9,
        codec_string: format!("vp09.{profile:02}.{level}.{depth:02}"),
        width: u16::try_from(width).ok()?,
        height: u16::try_from(height).ok()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_says_its_size() {
        // As libvpx writes them: 1280x720, profile 0.
        let key = [0x82, 0x49, 0x83, 0x42, 0x00, 0x4f, 0xf0, 0x2c, 0xf0, 0x00];
        let picture = picture(Bytes::copy_from_slice(&key)).unwrap().unwrap();
        let config = picture.config.unwrap();
        assert_eq!(
            (config.codec_string.as_str(), config.width, config.height),
            ("vp09.00.40.08", 1280, 720)
        );
        let inter = super::picture(Bytes::from_static(&[0x86, 0, 0]))
            .unwrap()
            .unwrap();
        assert!(!inter.keyframe);
        for broken in [&[0][..], &[0x82, 1, 2, 3, 4], &key[..6], &[0xff]] {
            assert!(
                super::picture(Bytes::copy_from_slice(broken)).is_err(),
                "{broken:?}"
            );
        }
    }

    #[test]
    fn the_largest_picture_does_not_overflow() {
        let key = [0x82, 0x49, 0x83, 0x42, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xf0];
        assert!(picture(Bytes::copy_from_slice(&key)).is_err());
    }
}
