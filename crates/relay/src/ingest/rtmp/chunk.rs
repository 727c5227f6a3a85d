//! RTMP's chunks: several messages share one connection, piece by piece. Pure.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::super::codec::Malformed;
use crate::media::SAMPLE_MAX;

/// Messages that may be under way at once. Tools use four to six.
const STREAMS_MAX: usize = 32;

/// What all messages under way may say they have, once somebody may publish: two pictures.
pub(super) const PUBLISHING_MAX: usize = 2 * SAMPLE_MAX + 65_536;

/// The same before: commands.
pub(super) const GREETING_MAX: usize = 65_536;

/// What we write in one piece: every message of ours.
pub(super) const OUR_CHUNK: u32 = 65_536;

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub kind: u8,
    pub stream: u32,
    /// Milliseconds.
    pub timestamp: u32,
    pub body: Bytes,
}

/// Puts messages together.
#[derive(Debug)]
pub(super) struct Chunks {
    buffer: BytesMut,
    chunk_size: usize,
    most: usize,
    streams: BTreeMap<u32, Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    kind: u8,
    stream: u32,
    timestamp: u32,
    /// As it stands in the header: absolute or since the last one.
    field: u32,
    length: usize,
    body: BytesMut,
}

const BROKEN: Malformed = Malformed("this is not RTMP, or it is broken");

impl Default for Chunks {
    fn default() -> Self {
        Self {
            buffer: BytesMut::new(),
            chunk_size: 128,
            most: GREETING_MAX,
            streams: BTreeMap::new(),
        }
    }
}

impl Chunks {
    /// Takes what has come. Drain `poll` after it: it holds no more than one piece that is not whole.
    pub(super) fn handle(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The pieces of the other side are so long from here on.
    pub(super) fn set_chunk_size(&mut self, size: u32) {
        self.chunk_size = usize::try_from(size)
            .unwrap_or(usize::MAX)
            .clamp(1, PUBLISHING_MAX);
    }

    /// How much may be under way from here on.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// The message that was begun on this chunk stream will not be finished.
    pub(super) fn abort(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.body.clear();
        }
    }

    /// The next whole message.
    pub(super) fn poll(&mut self) -> Result<Option<Message>, Malformed> {
        while let Some((header, size)) = self.header()? {
            let Some(stream) = self.streams.get_mut(&header.id) else {
                return Err(BROKEN);
            };
            let piece = (header.length - stream.body.len()).min(self.chunk_size);
            if self.buffer.len() < size + piece {
                return Ok(None);
            }
            let starts = stream.body.is_empty();
            if starts {
                stream.start(&header);
            }
            self.buffer.advance(size);
            stream.body.extend_from_slice(&self.buffer.split_to(piece));
            if stream.body.len() == stream.length {
                return Ok(Some(Message {
                    kind: stream.kind,
                    stream: stream.stream,
                    timestamp: stream.timestamp,
                    body: std::mem::take(&mut stream.body).freeze(),
                }));
            }
        }
        Ok(None)
    }

    /// The header at the start of the buffer and its length, if it is all there. Changes nothing but
    /// that its stream is known.
    fn header(&mut self) -> Result<Option<(Header, usize)>, Malformed> {
        let mut at = &self.buffer[..];
        let Some(header) = basic(&mut at) else {
            return Ok(None);
        };
        let (format, id) = header;
        if !self.streams.contains_key(&id) {
            // Whoever begins with a short header has begun in the middle.
            if format != 0 || self.streams.len() >= STREAMS_MAX {
                return Err(BROKEN);
            }
            self.streams.insert(id, Stream::default());
        }
        let known = self.streams.get(&id).ok_or(BROKEN)?;
        let continues = !known.body.is_empty();
        let mut header = Header {
            id,
            format,
            kind: known.kind,
            stream: known.stream,
            field: known.field,
            length: known.length,
        };
        let needed = [11, 7, 3, 0][usize::from(format)];
        if at.len() < needed {
            return Ok(None);
        }
        let mut extended = known.field >= EXTENDED;
        if format <= 2 {
            let field = three(&mut at);
            extended = field == EXTENDED;
            header.field = field;
        }
        if format <= 1 {
            header.length = three(&mut at) as usize;
            header.kind = at.get_u8();
        }
        if format == 0 {
            header.stream = at.get_u32_le();
        }
        // Some tools leave it out of continuations: what follows tells.
        let expected = known.field.to_be_bytes();
        let left_out = |at: &[u8]| format == 3 && !expected.iter().zip(at).all(|(a, b)| a == b);
        if extended && !left_out(at) {
            let Some(field) = at.first_chunk::<4>() else {
                return Ok(None);
            };
            header.field = u32::from_be_bytes(*field);
            at.advance(4);
        }
        if continues && (format <= 2 && header.length != known.length) {
            return Err(BROKEN);
        }
        let size = self.buffer.len() - at.len();
        let under_way = self.streams.values().map(|it| it.body.len()).sum::<usize>();
        let begun = if continues { 0 } else { header.length };
        if under_way.saturating_add(begun) > self.most {
            return Err(Malformed("a message is too large"));
        }
        Ok(Some((header, size)))
    }
}

/// A timestamp that says: the real one follows.
const EXTENDED: u32 = 0xff_ff_ff;

struct Header {
    id: u32,
    format: u8,
    kind: u8,
    stream: u32,
    field: u32,
    length: usize,
}

impl Stream {
    fn start(&mut self, header: &Header) {
        self.kind = header.kind;
        self.stream = header.stream;
        self.length = header.length;
        self.field = header.field;
        self.timestamp = match header.format {
            0 => header.field,
            _ => self.timestamp.wrapping_add(header.field),
        };
    }
}

/// Format and chunk stream.
fn basic(at: &mut &[u8]) -> Option<(u8, u32)> {
    let first = at.first()?;
    let format = first >> 6;
    let (id, size) = match first & 0x3f {
        0 => (64 + u32::from(*at.get(1)?), 2),
        1 => (
            64 + u32::from(*at.get(1)?) + 256 * u32::from(*at.get(2)?),
            3,
        ),
        id => (id.into(), 1),
    };
    at.advance(size);
    Some((format, id))
}

fn three(at: &mut &[u8]) -> u32 {
    u32::from(at.get_u8()) << 16 | u32::from(at.get_u16())
}

/// Writes one of our messages, in one piece: they are short.
pub(super) fn write(out: &mut BytesMut, id: u8, message: &Message) {
    debug_assert!(message.body.len() <= OUR_CHUNK as usize, "in one piece");
    out.put_u8(id & 0x3f);
    out.put_uint(0, 3);
    out.put_uint(message.body.len() as u64, 3);
    out.put_u8(message.kind);
    out.put_u32_le(message.stream);
    out.put_slice(&message.body);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds bytes piece by piece and tells the messages as `kind@timestamp:length`.
    fn check(chunks: &mut Chunks, bytes: &[u8], piece: usize) -> String {
        let mut told = Vec::new();
        for bytes in bytes.chunks(piece) {
            chunks.handle(bytes);
            loop {
                match chunks.poll() {
                    Ok(Some(it)) => {
                        told.push(format!("{}@{}:{}", it.kind, it.timestamp, it.body.len()));
                    }
                    Ok(None) => break,
                    Err(error) => return format!("{error}"),
                }
            }
        }
        told.join(" ")
    }

    fn full(id: u8, timestamp: u32, kind: u8, length: u32, body: usize) -> Vec<u8> {
        let mut out = vec![id];
        out.extend(&timestamp.to_be_bytes()[1..]);
        out.extend(&length.to_be_bytes()[1..]);
        out.push(kind);
        out.extend([1, 0, 0, 0]);
        out.extend(vec![7; body]);
        out
    }

    #[test]
    fn messages_are_put_together_however_they_come() {
        let mut bytes = full(4, 1_000, 9, 200, 128);
        bytes.extend(full(6, 1_001, 8, 3, 3)); // Another one in between.
        bytes.push(0xc4);
        bytes.extend([7; 72]);
        bytes.extend([0x44, 0, 0, 40, 0, 0, 2, 9, 7, 7]); // Since the last one, another length.
        bytes.extend([0x84, 0, 0, 33, 7, 7]); // Since the last one.
        bytes.extend([0xc4, 7, 7]); // All as before.
        for piece in [1, 2, 7, 1_000] {
            let told = check(&mut Chunks::default(), &bytes, piece);
            assert_eq!(
                told, "8@1001:3 9@1000:200 9@1040:2 9@1073:2 9@1106:2",
                "by {piece}"
            );
        }
    }

    #[test]
    fn timestamps_beyond_three_bytes() {
        for repeated in [true, false] {
            let mut bytes = full(4, 0xff_ff_ff, 9, 130, 0);
            bytes.extend([2, 0, 0, 0]);
            bytes.extend([7; 128]);
            bytes.push(0xc4);
            if repeated {
                bytes.extend([2, 0, 0, 0]);
            }
            bytes.extend([9; 2]);
            assert_eq!(check(&mut Chunks::default(), &bytes, 5), "9@33554432:130");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_comes() {
        let told = |chunks: &mut Chunks, length| check(chunks, &full(4, 0, 9, length, 0), 99);
        assert_eq!(told(&mut Chunks::default(), 65_536), "");
        assert_eq!(
            told(&mut Chunks::default(), 65_537),
            "a message is too large"
        );
        let mut chunks = Chunks::default();
        chunks.set_most(PUBLISHING_MAX);
        assert_eq!(told(&mut chunks, 9_000_000), "");
        let mut chunks = Chunks::default();
        let one_each = |id: u8| full(id, 0, 9, 1, 1);
        for id in 3..=34 {
            assert_eq!(check(&mut chunks, &one_each(id), 99), "9@0:1");
        }
        assert_eq!(check(&mut chunks, &one_each(35), 99), BROKEN.0);
    }

    #[test]
    fn whoever_begins_in_the_middle_is_refused() {
        assert_eq!(check(&mut Chunks::default(), &[0xc4, 1, 2, 3], 1), BROKEN.0);
        assert_eq!(check(&mut Chunks::default(), &[0x44, 1, 2, 3], 1), BROKEN.0);
    }
}
