//! What is said of a subscription, byte by byte: the part of moq-lite 05 and 06 that a fan speaks.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use quinn::VarInt;
use quinn_proto::coding::{Codec, UnexpectedEnd};

/// Says that a stream both ways asks for a track.
pub(super) const SUBSCRIBE: u64 = 2;

/// Says that a one-way stream carries a group.
const GROUP: u64 = 0;

/// Says where a subscription begins, and before which group it ends.
const START: u64 = 0;
const END: u64 = 1;

/// A request names a broadcast and a track; together they are far shorter.
const MESSAGE_MAX: usize = 4 << 10;

/// What a terminal said is none of this.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("a message ends too soon")]
    Short(#[from] UnexpectedEnd),
    #[error("a message of {0} bytes, where {MESSAGE_MAX} are the most")]
    Long(u64),
    #[error("a name is not UTF-8")]
    Name,
}

/// How messages are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Whoever names no first group wants the newest.
    Lite05,
    /// Whoever names no first group wants all that are not too old.
    Lite06,
}

impl Version {
    /// By the name that both ends agreed on.
    pub(super) fn named(protocol: &str) -> Option<Self> {
        match protocol {
            "moq-lite-05" => Some(Self::Lite05),
            "moq-lite-06" => Some(Self::Lite06),
            _ => None,
        }
    }
}

/// Which groups of a track a terminal wants, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Higher goes first.
    pub priority: u8,
    /// How far a group may be behind and still be sent.
    pub max_age: Duration,
    /// No group before this one.
    pub first: Option<u64>,
    /// No group after this one.
    pub last: Option<u64>,
}

/// A terminal asks for a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscribe {
    /// The terminal's number for it: each group says it.
    pub id: u64,
    pub broadcast: String,
    pub track: String,
    pub wanted: Wanted,
}

impl Subscribe {
    pub(super) fn decode(mut message: Bytes, version: Version) -> Result<Self, WireError> {
        Ok(Self {
            id: get(&mut message)?,
            broadcast: name(&mut message)?,
            track: name(&mut message)?,
            wanted: Wanted::decode(&mut message, version)?,
        })
    }
}

impl Wanted {
    /// The rest of a request, and all of an update. Which frames of the first and of the last group
    /// are wanted is not read: whoever wants a part of a group gets all of it, from its beginning.
    pub(super) fn decode(message: &mut Bytes, version: Version) -> Result<Self, WireError> {
        let priority = u8::decode(message)?;
        if version == Version::Lite05 {
            // An order of groups, which is fixed since.
            u8::decode(message)?;
        }
        let max_age = Duration::from_millis(get(message)?);
        let first = get(message)?;
        let first = match version {
            Version::Lite05 => first.checked_sub(1),
            Version::Lite06 => (first > 0).then_some(first),
        };
        let last = get(message)?.checked_sub(1);
        Ok(Self {
            priority,
            max_age,
            first,
            last,
        })
    }
}

fn name(message: &mut Bytes) -> Result<String, WireError> {
    let length = get(message)?;
    let length = usize::try_from(length).map_err(|_| WireError::Long(length))?;
    if message.remaining() < length {
        return Err(UnexpectedEnd.into());
    }
    let name = message.split_to(length).to_vec();
    String::from_utf8(name).map_err(|_| WireError::Name)
}

fn get(message: &mut impl Buf) -> Result<u64, UnexpectedEnd> {
    VarInt::decode(message).map(VarInt::into_inner)
}

fn put(message: &mut BytesMut, number: u64) {
    // All that come here came as such numbers, and are no larger.
    VarInt::from_u64(number)
        .unwrap_or(VarInt::MAX)
        .encode(message);
}

/// Takes a number off the front, if all of it is there.
pub(super) fn take_number(buffer: &mut BytesMut) -> Option<u64> {
    let mut ahead = &buffer[..];
    let number = get(&mut ahead).ok()?;
    let taken = buffer.len() - ahead.len();
    buffer.advance(taken);
    Some(number)
}

/// A number as it is on the wire.
pub(super) fn number(number: u64) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(8);
    put(&mut buffer, number);
    buffer
}

/// Takes a message off the front, if all of it is there.
pub(super) fn take_message(buffer: &mut BytesMut) -> Result<Option<Bytes>, WireError> {
    let mut ahead = &buffer[..];
    let Ok(size) = get(&mut ahead) else {
        return Ok(None);
    };
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    if length > MESSAGE_MAX {
        return Err(WireError::Long(size));
    }
    if ahead.len() < length {
        return Ok(None);
    }
    let prefix = buffer.len() - ahead.len();
    buffer.advance(prefix);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Tells where a subscription begins.
pub(super) fn put_start(buffer: &mut BytesMut, group: u64) {
    put_typed(buffer, START, group);
}

/// Tells before which group a subscription ends.
pub(super) fn put_end(buffer: &mut BytesMut, group: u64) {
    put_typed(buffer, END, group);
}

fn put_typed(buffer: &mut BytesMut, kind: u64, group: u64) {
    put(buffer, kind);
    put(buffer, size_of(group));
    put(buffer, group);
}

/// What a group's stream begins with.
pub(super) fn group_header(version: Version, subscription: u64, group: u64) -> BytesMut {
    let mut header = BytesMut::with_capacity(24);
    let from_the_first_frame = match version {
        Version::Lite05 => None,
        Version::Lite06 => Some(0),
    };
    put(&mut header, GROUP);
    let frame = from_the_first_frame.map_or(0, size_of);
    put(&mut header, size_of(subscription) + size_of(group) + frame);
    put(&mut header, subscription);
    put(&mut header, group);
    if let Some(frame) = from_the_first_frame {
        put(&mut header, frame);
    }
    header
}

/// What a frame begins with: by how much its time differs from the frame's before it (from zero, for
/// the first of a group), and its size. None when that is more than can be said.
pub(super) fn frame_header(before: u64, time: u64, size: u64) -> Option<BytesMut> {
    let delta = i64::try_from(i128::from(time) - i128::from(before)).ok()?;
    // Small numbers of both signs become small numbers.
    let folded = (delta.cast_unsigned() << 1) ^ (delta >> 63).cast_unsigned();
    let (folded, size) = (VarInt::from_u64(folded).ok()?, VarInt::from_u64(size).ok()?);
    let mut header = BytesMut::with_capacity(16);
    folded.encode(&mut header);
    size.encode(&mut header);
    Some(header)
}

/// Bytes that a number takes.
fn size_of(number: u64) -> u64 {
    match number {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted {
        priority: 200,
        max_age: Duration::from_millis(250),
        first: Some(6),
        last: Some(9),
    };

    #[test]
    fn a_request_of_either_version_is_understood() {
        let names = [7, 1, b's', 1, b'v', 200];
        let five = [&names[..], &[0, 0x40, 250, 7, 10]].concat();
        let six = [&names[..], &[0x40, 250, 6, 10, 0, 0]].concat();
        for (version, message) in [(Version::Lite05, five), (Version::Lite06, six)] {
            let read = Subscribe::decode(message.into(), version).unwrap();
            let expected = Subscribe {
                id: 7,
                broadcast: "s".to_owned(),
                track: "v".to_owned(),
                wanted: WANTED,
            };
            assert_eq!(read, expected, "{version:?}");
        }
    }

    #[test]
    fn no_first_group_is_none_in_either_version() {
        for (version, message) in [
            (Version::Lite05, &[0, 0, 0, 0, 0][..]),
            (Version::Lite06, &[0, 0, 0, 0, 0, 0]),
        ] {
            let read = Wanted::decode(&mut Bytes::from_static(message), version).unwrap();
            assert_eq!((read.first, read.last), (None, None), "{version:?}");
        }
    }

    #[test]
    fn a_message_is_taken_when_it_is_there() {
        let mut buffer = BytesMut::from(&[3, 1, 2][..]);
        assert_eq!(take_message(&mut buffer).unwrap(), None);
        buffer.extend_from_slice(&[3, 9]);
        assert_eq!(take_message(&mut buffer).unwrap().unwrap()[..], [1, 2, 3]);
        assert_eq!(buffer[..], [9]);
        let mut buffer = BytesMut::from(&[0x50, 0x01][..]);
        assert!(matches!(
            take_message(&mut buffer),
            Err(WireError::Long(4_097))
        ));
    }

    #[test]
    fn a_frames_time_is_a_difference_of_either_sign() {
        let header = |before, time| frame_header(before, time, 5).map(|it| it.to_vec());
        assert_eq!(header(0, 0), Some(vec![0, 5]));
        assert_eq!(header(10, 12), Some(vec![4, 5]));
        assert_eq!(header(12, 10), Some(vec![3, 5]));
        assert_eq!(header(0, u64::MAX), None);
        assert_eq!(frame_header(0, 0, u64::MAX), None);
    }

    #[test]
    fn a_group_says_whose_it_is() {
        assert_eq!(
            group_header(Version::Lite05, 3, 64)[..],
            [0, 3, 3, 0x40, 64]
        );
        assert_eq!(group_header(Version::Lite06, 3, 4)[..], [0, 3, 3, 4, 0]);
    }
}
