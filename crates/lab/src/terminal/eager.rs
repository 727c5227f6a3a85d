//! Two round trips less to the first picture.
//!
//! The media library asks what is published, then what a track is like, then for the track: three
//! round trips. Whoever holds a ticket knows the first two answers: the screen is there, or the cameras are, and
//! `docs/protocol.md` says that its tracks count microseconds. So this session answers those two
//! questions itself and lets everything else through. The entry sees a terminal that subscribes by
//! name, as the protocol allows. If the screen is not there after all, the subscription fails.
//!
//! Only for moq-lite-06: other versions spell the answers differently, and are left alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use moq_net::web_transport_trait::{Stats, poll};
use web_transport_quinn::{ReadError, RecvStream, SendStream, Session, SessionError, WriteError};

const VERSION: &str = "moq-lite-06";

/// What a stream asks for, in its first byte.
const ANNOUNCE: u8 = 1;
const TRACK: u8 = 6;

/// Priority 127; kept for 10,000 ms; 1,000,000 ticks a second. Two numbers of two and four bytes.
const TRACK_INFO: [u8; 8] = [7, 127, 0x67, 0x10, 0x80, 0x0f, 0x42, 0x40];

/// A session that knows what is published.
#[derive(Clone)]
pub(crate) struct Eager {
    session: Session,
    /// The broadcasts that are there, few and short enough that their number and the length of each
    /// take one byte.
    known: Option<Arc<[String]>>,
}

impl Eager {
    /// Of more broadcasts, or longer ones, it knows nothing and asks like everybody.
    pub(crate) fn new(session: Session, broadcasts: Vec<String>) -> Self {
        /// Lengths below this take one byte, and so does that of the whole answer.
        const SHORT: usize = 56;
        let fits = broadcasts.len() < SHORT && broadcasts.iter().all(|it| it.len() < SHORT);
        let known = poll::Session::protocol(&session) == Some(VERSION) && fits;
        Self {
            session,
            known: known.then(|| broadcasts.into()),
        }
    }
}

/// The answer to a question that is complete.
enum Answer {
    /// We know it; `true` ends the stream.
    Known(Bytes, bool),
    /// Only the entry does.
    Unknown,
}

/// What to say to the beginning of a request; `None` while more is needed to tell.
fn answer(request: &[u8], known: &[String]) -> Option<Answer> {
    let (kind, rest) = request.split_first()?;
    if *kind != ANNOUNCE && *kind != TRACK {
        return Some(Answer::Unknown);
    }
    let (size, body) = rest.split_first()?;
    let Some(body) = body.get(..usize::from(*size)) else {
        // Names in requests of ours are short: a longer length is something else.
        return (*size >= 64).then_some(Answer::Unknown);
    };
    let asked = body
        .split_first()
        .and_then(|(len, text)| text.get(..usize::from(*len)));
    match (*kind, asked) {
        (ANNOUNCE, Some(b"")) => {
            let short = |len: usize| u8::try_from(len).expect("checked to be short");
            // Somebody has so many; they are these, by no hops, at no cost.
            let mut text = vec![2, 0, short(known.len())];
            for path in known {
                text.extend_from_slice(&[0, short(path.len() + 4), short(path.len())]);
                text.extend_from_slice(path.as_bytes());
                text.extend_from_slice(&[0, 0, 0]);
            }
            Some(Answer::Known(text.into(), false))
        }
        (TRACK, Some(path)) if known.iter().any(|it| it.as_bytes() == path) => {
            Some(Answer::Known(Bytes::from_static(&TRACK_INFO), true))
        }
        _ => Some(Answer::Unknown),
    }
}

/// A request on its way to being understood.
#[derive(Default)]
struct Question {
    request: Vec<u8>,
    decided: Option<Decided>,
    /// Who waits for the answer.
    reader: Option<Waker>,
}

enum Decided {
    /// Not our business any more; the bytes are still to be sent.
    Forward(Bytes),
    /// What is left of our answer, and whether the stream ends after it.
    Answered(Bytes, bool),
}

type Shared = Arc<Mutex<Question>>;

fn lock(question: &Mutex<Question>) -> MutexGuard<'_, Question> {
    // Nothing under the lock leaves it half changed.
    question.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The outgoing half of a stream.
pub(crate) struct EagerSend {
    real: SendStream,
    /// Until the request is understood and, if it is not for us, sent.
    question: Option<(Shared, Arc<[String]>)>,
}

/// The incoming half of a stream.
pub(crate) struct EagerRecv {
    real: RecvStream,
    question: Option<Shared>,
}

impl EagerSend {
    /// Sends what we held back. Ready once the real stream may be used.
    fn poll_forward(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        let Some((question, _)) = &self.question else {
            return Poll::Ready(Ok(()));
        };
        let mut question = lock(question);
        let Some(Decided::Forward(bytes)) = &mut question.decided else {
            return Poll::Ready(Ok(()));
        };
        while !bytes.is_empty() {
            ready!(poll::SendStream::poll_write_buf(&mut self.real, cx, bytes))?;
        }
        drop(question);
        self.question = None;
        Poll::Ready(Ok(()))
    }
}

impl poll::SendStream for EagerSend {
    type Error = WriteError;

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, WriteError>> {
        ready!(self.poll_forward(cx))?;
        let Some((question, known)) = &self.question else {
            return poll::SendStream::poll_write(&mut self.real, cx, buf);
        };
        let mut asked = lock(question);
        if asked.decided.is_none() {
            asked.request.extend_from_slice(buf);
            asked.decided = answer(&asked.request, known).map(|answer| match answer {
                Answer::Known(text, ends) => Decided::Answered(text, ends),
                Answer::Unknown => Decided::Forward(std::mem::take(&mut asked.request).into()),
            });
            if asked.decided.is_some()
                && let Some(reader) = asked.reader.take()
            {
                reader.wake();
            }
        }
        drop(asked);
        // It is taken, whether it can be sent at once or not.
        let _ = self.poll_forward(cx)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn set_priority(&mut self, order: u8) {
        poll::SendStream::set_priority(&mut self.real, order);
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        match self.question {
            Some(_) => Ok(()),
            None => poll::SendStream::finish(&mut self.real),
        }
    }

    fn reset(&mut self, code: u32) {
        if self.question.is_none() {
            poll::SendStream::reset(&mut self.real, code);
        }
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        ready!(self.poll_forward(cx))?;
        match self.question {
            // Ours never close from the other side; the session's end is seen elsewhere.
            Some(_) => Poll::Pending,
            None => poll::SendStream::poll_closed(&mut self.real, cx),
        }
    }
}

impl poll::RecvStream for EagerRecv {
    type Error = ReadError;

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        dst: &mut [u8],
    ) -> Poll<Result<Option<usize>, ReadError>> {
        if let Some(question) = &self.question {
            let mut asked = lock(question);
            match &mut asked.decided {
                None => {
                    asked.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Some(Decided::Answered(rest, ends)) => {
                    let count = rest.len().min(dst.len());
                    if count == 0 && !dst.is_empty() {
                        return if *ends {
                            Poll::Ready(Ok(None))
                        } else {
                            Poll::Pending
                        };
                    }
                    rest.copy_to_slice(&mut dst[..count]);
                    return Poll::Ready(Ok(Some(count)));
                }
                Some(Decided::Forward(_)) => {}
            }
            drop(asked);
            self.question = None;
        }
        poll::RecvStream::poll_read(&mut self.real, cx, dst)
    }

    fn stop(&mut self, code: u32) {
        if self.question.is_none() {
            poll::RecvStream::stop(&mut self.real, code);
        }
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        if let Some(question) = &self.question {
            let mut asked = lock(question);
            match &asked.decided {
                Some(Decided::Forward(_)) => {}
                Some(Decided::Answered(rest, true)) if rest.is_empty() => {
                    return Poll::Ready(Ok(()));
                }
                _ => {
                    asked.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        poll::RecvStream::poll_closed(&mut self.real, cx)
    }
}

fn plain(send: SendStream, recv: RecvStream) -> (EagerSend, EagerRecv) {
    let send = EagerSend {
        real: send,
        question: None,
    };
    let recv = EagerRecv {
        real: recv,
        question: None,
    };
    (send, recv)
}

impl poll::Session for Eager {
    type SendStream = EagerSend;
    type RecvStream = EagerRecv;
    type Error = SessionError;

    fn poll_accept_uni(&mut self, cx: &mut Context<'_>) -> Poll<Result<EagerRecv, SessionError>> {
        let real = ready!(poll::Session::poll_accept_uni(&mut self.session, cx))?;
        Poll::Ready(Ok(EagerRecv {
            real,
            question: None,
        }))
    }

    fn poll_accept_bi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(EagerSend, EagerRecv), SessionError>> {
        let (send, recv) = ready!(poll::Session::poll_accept_bi(&mut self.session, cx))?;
        Poll::Ready(Ok(plain(send, recv)))
    }

    fn poll_open_uni(&mut self, cx: &mut Context<'_>) -> Poll<Result<EagerSend, SessionError>> {
        let real = ready!(poll::Session::poll_open_uni(&mut self.session, cx))?;
        Poll::Ready(Ok(EagerSend {
            real,
            question: None,
        }))
    }

    fn poll_open_bi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(EagerSend, EagerRecv), SessionError>> {
        let (send, recv) = ready!(poll::Session::poll_open_bi(&mut self.session, cx))?;
        let (mut send, mut recv) = plain(send, recv);
        if let Some(known) = &self.known {
            let question = Shared::default();
            recv.question = Some(Arc::clone(&question));
            send.question = Some((question, Arc::clone(known)));
        }
        Poll::Ready(Ok((send, recv)))
    }

    fn poll_send_datagram(
        &mut self,
        cx: &mut Context<'_>,
        payload: &[u8],
    ) -> Poll<Result<(), SessionError>> {
        poll::Session::poll_send_datagram(&mut self.session, cx, payload)
    }

    fn poll_recv_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, SessionError>> {
        poll::Session::poll_recv_datagram(&mut self.session, cx)
    }

    fn max_datagram_size(&self) -> usize {
        poll::Session::max_datagram_size(&self.session)
    }

    fn protocol(&self) -> Option<&str> {
        poll::Session::protocol(&self.session)
    }

    fn close(&mut self, code: u32, reason: &str) {
        poll::Session::close(&mut self.session, code, reason);
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<SessionError> {
        poll::Session::poll_closed(&mut self.session, cx)
    }

    fn stats(&self) -> impl Stats {
        poll::Session::stats(&self.session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: &str = "s/7/1/screen";

    fn check(request: &[u8], expected: Option<Option<&[u8]>>) {
        let actual = answer(request, &[SCREEN.to_owned()]);
        let actual = actual.as_ref().map(|answer| match answer {
            Answer::Known(text, _) => Some(&text[..]),
            Answer::Unknown => None,
        });
        assert_eq!(actual, expected, "{request:?}");
    }

    #[test]
    fn only_what_is_known_is_answered() {
        let announced = b"\x02\x00\x01\x00\x10\x0cs/7/1/screen\x00\x00\x00";
        check(&[1, 1, 0], Some(Some(announced)));
        check(
            b"\x06\x13\x0cs/7/1/screen\x05video",
            Some(Some(&TRACK_INFO)),
        );
        // Not complete yet.
        for incomplete in [&b""[..], &[1], &[1, 1], b"\x06\x13\x0cs/7/1/scr"] {
            check(incomplete, None);
        }
        // For the entry: another's track, a prefix, a subscription, nonsense.
        check(b"\x06\x13\x0cs/8/1/screen\x05video", Some(None));
        check(b"\x01\x02\x01s", Some(None));
        check(b"\x02\x13\x0cs/7/1/screen\x05video", Some(None));
        check(&[6, 0xff, 0xff], Some(None));
        check(&[6, 0], Some(None));
    }
}
