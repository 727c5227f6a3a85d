//! Bytes of a link: `kind: u8, length: u32 big endian, message`, then the end of the stream.
//!
//! The length is there because a stream that is dropped half way looks finished.

use bytes::Bytes;
use quinn::{Connection, ConnectionError, ReadExactError, RecvStream, SendStream, WriteError};

use super::CallError;

/// The longest message, in bytes. A node's whole state is a few kilobytes.
pub const MESSAGE_MAX: usize = 1024 * 1024;

/// The longest frame.
pub(super) const LENGTH_MAX: u32 = HEADER as u32 + 1024 * 1024;

pub(super) const PING: u8 = 0;
pub(super) const CALL: u8 = 1;
const NOTICE: u8 = 2;
const ANSWER: u8 = 3;
const REFUSAL: u8 = 4;

const HEADER: usize = 5;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The other side gave up, or the connection is gone.
    #[error("the stream ended early")]
    Cut,
    #[error("a message of {0} bytes is over the limit of {MESSAGE_MAX}")]
    TooLarge(usize),
    #[error("unexpected bytes on the stream")]
    Malformed,
}

/// Sends a request and reads the answer.
pub(super) async fn exchange(
    connection: &Connection,
    kind: u8,
    request: &[u8],
) -> Result<Bytes, CallError> {
    check_length(request)?;
    let (mut send, mut receive) = connection.open_bi().await.map_err(CallError::Closed)?;
    match write_frame(&mut send, kind, request).await {
        // An early answer may say why the other side stopped reading.
        Ok(()) | Err(FrameError::Cut) => {}
        Err(error) => return Err(failed(connection, error)),
    }
    read_answer(connection, &mut receive).await
}

pub(super) async fn send_notice(connection: &Connection, notice: &[u8]) -> Result<(), CallError> {
    check_length(notice)?;
    let mut send = connection.open_uni().await.map_err(CallError::Closed)?;
    write_frame(&mut send, NOTICE, notice)
        .await
        .map_err(|error| failed(connection, error))
}

/// Reads a request and writes what `handle` makes of it.
pub(super) async fn answer<F: Future<Output = Result<Bytes, String>>>(
    mut send: SendStream,
    mut receive: RecvStream,
    handle: impl FnOnce(Bytes) -> F,
) -> Result<(), FrameError> {
    let (kind, request) = read_frame(&mut receive).await?;
    let result = match kind {
        PING => Ok(Bytes::new()),
        CALL => handle(request).await,
        _ => return Err(FrameError::Malformed),
    };
    match result {
        Ok(answer) if answer.len() > MESSAGE_MAX => {
            let text = FrameError::TooLarge(answer.len()).to_string();
            write_frame(&mut send, REFUSAL, text.as_bytes()).await
        }
        Ok(answer) => write_frame(&mut send, ANSWER, &answer).await,
        Err(mut text) => {
            text.truncate(text.floor_char_boundary(MESSAGE_MAX));
            write_frame(&mut send, REFUSAL, text.as_bytes()).await
        }
    }
}

async fn read_answer(
    connection: &Connection,
    receive: &mut RecvStream,
) -> Result<Bytes, CallError> {
    let (kind, answer) = read_frame(receive)
        .await
        .map_err(|error| failed(connection, error))?;
    match kind {
        ANSWER => Ok(answer),
        REFUSAL => Err(CallError::Refused(
            String::from_utf8_lossy(&answer).into_owned(),
        )),
        _ => Err(CallError::Malformed),
    }
}

pub(super) async fn read_frame(receive: &mut RecvStream) -> Result<(u8, Bytes), FrameError> {
    let mut header = [0; HEADER];
    read_exact(receive, &mut header).await?;
    let [kind, length @ ..] = header;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MESSAGE_MAX {
        return Err(FrameError::TooLarge(length));
    }
    // Grows with what has arrived: a length alone costs us nothing.
    let message = receive
        .read_to_end(length)
        .await
        .map_err(|error| match error {
            quinn::ReadToEndError::TooLong => FrameError::Malformed,
            quinn::ReadToEndError::Read(_) => FrameError::Cut,
        })?;
    if message.len() != length {
        return Err(FrameError::Cut);
    }
    Ok((kind, message.into()))
}

pub(super) async fn write_frame(
    send: &mut SendStream,
    kind: u8,
    message: &[u8],
) -> Result<(), FrameError> {
    let length = u32::try_from(message.len())
        .ok()
        .filter(|_| message.len() <= MESSAGE_MAX)
        .ok_or(FrameError::TooLarge(message.len()))?;
    let mut header = [kind; HEADER];
    header[1..].copy_from_slice(&length.to_be_bytes());
    let cut = |_: WriteError| FrameError::Cut;
    send.write_all(&header).await.map_err(cut)?;
    send.write_all(message).await.map_err(cut)?;
    // Fails only if the other side has stopped reading, which its answer tells.
    let _ = send.finish();
    Ok(())
}

async fn read_exact(receive: &mut RecvStream, buffer: &mut [u8]) -> Result<(), FrameError> {
    receive
        .read_exact(buffer)
        .await
        .map_err(|error| match error {
            ReadExactError::FinishedEarly(_) | ReadExactError::ReadError(_) => FrameError::Cut,
        })
}

fn check_length(message: &[u8]) -> Result<(), CallError> {
    let size = message.len();
    if size > MESSAGE_MAX {
        return Err(CallError::TooLarge { size });
    }
    Ok(())
}

fn failed(connection: &Connection, error: FrameError) -> CallError {
    match error {
        FrameError::TooLarge(size) => CallError::TooLarge { size },
        FrameError::Malformed => CallError::Malformed,
        FrameError::Cut => {
            // A stream without its connection's end: the other side dropped the request.
            let reason = connection.close_reason();
            CallError::Closed(reason.unwrap_or(ConnectionError::Reset))
        }
    }
}
