//! What a session publishes: `screen` with its tracks. Layouts are in `docs/protocol.md`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::terminal::Status;
use bytes::{BufMut as _, Bytes, BytesMut};
use model::input::Pong;
use model::picture::Header;
use relay::priority;
use relay::publish::{Broadcast, Demand, Place, Track, TrackOptions};
use render::cursor::Cursor;
use render::pipeline::VideoFrame;
use render::sound::Packet;
use tracing::debug;

use crate::grant::Paths;
use crate::shared::Shared;

/// How far a group of pictures may fall behind the newest one and still be sent: a terminal that
/// is later than this is better served by the next keyframe.
const PICTURE_KEEP: Duration = Duration::from_millis(500);

/// Sound that is later than this is noise.
const SOUND_KEEP: Duration = Duration::from_millis(200);

/// States and words must all arrive.
const STATUS_KEEP: Duration = Duration::from_secs(10);

/// Packets of sound in a group: one second, so that those who join lose no more.
const SOUND_GROUP: u32 = 100;

/// A group of pictures this large is not a good place to join: a keyframe starts the next.
const GROUP_BYTES: usize = 4 << 20;
/// The same for many small pictures: ten seconds at 60 a second.
const GROUP_FRAMES: u32 = 600;

/// A picture on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Its size on the wire.
    pub(super) bytes: usize,
    /// Whether the group has grown so large that a keyframe should start the next.
    pub(super) group_is_full: bool,
}

/// The broadcast of one session.
pub(super) struct Outlet {
    shared: Arc<Shared>,
    /// The zero of all timestamps.
    start: Instant,
    video: Track,
    group_bytes: usize,
    group_frames: u32,
    audio: Track,
    audio_packets: u32,
    cursor: Track,
    status: Track,
    /// What every newcomer must know.
    state: Vec<Bytes>,
    pong: Track,
    /// Ends with this.
    _broadcast: Broadcast,
}

impl Outlet {
    pub(super) fn open(shared: &Arc<Shared>, paths: Paths) -> Result<Self, String> {
        let open = || {
            let broadcast = shared.relay.publish(&paths.screen())?;
            let track =
                |name, priority, keep| broadcast.track(name, TrackOptions { priority, keep });
            let outlet = Self {
                shared: Arc::clone(shared),
                start: Instant::now(),
                video: track("video", priority::VIDEO, PICTURE_KEEP)?,
                group_bytes: 0,
                group_frames: 0,
                audio: track("audio", priority::AUDIO, SOUND_KEEP)?,
                audio_packets: 0,
                cursor: track("cursor", priority::CURSOR, STATUS_KEEP)?,
                status: track("status", priority::CURSOR, STATUS_KEEP)?,
                state: Vec::new(),
                pong: track("pong", priority::CURSOR, SOUND_KEEP)?,
                _broadcast: broadcast,
            };
            outlet._broadcast.announce()?;
            Ok(outlet)
        };
        open().map_err(|error: relay::publish::PublishError| super::instance::chain(&error))
    }

    /// Whether anybody watches.
    pub(super) fn demand(&self) -> Demand {
        self.video.demand()
    }

    /// Sends a picture; `None` when it could not be sent and only a keyframe helps.
    pub(super) fn picture(&mut self, frame: &VideoFrame) -> Option<Sent> {
        let header = Header {
            keyframe: frame.keyframe,
            width: frame.size.width(),
            height: frame.size.height(),
            input_seq: frame.input_seq,
            encode_time: frame.encode_time,
        };
        if frame.keyframe {
            self.group_bytes = 0;
            self.group_frames = 0;
        }
        let timestamp = frame.captured_at.saturating_duration_since(self.start);
        let written = self.video.write_picture(timestamp, header, &frame.data);
        let size = written
            .inspect_err(|error| debug!(%error, "a picture was not sent"))
            .ok()?;
        self.group_bytes += size;
        self.group_frames += 1;
        let metrics = &self.shared.metrics;
        metrics.frames.add(1);
        metrics
            .frame_bytes
            .add(u64::try_from(size).unwrap_or(u64::MAX));
        metrics.keyframes.add(frame.keyframe.into());
        Some(Sent {
            bytes: size,
            group_is_full: self.group_bytes >= GROUP_BYTES || self.group_frames >= GROUP_FRAMES,
        })
    }

    /// Sends a shape of the pointer.
    pub(super) fn cursor(&mut self, cursor: &Cursor) {
        let mut payload = BytesMut::with_capacity(12 + cursor.rgba.len());
        payload.put_u16_le(cursor.width);
        payload.put_u16_le(cursor.height);
        payload.put_u16_le(cursor.hot_x);
        payload.put_u16_le(cursor.hot_y);
        payload.put_u32_le(cursor.visible.into());
        payload.extend_from_slice(&cursor.rgba);
        let now = self.start.elapsed();
        send(&mut self.cursor, Place::NewGroup, now, payload.freeze());
    }

    /// Sends 10 ms of sound.
    pub(super) fn sound(&mut self, packet: Packet) {
        let place = if self.audio_packets.is_multiple_of(SOUND_GROUP) {
            Place::NewGroup
        } else {
            Place::SameGroup
        };
        self.audio_packets = self.audio_packets.wrapping_add(1);
        let at = packet.captured_at.saturating_duration_since(self.start);
        send(&mut self.audio, place, at, packet.data);
    }

    /// Says what every terminal must know, now and whenever one joins: a newcomer gets the newest
    /// group, and this is always it.
    pub(super) fn state(&mut self, messages: &[Status]) {
        self.state = messages.iter().map(json).collect();
        self.write_state();
    }

    /// Says something once, to those who are here.
    pub(super) fn tell(&mut self, message: &Status) {
        let now = self.start.elapsed();
        send(&mut self.status, Place::NewGroup, now, json(message));
        self.write_state();
    }

    /// Answers a ping.
    pub(super) fn pong(&mut self, pong: Pong) {
        let now = self.start.elapsed();
        let payload = serde_json::to_vec(&pong).unwrap_or_default();
        send(&mut self.pong, Place::NewGroup, now, payload.into());
    }

    fn write_state(&mut self) {
        let now = self.start.elapsed();
        let mut place = Place::NewGroup;
        for message in &self.state {
            send(&mut self.status, place, now, message.clone());
            place = Place::SameGroup;
        }
        self.status.finish_group();
    }
}

fn json(message: &Status) -> Bytes {
    serde_json::to_vec(message)
        .expect("a status has string keys and finite numbers")
        .into()
}

fn send(track: &mut Track, place: Place, at: Duration, payload: Bytes) {
    if let Err(error) = track.write(place, at, payload) {
        debug!(%error, "nobody can be told");
    }
}
