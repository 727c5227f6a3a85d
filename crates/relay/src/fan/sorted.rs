//! Sorts what a terminal asks for: tracks are the fan's to send, the rest is the media library's.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use moq_net::transport::poll as media;
use moq_net::web_transport_trait::{Stats, poll};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;

use super::Watch;
use super::wire::{SUBSCRIBE, WireError, take_message, take_number};

/// Requests that the library has not taken. Beyond, they wait; a terminal opens a handful.
const SORTED_MAX: usize = 32;

/// What is read at once of a request.
const READ: usize = 1 << 10;

type Request<S> = (
    <S as poll::Session>::SendStream,
    Replayed<<S as poll::Session>::RecvStream>,
);

/// A session as the media library sees it: without requests for tracks. All clones are one.
pub(crate) struct Sorted<S: poll::Session> {
    session: S,
    /// The library waits for them on one clone at a time.
    sorted: Arc<Mutex<mpsc::Receiver<Request<S>>>>,
}

impl<S: media::Session> Clone for Sorted<S> {
    fn clone(&self) -> Self {
        Self {
            session: self.session.clone(),
            sorted: self.sorted.clone(),
        }
    }
}

/// The other side of a [`Sorted`]: takes all requests of a session.
pub(crate) struct Sorting<S: poll::Session> {
    session: S,
    sorted: mpsc::Sender<Request<S>>,
}

impl<S: media::Session> Sorted<S> {
    /// Wraps a session. Nothing is asked for on it before [`Sorting::run`].
    pub(crate) fn new(session: S) -> (Self, Sorting<S>) {
        let (sorting, sorted) = mpsc::channel(SORTED_MAX);
        let theirs = Self {
            session: session.clone(),
            sorted: Arc::new(Mutex::new(sorted)),
        };
        let ours = Sorting {
            session,
            sorted: sorting,
        };
        (theirs, ours)
    }
}

impl<S> Sorting<S>
where
    S: media::Session + Send,
    S::SendStream: Send,
    S::RecvStream: Send,
{
    /// Takes requests until the session ends, and serves what `watch` may have.
    pub(crate) async fn run(mut self, watch: Watch) {
        let watch = Arc::new(watch);
        // Bounded by what a peer may have open.
        let mut requests = JoinSet::new();
        loop {
            tokio::select! {
                request = self.session.accept_bi() => {
                    let Ok((send, recv)) = request else { return };
                    let sorted = self.sorted.clone();
                    let (session, watch) = (self.session.clone(), watch.clone());
                    requests.spawn(sort(session, send, Requests::new(recv), sorted, watch));
                }
                Some(_) = requests.join_next() => {}
            }
        }
    }
}

async fn sort<S>(
    session: S,
    send: S::SendStream,
    mut requests: Requests<S::RecvStream>,
    sorted: mpsc::Sender<Request<S>>,
    watch: Arc<Watch>,
) where
    S: media::Session + Send,
    S::SendStream: Send,
{
    let Some(kind) = requests.kind().await else {
        return;
    };
    if kind != SUBSCRIBE {
        // The session is over when nobody takes it.
        let _ = sorted.send((send, requests.replay(kind))).await;
    } else if let Err(error) = watch.serve(session, send, requests).await {
        debug!(%error, "a track is not sent");
    }
}

/// What a terminal says on a stream both ways.
pub(super) struct Requests<R> {
    stream: R,
    /// What of it nobody has taken.
    unread: BytesMut,
}

impl<R: poll::RecvStream> Requests<R> {
    fn new(stream: R) -> Self {
        Self {
            stream,
            unread: BytesMut::new(),
        }
    }

    /// What the stream is for.
    async fn kind(&mut self) -> Option<u64> {
        std::future::poll_fn(|cx| {
            loop {
                if let Some(kind) = take_number(&mut self.unread) {
                    return Poll::Ready(Some(kind));
                }
                if !ready!(self.poll_read(cx)) {
                    return Poll::Ready(None);
                }
            }
        })
        .await
    }

    /// The next message; none when the terminal has said its last.
    pub(super) async fn message(&mut self) -> Result<Option<Bytes>, WireError> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await
    }

    pub(super) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, WireError>> {
        loop {
            if let Some(message) = take_message(&mut self.unread)? {
                return Poll::Ready(Ok(Some(message)));
            }
            if !ready!(self.poll_read(cx)) {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Reads more; false when there is none, or the stream was reset.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.unread.reserve(READ);
        let read = ready!(self.stream.poll_read_buf(cx, &mut self.unread));
        Poll::Ready(matches!(read, Ok(Some(1..))))
    }

    /// As if nothing had been read.
    fn replay(self, kind: u64) -> Replayed<R> {
        let mut before = super::wire::number(kind);
        before.unsplit(self.unread);
        Replayed {
            before,
            stream: self.stream,
        }
    }
}

/// A stream whose beginning was read already.
pub(crate) struct Replayed<R> {
    before: BytesMut,
    stream: R,
}

impl<R: poll::RecvStream> poll::RecvStream for Replayed<R> {
    type Error = R::Error;

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        dst: &mut [u8],
    ) -> Poll<Result<Option<usize>, R::Error>> {
        if self.before.is_empty() || dst.is_empty() {
            return self.stream.poll_read(cx, dst);
        }
        let length = self.before.len().min(dst.len());
        self.before.copy_to_slice(&mut dst[..length]);
        Poll::Ready(Ok(Some(length)))
    }

    fn stop(&mut self, code: u32) {
        self.stream.stop(code);
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        self.stream.poll_closed(cx)
    }
}

impl<S: poll::Session> poll::Session for Sorted<S> {
    type SendStream = S::SendStream;
    type RecvStream = Replayed<S::RecvStream>;
    type Error = S::Error;

    fn poll_accept_uni(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::RecvStream, S::Error>> {
        let accepted = self.session.poll_accept_uni(cx);
        accepted.map_ok(Replayed::from_its_beginning)
    }

    fn poll_accept_bi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<poll::BiStreams<Self>, S::Error>> {
        let mut sorted = self.sorted.lock().unwrap_or_else(PoisonError::into_inner);
        match ready!(sorted.poll_recv(cx)) {
            Some(request) => Poll::Ready(Ok(request)),
            // Nobody sorts any more: the session is over, and says how.
            None => self.session.poll_closed(cx).map(Err),
        }
    }

    fn poll_open_uni(&mut self, cx: &mut Context<'_>) -> Poll<Result<S::SendStream, S::Error>> {
        self.session.poll_open_uni(cx)
    }

    fn poll_open_bi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<poll::BiStreams<Self>, S::Error>> {
        let opened = self.session.poll_open_bi(cx);
        opened.map_ok(|(send, recv)| (send, Replayed::from_its_beginning(recv)))
    }

    fn poll_send_datagram(
        &mut self,
        cx: &mut Context<'_>,
        payload: &[u8],
    ) -> Poll<Result<(), S::Error>> {
        self.session.poll_send_datagram(cx, payload)
    }

    fn poll_recv_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, S::Error>> {
        self.session.poll_recv_datagram(cx)
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

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<S::Error> {
        self.session.poll_closed(cx)
    }

    fn stats(&self) -> impl Stats {
        self.session.stats()
    }
}

impl<R> Replayed<R> {
    fn from_its_beginning(stream: R) -> Self {
        Self {
            before: BytesMut::new(),
            stream,
        }
    }
}
