//! What our connections say on the wire: names of protocols, hops, and a session whose protocol we
//! name ourselves.

use std::any::Any;
use std::task::{Context, Poll};

use bytes::Bytes;
use moq_net::web_transport_trait::{Stats, poll};
use quinn::crypto::rustls::HandshakeData;
use web_transport_quinn::{RecvStream, SendStream, Session, SessionError};

/// The protocol of links between nodes: raw QUIC that speaks [`NODE_VERSION`].
pub(crate) const NODE_ALPN: &str = "selvedge-relay/1";

/// What [`NODE_ALPN`] speaks. Part of the protocol's name: another version is another name.
const NODE_VERSION: &str = "moq-lite-06";

/// What terminals may speak, best first. Only these: older ones carry no path and no timescale, and
/// every further one is more code in front of strangers.
pub(crate) const TERMINAL_VERSIONS: [&str; 2] = ["moq-lite-06", "moq-lite-05"];

/// A node's place in the chain of nodes that a broadcast has come through. Must stay the same over
/// a restart, or those who watch lose their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop(moq_net::Hop);

/// A hop must be 1 to 2^62 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hop {0} is not within 1 to 2^62 - 1")]
pub struct InvalidHop(u64);

impl Hop {
    /// The number as it is on the wire.
    pub fn get(self) -> u64 {
        self.0.id()
    }

    pub(crate) fn inner(self) -> moq_net::Hop {
        self.0
    }
}

impl TryFrom<u64> for Hop {
    type Error = InvalidHop;

    fn try_from(id: u64) -> Result<Self, InvalidHop> {
        moq_net::Hop::new(id).map(Self).map_err(|_| InvalidHop(id))
    }
}

/// The name of the protocol that a QUIC connection has agreed on, from its handshake data.
pub(crate) fn protocol(data: Box<dyn Any>) -> Option<String> {
    let data = data.downcast::<HandshakeData>().ok()?;
    String::from_utf8(data.protocol?).ok()
}

/// A session over a node link. The media library takes its version from the name of the protocol;
/// ours has a name of its own.
#[derive(Clone)]
pub(crate) struct NodeSession(Session);

impl NodeSession {
    pub(crate) fn new(connection: quinn::Connection) -> Self {
        Self(Session::raw(connection))
    }
}

impl poll::Session for NodeSession {
    type SendStream = SendStream;
    type RecvStream = RecvStream;
    type Error = SessionError;

    fn poll_accept_uni(&mut self, cx: &mut Context<'_>) -> Poll<Result<RecvStream, SessionError>> {
        poll::Session::poll_accept_uni(&mut self.0, cx)
    }

    fn poll_accept_bi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(SendStream, RecvStream), SessionError>> {
        poll::Session::poll_accept_bi(&mut self.0, cx)
    }

    fn poll_open_uni(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, SessionError>> {
        poll::Session::poll_open_uni(&mut self.0, cx)
    }

    fn poll_open_bi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(SendStream, RecvStream), SessionError>> {
        poll::Session::poll_open_bi(&mut self.0, cx)
    }

    fn poll_send_datagram(
        &mut self,
        cx: &mut Context<'_>,
        payload: &[u8],
    ) -> Poll<Result<(), SessionError>> {
        poll::Session::poll_send_datagram(&mut self.0, cx, payload)
    }

    fn poll_recv_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, SessionError>> {
        poll::Session::poll_recv_datagram(&mut self.0, cx)
    }

    fn max_datagram_size(&self) -> usize {
        poll::Session::max_datagram_size(&self.0)
    }

    fn protocol(&self) -> Option<&str> {
        Some(NODE_VERSION)
    }

    fn close(&mut self, code: u32, reason: &str) {
        poll::Session::close(&mut self.0, code, reason);
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<SessionError> {
        poll::Session::poll_closed(&mut self.0, cx)
    }

    fn stats(&self) -> impl Stats {
        poll::Session::stats(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_fit_the_wire() {
        assert!(Hop::try_from(0).is_err());
        assert!(Hop::try_from(1 << 62).is_err());
        assert_eq!(Hop::try_from(7).map(Hop::get), Ok(7));
    }
}
