//! Opus: its configuration, and how long a packet is.

use std::time::Duration;

use super::Malformed;
use crate::media::{AudioCodec, AudioConfig};

/// Opus is always decoded at this rate.
pub(crate) const RATE: u32 = 48_000;

/// The configuration for so many channels.
pub(crate) fn config(channels: u8) -> Result<AudioConfig, Malformed> {
    if !(1..=2).contains(&channels) {
        return Err(Malformed("Opus is taken with one or two channels"));
    }
    Ok(AudioConfig {
        codec: AudioCodec::Opus,
        codec_string: "opus".into(),
        sample_rate: RATE,
        channels,
        description: Vec::new(),
    })
}

/// How long a packet sounds, from its first bytes. At most 120 ms.
pub(crate) fn duration(packet: &[u8]) -> Option<Duration> {
    let first = packet.first()?;
    let kind = first >> 3;
    let micros = match kind {
        0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(kind & 3)],
        12..=15 => [10_000, 20_000][usize::from(kind & 1)],
        _ => [2_500, 5_000, 10_000, 20_000][usize::from(kind & 3)],
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1)? & 0x3f,
    };
    let whole = Duration::from_micros(micros * u64::from(frames));
    (frames > 0 && whole <= Duration::from_millis(120)).then_some(whole)
}

/// One packet behind the header that MPEG-TS puts before it, and what comes after.
pub(crate) fn control(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x7f, flags, rest @ ..] = data else {
        return None;
    };
    if flags & 0xe0 != 0xe0 {
        return None;
    }
    let mut rest = rest;
    let mut size = 0;
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        size += usize::from(*byte);
        if *byte != 0xff {
            break;
        }
    }
    for trimmed in [0x10, 0x08] {
        if flags & trimmed != 0 {
            rest = rest.get(2..)?;
        }
    }
    if flags & 0x04 != 0 {
        let (length, after) = rest.split_first()?;
        rest = after.get(usize::from(*length)..)?;
    }
    rest.split_at_checked(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_stand_behind_their_header() {
        let data = [0x7f, 0xe0, 2, 8, 9, 0x7f, 0xf0, 1, 0, 0, 7, 1];
        let (packet, rest) = control(&data).unwrap();
        assert_eq!(packet, [8, 9]);
        assert_eq!(control(rest), Some((&[7][..], &[1][..])));
        let long = [&[0x7f, 0xe0, 0xff, 1][..], &[5; 256]].concat();
        assert_eq!(control(&long).map(|(it, _)| it.len()), Some(256));
        for length in 0..5 {
            assert_eq!(control(&data[..length]), None);
        }
    }

    #[test]
    fn packets_tell_how_long_they_are() {
        let ms = |packet: &[u8]| duration(packet).map(|it| it.as_secs_f64() * 1e3);
        assert_eq!(ms(&[0xfc, 0]), Some(20.0));
        assert_eq!(ms(&[0xe0]), Some(2.5));
        assert_eq!(ms(&[0xff, 3]), Some(60.0));
        assert_eq!(ms(&[0x68]), Some(20.0));
        assert_eq!(
            (ms(&[]), ms(&[0xff]), ms(&[0xff, 0]), ms(&[0xff, 63])),
            (None, None, None, None)
        );
    }
}
