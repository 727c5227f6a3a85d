//! Nonsense for a session: see `ingest/fuzz.rs`.

use bytes::{BufMut, Bytes, BytesMut};

use super::amf::{self, Value};
use super::chunk::{self, Message};
use super::session::{Event, Session};
use crate::ingest::fuzz::Dice;

/// What a tool sends, changed; or as it is, to see that it is understood.
pub(in crate::ingest) fn spoilt_session(dice: &mut Dice, tags: &[(u8, u32, Vec<u8>)], whole: bool) {
    let mut bytes = BytesMut::new();
    bytes.put_u8(3);
    bytes.put_bytes(7, 2 * 1_536);
    let put = |bytes: &mut BytesMut, kind, timestamp, body: Bytes| {
        let message = Message {
            kind,
            stream: 1,
            timestamp,
            body,
        };
        chunk::write(bytes, 4, &message);
    };
    put(
        &mut bytes,
        1,
        0,
        Bytes::copy_from_slice(&chunk::OUR_CHUNK.to_be_bytes()),
    );
    let app = Value::Object(vec![("app".into(), Value::text("match"))]);
    for values in [
        &[Value::text("connect"), Value::Number(1.0), app][..],
        &[Value::text("createStream"), Value::Number(2.0), Value::Null],
        &[
            Value::text("publish"),
            Value::Number(3.0),
            Value::Null,
            Value::text("north/key"),
        ],
    ] {
        put(&mut bytes, 20, 0, amf::write(values));
    }
    let greeting = bytes.len();
    for (kind, timestamp, body) in tags {
        put(&mut bytes, *kind, *timestamp, Bytes::copy_from_slice(body));
    }
    let mut bytes = bytes.to_vec();
    if !whole {
        // Mostly what comes before anything is admitted, or right after.
        let from = if dice.below(2) == 0 { 3_073 } else { greeting };
        let spoilt = dice.spoil(&bytes[from..]);
        bytes.splice(from.., spoilt);
    }
    let mut session = Session::new();
    let (mut told, mut answers) = (0, 0);
    // Whoever is honest waits for the answer.
    let (before, after) = bytes.split_at(greeting.min(bytes.len()));
    let pieces = [dice.pieces(before), dice.pieces(after)].concat();
    for piece in pieces {
        let handled = session.handle(piece);
        while let Some(event) = session.poll_event() {
            match event {
                Event::Publish { .. } => session.admit(),
                Event::Video { .. } | Event::Audio { .. } => told += 1,
                Event::Finished => {}
            }
        }
        while let Some(answer) = session.poll_transmit() {
            answers += answer.len();
        }
        if handled.is_err() {
            break;
        }
    }
    assert!(!whole || told == tags.len(), "{told} of {}", tags.len());
    assert!(
        answers < bytes.len() + 8_192,
        "{answers} bytes for {}",
        bytes.len()
    );
}
