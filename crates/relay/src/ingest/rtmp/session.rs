//! One publisher's side of RTMP, without the connection: bytes go in, answers and tags come out.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::super::codec::Malformed;
use super::amf::{self, Value};
use super::chunk::{self, Chunks, Message};

/// Both sides send so much to begin with.
const GREETING: usize = 1_536;

/// How much we take before we say that we have it, and let the other side send.
const WINDOW: u32 = 2_500_000;

/// The stream that a connection gets: one is enough for a camera.
const STREAM: u32 = 1;

/// Names are short; what is longer is somebody trying.
const NAME_MAX: usize = 512;

mod kind {
    pub(super) const CHUNK_SIZE: u8 = 1;
    pub(super) const ABORT: u8 = 2;
    pub(super) const ACKNOWLEDGEMENT: u8 = 3;
    pub(super) const CONTROL: u8 = 4;
    pub(super) const WINDOW: u8 = 5;
    pub(super) const BANDWIDTH: u8 = 6;
    pub(super) const AUDIO: u8 = 8;
    pub(super) const VIDEO: u8 = 9;
    pub(super) const COMMAND_AMF3: u8 = 17;
    pub(super) const COMMAND: u8 = 20;
}

/// What the publisher does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It wants to publish. Answer with [`Session::admit`] or [`Session::refuse`].
    Publish {
        app: String,
        name: String,
    },
    Video {
        timestamp: u32,
        body: Bytes,
    },
    Audio {
        timestamp: u32,
        body: Bytes,
    },
    /// It stops.
    Finished,
}

#[derive(Debug)]
pub(super) struct Session {
    phase: Phase,
    greeting: BytesMut,
    chunks: Chunks,
    out: BytesMut,
    events: VecDeque<Event>,
    app: String,
    received: u32,
    acknowledged: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first greeting is awaited.
    Strange,
    /// The echo of ours is awaited.
    Greeted,
    Talking,
    /// Whether it may publish is being decided.
    Asking,
    Publishing,
    /// Whatever comes is thrown away.
    Over,
}

const BROKEN: Malformed = Malformed("this is not RTMP, or it is broken");

impl Session {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Strange,
            greeting: BytesMut::new(),
            chunks: Chunks::default(),
            out: BytesMut::new(),
            events: VecDeque::new(),
            app: String::new(),
            received: 0,
            acknowledged: 0,
        }
    }

    /// Takes what has come. Drain `poll_transmit` and `poll_event` after it.
    pub(super) fn handle(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        if matches!(self.phase, Phase::Strange | Phase::Greeted) {
            self.greet(&mut bytes)?;
        }
        if self.phase == Phase::Over || bytes.is_empty() {
            return Ok(());
        }
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.received = self.received.wrapping_add(count);
        if self.received.wrapping_sub(self.acknowledged) > WINDOW / 2 {
            self.acknowledged = self.received;
            self.control(kind::ACKNOWLEDGEMENT, &self.received.to_be_bytes());
        }
        self.chunks.handle(bytes);
        while let Some(message) = self.chunks.poll()? {
            self.handle_message(message)?;
        }
        Ok(())
    }

    /// What to send.
    pub(super) fn poll_transmit(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| self.out.split().freeze())
    }

    /// What the publisher did.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// It may publish.
    pub(super) fn admit(&mut self) {
        self.phase = Phase::Publishing;
        self.chunks.set_most(chunk::PUBLISHING_MAX);
        self.status("status", "NetStream.Publish.Start", "welcome");
    }

    /// It may not, or no longer, for these reasons.
    pub(super) fn refuse(&mut self, words: &str) {
        let code = match self.phase {
            Phase::Publishing => "NetStream.Publish.Failed",
            _ => "NetStream.Publish.Denied",
        };
        self.status("error", code, words);
        self.phase = Phase::Over;
        self.chunks = Chunks::default();
    }

    fn greet(&mut self, bytes: &mut &[u8]) -> Result<(), Malformed> {
        let whole = match self.phase {
            Phase::Strange => 1 + GREETING,
            _ => GREETING,
        };
        let missing = (whole - self.greeting.len()).min(bytes.len());
        self.greeting.extend_from_slice(&bytes[..missing]);
        bytes.advance(missing);
        if self.phase == Phase::Strange && self.greeting.first().is_some_and(|it| *it != 3) {
            return Err(Malformed("this is not RTMP"));
        }
        if self.greeting.len() < whole {
            return Ok(());
        }
        let theirs = self.greeting.split();
        if self.phase == Phase::Greeted {
            self.phase = Phase::Talking;
            return Ok(());
        }
        // Ours is all zeros: the version tells tools not to look for a signature.
        self.out.put_u8(3);
        self.out.put_bytes(0, GREETING);
        self.out.put_slice(&theirs[1..]);
        self.phase = Phase::Greeted;
        self.greet(bytes)
    }

    fn handle_message(&mut self, message: Message) -> Result<(), Malformed> {
        let Message {
            kind,
            timestamp,
            mut body,
            ..
        } = message;
        match kind {
            kind::CHUNK_SIZE => {
                let size = body.try_get_u32().map_err(|_| BROKEN)?;
                self.chunks.set_chunk_size(size & 0x7fff_ffff);
            }
            kind::ABORT => self.chunks.abort(body.try_get_u32().map_err(|_| BROKEN)?),
            kind::CONTROL => self.handle_control(body),
            kind::AUDIO if self.phase == Phase::Publishing => {
                self.events.push_back(Event::Audio { timestamp, body });
            }
            kind::VIDEO if self.phase == Phase::Publishing => {
                self.events.push_back(Event::Video { timestamp, body });
            }
            kind::COMMAND => self.handle_command(&amf::read(body)?),
            kind::COMMAND_AMF3 => {
                // The same behind a byte that says so.
                body.try_get_u8().map_err(|_| BROKEN)?;
                self.handle_command(&amf::read(body)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_control(&mut self, mut body: Bytes) {
        const PING: u16 = 6;
        const PONG: u16 = 7;
        if body.try_get_u16() == Ok(PING) && body.len() == 4 {
            let mut pong = BytesMut::new();
            pong.put_u16(PONG);
            pong.put_slice(&body);
            self.control(kind::CONTROL, &pong);
        }
    }

    fn handle_command(&mut self, values: &[Value]) {
        let Some(command) = values.first().and_then(Value::as_text) else {
            return;
        };
        let transaction = values.get(1).and_then(Value::as_number).unwrap_or_default();
        let name = values.get(3).and_then(Value::as_text).unwrap_or_default();
        match command {
            "connect" => {
                let app = values.get(2).and_then(|it| it.property("app"));
                self.app = cut(app.and_then(Value::as_text).unwrap_or_default());
                self.connected(transaction);
            }
            "createStream" => {
                let stream = Value::Number(STREAM.into());
                self.answer(&[
                    Value::text("_result"),
                    Value::Number(transaction),
                    Value::Null,
                    stream,
                ]);
            }
            "releaseStream" | "FCPublish" => self.answer(&[
                Value::text("_result"),
                Value::Number(transaction),
                Value::Null,
                Value::Null,
            ]),
            "publish" if self.phase == Phase::Talking => {
                self.phase = Phase::Asking;
                self.events.push_back(Event::Publish {
                    app: self.app.clone(),
                    name: cut(name),
                });
            }
            "play" => {
                self.refuse("cameras publish here; to watch, open the event's page in a browser")
            }
            "FCUnpublish" | "deleteStream" | "closeStream" if self.phase == Phase::Publishing => {
                self.events.push_back(Event::Finished);
            }
            _ => {}
        }
    }

    fn connected(&mut self, transaction: f64) {
        self.control(kind::WINDOW, &WINDOW.to_be_bytes());
        let mut bandwidth = WINDOW.to_be_bytes().to_vec();
        bandwidth.push(2); // The window is whatever is smaller.
        self.control(kind::BANDWIDTH, &bandwidth);
        self.control(kind::CHUNK_SIZE, &chunk::OUR_CHUNK.to_be_bytes());
        let server = Value::Object(vec![
            ("fmsVer".into(), Value::text("FMS/3,0,1,123")),
            ("capabilities".into(), Value::Number(31.0)),
        ]);
        let mut success = status("status", "NetConnection.Connect.Success", "welcome");
        success.push(("objectEncoding".into(), Value::Number(0.0)));
        self.answer(&[
            Value::text("_result"),
            Value::Number(transaction),
            server,
            Value::Object(success),
        ]);
    }

    fn status(&mut self, level: &str, code: &str, words: &str) {
        let values = [
            Value::text("onStatus"),
            Value::Number(0.0),
            Value::Null,
            Value::Object(status(level, code, words)),
        ];
        self.send(5, STREAM, kind::COMMAND, amf::write(&values));
    }

    fn answer(&mut self, values: &[Value]) {
        self.send(3, 0, kind::COMMAND, amf::write(values));
    }

    fn control(&mut self, kind: u8, body: &[u8]) {
        self.send(2, 0, kind, Bytes::copy_from_slice(body));
    }

    fn send(&mut self, chunk_stream: u8, stream: u32, kind: u8, body: Bytes) {
        let message = Message {
            kind,
            stream,
            timestamp: 0,
            body,
        };
        chunk::write(&mut self.out, chunk_stream, &message);
    }
}

fn status(level: &str, code: &str, words: &str) -> Vec<(String, Value)> {
    vec![
        ("level".into(), Value::text(level)),
        ("code".into(), Value::text(code)),
        ("description".into(), Value::text(words)),
    ]
}

fn cut(name: &str) -> String {
    name.chars().take(NAME_MAX).collect()
}
