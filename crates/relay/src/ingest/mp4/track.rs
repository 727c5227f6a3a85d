//! What a movie says of its tracks.

use std::time::Duration;

use super::super::codec::h264::{Framing, H264};
use super::super::codec::{Malformed, aac, opus};
use super::boxes::{self, BROKEN, Fields};
use crate::media::AudioConfig;

pub(super) const NOT_FRAGMENTED: Malformed = Malformed(
    "this MP4 is not in fragments: in ffmpeg add -movflags +frag_every_frame+delay_moov+default_base_moof",
);

/// Tracks in a movie at most.
const TRACKS_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Track {
    pub id: u32,
    /// Ticks a second.
    pub timescale: u32,
    pub kind: Kind,
    /// What an edit does to it.
    pub shift: Shift,
    pub defaults: Defaults,
}

/// What a sample is if nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    pub duration: u32,
    pub size: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    H264 {
        record: Vec<u8>,
        framing: Framing,
    },
    Av1 {
        record: Vec<u8>,
    },
    Vp9,
    Sound(AudioConfig),
    /// Known, and not taken.
    RefusedVideo(String),
    RefusedAudio(String),
    /// Neither picture nor sound.
    Ignored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    Later(Duration),
    Earlier(Duration),
}

/// Reads the content of `moov`.
pub(super) fn movie(movie: &[u8]) -> Result<Vec<Track>, Malformed> {
    let parts = boxes::all(movie)?;
    let of = |kind: &'static [u8; 4]| parts.iter().filter(move |(it, _)| it == kind);
    let Some((_, extends)) = of(b"mvex").next() else {
        return Err(NOT_FRAGMENTED);
    };
    let timescale = match of(b"mvhd").next() {
        Some((_, header)) => timescale(header)?,
        None => return Err(BROKEN),
    };
    let mut defaults = Vec::new();
    for (kind, content) in boxes::all(extends)? {
        if kind == *b"trex" {
            let mut fields = Fields(content);
            fields.version()?;
            let (track, _) = (fields.u32()?, fields.u32()?);
            let (duration, size) = (fields.u32()?, fields.u32()?);
            defaults.push((track, Defaults { duration, size }));
        }
    }
    let tracks = of(b"trak").take(TRACKS_MAX);
    tracks
        .map(|(_, content)| {
            let mut track = track(content, timescale)?;
            let found = defaults.iter().find(|(id, _)| *id == track.id);
            track.defaults = found.map(|(_, it)| *it).unwrap_or_default();
            Ok(track)
        })
        .collect()
}

fn track(content: &[u8], movie_timescale: u32) -> Result<Track, Malformed> {
    let mut header = Fields(boxes::follow(content, &[b"tkhd"])?);
    let (version, _) = header.version()?;
    header.number(version)?;
    header.number(version)?;
    let id = header.u32()?;
    let media = boxes::follow(content, &[b"mdia"])?;
    let timescale = timescale(boxes::follow(media, &[b"mdhd"])?)?;
    let handler = boxes::follow(media, &[b"hdlr"])?.get(8..12).ok_or(BROKEN)?;
    let kind = match handler {
        b"vide" | b"soun" => {
            let descriptions = boxes::follow(media, &[b"minf", b"stbl", b"stsd"])?;
            let mut entries = boxes::all(descriptions.get(8..).ok_or(BROKEN)?)?.into_iter();
            let (format, entry) = entries.next().ok_or(BROKEN)?;
            match handler {
                b"vide" => picture(format, entry)?,
                _ => sound(format, entry)?,
            }
        }
        _ => Kind::Ignored,
    };
    let shift = match boxes::find(content, b"edts")? {
        Some(edits) => shift(
            boxes::follow(edits, &[b"elst"])?,
            timescale,
            movie_timescale,
        )?,
        None => Shift::Later(Duration::ZERO),
    };
    Ok(Track {
        id,
        timescale,
        kind,
        shift,
        defaults: Defaults::default(),
    })
}

/// Ticks a second, of a movie's or a track's header.
fn timescale(header: &[u8]) -> Result<u32, Malformed> {
    let mut fields = Fields(header);
    let (version, _) = fields.version()?;
    fields.number(version)?;
    fields.number(version)?;
    match fields.u32()? {
        0 => Err(BROKEN),
        timescale => Ok(timescale),
    }
}

fn picture(format: [u8; 4], entry: &[u8]) -> Result<Kind, Malformed> {
    let inside = entry.get(78..).ok_or(BROKEN)?;
    Ok(match &format {
        b"avc1" | b"avc3" => {
            let record = boxes::follow(inside, &[b"avcC"])?.to_vec();
            let framing = H264::default().handle_record(&record)?;
            Kind::H264 { record, framing }
        }
        b"av01" => Kind::Av1 {
            record: boxes::follow(inside, &[b"av1C"])?.to_vec(),
        },
        b"vp09" => Kind::Vp9,
        b"hvc1" | b"hev1" => Kind::RefusedVideo("HEVC".into()),
        b"mp4v" => Kind::RefusedVideo("MPEG-4 part 2".into()),
        b"encv" => Kind::RefusedVideo("an encrypted picture".into()),
        _ => Kind::RefusedVideo(name(format)),
    })
}

fn sound(format: [u8; 4], entry: &[u8]) -> Result<Kind, Malformed> {
    let inside = entry.get(28..).ok_or(BROKEN)?;
    Ok(match &format {
        b"mp4a" => match specific(boxes::follow(inside, &[b"esds"])?)? {
            Some(description) => Kind::Sound(aac::config(description)?),
            None => Kind::RefusedAudio("MPEG audio".into()),
        },
        b"Opus" => {
            let description = boxes::follow(inside, &[b"dOps"])?;
            Kind::Sound(opus::config(*description.get(1).ok_or(BROKEN)?)?)
        }
        b"enca" => Kind::RefusedAudio("something encrypted".into()),
        _ => Kind::RefusedAudio(name(format)),
    })
}

/// The AudioSpecificConfig, if it is AAC.
fn specific(descriptors: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    const STREAM: u8 = 3;
    const DECODER: u8 = 4;
    const SPECIFIC: u8 = 5;
    const AAC: u8 = 0x40;
    let mut fields = Fields(descriptors);
    fields.version()?;
    let mut stream = Fields(descriptor(&mut fields, STREAM)?);
    stream.take(2)?;
    let flags = stream.byte()?;
    if flags & 0x80 != 0 {
        stream.take(2)?;
    }
    if flags & 0x40 != 0 {
        let length = stream.byte()?;
        stream.take(length.into())?;
    }
    if flags & 0x20 != 0 {
        stream.take(2)?;
    }
    let mut decoder = Fields(descriptor(&mut stream, DECODER)?);
    if decoder.byte()? != AAC {
        return Ok(None);
    }
    decoder.take(12)?;
    descriptor(&mut decoder, SPECIFIC).map(Some)
}

fn descriptor<'a>(fields: &mut Fields<'a>, tag: u8) -> Result<&'a [u8], Malformed> {
    if fields.byte()? != tag {
        return Err(BROKEN);
    }
    let mut length = 0;
    for _ in 0..4 {
        let byte = fields.byte()?;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    fields.take(length)
}

/// An empty edit puts a track later, the start of the next one earlier.
fn shift(edits: &[u8], timescale: u32, movie_timescale: u32) -> Result<Shift, Malformed> {
    let mut fields = Fields(edits);
    let (version, _) = fields.version()?;
    let count = fields.u32()?.min(2);
    let (mut later, mut earlier) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..count {
        let length = fields.number(version)?;
        let start = fields.number(version)?;
        fields.take(4)?;
        let empty = if version == 0 {
            u32::MAX.into()
        } else {
            u64::MAX
        };
        if start == empty {
            later += ticks(length, movie_timescale);
        } else {
            earlier = ticks(start, timescale);
            break;
        }
    }
    Ok(match later.checked_sub(earlier) {
        Some(later) => Shift::Later(later),
        None => Shift::Earlier(earlier.saturating_sub(later)),
    })
}

/// A time in ticks.
pub(super) fn ticks(count: u64, timescale: u32) -> Duration {
    let micros = u128::from(count) * 1_000_000 / u128::from(timescale.max(1));
    // Half the range, so that sums stay inside.
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX).min(u64::MAX / 2))
}

fn name(format: [u8; 4]) -> String {
    let shown = |it: u8| {
        if it.is_ascii_graphic() {
            char::from(it)
        } else {
            '?'
        }
    };
    format.map(shown).iter().collect()
}
