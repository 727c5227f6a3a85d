//! What a follower says and hears, byte by byte: the part of moq-lite 06 that receiving needs.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::VarInt;
use quinn_proto::coding::Codec;

/// Streams both ways that ask for a track, and one-way streams that carry a group or a setup.
const SUBSCRIBE: u64 = 2;
const GROUP: u64 = 0;
const SETUP: u64 = 1;

/// Parameters of a setup: where a terminal wants to go, and that it only receives.
const PATH: u64 = 2;
const ROLE: u64 = 3;
const RECEIVES: u8 = 2;

/// A larger frame is none.
const FRAME_MAX: usize = 16 << 20;

/// How a track is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) priority: u8,
    pub(super) max_age: Duration,
}

/// What a stream of the entry's begins with.
pub(super) enum Kind {
    Group(Group),
    Other,
}

/// A group, of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) subscription: u64,
    pub(super) sequence: u64,
}

/// The first words of a terminal.
pub(super) fn setup(path: &str) -> BytesMut {
    let mut parameters = BytesMut::new();
    put(&mut parameters, 2);
    put(&mut parameters, PATH);
    put_text(&mut parameters, path);
    put(&mut parameters, ROLE);
    put(&mut parameters, 1);
    parameters.put_u8(RECEIVES);
    said(Some(SETUP), &parameters)
}

pub(super) fn subscribe(id: u64, broadcast: &str, track: &str, wanted: Wanted) -> BytesMut {
    let mut request = BytesMut::new();
    put(&mut request, id);
    put_text(&mut request, broadcast);
    put_text(&mut request, track);
    wanted.put(&mut request);
    said(Some(SUBSCRIBE), &request)
}

pub(super) fn update(wanted: Wanted) -> BytesMut {
    let mut update = BytesMut::new();
    wanted.put(&mut update);
    said(None, &update)
}

impl Wanted {
    /// Of all groups and all frames.
    fn put(self, message: &mut BytesMut) {
        message.put_u8(self.priority);
        put(message, self.max_age.as_millis() as u64);
        for _first_group_last_group_first_frame_last_frame in 0..4 {
            put(message, 0);
        }
    }
}

fn said(kind: Option<u64>, message: &[u8]) -> BytesMut {
    let mut said = BytesMut::with_capacity(message.len() + 4);
    if let Some(kind) = kind {
        put(&mut said, kind);
    }
    put(&mut said, message.len() as u64);
    said.extend_from_slice(message);
    said
}

fn put_text(message: &mut BytesMut, text: &str) {
    put(message, text.len() as u64);
    message.extend_from_slice(text.as_bytes());
}

/// A number of ours: far below the most that can be said.
fn put(message: &mut BytesMut, number: u64) {
    VarInt::from_u64(number)
        .unwrap_or(VarInt::MAX)
        .encode(message);
}

fn get(message: &mut &[u8]) -> Option<u64> {
    VarInt::decode(message).ok().map(VarInt::into_inner)
}

/// Takes what a stream begins with off the front, if all of it is there.
pub(super) fn take_header(unread: &mut BytesMut) -> Option<Kind> {
    let mut ahead = &unread[..];
    if get(&mut ahead)? != GROUP {
        return Some(Kind::Other);
    }
    let size = get(&mut ahead)?;
    let mut message = ahead.get(..usize::try_from(size).ok()?)?;
    let after = unread.len() - ahead.len() + message.len();
    let group = Group {
        subscription: get(&mut message)?,
        sequence: get(&mut message)?,
    };
    unread.advance(after);
    Some(Kind::Group(group))
}

/// Takes a frame off the front, if all of it is there: its time in microseconds, and what is in it.
pub(super) fn take_frame(unread: &mut BytesMut, before: &mut u64) -> Option<(u64, Bytes)> {
    let mut ahead = &unread[..];
    let folded = get(&mut ahead)?;
    let size = usize::try_from(get(&mut ahead)?).ok()?;
    if ahead.len() < size.min(FRAME_MAX) {
        return None;
    }
    let header = unread.len() - ahead.len();
    let delta = (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed();
    *before = before.wrapping_add_signed(delta);
    unread.advance(header);
    Some((*before, unread.split_to(size.min(FRAME_MAX)).freeze()))
}
