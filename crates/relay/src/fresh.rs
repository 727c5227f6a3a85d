//! A session between nodes that gives up what the line does not carry. What terminals are sent is the
//! [fan](crate::fan)'s.
//!
//! Each group goes over a stream of its own. The media library lets go of a group that nobody can
//! receive in time, but not of one that may come by several routes, which is all of ours: on a line
//! that is too narrow it would keep each of them, with a stream, for as long as the peer stays. So
//! here a stream that could send nothing for [`STALLED_MAX`] is reset when the next one wants to be
//! opened, which also gives its share of the send window to newer groups. What waits is bounded by
//! what a peer is sent in that time; a peer that is sent nothing new costs nothing more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use moq_net::StreamError;
use moq_net::web_transport_trait::{self as generic, Stats, poll};

/// A stream that could send nothing for this long has no picture that anybody still wants.
const STALLED_MAX: Duration = Duration::from_secs(3);

/// Wraps `S`. All clones are one session.
pub(crate) struct Fresh<S> {
    session: S,
    /// This clone's wait for a stream to be allowed.
    opening: Place,
}

impl<S> Fresh<S> {
    pub(crate) fn new(session: S) -> Self {
        Self {
            session,
            opening: Place::new(Arc::default()),
        }
    }
}

impl<S: Clone> Clone for Fresh<S> {
    fn clone(&self) -> Self {
        Self {
            session: self.session.clone(),
            opening: Place::new(self.opening.stalled.clone()),
        }
    }
}

impl<S: poll::Session> poll::Session for Fresh<S> {
    type SendStream = FreshSend<S::SendStream>;
    type RecvStream = S::RecvStream;
    type Error = FreshError<S::Error>;

    fn poll_accept_uni(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::RecvStream, Self::Error>> {
        self.session.poll_accept_uni(cx).map_err(FreshError::Below)
    }

    fn poll_accept_bi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<poll::BiStreams<Self>, Self::Error>> {
        let accepted = self.session.poll_accept_bi(cx);
        accepted
            .map_ok(|(send, recv)| (FreshSend::kept(send), recv))
            .map_err(FreshError::Below)
    }

    fn poll_open_uni(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::SendStream, Self::Error>> {
        self.opening.stalled.give_up(Instant::now());
        let opened = self.session.poll_open_uni(cx);
        if opened.is_pending() && self.opening.wait(cx) {
            return Poll::Pending;
        }
        self.opening.leave();
        let Poll::Ready(opened) = opened else {
            return Poll::Ready(Err(FreshError::Stalled));
        };
        let place = Place::new(self.opening.stalled.clone());
        let opened = opened.map(|send| FreshSend::new(send, place));
        Poll::Ready(opened.map_err(FreshError::Below))
    }

    fn poll_open_bi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<poll::BiStreams<Self>, Self::Error>> {
        let opened = self.session.poll_open_bi(cx);
        opened
            .map_ok(|(send, recv)| (FreshSend::kept(send), recv))
            .map_err(FreshError::Below)
    }

    fn poll_send_datagram(
        &mut self,
        cx: &mut Context<'_>,
        payload: &[u8],
    ) -> Poll<Result<(), Self::Error>> {
        let sent = self.session.poll_send_datagram(cx, payload);
        sent.map_err(FreshError::Below)
    }

    fn poll_recv_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Self::Error>> {
        let received = self.session.poll_recv_datagram(cx);
        received.map_err(FreshError::Below)
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

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Self::Error> {
        self.session.poll_closed(cx).map(FreshError::Below)
    }

    fn stats(&self) -> impl Stats {
        self.session.stats()
    }
}

/// What went wrong: the session below, or it was given up here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FreshError<E> {
    #[error("the peer allowed no stream for {STALLED_MAX:?}")]
    Stalled,
    #[error(transparent)]
    Below(E),
}

impl<E: generic::Error> generic::Error for FreshError<E> {
    fn session_error(&self) -> Option<(u32, String)> {
        match self {
            Self::Stalled => None,
            Self::Below(error) => error.session_error(),
        }
    }

    fn stream_error(&self) -> Option<u32> {
        match self {
            Self::Stalled => Some(StreamError::Old.to_code()),
            Self::Below(error) => error.stream_error(),
        }
    }
}

/// A stream that may be given up.
pub(crate) struct FreshSend<T> {
    stream: T,
    /// None: it is kept for as long as the session, as the two-way ones are.
    place: Option<Place>,
    /// What is left is up to the line.
    finished: bool,
}

impl<T> FreshSend<T> {
    fn new(stream: T, place: Place) -> Self {
        Self {
            stream,
            place: Some(place),
            finished: false,
        }
    }

    fn kept(stream: T) -> Self {
        Self {
            stream,
            place: None,
            finished: false,
        }
    }

    fn written<R>(&mut self, result: Poll<R>, cx: &Context<'_>) -> Poll<R> {
        if let Some(place) = &mut self.place {
            if result.is_ready() {
                place.leave();
            } else {
                // One that has waited for too long is about to be woken, and asked whether it is
                // closed.
                let _ = place.wait(cx);
            }
        }
        result
    }
}

impl<T: poll::SendStream> poll::SendStream for FreshSend<T> {
    type Error = T::Error;

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, T::Error>> {
        let written = self.stream.poll_write(cx, buf);
        self.written(written, cx)
    }

    fn poll_write_buf<B: Buf>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut B,
    ) -> Poll<Result<usize, T::Error>> {
        let written = self.stream.poll_write_buf(cx, buf);
        self.written(written, cx)
    }

    fn set_priority(&mut self, order: u8) {
        self.stream.set_priority(order);
    }

    fn finish(&mut self) -> Result<(), T::Error> {
        self.finished = true;
        self.stream.finish()
    }

    fn reset(&mut self, code: u32) {
        self.stream.reset(code);
    }

    /// The library asks before each write, and while the end of a group is not acknowledged.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        let closed = self.stream.poll_closed(cx);
        let Some(place) = &mut self.place else {
            return closed;
        };
        let waits = closed.is_pending() && (self.finished || place.is_taken());
        if !waits || place.wait(cx) {
            return closed;
        }
        place.leave();
        self.stream.reset(StreamError::Old.to_code());
        Poll::Ready(Ok(()))
    }
}

/// What waits for the line, in the order in which it began to wait.
#[derive(Default)]
struct Stalled(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    since: Instant,
    waker: Waker,
}

impl Stalled {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes what has waited for too long, which finds its place gone.
    fn give_up(&self, now: Instant) {
        while let Some(waiting) = self.lock().pop_stalled(now) {
            waiting.waker.wake();
        }
    }
}

impl Queue {
    fn pop_stalled(&mut self, now: Instant) -> Option<Waiting> {
        let first = self.waiting.first_entry()?;
        let since = first.get().since;
        (now.saturating_duration_since(since) >= STALLED_MAX).then(|| first.remove())
    }
}

/// A place among the [`Stalled`], taken while its owner waits.
struct Place {
    stalled: Arc<Stalled>,
    id: Option<u64>,
}

impl Place {
    fn new(stalled: Arc<Stalled>) -> Self {
        Self { stalled, id: None }
    }

    fn is_taken(&self) -> bool {
        self.id.is_some()
    }

    /// Waits, from now on if it does not yet. False when it has waited for too long.
    fn wait(&mut self, cx: &Context<'_>) -> bool {
        let mut queue = self.stalled.lock();
        if let Some(id) = self.id {
            let waiting = queue.waiting.get_mut(&id);
            let still = waiting.is_some();
            if let Some(waiting) = waiting {
                waiting.waker.clone_from(cx.waker());
            }
            return still;
        }
        let id = queue.next;
        queue.next += 1;
        let waiting = Waiting {
            since: Instant::now(),
            waker: cx.waker().clone(),
        };
        queue.waiting.insert(id, waiting);
        self.id = Some(id);
        true
    }

    fn leave(&mut self) {
        if let Some(id) = self.id.take() {
            self.stalled.lock().waiting.remove(&id);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}
