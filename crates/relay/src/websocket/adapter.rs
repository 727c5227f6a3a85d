//! A qmux session, which is made of futures, as the polled session that the media library wants.
//!
//! Two rules make this right. A future that holds a place in a queue is kept until it resolves, since
//! dropping it gives the place up. And of a write, only the bytes that the session has taken are
//! reported: [`Chunk`] counts them, so that a write can be given up at any moment (a reset, another
//! priority) and nothing is lost or said twice.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use moq_net::web_transport_trait::{self as generic, poll};
use moq_net::web_transport_trait::{RecvStream as _, SendStream as _, Session as _};
use qmux::Error;
use tokio::sync::{Mutex, MutexGuard};

/// Bytes that one write takes at most. The session cuts them into records of 16 kB.
const CHUNK_MAX: usize = 64 << 10;

type Operation<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A place for one operation under way. The mutex is never locked: it only makes a session that holds
/// futures shareable, as the media library wants it.
struct Slot<T>(std::sync::Mutex<Option<Operation<T>>>);

impl<T> Slot<T> {
    const fn empty() -> Self {
        Self(std::sync::Mutex::new(None))
    }

    /// Polls the operation under way, starting one if there is none.
    fn drive(&mut self, cx: &mut Context<'_>, start: impl FnOnce() -> Operation<T>) -> Poll<T> {
        let slot = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let result = ready!(slot.get_or_insert_with(start).as_mut().poll(cx));
        *slot = None;
        Poll::Ready(result)
    }
}

/// A session whose operations can be polled. Each clone has its own operations under way.
pub struct PollSession {
    session: qmux::Session,
    accept_uni: Slot<Result<qmux::RecvStream, Error>>,
    accept_bi: Slot<Result<(qmux::SendStream, qmux::RecvStream), Error>>,
    open_uni: Slot<Result<qmux::SendStream, Error>>,
    open_bi: Slot<Result<(qmux::SendStream, qmux::RecvStream), Error>>,
    datagram: Slot<Result<Bytes, Error>>,
    closed: Slot<Error>,
}

impl PollSession {
    /// Wraps either end of a session.
    pub fn new(session: qmux::Session) -> Self {
        Self {
            session,
            accept_uni: Slot::empty(),
            accept_bi: Slot::empty(),
            open_uni: Slot::empty(),
            open_bi: Slot::empty(),
            datagram: Slot::empty(),
            closed: Slot::empty(),
        }
    }
}

impl Clone for PollSession {
    fn clone(&self) -> Self {
        Self::new(self.session.clone())
    }
}

impl poll::Session for PollSession {
    type SendStream = PollSend;
    type RecvStream = PollRecv;
    type Error = Error;

    fn poll_accept_uni(&mut self, cx: &mut Context<'_>) -> Poll<Result<PollRecv, Error>> {
        let session = &self.session;
        let start = || owned(session, |s| async move { s.accept_uni().await });
        self.accept_uni.drive(cx, start).map_ok(PollRecv)
    }

    fn poll_accept_bi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(PollSend, PollRecv), Error>> {
        let session = &self.session;
        let start = || owned(session, |s| async move { s.accept_bi().await });
        self.accept_bi
            .drive(cx, start)
            .map_ok(|(s, r)| (PollSend::new(s), PollRecv(r)))
    }

    fn poll_open_uni(&mut self, cx: &mut Context<'_>) -> Poll<Result<PollSend, Error>> {
        let session = &self.session;
        let start = || owned(session, |s| async move { s.open_uni().await });
        self.open_uni.drive(cx, start).map_ok(PollSend::new)
    }

    fn poll_open_bi(&mut self, cx: &mut Context<'_>) -> Poll<Result<(PollSend, PollRecv), Error>> {
        let session = &self.session;
        let start = || owned(session, |s| async move { s.open_bi().await });
        self.open_bi
            .drive(cx, start)
            .map_ok(|(s, r)| (PollSend::new(s), PollRecv(r)))
    }

    fn poll_send_datagram(
        &mut self,
        _: &mut Context<'_>,
        payload: &[u8],
    ) -> Poll<Result<(), Error>> {
        Poll::Ready(self.session.send_datagram(Bytes::copy_from_slice(payload)))
    }

    fn poll_recv_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        let session = &self.session;
        let start = || owned(session, |s| async move { s.recv_datagram().await });
        self.datagram.drive(cx, start)
    }

    fn max_datagram_size(&self) -> usize {
        self.session.max_datagram_size()
    }

    fn protocol(&self) -> Option<&str> {
        self.session.protocol()
    }

    fn close(&mut self, code: u32, reason: &str) {
        self.session.close(code, reason);
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let session = &self.session;
        let start = || owned(session, |s| async move { s.closed().await });
        self.closed.drive(cx, start)
    }

    fn stats(&self) -> impl generic::Stats {
        self.session.stats()
    }
}

fn owned<F>(session: &qmux::Session, run: impl FnOnce(qmux::Session) -> F) -> Operation<F::Output>
where
    F: Future + Send + 'static,
{
    Box::pin(run(session.clone()))
}

/// The outgoing half of a stream. The lock is never contended: whoever needs the stream drops the
/// write under way first.
pub struct PollSend {
    stream: Arc<Mutex<qmux::SendStream>>,
    write: Option<Write>,
    /// Bytes the session took before their write was given up, still to be reported.
    taken: usize,
    finished: bool,
}

/// A write under way.
struct Write {
    operation: Operation<Result<(), Error>>,
    /// What has not been reported yet, as the caller showed it.
    chunk: Bytes,
    progress: Arc<AtomicUsize>,
    reported: usize,
    waker: Waker,
}

impl PollSend {
    fn new(stream: qmux::SendStream) -> Self {
        Self {
            stream: Arc::new(Mutex::new(stream)),
            write: None,
            taken: 0,
            finished: false,
        }
    }

    fn start(&mut self, buf: &[u8], waker: &Waker) {
        let chunk = Bytes::copy_from_slice(&buf[..buf.len().min(CHUNK_MAX)]);
        let progress = Arc::new(AtomicUsize::new(0));
        let mut counted = Chunk {
            bytes: chunk.clone(),
            taken: progress.clone(),
        };
        let stream = self.stream.clone();
        let operation = Box::pin(async move {
            let mut stream = stream.lock().await;
            stream.write_all_buf(&mut counted).await
        });
        self.write = Some(Write {
            operation,
            chunk,
            progress,
            reported: 0,
            waker: waker.clone(),
        });
    }

    /// Gives up the write under way, keeping count of what it achieved, and wakes whoever waits for
    /// it to start it anew.
    fn interrupt(&mut self) -> MutexGuard<'_, qmux::SendStream> {
        if let Some(write) = self.write.take() {
            self.taken += write.progress.load(Ordering::Relaxed) - write.reported;
            drop(write.operation);
            write.waker.wake();
        }
        self.stream
            .try_lock()
            .expect("the only other holder is a write, and that was dropped")
    }
}

impl poll::SendStream for PollSend {
    type Error = Error;

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, Error>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.taken > 0 {
            let now = self.taken.min(buf.len());
            self.taken -= now;
            return Poll::Ready(Ok(now));
        }
        // A caller may come back with less. What it no longer shows must not be sent.
        let differs = self.write.as_ref().is_some_and(|write| {
            let rest = &write.chunk[write.reported..];
            !buf.starts_with(rest)
        });
        if differs {
            drop(self.interrupt());
            return self.poll_write(cx, buf);
        }
        if self.write.is_none() {
            self.start(buf, cx.waker());
        }
        let write = self.write.as_mut().expect("just started");
        write.waker.clone_from(cx.waker());
        let polled = write.operation.as_mut().poll(cx);
        let new = write.progress.load(Ordering::Relaxed) - write.reported;
        write.reported += new;
        match polled {
            Poll::Ready(Err(error)) => {
                self.write = None;
                Poll::Ready(Err(error))
            }
            Poll::Ready(Ok(())) => {
                self.write = None;
                Poll::Ready(Ok(new))
            }
            Poll::Pending if new > 0 => Poll::Ready(Ok(new)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn set_priority(&mut self, order: u8) {
        self.interrupt().set_priority(order);
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.interrupt().finish()?;
        self.finished = true;
        Ok(())
    }

    fn reset(&mut self, code: u32) {
        self.interrupt().reset(code);
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // A write sees the end of the stream too.
        if let Some(write) = &mut self.write {
            return match write.operation.as_mut().poll(cx) {
                Poll::Ready(Err(error)) => {
                    self.write = None;
                    Poll::Ready(Err(error))
                }
                Poll::Ready(Ok(())) => {
                    drop(self.interrupt());
                    self.poll_closed(cx)
                }
                Poll::Pending => Poll::Pending,
            };
        }
        let finished = self.finished;
        // Waits on channels that keep their waker when the future is dropped.
        let mut stream = self.interrupt();
        match ready!(pin!(stream.closed()).poll(cx)) {
            // The session forgets a stream when its last frame is written: there is no
            // acknowledgement to wait for, the transport below is reliable.
            Err(Error::Closed) if finished => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

/// Bytes that count how many of them were taken.
struct Chunk {
    bytes: Bytes,
    taken: Arc<AtomicUsize>,
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.taken.fetch_add(count, Ordering::Relaxed);
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let bytes = self.bytes.copy_to_bytes(len);
        self.taken.fetch_add(len, Ordering::Relaxed);
        bytes
    }
}

/// The incoming half of a stream. Its futures wait on channels that keep their waker, so a new one a
/// poll loses nothing.
pub struct PollRecv(qmux::RecvStream);

impl poll::RecvStream for PollRecv {
    type Error = Error;

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        dst: &mut [u8],
    ) -> Poll<Result<Option<usize>, Error>> {
        if dst.is_empty() {
            return Poll::Ready(Ok(Some(0)));
        }
        let chunk = ready!(self.poll_read_chunk(cx, dst.len()))?;
        Poll::Ready(Ok(chunk.map(|chunk| {
            dst[..chunk.len()].copy_from_slice(&chunk);
            chunk.len()
        })))
    }

    fn poll_read_chunk(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, Error>> {
        if max == 0 {
            return Poll::Ready(Ok(Some(Bytes::new())));
        }
        pin!(self.0.read_chunk(max)).poll(cx)
    }

    fn stop(&mut self, code: u32) {
        self.0.stop(code);
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        pin!(self.0.closed()).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use futures::channel::mpsc;
    use futures::{Sink, Stream};
    use qmux::{Config, Version};

    use super::super::Message;
    use super::super::frames::Frames;
    use super::*;
    use poll::{RecvStream as _, SendStream as _, Session as _};

    /// Half a WebSocket in memory.
    struct Pipe(mpsc::Sender<Message>, mpsc::Receiver<Message>);

    impl Stream for Pipe {
        type Item = Result<Message, mpsc::SendError>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Pin::new(&mut self.1).poll_next(cx).map(|it| it.map(Ok))
        }
    }

    impl Sink<Message> for Pipe {
        type Error = mpsc::SendError;

        fn poll_ready(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Result<(), mpsc::SendError>> {
            self.0.poll_ready(cx)
        }

        fn start_send(mut self: Pin<&mut Self>, item: Message) -> Result<(), mpsc::SendError> {
            self.0.start_send(item)
        }

        fn poll_flush(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Result<(), mpsc::SendError>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_close(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Result<(), mpsc::SendError>> {
            Pin::new(&mut self.0).poll_close(cx)
        }
    }

    async fn pair() -> (PollSession, PollSession) {
        let (to_server, from_client) = mpsc::channel(2);
        let (to_client, from_server) = mpsc::channel(2);
        let frames = |tx, rx| Frames::new(Pipe(tx, rx), Duration::from_secs(30), 1 << 20);
        let config = || {
            let mut config = Config::negotiated(Version::QMux02, None);
            config.max_stream_data_uni = 40_000;
            config
        };
        let client = qmux::Session::connect(frames(to_server, from_server), config());
        let server = qmux::Session::accept(frames(to_client, from_client), config());
        let (client, server) = tokio::join!(client, server);
        (
            PollSession::new(client.unwrap()),
            PollSession::new(server.unwrap()),
        )
    }

    /// The same numbers every time.
    fn next(state: &mut u64) -> usize {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(*state >> 40).unwrap()
    }

    #[tokio::test]
    async fn writes_that_are_given_up_lose_nothing_and_repeat_nothing() {
        const LEN: usize = 3_000_000;
        let (mut client, mut server) = pair().await;
        let mut seed = 1;
        let data: Vec<u8> = (0..LEN).map(|_| next(&mut seed).to_le_bytes()[0]).collect();
        let mut send = poll_fn(|cx| client.poll_open_uni(cx)).await.unwrap();
        let (mut at, mut pending) = (0, 0);
        let writing = poll_fn(|cx| {
            while at < LEN {
                // A caller may come back with more or less, and re-rank the stream in between.
                let shown = (1 + next(&mut seed) % 90_000).min(LEN - at);
                match send.poll_write(cx, &data[at..at + shown]) {
                    Poll::Ready(written) => at += written.unwrap(),
                    Poll::Pending => {
                        pending += 1;
                        match next(&mut seed) % 4 {
                            0 => send.set_priority(next(&mut seed).to_le_bytes()[0]),
                            1 => assert!(send.poll_closed(cx).is_pending()),
                            _ => {}
                        }
                        return Poll::Pending;
                    }
                }
            }
            send.finish().unwrap();
            Poll::Ready(())
        });
        let reading = async {
            let mut recv = poll_fn(|cx| server.poll_accept_uni(cx)).await.unwrap();
            let mut got = Vec::new();
            let mut seed = 2;
            loop {
                let max = 1 + next(&mut seed) % 50_000;
                match poll_fn(|cx| recv.poll_read_chunk(cx, max)).await.unwrap() {
                    Some(chunk) => got.extend_from_slice(&chunk),
                    None => return got,
                }
                tokio::task::yield_now().await;
            }
        };
        let both = async { tokio::join!(writing, reading).1 };
        let got = tokio::time::timeout(Duration::from_secs(60), both).await;
        assert!(got.expect("stuck") == data, "the bytes are not the same");
        assert!(pending > 20, "only {pending} writes had to wait");
        poll_fn(|cx| send.poll_closed(cx)).await.unwrap();
    }

    #[tokio::test]
    async fn a_reset_and_a_stop_are_seen_at_the_other_end() {
        let (mut client, mut server) = pair().await;
        let mut send = poll_fn(|cx| client.poll_open_uni(cx)).await.unwrap();
        poll_fn(|cx| send.poll_write(cx, b"x")).await.unwrap();
        let mut recv = poll_fn(|cx| server.poll_accept_uni(cx)).await.unwrap();
        send.reset(7);
        let error = poll_fn(|cx| {
            loop {
                if ready!(recv.poll_read(cx, &mut [0; 8])).is_err() {
                    return Poll::Ready(());
                }
            }
        });
        error.await;

        let mut send = poll_fn(|cx| client.poll_open_uni(cx)).await.unwrap();
        poll_fn(|cx| send.poll_write(cx, b"x")).await.unwrap();
        let mut recv = poll_fn(|cx| server.poll_accept_uni(cx)).await.unwrap();
        recv.stop(7);
        assert!(poll_fn(|cx| send.poll_closed(cx)).await.is_err());
    }
}
