//! The tables of MPEG-TS that say which packets are what.

/// The longest section.
const SECTION_MAX: usize = 1_024;

/// Puts a section together.
#[derive(Debug, Default)]
pub(super) struct Section {
    data: Vec<u8>,
}

impl Section {
    /// The section that this packet completes, if its checksum is right.
    pub(super) fn handle(&mut self, starts: bool, payload: &[u8]) -> Option<Vec<u8>> {
        let mut payload = payload;
        if starts {
            let (pointer, after) = payload.split_first()?;
            payload = after.get(usize::from(*pointer)..)?;
            self.data.clear();
        } else if self.data.is_empty() {
            return None; // Its beginning is missing.
        }
        let room = SECTION_MAX
            .saturating_sub(self.data.len())
            .min(payload.len());
        self.data.extend_from_slice(&payload[..room]);
        let [_, high, low, ..] = self.data[..] else {
            return None;
        };
        let length = 3 + (usize::from(high & 0xf) << 8 | usize::from(low));
        if length > SECTION_MAX {
            self.data.clear();
            return None;
        }
        if self.data.len() < length {
            return None;
        }
        let mut section = std::mem::take(&mut self.data);
        section.truncate(length);
        (checksum(&section) == 0).then_some(section)
    }
}

/// The packets that hold the map of the first program.
pub(super) fn association(section: &[u8]) -> Option<u16> {
    let (0, body) = body(section)? else {
        return None;
    };
    body.chunks_exact(4).find_map(|entry| {
        let program = u16::from_be_bytes([entry[0], entry[1]]);
        (program != 0).then(|| packet_id(entry[2], entry[3]))
    })
}

/// What the packets of a program are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    /// The first picture and the packets it is in.
    pub video: Option<(u16, Kind)>,
    /// The first sound.
    pub audio: Option<(u16, Kind)>,
    /// There is more of either.
    pub others: bool,
}

/// What a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    H264,
    Aac,
    Opus {
        channels: u8,
    },
    /// Known, and not taken.
    Refused(&'static str),
}

enum Track {
    Video(Kind),
    Audio(Kind),
    Neither,
}

/// Reads the map of a program.
pub(super) fn map(section: &[u8]) -> Option<Program> {
    let (2, body) = body(section)? else {
        return None;
    };
    let [_, _, high, low, rest @ ..] = body else {
        return None;
    };
    let mut rest = rest.get(length(*high, *low)..)?;
    let mut program = Program::default();
    while let [kind, id_high, id_low, high, low, after @ ..] = rest {
        let (descriptors, after) = after.split_at_checked(length(*high, *low))?;
        let id = packet_id(*id_high, *id_low);
        match track(*kind, descriptors) {
            Track::Video(kind) if program.video.is_none() => program.video = Some((id, kind)),
            Track::Audio(kind) if program.audio.is_none() => program.audio = Some((id, kind)),
            Track::Video(_) | Track::Audio(_) => program.others = true,
            Track::Neither => {}
        }
        rest = after;
    }
    Some(program)
}

fn track(kind: u8, descriptors: &[u8]) -> Track {
    match kind {
        0x1b => Track::Video(Kind::H264),
        0x01 | 0x02 => Track::Video(Kind::Refused("MPEG-2 (the default of ffmpeg for MPEG-TS)")),
        0x10 => Track::Video(Kind::Refused("MPEG-4 part 2")),
        0x24 => Track::Video(Kind::Refused("HEVC")),
        0x33 => Track::Video(Kind::Refused("VVC")),
        0x0f => Track::Audio(Kind::Aac),
        0x11 => Track::Audio(Kind::Refused("AAC in LATM")),
        0x03 | 0x04 => Track::Audio(Kind::Refused(
            "MPEG audio (the default of ffmpeg for MPEG-TS)",
        )),
        0x81 | 0x87 => Track::Audio(Kind::Refused("AC-3")),
        0x06 => private(descriptors),
        _ => Track::Neither,
    }
}

/// Tracks whose descriptors say what they are.
fn private(descriptors: &[u8]) -> Track {
    const REGISTRATION: u8 = 5;
    const EXTENSION: u8 = 0x7f;
    const AC3: u8 = 0x6a;
    let (mut opus, mut channels) = (false, 2);
    let mut rest = descriptors;
    while let [tag, length, after @ ..] = rest {
        let Some((data, after)) = after.split_at_checked((*length).into()) else {
            break;
        };
        match (*tag, data) {
            (REGISTRATION, b"Opus") => opus = true,
            (REGISTRATION, b"AV01") => {
                return Track::Video(Kind::Refused("AV1 in MPEG-TS (by RTMP or MP4 it may be)"));
            }
            (REGISTRATION, b"HEVC") => return Track::Video(Kind::Refused("HEVC")),
            (REGISTRATION, b"AC-3") | (AC3, _) => return Track::Audio(Kind::Refused("AC-3")),
            (EXTENSION, [0x80, count, ..]) => channels = *count,
            _ => {}
        }
        rest = after;
    }
    match opus {
        true => Track::Audio(Kind::Opus { channels }),
        false => Track::Neither,
    }
}

/// A section's table and what it holds, without header and checksum, if it holds now.
fn body(section: &[u8]) -> Option<(u8, &[u8])> {
    let now = section.get(5)? & 1 != 0;
    let body = section.get(8..section.len().checked_sub(4)?)?;
    now.then_some((section[0], body))
}

fn packet_id(high: u8, low: u8) -> u16 {
    u16::from(high & 0x1f) << 8 | u16::from(low)
}

fn length(high: u8, low: u8) -> usize {
    usize::from(high & 0xf) << 8 | usize::from(low)
}

/// Nothing is left of a section that is as it was sent.
fn checksum(section: &[u8]) -> u32 {
    section.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(table: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len() + 9).unwrap();
        let mut section = [&[table, 0xb0, length, 0, 1, 0xc1, 0, 0], body].concat();
        let sum = checksum(&section).to_be_bytes();
        section.extend(sum);
        section
    }

    #[test]
    fn tables_lead_to_tracks() {
        let mut reader = Section::default();
        let first = section(0, &[0, 0, 0xe0, 0x10, 0, 1, 0xf0, 0]);
        let payload = [&[0][..], &first, &[0xff; 20]].concat();
        let read = reader.handle(true, &payload).unwrap();
        assert_eq!(association(&read), Some(0x1000));

        let tracks = [
            &[0xe1, 0, 0xf0, 0][..],
            &[0x1b, 0xe1, 0, 0xf0, 0],
            &[
                6, 0xe1, 1, 0xf0, 10, 5, 4, b'O', b'p', b'u', b's', 0x7f, 2, 0x80, 1,
            ],
            &[0x0f, 0xe1, 2, 0xf0, 0],
        ];
        let program = map(&section(2, &tracks.concat())).unwrap();
        assert_eq!(program.video, Some((0x100, Kind::H264)));
        assert_eq!(program.audio, Some((0x101, Kind::Opus { channels: 1 })));
        assert!(program.others);
    }

    #[test]
    fn sections_come_in_pieces_and_must_be_right() {
        let whole = section(2, &[0; 150]);
        let mut reader = Section::default();
        assert_eq!(
            reader.handle(false, &whole),
            None,
            "the beginning is missing"
        );
        assert_eq!(
            reader.handle(true, &[&[0][..], &whole[..100]].concat()),
            None
        );
        assert_eq!(reader.handle(false, &whole[100..]), Some(whole.clone()));
        let mut damaged = [&[0][..], &whole].concat();
        damaged[20] ^= 1;
        assert_eq!(reader.handle(true, &damaged), None);
    }
}
