//! AV1: temporal units, and what their sequence header says.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::Bits;
use super::{Malformed, Picture};
use crate::media::{VideoCodec, VideoConfig};

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// The largest sequence header, in bytes. They are 10 to 20.
const HEADER_MAX: usize = 1_024;

/// Puts the pictures of one publication into one form.
#[derive(Debug, Default)]
pub(crate) struct Av1 {
    /// The newest sequence header as an OBU, and what it says.
    sequence: Option<(Bytes, VideoConfig)>,
}

impl Av1 {
    /// Takes a decoder configuration record (`av1C`).
    pub(crate) fn handle_record(&mut self, record: &[u8]) -> Result<(), Malformed> {
        const BROKEN: Malformed = Malformed("the AV1 configuration is broken");
        let [0x81, _, _, _, obus @ ..] = record else {
            return Err(BROKEN);
        };
        for obu in split(obus)? {
            self.handle_obu(&obu)?;
        }
        Ok(())
    }

    /// Takes one temporal unit. Nothing comes of one without a frame, nor before the sequence header
    /// is known.
    pub(crate) fn handle_picture(&mut self, data: &[u8]) -> Result<Option<Picture>, Malformed> {
        let obus = split(data)?;
        for obu in &obus {
            self.handle_obu(obu)?;
        }
        let frame = obus
            .iter()
            .find(|it| matches!(it.kind, FRAME_HEADER | FRAME));
        let (Some(frame), Some((sequence, config))) = (frame, &self.sequence) else {
            return Ok(None);
        };
        let keyframe = starts_with_keyframe(frame.payload).unwrap_or_default();
        let mut out = BytesMut::with_capacity(data.len() + 64);
        if keyframe {
            out.put_slice(sequence);
        }
        for obu in &obus {
            match obu.kind {
                TEMPORAL_DELIMITER | TILE_LIST | PADDING => {}
                SEQUENCE_HEADER if keyframe => {}
                _ => obu.write(&mut out),
            }
        }
        Ok(Some(Picture {
            keyframe,
            data: out.freeze(),
            config: keyframe.then(|| config.clone()),
        }))
    }

    fn handle_obu(&mut self, obu: &Obu<'_>) -> Result<(), Malformed> {
        if obu.kind != SEQUENCE_HEADER {
            return Ok(());
        }
        const BROKEN: Malformed = Malformed("an AV1 sequence header is broken");
        if obu.payload.len() > HEADER_MAX {
            return Err(BROKEN);
        }
        let config = sequence(obu.payload).ok_or(BROKEN)?;
        let mut whole = BytesMut::new();
        obu.write(&mut whole);
        self.sequence = Some((whole.freeze(), config));
        Ok(())
    }
}

struct Obu<'a> {
    kind: u8,
    /// The header's own bytes, one or two, without its size.
    header: &'a [u8],
    payload: &'a [u8],
}

impl Obu<'_> {
    fn write(&self, out: &mut BytesMut) {
        out.put_u8(self.header[0] | HAS_SIZE);
        out.put_slice(&self.header[1..]);
        let mut left = self.payload.len();
        while left > 0x7f {
            out.put_u8(0x80 | u8::try_from(left & 0x7f).expect("seven bits"));
            left >>= 7;
        }
        out.put_u8(u8::try_from(left).expect("seven bits"));
        out.put_slice(self.payload);
    }
}

const HAS_EXTENSION: u8 = 4;
const HAS_SIZE: u8 = 2;

fn split(mut data: &[u8]) -> Result<Vec<Obu<'_>>, Malformed> {
    const BROKEN: Malformed = Malformed("an AV1 picture is shorter than it says");
    let mut obus = Vec::new();
    while let Some(first) = data.first().copied() {
        let header = 1 + usize::from(first & HAS_EXTENSION != 0);
        let (header, rest) = data.split_at_checked(header).ok_or(BROKEN)?;
        let (size, rest) = match first & HAS_SIZE {
            0 => (rest.len(), rest),
            _ => size(rest).ok_or(BROKEN)?,
        };
        let (payload, rest) = rest.split_at_checked(size).ok_or(BROKEN)?;
        obus.push(Obu {
            kind: first >> 3 & 0xf,
            header,
            payload,
        });
        data = rest;
    }
    Ok(obus)
}

fn size(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut size = 0;
    for (at, byte) in data.iter().take(4).enumerate() {
        size |= usize::from(byte & 0x7f) << (at * 7);
        if byte & 0x80 == 0 {
            return Some((size, &data[at + 1..]));
        }
    }
    None
}

fn starts_with_keyframe(frame: &[u8]) -> Option<bool> {
    let mut bits = Bits::new(frame);
    let again = bits.bit()?;
    let kind = bits.take(2)?;
    let shown = bits.bit()?;
    Some(!again && kind == 0 && shown)
}

fn sequence(payload: &[u8]) -> Option<VideoConfig> {
    let mut bits = Bits::new(payload);
    let profile = bits.take(3)?;
    bits.bit()?; // Still picture.
    let (level, tier) = if bits.bit()? {
        (bits.take(5)?, false)
    } else {
        operating_point(&mut bits)?
    };
    let (across, down) = (bits.take(4)? + 1, bits.take(4)? + 1);
    let width = bits.take(across)? + 1;
    let height = bits.take(down)? + 1;
    let depth = depth(&mut bits.clone(), payload, profile);
    Some(VideoConfig {
        codec: VideoCodec::Av1,
        codec_string: format!(
            "av01.{profile}.{level:02}{}.{depth:02}",
            if tier { 'H' } else { 'M' }
        ),
        width: u16::try_from(width).ok()?,
        height: u16::try_from(height).ok()?,
    })
}

/// Level and tier of the first operating point, which is the whole picture.
fn operating_point(bits: &mut Bits<'_>) -> Option<(u32, bool)> {
    let mut delays = None;
    if bits.bit()? {
        bits.skip(64)?; // How long a tick is.
        if bits.bit()? {
            bits.golomb()?; // Ticks a picture.
        }
        if bits.bit()? {
            delays = Some(bits.take(5)? + 1);
            bits.skip(32 + 5 + 5)?;
        }
    }
    let initial_delays = bits.bit()?;
    let points = bits.take(5)? + 1;
    let mut first = None;
    for _ in 0..points {
        bits.skip(12)?;
        let level = bits.take(5)?;
        let tier = level > 7 && bits.bit()?;
        if let Some(length) = delays
            && bits.bit()?
        {
            bits.skip(2 * length as usize + 1)?;
        }
        if initial_delays && bits.bit()? {
            bits.skip(4)?;
        }
        first.get_or_insert((level, tier));
    }
    first
}

/// Bits a sample: behind a row of switches.
fn depth(bits: &mut Bits<'_>, payload: &[u8], profile: u32) -> u32 {
    let reduced = payload.first().is_some_and(|it| it & 8 != 0);
    let mut high = || {
        if !reduced && bits.bit()? {
            bits.skip(4 + 3)?; // Frame ids.
        }
        bits.skip(3)?; // Superblocks, filter, edge filter.
        if !reduced {
            bits.skip(4)?; // Compounds, warps, dual filter.
            if bits.bit()? {
                bits.skip(2)?; // Order hints.
                screen_tools(bits)?;
                bits.skip(3)?;
            } else {
                screen_tools(bits)?;
            }
        }
        bits.skip(3)?; // Super resolution, CDEF, restoration.
        let high = bits.bit()?;
        Some((high, high && profile == 2 && bits.bit()?))
    };
    match high() {
        Some((true, true)) => 12,
        Some((true, false)) => 10,
        _ => 8,
    }
}

fn screen_tools(bits: &mut Bits<'_>) -> Option<()> {
    let chosen = bits.bit()?;
    let forced = chosen || bits.bit()?;
    if forced && !bits.bit()? {
        bits.bit()?; // Whether motion is whole pixels.
    }
    Some(())
}
