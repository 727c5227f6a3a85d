//! Terminals behind firewalls that drop UDP, and browsers without WebTransport: the same media
//! session over a WebSocket, whose messages carry QUIC-like streams (qmux).
//!
//! The HTTP server is elsewhere: it calls [`Relay::admit`] before the upgrade (and answers 403 with
//! the refusal's word), picks a protocol out of [`protocols`], and hands the upgraded socket's
//! messages to [`Relay::websocket`]. It must set TCP_NODELAY, or every small frame waits for an
//! acknowledgement of the one before.

mod adapter;
mod frames;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Sink, Stream};
use qmux::Version;
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use crate::access::{Grant, Refusal};
use crate::connections::{ConnectionKind, Live};
use crate::delivery::Account;
use crate::fan::Sorted;
use crate::relay::Relay;
use crate::server::{AcceptError, chain, within};
use crate::wire::TERMINAL_VERSIONS;
pub use adapter::PollSession;
use frames::Frames;

/// Wire formats, best first. Only those with records: they have flow control, datagrams and an idle
/// time.
const FORMATS: [Version; 2] = [Version::QMux02, Version::QMux01];

/// Streams that a peer may have open; the same as over QUIC.
const UNI_STREAMS: u64 = 1_024;
const BIDI_STREAMS: u64 = 512;

/// What a terminal may have sent that nobody has read. It sends input: this is plenty.
const RECEIVE_WINDOW: u64 = 4 << 20;
const STREAM_RECEIVE_WINDOW: u64 = 1 << 20;

/// A terminal may be silent this long; the same as over QUIC.
const IDLE: Duration = Duration::from_secs(10);

/// A message of a WebSocket, as far as a session cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Data.
    Binary(Bytes),
    /// Proof of life to be sent, or received and answered by the HTTP server.
    Ping,
    /// Anything else that arrived, such as a pong: proof of life.
    Other,
}

/// Subprotocols to offer, best first: `Sec-WebSocket-Protocol` must be one of these.
pub fn protocols() -> impl Iterator<Item = String> {
    FORMATS
        .into_iter()
        .flat_map(|format| TERMINAL_VERSIONS.map(|version| format!("{}{version}", format.prefix())))
}

/// A terminal that may open a session, with its place among the connections.
pub struct Admission {
    grant: Grant,
    remote: SocketAddr,
    slot: OwnedSemaphorePermit,
}

/// Why a WebSocket cannot become a session.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// The node does not want it: answer 403.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// There are too many connections: answer 503.
    #[error("too many connections")]
    Full,
}

impl Relay {
    /// Asks whether a terminal may open a session, before the upgrade of its request.
    pub fn admit(
        &self,
        path_and_query: &str,
        remote: SocketAddr,
    ) -> Result<Admission, NotAdmitted> {
        let slot = self.inner.slots.clone().try_acquire_owned();
        let slot = slot.map_err(|_| NotAdmitted::Full)?;
        let grant = self.inner.authorize.terminal(path_and_query, remote);
        Ok(Admission {
            grant: grant.map_err(NotAdmitted::Refused)?,
            remote,
            slot,
        })
    }

    /// Runs a session over an upgraded WebSocket until it ends. `protocol` is the subprotocol that
    /// was agreed on.
    pub async fn websocket<S, E>(&self, admission: Admission, protocol: &str, socket: S)
    where
        S: Stream<Item = Result<Message, E>> + Sink<Message, Error = E> + Send + Unpin + 'static,
        E: Send + 'static,
    {
        let remote = admission.remote;
        if let Err(error) = self.accept_websocket(admission, protocol, socket).await {
            debug!(%remote, error = chain(&error), "websocket not taken");
        }
    }

    async fn accept_websocket<S, E>(
        &self,
        admission: Admission,
        protocol: &str,
        socket: S,
    ) -> Result<(), AcceptError>
    where
        S: Stream<Item = Result<Message, E>> + Sink<Message, Error = E> + Send + Unpin + 'static,
        E: Send + 'static,
    {
        let config = config(protocol).ok_or(AcceptError::NoVersion)?;
        let frames = Frames::new(socket, IDLE, config.max_record_size);
        let (sorted, handshake) = within(async {
            let session = qmux::Session::accept(frames, config).await?;
            let sorted = Sorted::new(PollSession::new(session));
            let server = moq_net::Server::new();
            let accepting = server.accept_request_lite(Instant::now(), sorted.0.clone());
            Ok((sorted, accepting.await?))
        })
        .await?;
        let live = Live {
            kind: ConnectionKind::WebSocket,
            label: admission.grant.label.clone(),
            remote: admission.remote,
            peer: None,
            cost: None,
            quic: None,
            account: Some(Account::default()),
        };
        let slot = admission.slot;
        let result = self
            .admit_terminal(live, sorted, handshake, admission.grant)
            .await;
        drop(slot);
        result
    }
}

/// Splits a subprotocol such as `qmux-02.moq-lite-05` into format and version.
fn config(protocol: &str) -> Option<qmux::Config> {
    let format = FORMATS
        .into_iter()
        .find(|format| protocol.starts_with(format.prefix()))?;
    let version = protocol.strip_prefix(format.prefix())?;
    let version = TERMINAL_VERSIONS.into_iter().find(|v| *v == version)?;
    let mut config = qmux::Config::negotiated(format, Some(version.to_owned()));
    config.max_streams_uni = UNI_STREAMS;
    config.max_streams_bidi = BIDI_STREAMS;
    config.max_data = RECEIVE_WINDOW;
    config.max_stream_data_bidi_local = STREAM_RECEIVE_WINDOW;
    config.max_stream_data_bidi_remote = STREAM_RECEIVE_WINDOW;
    config.max_stream_data_uni = STREAM_RECEIVE_WINDOW;
    config.max_idle_timeout = u64::try_from(IDLE.as_millis()).expect("ten seconds fit");
    Some(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offered_protocol_is_understood_and_nothing_else() {
        assert_eq!(protocols().next().as_deref(), Some("qmux-02.moq-lite-06"));
        for protocol in protocols() {
            assert!(config(&protocol).is_some(), "{protocol}");
        }
        for protocol in [
            "",
            "webtransport",
            "qmux-00.moq-lite-05",
            "qmux-02",
            "qmux-02.moq-00",
        ] {
            assert!(config(protocol).is_none(), "{protocol}");
        }
    }
}
