//! The messages of a WebSocket as a qmux transport.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{Sink, SinkExt, Stream, StreamExt};
use qmux::Error;
use qmux::transport::{Reader, Transport, Writer};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout_at};

use super::Message;

/// Pings within an idle time: three may be lost.
const PINGS: u32 = 4;

/// An upgraded WebSocket.
pub(super) struct Frames<S> {
    socket: S,
    idle: Duration,
    record_max: usize,
}

impl<S> Frames<S> {
    /// A peer that says nothing for `idle` is gone; one that sends a message above `record_max`
    /// breaks the protocol.
    pub(super) fn new(socket: S, idle: Duration, record_max: u64) -> Self {
        Self {
            socket,
            idle,
            record_max: usize::try_from(record_max).unwrap_or(usize::MAX),
        }
    }
}

impl<S, E> Transport for Frames<S>
where
    S: Stream<Item = Result<Message, E>> + Sink<Message, Error = E> + Send + Unpin + 'static,
    E: Send + 'static,
{
    type Writer = FrameWriter<S>;
    type Reader = FrameReader<S>;

    fn split(self) -> (FrameWriter<S>, FrameReader<S>) {
        let (sink, stream) = self.socket.split();
        let every = self.idle / PINGS;
        let mut pings = interval_at(Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let writer = FrameWriter { sink, pings };
        let reader = FrameReader {
            stream,
            idle: self.idle,
            deadline: None,
            record_max: self.record_max,
        };
        (writer, reader)
    }
}

pub(super) struct FrameWriter<S> {
    sink: SplitSink<S, Message>,
    pings: Interval,
}

impl<S, E> Writer for FrameWriter<S>
where
    S: Sink<Message, Error = E> + Send + Unpin + 'static,
    E: Send + 'static,
{
    async fn send(&mut self, data: Bytes) -> Result<(), Error> {
        let sent = self.sink.send(Message::Binary(data)).await;
        sent.map_err(|_| Error::Closed)
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.sink.close().await.map_err(|_| Error::Closed)
    }

    async fn maintain(&mut self) -> Result<(), Error> {
        self.pings.tick().await;
        let sent = self.sink.send(Message::Ping).await;
        sent.map_err(|_| Error::Closed)
    }
}

pub(super) struct FrameReader<S> {
    stream: SplitStream<S>,
    idle: Duration,
    /// When the peer is given up. `None` until the next read: time that we spend elsewhere is not
    /// held against the peer.
    deadline: Option<Instant>,
    record_max: usize,
}

impl<S, E> Reader for FrameReader<S>
where
    S: Stream<Item = Result<Message, E>> + Send + Unpin + 'static,
    E: Send + 'static,
{
    async fn recv(&mut self) -> Result<Bytes, Error> {
        loop {
            let idle = self.idle;
            let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + idle);
            let next = timeout_at(deadline, self.stream.next()).await;
            self.deadline = None;
            match next {
                Ok(Some(Ok(Message::Binary(data)))) if data.len() <= self.record_max => {
                    return Ok(data);
                }
                Ok(Some(Ok(Message::Binary(_)))) => return Err(Error::FrameTooLarge),
                Ok(Some(Ok(Message::Ping | Message::Other))) => {}
                Ok(Some(Err(_)) | None) | Err(_) => return Err(Error::Closed),
            }
        }
    }
}
