//! What RTMP carries: the bodies of FLV tags, with the fourccs of enhanced RTMP. Pure.

use std::time::Duration;

use bytes::{Buf, Bytes};
use logic::mediaclock::Unwrap;

use super::codec::av1::Av1;
use super::codec::h264::{Framing, H264};
use super::codec::{Malformed, Picture, aac, opus, vp9};
use super::gate::Gate;
use super::{Fault, Limits};
use crate::media::{AudioConfig, Published, VideoCodec};

/// Takes the tags of one publication apart.
#[derive(Debug)]
pub(crate) struct Flv {
    gate: Gate,
    clock: Unwrap,
    h264: H264,
    framing: Option<Framing>,
    av1: Av1,
    audio: Option<AudioConfig>,
}

/// What a tag holds, without the header that told.
enum Packet {
    Configuration,
    /// Shown so many milliseconds after it is decoded.
    Picture(i32),
    Sound,
    Nothing,
}

const BROKEN: Malformed = Malformed("a message of the stream is broken");

impl Flv {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            gate: Gate::new(limits),
            clock: Unwrap::new(32),
            h264: H264::default(),
            framing: None,
            av1: Av1::default(),
            audio: None,
        }
    }

    /// What goes through, in order. Drain it after each `handle_*`.
    pub(crate) fn poll(&mut self) -> Option<Published> {
        self.gate.poll()
    }

    /// A message of video with its timestamp in milliseconds.
    pub(crate) fn handle_video(&mut self, timestamp: u32, mut body: Bytes) -> Result<(), Fault> {
        let timestamp = self.clock.handle(timestamp.into());
        let Ok(first) = body.try_get_u8() else {
            return Ok(()); // Some encoders send an empty one to begin with.
        };
        const COMMAND: u8 = 5;
        if first >> 4 & 7 == COMMAND {
            return Ok(());
        }
        let (codec, packet) = if first & 0x80 == 0 {
            (VideoCodec::H264, self.plain(first & 0xf, &mut body)?)
        } else {
            match self.enhanced(first & 0xf, &mut body)? {
                Some(known) => known,
                None => return Ok(()),
            }
        };
        match packet {
            Packet::Configuration => self.configure(codec, &body),
            Packet::Picture(offset) => {
                let shown = timestamp.saturating_add_signed(offset.into());
                self.picture(codec, Duration::from_millis(shown), body)
            }
            Packet::Sound | Packet::Nothing => Ok(()),
        }
    }

    /// A message of audio with its timestamp in milliseconds.
    pub(crate) fn handle_audio(&mut self, timestamp: u32, mut body: Bytes) -> Result<(), Fault> {
        let timestamp = Duration::from_millis(self.clock.handle(timestamp.into()));
        let Ok(first) = body.try_get_u8() else {
            return Ok(());
        };
        const AAC: u8 = 10;
        const ENHANCED: u8 = 9;
        let (fourcc, packet) = match first >> 4 {
            AAC => {
                let packet = match body.try_get_u8().map_err(|_| BROKEN)? {
                    0 => Packet::Configuration,
                    _ => Packet::Sound,
                };
                (*b"mp4a", packet)
            }
            ENHANCED => match self.enhanced_sound(first & 0xf, &mut body)? {
                Some(known) => known,
                None => return Ok(()),
            },
            other => return Err(self.gate.refused_audio(sound_name(other)).into()),
        };
        match packet {
            Packet::Configuration => {
                self.audio = Some(match &fourcc {
                    b"mp4a" => aac::config(&body)?,
                    _ => opus::config(opus_channels(&body)?)?,
                });
                Ok(())
            }
            Packet::Sound => {
                let Some(config) = &self.audio else {
                    return Ok(()); // Nobody could decode it.
                };
                Ok(self.gate.handle_sound(config, timestamp, body)?)
            }
            Packet::Picture(_) | Packet::Nothing => Ok(()),
        }
    }

    /// Codecs as Flash numbered them.
    fn plain(&self, codec: u8, body: &mut Bytes) -> Result<Packet, Fault> {
        let name = match codec {
            7 => {
                let kind = body.try_get_u8().map_err(|_| BROKEN)?;
                let offset = offset(body)?;
                return Ok(match kind {
                    0 => Packet::Configuration,
                    1 => Packet::Picture(offset),
                    _ => Packet::Nothing,
                });
            }
            12 => "HEVC",
            2 => "Sorenson H.263 (the default of ffmpeg for FLV)",
            3 | 6 => "screen video",
            4 | 5 => "VP6",
            _ => "a codec that FLV does not name",
        };
        Err(self.gate.refused_video(name).into())
    }

    fn enhanced(
        &mut self,
        kind: u8,
        body: &mut Bytes,
    ) -> Result<Option<(VideoCodec, Packet)>, Fault> {
        const MULTITRACK: u8 = 6;
        let Some((kind, fourcc)) = self.header(kind, body, MULTITRACK, "a second picture")? else {
            return Ok(None);
        };
        let codec = match &fourcc {
            b"avc1" => VideoCodec::H264,
            b"av01" => VideoCodec::Av1,
            b"vp09" => VideoCodec::Vp9,
            b"hvc1" => return Err(self.gate.refused_video("HEVC").into()),
            b"vvc1" => return Err(self.gate.refused_video("VVC").into()),
            b"vp08" => return Err(self.gate.refused_video("VP8").into()),
            other => return Err(self.gate.refused_video(&name(*other)).into()),
        };
        let packet = match kind {
            0 => Packet::Configuration,
            1 if codec == VideoCodec::H264 => Packet::Picture(offset(body)?),
            1 | 3 => Packet::Picture(0),
            _ => Packet::Nothing,
        };
        Ok(Some((codec, packet)))
    }

    fn enhanced_sound(
        &mut self,
        kind: u8,
        body: &mut Bytes,
    ) -> Result<Option<([u8; 4], Packet)>, Fault> {
        const MULTITRACK: u8 = 5;
        let Some((kind, fourcc)) = self.header(kind, body, MULTITRACK, "a second sound")? else {
            return Ok(None);
        };
        let packet = match (kind, &fourcc) {
            (0, b"mp4a" | b"Opus") => Packet::Configuration,
            (1, b"mp4a" | b"Opus") => Packet::Sound,
            (_, b"mp4a" | b"Opus") => Packet::Nothing,
            (_, other) => return Err(self.gate.refused_audio(&name(*other)).into()),
        };
        Ok(Some((fourcc, packet)))
    }

    /// What the packet is and its fourcc, behind whatever precedes them. Nothing if it belongs to
    /// another track than the first.
    fn header(
        &mut self,
        mut kind: u8,
        body: &mut Bytes,
        multitrack: u8,
        other: &str,
    ) -> Result<Option<(u8, [u8; 4])>, Fault> {
        const MODIFIER: u8 = 7;
        while kind == MODIFIER {
            let mut size = usize::from(body.try_get_u8().map_err(|_| BROKEN)?) + 1;
            if size == 256 {
                size = usize::from(body.try_get_u16().map_err(|_| BROKEN)?) + 1;
            }
            if body.len() <= size {
                return Err(BROKEN.into());
            }
            body.advance(size);
            kind = body.get_u8() & 0xf;
        }
        if kind != multitrack {
            let mut fourcc = [0; 4];
            body.try_copy_to_slice(&mut fourcc).map_err(|_| BROKEN)?;
            return Ok(Some((kind, fourcc)));
        }
        let (tracks, fourcc, track) = match body.len() {
            ..6 => return Err(BROKEN.into()),
            _ => (body.get_u8(), body.get_u32().to_be_bytes(), body.get_u8()),
        };
        const ONE_TRACK: u8 = 0;
        if tracks >> 4 != ONE_TRACK || track != 0 {
            self.gate.handle_ignored(other);
            return Ok(None);
        }
        Ok(Some((tracks & 0xf, fourcc)))
    }

    fn configure(&mut self, codec: VideoCodec, record: &[u8]) -> Result<(), Fault> {
        self.gate.handle_codec(codec)?;
        match codec {
            VideoCodec::H264 => self.framing = Some(self.h264.handle_record(record)?),
            VideoCodec::Av1 => self.av1.handle_record(record)?,
            // Every keyframe says it all.
            VideoCodec::Vp9 => {}
        }
        Ok(())
    }

    fn picture(&mut self, codec: VideoCodec, at: Duration, data: Bytes) -> Result<(), Fault> {
        let picture: Option<Picture> = match (codec, self.framing) {
            (VideoCodec::H264, Some(framing)) => self.h264.handle_picture(framing, &data)?,
            (VideoCodec::H264, None) => None,
            (VideoCodec::Av1, _) => self.av1.handle_picture(&data)?,
            (VideoCodec::Vp9, _) => vp9::picture(data)?,
        };
        match picture {
            Some(picture) => Ok(self.gate.handle_picture(codec, at, picture)?),
            None => Ok(()),
        }
    }
}

/// A signed number of three bytes.
fn offset(body: &mut Bytes) -> Result<i32, Malformed> {
    if body.len() < 3 {
        return Err(BROKEN);
    }
    let bytes = [body.get_u8(), body.get_u8(), body.get_u8(), 0];
    Ok(i32::from_be_bytes(bytes) >> 8)
}

fn opus_channels(head: &[u8]) -> Result<u8, Malformed> {
    let broken = Malformed("the Opus configuration is broken");
    let rest = head.strip_prefix(b"OpusHead").ok_or(broken)?;
    rest.get(1).copied().ok_or(broken)
}

fn sound_name(format: u8) -> &'static str {
    match format {
        0 | 1 | 3 => "PCM",
        2 | 14 => "MP3",
        4..=6 => "Nellymoser",
        7 | 8 => "G.711",
        11 => "Speex",
        _ => "a codec that FLV does not name",
    }
}

/// A fourcc for people.
fn name(fourcc: [u8; 4]) -> String {
    fourcc
        .iter()
        .map(|it| {
            if it.is_ascii_graphic() {
                char::from(*it)
            } else {
                '?'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
