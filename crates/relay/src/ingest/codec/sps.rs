//! The sequence parameter set of H.264: size and profile.

use super::bits::Bits;

/// What a sequence parameter set says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sps {
    pub id: u32,
    /// Profile, constraints, level: the three bytes of the codec's name.
    pub profile: [u8; 3],
    pub width: u16,
    pub height: u16,
}

/// Profiles that tell of chroma and scaling.
const HIGH: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// The most macroblocks along a side: 16,384 pixels, twice what any level allows.
const SIDE_MAX: u32 = 1_024;

impl Sps {
    /// Reads a unit with its header byte, escapes and all.
    pub(super) fn parse(unit: &[u8]) -> Option<Self> {
        let payload = unescape(unit.get(1..)?);
        let profile = [*payload.first()?, *payload.get(1)?, *payload.get(2)?];
        let mut bits = Bits::new(payload.get(3..)?);
        let id = bits.golomb().filter(|id| *id < 32)?;
        let chroma = chroma(&mut bits, profile[0])?;
        bits.golomb()?; // Bits of the frame number.
        order(&mut bits)?;
        bits.golomb()?; // Reference frames.
        bits.bit()?; // Gaps in frame numbers.
        let side = |units: u32| units.checked_add(1).filter(|it| *it <= SIDE_MAX);
        let across = side(bits.golomb()?)? * 16;
        let map_units = side(bits.golomb()?)?;
        let frames_only = bits.bit()?;
        if !frames_only {
            bits.bit()?; // Fields chosen for each macroblock.
        }
        let fields = if frames_only { 1 } else { 2 };
        let down = map_units * 16 * fields;
        bits.bit()?; // Direct 8x8 inference.
        let (mut cropped_across, mut cropped_down) = (0, 0);
        if bits.bit()? {
            let (unit_across, unit_down) = chroma.crop_unit();
            let (left, right) = (bits.golomb()?, bits.golomb()?);
            let (top, bottom) = (bits.golomb()?, bits.golomb()?);
            cropped_across = left.checked_add(right)?.checked_mul(unit_across)?;
            cropped_down = top.checked_add(bottom)?.checked_mul(unit_down * fields)?;
        }
        let size = |full: u32, cropped| {
            let left = full.checked_sub(cropped).filter(|it| *it > 0)?;
            u16::try_from(left).ok()
        };
        Some(Self {
            id,
            profile,
            width: size(across, cropped_across)?,
            height: size(down, cropped_down)?,
        })
    }
}

#[derive(Clone, Copy)]
enum Chroma {
    Halved,
    HalvedAcross,
    Full,
}

impl Chroma {
    fn crop_unit(self) -> (u32, u32) {
        match self {
            Self::Halved => (2, 2),
            Self::HalvedAcross => (2, 1),
            Self::Full => (1, 1),
        }
    }
}

fn chroma(bits: &mut Bits<'_>, profile: u8) -> Option<Chroma> {
    if !HIGH.contains(&profile) {
        return Some(Chroma::Halved);
    }
    let format = bits.golomb().filter(|it| *it <= 3)?;
    if format == 3 {
        bits.bit()?; // Planes apart.
    }
    bits.golomb()?; // Depth of luma.
    bits.golomb()?; // Depth of chroma.
    bits.bit()?; // Lossless.
    if bits.bit()? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if bits.bit()? {
                skip_scaling(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(match format {
        1 => Chroma::Halved,
        2 => Chroma::HalvedAcross,
        _ => Chroma::Full,
    })
}

fn skip_scaling(bits: &mut Bits<'_>, entries: u32) -> Option<()> {
    let (mut last, mut next) = (8_i32, 8_i32);
    for _ in 0..entries {
        if next != 0 {
            next = last.checked_add(bits.signed_golomb()?)?.rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

fn order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.bit()?;
            bits.signed_golomb()?;
            bits.signed_golomb()?;
            let cycle = bits.golomb().filter(|it| *it <= 255)?;
            for _ in 0..cycle {
                bits.signed_golomb()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// Without the bytes that keep start codes out.
fn unescape(unit: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for byte in unit {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        plain.push(*byte);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hex: &str, want: &str) {
        let unit: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let got = Sps::parse(&unit).map(|it| {
            let [profile, constraints, level] = it.profile;
            format!(
                "{profile:02x}{constraints:02x}{level:02x} {}x{}",
                it.width, it.height
            )
        });
        assert_eq!(got.as_deref().unwrap_or("-"), want, "{hex}");
        for length in 0..7 {
            assert_eq!(Sps::parse(&unit[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn sizes_and_profiles() {
        // As x264 writes them: cropped, 4:4:4, interlaced 4:2:2, interlaced, grey.
        check(
            "67640028acd940780227e5c044000003000400000300f03c60c658",
            "640028 1920x1080",
        );
        check(
            "6742c01fd9005005bb0110000003001000000303c0f1832480",
            "42c01f 1280x720",
        );
        check(
            "67f4000d919b282a10f1f1f80880000003008000001e078a14cb",
            "f4000d 322x242",
        );
        check(
            "677a001fbcd940b424d80880000003008000001e0f8b16cb",
            "7a001f 720x576",
        );
        check(
            "67640028acd94078044fde0220000003002000000783e2c5b2c0",
            "640028 1920x1080",
        );
        check(
            "6764001ef3650280f6c05b20000003002000000781e2c5b2c0",
            "64001e 640x480",
        );
    }

    #[test]
    fn what_is_none_is_none() {
        assert_eq!(Sps::parse(&[]), None);
        assert_eq!(Sps::parse(&[0x67, 1, 2]), None);
        assert_eq!(Sps::parse(&[0; 400]), None);
    }
}
