//! Fragmented MP4, as it comes by standard input. Pure.
//!
//! Takes the first picture and the first sound. Samples go through as they come, not fragment by
//! fragment: what is held is a sample and two boxes that describe others.

mod boxes;
mod fragment;
mod track;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::codec::av1::Av1;
use super::codec::h264::H264;
use super::codec::{Malformed, vp9};
use super::gate::Gate;
use super::{Fault, Limits};
use crate::media::{Published, SAMPLE_MAX, VideoCodec};
use boxes::Header;
use fragment::Planned;
use track::{Kind, Track};

/// The largest box that describes: an hour of fragments is a megabyte, and a live stream has none.
const DESCRIPTION_MAX: u64 = 1 << 20;

/// The start of the timeline: edits may put samples before it.
const START: Duration = Duration::from_secs(10);

/// Takes one publication apart.
#[derive(Debug)]
pub(crate) struct Mp4 {
    gate: Gate,
    buffer: BytesMut,
    /// Of the stream, where the buffer begins.
    position: u64,
    video: Option<Track>,
    audio: Option<Track>,
    /// Where the last fragment's description began.
    fragment: u64,
    /// Samples to come, in the order of their places.
    planned: VecDeque<Planned>,
    phase: Phase,
    h264: H264,
    av1: Av1,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Header,
    /// A box that describes, of so many bytes with its header of so many.
    Description {
        kind: [u8; 4],
        header: usize,
        size: usize,
    },
    /// Samples, and whatever nobody asks for, up to this place.
    Data {
        end: u64,
    },
}

impl Mp4 {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            gate: Gate::new(limits),
            buffer: BytesMut::new(),
            position: 0,
            video: None,
            audio: None,
            fragment: 0,
            planned: VecDeque::new(),
            phase: Phase::Header,
            h264: H264::default(),
            av1: Av1::default(),
        }
    }

    /// What goes through, in order. Drain it after each `handle`.
    pub(crate) fn poll(&mut self) -> Option<Published> {
        self.gate.poll()
    }

    /// Takes what has come, in pieces of any size.
    pub(crate) fn handle(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.buffer.extend_from_slice(bytes);
        while self.step()? {}
        Ok(())
    }

    /// Whether there is more to do with what is there.
    fn step(&mut self) -> Result<bool, Fault> {
        match self.phase {
            Phase::Header => {
                let Some(header) = Header::read(&self.buffer)? else {
                    return Ok(false);
                };
                self.phase = self.begin(header)?;
                Ok(true)
            }
            Phase::Description { kind, header, size } => {
                if self.buffer.len() < size {
                    return Ok(false);
                }
                let whole = self.take(size);
                self.phase = Phase::Header;
                match &kind {
                    b"moov" => self.handle_movie(&whole[header..])?,
                    _ => self.handle_fragment(&whole[header..])?,
                }
                Ok(true)
            }
            Phase::Data { end } => self.handle_data(end),
        }
    }

    fn begin(&mut self, header: Header) -> Result<Phase, Fault> {
        let Header { kind, length, size } = header;
        match &kind {
            b"moov" | b"moof" if size.is_none_or(|it| it > DESCRIPTION_MAX) => {
                Err(Malformed("a box of the MP4 is too large").into())
            }
            b"moov" | b"moof" => {
                if kind == *b"moof" {
                    self.fragment = self.position;
                }
                let size = size.unwrap_or_default();
                let size = usize::try_from(size).map_err(|_| boxes::BROKEN)?;
                Ok(Phase::Description {
                    kind,
                    header: length,
                    size,
                })
            }
            b"mdat" if self.video.is_none() && self.audio.is_none() => {
                Err(track::NOT_FRAGMENTED.into())
            }
            _ => {
                let end = match size {
                    Some(size) => self.position.checked_add(size).ok_or(boxes::BROKEN)?,
                    None => u64::MAX,
                };
                self.take(length);
                Ok(Phase::Data { end })
            }
        }
    }

    fn handle_movie(&mut self, movie: &[u8]) -> Result<(), Fault> {
        let movie = track::movie(movie)?;
        (self.video, self.audio) = (None, None);
        for track in movie {
            match &track.kind {
                Kind::RefusedVideo(name) => return Err(self.gate.refused_video(name).into()),
                Kind::RefusedAudio(name) => return Err(self.gate.refused_audio(name).into()),
                Kind::Ignored => {}
                Kind::H264 { .. } | Kind::Av1 { .. } | Kind::Vp9 => self.take_video(track)?,
                Kind::Sound(_) if self.audio.is_none() => self.audio = Some(track),
                Kind::Sound(_) => self.gate.handle_ignored("a second sound"),
            }
        }
        Ok(())
    }

    fn take_video(&mut self, track: Track) -> Result<(), Fault> {
        if self.video.is_some() {
            self.gate.handle_ignored("a second picture");
            return Ok(());
        }
        match &track.kind {
            Kind::H264 { record, .. } => {
                self.h264.handle_record(record)?;
            }
            Kind::Av1 { record } => self.av1.handle_record(record)?,
            _ => {}
        }
        self.video = Some(track);
        Ok(())
    }

    fn handle_fragment(&mut self, fragment: &[u8]) -> Result<(), Fault> {
        let tracks = [&self.video, &self.audio];
        let tracks = tracks.into_iter().flatten();
        let planned = fragment::plan(fragment, self.fragment, tracks)?;
        // What was to come before and did not is not coming.
        self.planned = planned.into();
        Ok(())
    }

    fn handle_data(&mut self, end: u64) -> Result<bool, Fault> {
        while self
            .planned
            .front()
            .is_some_and(|it| it.place < self.position)
        {
            self.planned.pop_front();
        }
        let next = self.planned.front().filter(|it| it.end() <= end);
        let Some(next) = next else {
            let left = end - self.position;
            let skip = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.buffer.len());
            self.take(skip);
            if self.position == end {
                self.phase = Phase::Header;
                return Ok(true);
            }
            return Ok(false);
        };
        let before = usize::try_from(next.place - self.position).unwrap_or(usize::MAX);
        if before > 0 {
            let skip = before.min(self.buffer.len());
            self.take(skip);
            return Ok(skip == before);
        }
        if next.size > SAMPLE_MAX {
            return Err(Malformed("a picture is too large: lower the bitrate or its size").into());
        }
        if self.buffer.len() < next.size {
            return Ok(false);
        }
        let planned = self.planned.pop_front().expect("just looked at");
        let data = self.take(planned.size);
        self.handle_sample(&planned, data)?;
        Ok(true)
    }

    fn handle_sample(&mut self, planned: &Planned, data: Bytes) -> Result<(), Fault> {
        let mut tracks = [&self.video, &self.audio].into_iter().flatten();
        let Some(track) = tracks.find(|it| it.id == planned.track) else {
            return Ok(());
        };
        let timestamp = START.saturating_add(planned.timestamp);
        let timestamp = match track.shift {
            track::Shift::Later(by) => timestamp.saturating_add(by),
            track::Shift::Earlier(by) => timestamp.saturating_sub(by),
        };
        let (codec, picture) = match &track.kind {
            Kind::H264 { framing, .. } => {
                (VideoCodec::H264, self.h264.handle_picture(*framing, &data)?)
            }
            Kind::Av1 { .. } => (VideoCodec::Av1, self.av1.handle_picture(&data)?),
            Kind::Vp9 => (VideoCodec::Vp9, vp9::picture(data)?),
            Kind::Sound(config) => return Ok(self.gate.handle_sound(config, timestamp, data)?),
            Kind::RefusedVideo(_) | Kind::RefusedAudio(_) | Kind::Ignored => return Ok(()),
        };
        match picture {
            Some(picture) => Ok(self.gate.handle_picture(codec, timestamp, picture)?),
            None => Ok(()),
        }
    }

    fn take(&mut self, count: usize) -> Bytes {
        self.position = self.position.saturating_add(count as u64);
        self.buffer.split_to(count).freeze()
    }
}
