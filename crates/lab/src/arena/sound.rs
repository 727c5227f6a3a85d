//! The sound of the event: a crowd that rises with the shots, and a click at every whole second, by
//! which one hears and measures whether sound and picture are in step.

use std::f32::consts::TAU;
use std::path::Path;

use super::encode;
use super::vector::smooth;
use super::{ArenaError, SOUND_HZ, Settings};

/// Samples in a packet of AAC.
const PACKET: usize = 1_024;
/// A click is this long and this high.
const CLICK_SECS: f32 = 0.006;
const CLICK_HZ: f32 = 3_000.0;
/// When the crowd rises, as shares of the loop: the shots.
const SHOTS: [f32; 2] = [0.42, 0.89];

/// Makes the sound of the loop as AAC in ADTS.
///
/// The loop is encoded three times in a row and the second is kept: an encoder needs what came
/// before, and so the last packet leads into the first.
pub(super) fn make(settings: &Settings, path: &Path) -> Result<(), ArenaError> {
    let once = samples(settings.seconds);
    let adts = encode::sound(&[&once, &once, &once], path)?;
    let packets = settings.seconds as usize * SOUND_HZ as usize / PACKET;
    // The first packet is before the sound: the encoder's run-up.
    let damaged = |what| ArenaError::Damaged {
        path: path.to_owned(),
        what,
    };
    let all = packets_of(&adts).ok_or_else(|| damaged("not ADTS"))?;
    let kept = all
        .get(packets + 1..2 * packets + 1)
        .ok_or_else(|| damaged("too short"))?;
    encode::write_whole(path, &kept.concat())
}

/// Stereo, 16 bit little endian.
fn samples(seconds: u32) -> Vec<u8> {
    let count = (seconds * SOUND_HZ) as usize;
    let left = crowd(count, 1);
    let right = crowd(count, 2);
    let mut bytes = Vec::with_capacity(count * 4);
    for index in 0..count {
        let click = click(index);
        for side in [left[index], right[index]] {
            let level = (side + click).clamp(-1.0, 1.0);
            bytes.extend(((level * 32_767.0) as i16).to_le_bytes());
        }
    }
    bytes
}

fn click(index: usize) -> f32 {
    let seconds = (index % SOUND_HZ as usize) as f32 / SOUND_HZ as f32;
    match seconds < CLICK_SECS {
        true => 0.55 * (seconds * CLICK_HZ * TAU).sin() * (1.0 - seconds / CLICK_SECS),
        false => 0.0,
    }
}

/// Many voices: noise without its highs and lows, swelling as a crowd does.
fn crowd(count: usize, seed: u32) -> Vec<f32> {
    let mut random = seed.wrapping_mul(0x9e37_79b9) | 1;
    let noise: Vec<f32> = (0..count)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            (random >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect();
    let (mut low, mut lower, mut deep) = (0.0, 0.0, 0.0);
    let mut out = vec![0.0; count];
    // The second round starts as the first one ended: so the loop closes.
    for round in 0..2 {
        for (index, noise) in noise.iter().enumerate() {
            low += (noise - low) * 0.10;
            lower += (low - lower) * 0.10;
            deep += (lower - deep) * 0.02;
            if round == 1 {
                out[index] = (lower - deep) * swell(index as f32 / count as f32);
            }
        }
    }
    out
}

fn swell(share: f32) -> f32 {
    let murmur = 0.26 + 0.05 * (TAU * share * 5.0).sin() + 0.04 * (TAU * share * 13.0).sin();
    SHOTS.iter().fold(murmur, |level, shot| {
        let since = (share - shot + 0.5).rem_euclid(1.0) - 0.5;
        level + 0.55 * (smooth(-0.06, 0.01, since) - smooth(0.02, 0.16, since))
    })
}

/// The packets of a stream of ADTS, headers included; `None` if it isn't one.
fn packets_of(adts: &[u8]) -> Option<Vec<&[u8]>> {
    let mut packets = Vec::new();
    let mut rest = adts;
    while !rest.is_empty() {
        let header = rest.get(..7)?;
        if header[0] != 0xff || header[1] & 0xf0 != 0xf0 {
            return None;
        }
        let length = usize::from(header[3] & 3) << 11
            | usize::from(header[4]) << 3
            | usize::from(header[5]) >> 5;
        if length < header.len() {
            return None;
        }
        let (packet, after) = rest.split_at_checked(length)?;
        packets.push(packet);
        rest = after;
    }
    Some(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clicks_stand_out_of_the_crowd() {
        let bytes = samples(2);
        let level = |index: usize| {
            let at = index * 4;
            i16::from_le_bytes([bytes[at], bytes[at + 1]]).unsigned_abs()
        };
        let hz = SOUND_HZ as usize;
        let loudest = |from: usize, to: usize| (from..to).map(level).max().unwrap();
        assert!(loudest(hz, hz + 100) > 14_000);
        assert!(loudest(hz + 500, 2 * hz) < 12_000);
    }

    #[test]
    fn nothing_but_adts_has_packets() {
        assert_eq!(packets_of(b"no sound at all"), None);
        assert_eq!(
            packets_of(&[0xff, 0xf1, 0, 0, 0, 0, 0]),
            None,
            "shorter than its header"
        );
        assert_eq!(packets_of(&[0xff, 0xf1, 0, 0, 1, 0x20, 0]), None, "cut off");
        let whole = [0xff, 0xf1, 0, 0, 1, 0x00, 0, 9];
        assert_eq!(packets_of(&whole), Some(vec![&whole[..]]));
    }
}
