//! The conversation with a PulseAudio daemon.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{self, BufReader, Cursor, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use pulseaudio::protocol::{
    self, AuthParams, AuthReply, ChannelMap, ChannelVolume, Command, CommandReply,
    CreateRecordStreamReply, DESCRIPTOR_SIZE, LookupReply, MAX_VERSION, Prop, Props, ProtocolError,
    RecordStreamParams, SampleFormat, SampleSpec, SetClientNameReply, SinkInputInfoList,
    SubscriptionMask, TagStructReader,
    stream::{BufferAttr, StreamFlags},
};

use super::SoundError;

/// For each answer while the conversation begins.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Beyond it a message is nonsense; the longest we expect is a list of what plays.
const MESSAGE_MAX: usize = 1024 * 1024;
/// Bytes of 10 ms: how much the daemon sends at a time.
const FRAGMENT: u32 = 1920;
/// What the daemon keeps for us at most, 250 ms: if we are that late, old sound is worth nothing.
const BUFFER: u32 = 48_000;
/// Read at a time.
const CHUNK: usize = 16 * 1024;
/// A daemon with `auth-anonymous` lets any cookie pass, but one of this length must be there.
const COOKIE: [u8; 256] = [0; 256];
/// The channel of messages that are no samples.
const COMMANDS: u32 = u32::MAX;

/// What the daemon said.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    /// A stream of samples begins.
    Begin,
    /// Samples of it.
    Samples(&'a [u8]),
}

/// An answer that is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Subscription,
    Playing,
    Open,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Closed,
    Opening,
    Open { channel: u32 },
}

#[derive(Debug)]
pub(super) struct Pulse {
    socket: UnixStream,
    version: u16,
    monitor: CString,
    next_seq: u32,
    /// Invariant: a handful, as nothing is asked again before it was answered.
    awaited: BTreeMap<u32, Awaited>,
    /// What was read and not yet understood, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// Whether an app plays, and whether that must be asked again.
    playing: bool,
    ask_playing: bool,
    wanted: bool,
    stream: Stream,
}

impl Pulse {
    /// Connects and finds the source; waits for the daemon's answers.
    pub(super) fn connect(path: &Path, monitor: &str) -> Result<Self, SoundError> {
        let unreachable = |source| SoundError::Connect {
            socket: path.display().to_string(),
            source,
        };
        let socket = UnixStream::connect(path).map_err(unreachable)?;
        socket
            .set_read_timeout(Some(ANSWER_WAIT))
            .map_err(unreachable)?;
        let monitor = CString::new(monitor)
            .map_err(|error| unreachable(io::Error::new(ErrorKind::InvalidInput, error)))?;

        let auth = Command::Auth(AuthParams {
            version: MAX_VERSION,
            supports_shm: false,
            supports_memfd: false,
            cookie: COOKIE.to_vec(),
        });
        let hello: AuthReply = ask(&socket, 0, &auth, MAX_VERSION, "let us in")?;
        let version = hello.version.min(MAX_VERSION);
        let mut props = Props::new();
        props.set(Prop::ApplicationName, c"selvedge");
        let named = Command::SetClientName(props);
        let _: SetClientNameReply = ask(&socket, 1, &named, version, "know our name")?;
        let lookup = Command::LookupSource(monitor.clone());
        let _: LookupReply = ask(&socket, 2, &lookup, version, "find the monitor")?;

        socket.set_nonblocking(true).map_err(SoundError::System)?;
        let mut pulse = Self {
            socket,
            version,
            monitor,
            next_seq: 3,
            awaited: BTreeMap::new(),
            buffer: Vec::new(),
            start: 0,
            playing: false,
            ask_playing: true,
            wanted: false,
            stream: Stream::Closed,
        };
        let subscribe = Command::Subscribe(SubscriptionMask::SINK_INPUT);
        pulse.send(&subscribe, Awaited::Subscription)?;
        Ok(pulse)
    }

    /// What to wait for after [`next`](Self::next) gave nothing.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether samples are wanted. They come while, in addition, an app plays.
    pub(super) fn listen_if(&mut self, wanted: bool) -> Result<(), SoundError> {
        self.wanted = wanted;
        self.follow()
    }

    /// The next thing that was heard; `None` until there is more to read.
    pub(super) fn next(&mut self) -> Result<Option<Heard<'_>>, SoundError> {
        loop {
            let Some((channel, len)) = self.message()? else {
                if self.read()? {
                    continue;
                }
                return Ok(None);
            };
            let body = self.start + DESCRIPTOR_SIZE..self.start + DESCRIPTOR_SIZE + len;
            self.start = body.end;
            if channel == COMMANDS {
                let began = self.handle(body)?;
                self.follow()?;
                if began {
                    return Ok(Some(Heard::Begin));
                }
            } else if self.stream == (Stream::Open { channel }) {
                return Ok(Some(Heard::Samples(&self.buffer[body])));
            } // else samples of a stream that was just closed
        }
    }

    /// Asks for whatever should be otherwise than it is.
    fn follow(&mut self) -> Result<(), SoundError> {
        // An answer under way may be older than what happened last, so it is asked again after.
        let asked = self.awaited.values().any(|it| *it == Awaited::Playing);
        if self.ask_playing && !asked {
            self.ask_playing = false;
            self.send(&Command::GetSinkInputInfoList, Awaited::Playing)?;
        }
        match self.stream {
            Stream::Closed if self.wanted && self.playing => {
                self.stream = Stream::Opening;
                let stream = Command::CreateRecordStream(self.stream_params());
                self.send(&stream, Awaited::Open)
            }
            Stream::Open { channel } if !(self.wanted && self.playing) => {
                self.stream = Stream::Closed;
                let close = Command::DeleteRecordStream(channel);
                self.send(&close, Awaited::Close)
            }
            Stream::Closed | Stream::Opening | Stream::Open { .. } => Ok(()),
        }
    }

    fn stream_params(&self) -> RecordStreamParams {
        RecordStreamParams {
            sample_spec: SampleSpec {
                format: SampleFormat::S16Le,
                channels: 2,
                sample_rate: 48_000,
            },
            channel_map: ChannelMap::stereo(),
            source_name: Some(self.monitor.clone()),
            buffer_attr: BufferAttr {
                fragment_size: FRAGMENT,
                max_length: BUFFER,
                ..BufferAttr::default()
            },
            cvolume: Some(ChannelVolume::norm(2)),
            flags: StreamFlags {
                adjust_latency: true,
                ..StreamFlags::default()
            },
            ..RecordStreamParams::default()
        }
    }

    fn send(&mut self, command: &Command, awaited: Awaited) -> Result<(), SoundError> {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.awaited.insert(seq, awaited);
        let mut message = Vec::new();
        protocol::encode_command_message(&mut message, seq, command, self.version)
            .map_err(SoundError::Protocol)?;
        // The messages are short and few; a daemon that takes none has hung.
        self.socket.write_all(&message).map_err(SoundError::Gone)
    }

    /// The channel and length of the next whole message.
    fn message(&self) -> Result<Option<(u32, usize)>, SoundError> {
        let rest = &self.buffer[self.start..];
        if rest.len() < DESCRIPTOR_SIZE {
            return Ok(None);
        }
        let descriptor =
            protocol::read_descriptor(&mut Cursor::new(rest)).map_err(SoundError::Protocol)?;
        let len = usize::try_from(descriptor.length).unwrap_or(usize::MAX);
        if len > MESSAGE_MAX {
            let long = ProtocolError::Invalid(format!("a message of {len} bytes"));
            return Err(SoundError::Protocol(long));
        }
        let whole = rest.len() >= DESCRIPTOR_SIZE + len;
        Ok(whole.then_some((descriptor.channel, len)))
    }

    /// Reads more; false if there is no more now.
    fn read(&mut self) -> Result<bool, SoundError> {
        self.buffer.drain(..std::mem::take(&mut self.start));
        let mut chunk = [0; CHUNK];
        match self.socket.read(&mut chunk) {
            Ok(0) => Err(SoundError::Gone(ErrorKind::UnexpectedEof.into())),
            Ok(len) => {
                self.buffer.extend_from_slice(&chunk[..len]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(SoundError::Gone(error)),
        }
    }

    /// Takes in a command; says whether a stream began.
    fn handle(&mut self, body: std::ops::Range<usize>) -> Result<bool, SoundError> {
        let mut cursor = Cursor::new(&self.buffer[body]);
        let read = Command::read_tag_prefixed(&mut cursor, self.version);
        let (seq, command) = match read {
            Ok(read) => read,
            // A notice that the crate does not know; answers it does.
            Err(ProtocolError::Unimplemented(..)) => return Ok(false),
            Err(error) => return Err(SoundError::Protocol(error)),
        };
        match command {
            Command::Reply => {
                let awaited = self.awaited.remove(&seq);
                let mut reader = TagStructReader::new(&mut cursor, self.version);
                match awaited {
                    Some(Awaited::Playing) => {
                        let list: SinkInputInfoList =
                            reader.read().map_err(SoundError::Protocol)?;
                        self.playing = list.iter().any(|input| !input.corked);
                    }
                    Some(Awaited::Open) => {
                        let reply: CreateRecordStreamReply =
                            reader.read().map_err(SoundError::Protocol)?;
                        let channel = reply.channel;
                        self.stream = Stream::Open { channel };
                        return Ok(true);
                    }
                    Some(Awaited::Subscription | Awaited::Close) | None => {}
                }
            }
            Command::SubscribeEvent(_) => self.ask_playing = true,
            Command::RecordStreamKilled(_) => {
                self.stream = Stream::Closed;
                self.ask_playing = true;
            }
            Command::Error(error) => {
                let what = match self.awaited.remove(&seq) {
                    Some(Awaited::Subscription) => "tell what plays",
                    Some(Awaited::Playing) => "list what plays",
                    Some(Awaited::Open) => "record",
                    // It was closed from the other side first.
                    Some(Awaited::Close) | None => return Ok(false),
                };
                return Err(SoundError::Refused { what, error });
            }
            _ => {}
        }
        Ok(false)
    }
}

/// Asks and waits for the answer.
fn ask<R: CommandReply>(
    socket: &UnixStream,
    seq: u32,
    command: &Command,
    version: u16,
    what: &'static str,
) -> Result<R, SoundError> {
    let failed = |error| match error {
        ProtocolError::ServerError(error) => SoundError::Refused { what, error },
        ProtocolError::Io(error) => SoundError::Gone(error),
        error => SoundError::Protocol(error),
    };
    let mut writer = socket;
    protocol::write_command_message(&mut writer, seq, command, version).map_err(failed)?;
    // Nothing comes but the answer, so nothing is lost in this buffer.
    let mut reader = BufReader::new(socket);
    let (_, reply) = protocol::read_reply_message(&mut reader, version).map_err(failed)?;
    Ok(reply)
}
