//! A session that remembers how the other side closed it. The media library closes what is closed
//! already, and QUIC then forgets the words that the other side had.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use moq_net::web_transport_trait::{Stats, poll};
use quinn::{Connection, ConnectionError};
use web_transport_quinn::{RecvStream, SendStream, Session, SessionError};

/// How a connection was closed, once it is.
#[derive(Clone)]
pub(super) struct Closing {
    quic: Connection,
    first: Arc<OnceLock<ConnectionError>>,
}

impl Closing {
    /// Waits until it is closed, and says how.
    pub(super) async fn closed(&self) -> ConnectionError {
        let last = self.quic.closed().await;
        self.first.get().cloned().unwrap_or(last)
    }

    fn remember(&self) {
        if let Some(reason) = self.quic.close_reason() {
            // What was first counts.
            let _ = self.first.set(reason);
        }
    }
}

#[derive(Clone)]
pub(super) struct Heard {
    session: Session,
    closing: Closing,
}

impl Heard {
    pub(super) fn new(quic: Connection) -> Self {
        Self {
            session: Session::raw(quic.clone()),
            closing: Closing {
                quic,
                first: Arc::default(),
            },
        }
    }

    pub(super) fn closing(&self) -> Closing {
        self.closing.clone()
    }
}

impl poll::Session for Heard {
    type SendStream = SendStream;
    type RecvStream = RecvStream;
    type Error = SessionError;

    fn poll_accept_uni(&mut self, cx: &mut Context<'_>) -> Poll<Result<RecvStream, SessionError>> {
        poll::Session::poll_accept_uni(&mut self.session, cx)
    }

    fn poll_accept_bi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(SendStream, RecvStream), SessionError>> {
        poll::Session::poll_accept_bi(&mut self.session, cx)
    }

    fn poll_open_uni(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, SessionError>> {
        poll::Session::poll_open_uni(&mut self.session, cx)
    }

    fn poll_open_bi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(SendStream, RecvStream), SessionError>> {
        poll::Session::poll_open_bi(&mut self.session, cx)
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
        self.closing.remember();
        poll::Session::close(&mut self.session, code, reason);
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<SessionError> {
        poll::Session::poll_closed(&mut self.session, cx)
    }

    fn stats(&self) -> impl Stats {
        poll::Session::stats(&self.session)
    }
}
