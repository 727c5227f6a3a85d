//! Standard input, or whatever else is a stream of bytes: MPEG-TS or fragmented MP4, told apart by
//! how it begins.

use std::borrow::Cow;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use super::mp4::Mp4;
use super::ts::{self, Ts};
use super::{Admitted, Fault, Limits};
use crate::access::Refusal;
use crate::media::{Ended, Published, Sink};

/// Read at once.
const BUFFER: usize = 64 * 1024;

/// What a stream of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// MPEG-TS.
    Ts,
    /// Fragmented MP4.
    Mp4,
}

/// Takes what comes until it ends. It is told by how it begins what it is, unless that is known. As fast as it comes: whoever reads a file paces it. Says how it
/// ended; the publication has been told too.
pub async fn read(
    input: impl AsyncRead + Unpin,
    format: Option<Format>,
    admitted: Admitted,
    stop: CancellationToken,
) -> Ended {
    let Admitted { sink, limits } = admitted;
    let ended = tokio::select! {
        ended = take(input, format, &sink, limits) => ended,
        () = sink.closed() => Ended::Refused(sink.why().to_string()),
        () = stop.cancelled() => Ended::Done,
    };
    // Nobody may be there to hear it.
    let _ = sink.send(Published::Ended(ended.clone())).await;
    ended
}

async fn take(
    mut input: impl AsyncRead + Unpin,
    format: Option<Format>,
    sink: &Sink,
    limits: Limits,
) -> Ended {
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    // Enough to know what it is.
    while filled < 8 {
        match input.read(&mut buffer[filled..]).await {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) => return Ended::Broken(error.to_string()),
        }
    }
    let container = match format {
        Some(Format::Ts) => Ok(Container::Ts(Box::new(Ts::new(limits)))),
        Some(Format::Mp4) => Ok(Container::Mp4(Box::new(Mp4::new(limits)))),
        None => Container::of(&buffer[..filled], limits),
    };
    let mut container = match container {
        Ok(container) => container,
        Err(refusal) => return Ended::Refused(refusal.0.into_owned()),
    };
    loop {
        let taken = match filled {
            0 => container.finish(),
            _ => container.handle(&buffer[..filled]),
        };
        while let Some(published) = container.poll() {
            if sink.send(published).await.is_err() {
                return Ended::Refused(sink.why().to_string());
            }
        }
        match taken {
            Err(fault) => return Ended::Refused(fault.to_string()),
            Ok(()) if filled == 0 => return Ended::Done,
            Ok(()) => {}
        }
        filled = match input.read(&mut buffer).await {
            Ok(count) => count,
            Err(error) => return Ended::Broken(error.to_string()),
        };
    }
}

/// What the bytes are.
pub(super) enum Container {
    Ts(Box<Ts>),
    Mp4(Box<Mp4>),
}

impl Container {
    pub(super) fn of(start: &[u8], limits: Limits) -> Result<Self, Refusal> {
        const HOW: &str = "send MPEG-TS or fragmented MP4: in ffmpeg -f mpegts, or -f mp4 with \
            -movflags +frag_every_frame+delay_moov+default_base_moof";
        let what = match start {
            [ts::SYNC, ..] => return Ok(Self::Ts(Box::new(Ts::new(limits)))),
            [_, _, _, _, b'f' | b's', b't', b'y', b'p', ..] => {
                return Ok(Self::Mp4(Box::new(Mp4::new(limits))));
            }
            [] => "nothing came",
            [b'F', b'L', b'V', ..] => "FLV goes by RTMP",
            [0x1a, 0x45, 0xdf, 0xa3, ..] => "Matroska and WebM are not taken",
            [0, 0, 0, 1, ..] | [0, 0, 1, ..] => "this is a picture without a container",
            _ => "nobody here knows what this is",
        };
        Err(Refusal(Cow::Owned(format!("{what}: {HOW}"))))
    }

    pub(super) fn handle(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Ts(ts) => ts.handle(bytes),
            Self::Mp4(mp4) => mp4.handle(bytes),
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        match self {
            Self::Ts(ts) => ts.finish(),
            Self::Mp4(_) => Ok(()),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Published> {
        match self {
            Self::Ts(ts) => ts.poll(),
            Self::Mp4(mp4) => mp4.poll(),
        }
    }
}
