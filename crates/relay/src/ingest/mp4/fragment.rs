//! Where a fragment's samples are and when they are shown.

use std::time::Duration;

use super::super::codec::Malformed;
use super::boxes::{self, BROKEN, Fields};
use super::track::{Track, ticks};

/// Samples in a fragment at most: 10 s of pictures and sound have 1,800.
const SAMPLES_MAX: usize = 8_192;

/// A sample that is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// Of the stream, where it begins.
    pub place: u64,
    pub size: usize,
    pub track: u32,
    pub timestamp: Duration,
}

impl Planned {
    pub(super) fn end(&self) -> u64 {
        self.place.saturating_add(self.size as u64)
    }
}

/// Reads the content of a `moof` that begins at `start`; answers samples in the order of their places.
pub(super) fn plan<'a>(
    fragment: &[u8],
    start: u64,
    tracks: impl Iterator<Item = &'a Track> + Clone,
) -> Result<Vec<Planned>, Malformed> {
    let mut planned = Vec::new();
    // Without another word, a track's samples follow those of the one before.
    let mut next = start;
    for (kind, content) in boxes::all(fragment)? {
        if kind == *b"traf" {
            next = run_of_track(content, start, next, tracks.clone(), &mut planned)?;
        }
    }
    planned.sort_by_key(|it| it.place);
    Ok(planned)
}

fn run_of_track<'a>(
    content: &[u8],
    start: u64,
    next: u64,
    mut tracks: impl Iterator<Item = &'a Track>,
    planned: &mut Vec<Planned>,
) -> Result<u64, Malformed> {
    let mut header = Fields(boxes::follow(content, &[b"tfhd"])?);
    let (_, flags) = header.version()?;
    let id = header.u32()?;
    let base = match flags {
        it if it & 0x1 != 0 => header.u64()?,
        it if it & 0x2_0000 != 0 => start,
        _ => next,
    };
    if flags & 0x2 != 0 {
        header.u32()?;
    }
    let own = |field: u32, header: &mut Fields<'_>| match flags & field {
        0 => Ok(None),
        _ => header.u32().map(Some),
    };
    let (duration, size) = (own(0x8, &mut header)?, own(0x10, &mut header)?);
    let track = tracks.find(|it| it.id == id);
    let defaults = track.map(|it| it.defaults).unwrap_or_default();
    let mut run = Run {
        track: id,
        timescale: track.map_or(1, |it| it.timescale),
        wanted: track.is_some(),
        duration: duration.unwrap_or(defaults.duration),
        size: size.unwrap_or(defaults.size),
        base,
        place: base,
        time: 0,
    };
    for (kind, content) in boxes::all(content)? {
        match &kind {
            b"tfdt" => {
                let mut fields = Fields(content);
                let (version, _) = fields.version()?;
                run.time = fields.number(version)?;
            }
            b"trun" => run.handle(content, planned)?,
            _ => {}
        }
    }
    Ok(run.place)
}

struct Run {
    track: u32,
    timescale: u32,
    wanted: bool,
    duration: u32,
    size: u32,
    base: u64,
    place: u64,
    time: u64,
}

impl Run {
    fn handle(&mut self, content: &[u8], planned: &mut Vec<Planned>) -> Result<(), Malformed> {
        let mut fields = Fields(content);
        let (_, flags) = fields.version()?;
        let count = fields.u32()? as usize;
        if count.saturating_add(planned.len()) > SAMPLES_MAX {
            return Err(Malformed("a fragment of the MP4 is too long"));
        }
        if flags & 0x1 != 0 {
            let offset = fields.u32()?.cast_signed();
            self.place = self.base.checked_add_signed(offset.into()).ok_or(BROKEN)?;
        }
        if flags & 0x4 != 0 {
            fields.u32()?;
        }
        for _ in 0..count {
            let mut own = |flag: u32| match flags & flag {
                0 => Ok(None),
                _ => fields.u32().map(Some),
            };
            let (duration, size) = (own(0x100)?, own(0x200)?);
            own(0x400)?;
            // Signed in version 1, and in version 0 nobody has a picture two thirds of a day late.
            let offset = own(0x800)?.unwrap_or_default().cast_signed();
            let size = size.unwrap_or(self.size);
            if self.wanted {
                let shown = self.time.saturating_add_signed(offset.into());
                planned.push(Planned {
                    place: self.place,
                    size: size as usize,
                    track: self.track,
                    timestamp: ticks(shown, self.timescale),
                });
            }
            self.place = self.place.checked_add(size.into()).ok_or(BROKEN)?;
            let duration = duration.unwrap_or(self.duration);
            self.time = self.time.saturating_add(duration.into());
        }
        Ok(())
    }
}
