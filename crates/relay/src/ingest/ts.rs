//! MPEG-TS: what SRT carries, and what comes by standard input. Pure.
//!
//! Takes the first program's first picture and first sound. What a packet is missing is told, and
//! the picture it belonged to is left out.

mod pes;
mod tables;

use std::time::Duration;

use bytes::Bytes;
use logic::mediaclock::Unwrap;

use super::codec::aac;
use super::codec::h264::{Framing, H264};
use super::codec::{Malformed, opus};
use super::gate::Gate;
use super::{Fault, Limits};
use crate::media::{Published, VideoCodec};
use pes::{Assembly, Pes};
use tables::{Kind, Program, Section};

/// A packet.
pub(crate) const PACKET: usize = 188;

/// What every packet begins with.
pub(crate) const SYNC: u8 = 0x47;

/// Bytes without a packet after which this is something else.
const ASTRAY_MAX: usize = 64 * 1024;

/// The largest piece of sound that waits for its rest: an ADTS frame is at most 8 kB.
const AUDIO_REST_MAX: usize = 16 * 1024;

/// Takes one publication apart.
#[derive(Debug)]
pub(crate) struct Ts {
    gate: Gate,
    clock: Unwrap,
    rest: Vec<u8>,
    astray: usize,
    association: Section,
    map: Option<(u16, Section)>,
    program: Program,
    video: Assembly,
    audio: Assembly,
    h264: H264,
    audio_rest: Vec<u8>,
}

impl Ts {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            gate: Gate::new(limits),
            clock: Unwrap::new(33),
            rest: Vec::new(),
            astray: 0,
            association: Section::default(),
            map: None,
            program: Program::default(),
            video: Assembly::default(),
            audio: Assembly::default(),
            h264: H264::default(),
            audio_rest: Vec::new(),
        }
    }

    /// What goes through, in order. Drain it after each `handle`.
    pub(crate) fn poll(&mut self) -> Option<Published> {
        self.gate.poll()
    }

    /// Takes what has come, in pieces of any size.
    pub(crate) fn handle(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !self.rest.is_empty() && !bytes.is_empty() {
            let missing = (PACKET - self.rest.len()).min(bytes.len());
            self.rest.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.rest.len() == PACKET {
                let packet = std::mem::take(&mut self.rest);
                if packet[0] == SYNC && bytes.first().is_none_or(|it| *it == SYNC) {
                    self.handle_packet(&packet)?;
                } else {
                    self.go_astray(1)?;
                    // At most 188 bytes more than once: the rest begins at the next sync byte.
                    let next = packet[1..].iter().position(|it| *it == SYNC);
                    let rest = next.map_or(&[][..], |at| &packet[1 + at..]);
                    self.rest.extend_from_slice(rest);
                }
            }
        }
        while bytes.len() >= PACKET {
            let (packet, after) = bytes.split_at(PACKET);
            if packet[0] == SYNC && after.first().is_none_or(|it| *it == SYNC) {
                self.handle_packet(packet)?;
                bytes = after;
                continue;
            }
            let skipped = bytes[1..].iter().position(|it| *it == SYNC);
            let skipped = skipped.map_or(bytes.len(), |it| it + 1);
            self.go_astray(skipped)?;
            bytes = &bytes[skipped..];
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// No more comes: what is whole goes through.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        if let Some(pes) = self.video.finish() {
            self.picture(pes)?;
        }
        match self.audio.finish() {
            Some(pes) => self.sound(pes),
            None => Ok(()),
        }
    }

    fn go_astray(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.astray = self.astray.saturating_add(bytes);
        if self.astray > ASTRAY_MAX {
            return Err(Malformed("this is not MPEG-TS: in ffmpeg add -f mpegts"));
        }
        Ok(())
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), Fault> {
        self.astray = 0;
        let Some(packet) = Packet::read(packet) else {
            return Ok(());
        };
        const ASSOCIATION: u16 = 0;
        if packet.id == ASSOCIATION {
            if let Some(section) = self.association.handle(packet.starts, packet.payload)
                && let Some(id) = tables::association(&section)
                && self.map.as_ref().is_none_or(|(known, _)| *known != id)
            {
                self.map = Some((id, Section::default()));
            }
        } else if let Some((id, map)) = &mut self.map
            && *id == packet.id
        {
            if let Some(section) = map.handle(packet.starts, packet.payload) {
                return self.handle_map(&section);
            }
        } else if self.program.video.is_some_and(|(id, _)| id == packet.id) {
            match self.video.check(&packet) {
                0 => {}
                lost => self.gate.handle_lost(lost),
            }
            let whole = self.video.handle(&packet)?;
            for pes in whole.into_iter().flatten() {
                self.picture(pes)?;
            }
        } else if self.program.audio.is_some_and(|(id, _)| id == packet.id) {
            match self.audio.check(&packet) {
                0 => {}
                lost => {
                    self.audio_rest.clear();
                    self.gate.handle_lost_sound(lost);
                }
            }
            let whole = self.audio.handle(&packet)?;
            for pes in whole.into_iter().flatten() {
                self.sound(pes)?;
            }
        }
        Ok(())
    }

    fn handle_map(&mut self, section: &[u8]) -> Result<(), Fault> {
        let Some(program) = tables::map(section) else {
            return Ok(());
        };
        if program == self.program {
            return Ok(());
        }
        match program.video.map(|(_, kind)| kind) {
            Some(Kind::H264) => self.gate.handle_codec(VideoCodec::H264)?,
            Some(Kind::Refused(name)) => return Err(self.gate.refused_video(name).into()),
            _ => {}
        }
        if let Some((_, Kind::Refused(name))) = program.audio {
            return Err(self.gate.refused_audio(name).into());
        }
        if program.others {
            self.gate
                .handle_ignored("another track than the first picture and the first sound");
        }
        self.program = program;
        self.video = Assembly::default();
        self.audio = Assembly::default();
        self.audio_rest.clear();
        Ok(())
    }

    fn picture(&mut self, pes: Pes) -> Result<(), Fault> {
        let Some(timestamp) = pes.timestamp else {
            return Ok(()); // Nobody knows when to show it.
        };
        let timestamp = time(self.clock.handle(timestamp));
        let picture = self.h264.handle_picture(Framing::AnnexB, &pes.data)?;
        match picture {
            Some(picture) => Ok(self
                .gate
                .handle_picture(VideoCodec::H264, timestamp, picture)?),
            None => Ok(()),
        }
    }

    fn sound(&mut self, pes: Pes) -> Result<(), Fault> {
        let Some(timestamp) = pes.timestamp else {
            return Ok(());
        };
        let timestamp = time(self.clock.handle(timestamp));
        match self.program.audio.map(|(_, kind)| kind) {
            Some(Kind::Aac) => self.aac(timestamp, &pes.data),
            Some(Kind::Opus { channels }) => self.opus(timestamp, channels, &pes.data),
            _ => Ok(()),
        }
    }

    fn aac(&mut self, timestamp: Duration, data: &[u8]) -> Result<(), Fault> {
        // The timestamp is that of the first frame that begins here, not of one that ends here.
        let mut begun_before = !self.audio_rest.is_empty();
        let mut data = Bytes::from([&self.audio_rest[..], data].concat());
        self.audio_rest.clear();
        let mut at = timestamp;
        loop {
            match aac::adts(&data) {
                aac::Found::Frame(found) => {
                    let config = aac::config(&found.description)?;
                    let rest = data.slice_ref(found.rest);
                    let frame = data.slice_ref(found.frame);
                    let length =
                        Duration::from_secs(aac::FRAME_SAMPLES.into()) / config.sample_rate;
                    if std::mem::take(&mut begun_before) {
                        at = at.saturating_sub(length);
                    }
                    self.gate.handle_sound(&config, at, frame)?;
                    at += length;
                    data = rest;
                }
                aac::Found::Incomplete if data.len() <= AUDIO_REST_MAX => {
                    self.audio_rest = data.to_vec();
                    return Ok(());
                }
                aac::Found::Incomplete | aac::Found::Nothing => {
                    // On to where a frame may begin.
                    let next = data.iter().skip(1).position(|it| *it == 0xff);
                    match next {
                        Some(next) => data = data.slice(next + 1..),
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    fn opus(&mut self, timestamp: Duration, channels: u8, data: &[u8]) -> Result<(), Fault> {
        let config = opus::config(channels)?;
        let mut at = timestamp;
        let mut data = Bytes::copy_from_slice(data);
        while let Some((packet, rest)) = opus::control(&data) {
            let (packet, rest) = (data.slice_ref(packet), data.slice_ref(rest));
            let duration = opus::duration(&packet).unwrap_or_default();
            self.gate.handle_sound(&config, at, packet)?;
            at += duration;
            data = rest;
        }
        Ok(())
    }
}

/// One packet's header, read.
#[derive(Debug)]
struct Packet<'a> {
    id: u16,
    /// Whether a unit starts here.
    starts: bool,
    /// Counts packets with a payload, to 15.
    counter: u8,
    /// The counter may leap here.
    leaps: bool,
    /// There is filler before the payload: usually so that its unit ends with the packet.
    filled: bool,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Nothing if it is damaged, scrambled or without a payload.
    fn read(packet: &'a [u8]) -> Option<Self> {
        let [_, high, low, flags, rest @ ..] = packet else {
            return None;
        };
        let (damaged, scrambled) = (high & 0x80 != 0, flags & 0xc0 != 0);
        if damaged || scrambled || flags & 0x10 == 0 {
            return None;
        }
        let mut payload = rest;
        let (mut leaps, mut filled) = (false, false);
        if flags & 0x20 != 0 {
            let (length, after) = rest.split_first()?;
            let (field, after) = after.split_at_checked((*length).into())?;
            payload = after;
            leaps = field.first().is_some_and(|it| it & 0x80 != 0);
            filled = is_filled(field);
        }
        Some(Self {
            id: u16::from(high & 0x1f) << 8 | u16::from(*low),
            starts: high & 0x40 != 0,
            counter: flags & 0xf,
            leaps,
            filled,
            payload,
        })
    }
}

/// Whether an adaptation field is longer than what it says.
fn is_filled(field: &[u8]) -> bool {
    let Some(flags) = field.first() else {
        return true; // A single byte of filler is written so.
    };
    let mut needed = 1;
    for (flag, length) in [(0x10, 6), (0x08, 6), (0x04, 1)] {
        if flags & flag != 0 {
            needed += length;
        }
    }
    // Private data and extensions tell of their length themselves.
    flags & 3 == 0 && field.len() > needed
}

/// From ticks of 90 kHz.
fn time(ticks: u64) -> Duration {
    Duration::from_micros(ticks * 100 / 9)
}

#[cfg(test)]
mod tests;
