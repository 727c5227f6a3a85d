//! The door: takes QUIC connections, finds out what they speak, and lets in whom the node allows.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use moq_net::goaway::Goaway;
use moq_net::server::Handshake;
use moq_net::{SessionError as CloseCode, transport};
use quinn::VarInt;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;
use web_transport_quinn::proto::ConnectResponse;
use web_transport_quinn::{Request, http};

use crate::access::{Grant, NodePeer, Refusal, patterns};
use crate::connections::{ConnectionKind, Live};
use crate::delivery::Account;
use crate::fan::{Sorted, Sorting, Watch};
use crate::fresh::Fresh;
use crate::ping;
use crate::relay::Relay;
use crate::transport::{NODE_SEND_WINDOW, TERMINAL_SEND_WINDOW};
use crate::wire::{NODE_ALPN, NodeSession, TERMINAL_VERSIONS, protocol};

/// From the first packet to a running session. Generous for a phone with a second of round trip and
/// losses; whoever needs longer holds a slot for nothing.
const HANDSHAKE_MAX: Duration = Duration::from_secs(6);

/// With more handshakes than this under way, an address must prove itself before it gets more.
const HALF_OPEN_CALM: usize = 128;

/// A refused peer closes when it has read why; it gets this long.
const REFUSED_LINGER: Duration = Duration::from_secs(2);

/// Why a connection did not become a session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error("handshake took longer than {HANDSHAKE_MAX:?}")]
    Slow,
    #[error("cannot dial")]
    Dial(#[source] quinn::ConnectError),
    #[error("quic handshake failed")]
    Quic(#[from] quinn::ConnectionError),
    #[error("webtransport handshake failed")]
    Http(#[from] web_transport_quinn::ServerError),
    #[error("websocket handshake failed")]
    WebSocket(#[from] qmux::Error),
    #[error("media handshake failed")]
    Media(#[from] moq_net::Error),
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error("peer offers none of our media versions")]
    NoVersion,
    #[error("peer takes no datagrams")]
    NoDatagrams,
    #[error("the camera's path is none")]
    NoPath,
    #[error("peer declares another hop than its certificate has")]
    WrongHop,
}

impl Relay {
    /// Takes connections from an endpoint set up with [`crate::transport::server_config`] until the relay
    /// stops or the endpoint closes. Closing the endpoint is up to its owner.
    pub async fn serve(&self, endpoint: quinn::Endpoint) {
        loop {
            let incoming = tokio::select! {
                () = self.inner.stop.cancelled() => return,
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => incoming,
                    None => return,
                },
            };
            let Ok(slot) = self.inner.slots.clone().try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            if self.inner.half_open.load(Ordering::Relaxed) > HALF_OPEN_CALM && incoming.may_retry()
            {
                // Cannot fail: it may retry.
                let _ = incoming.retry();
                continue;
            }
            let relay = self.clone();
            self.inner.tracker.spawn(async move {
                let remote = incoming.remote_address();
                if let Err(error) = relay.accept(incoming).await {
                    debug!(%remote, error = chain(&error), "connection not taken");
                }
                drop(slot);
            });
        }
    }

    async fn accept(&self, incoming: quinn::Incoming) -> Result<(), AcceptError> {
        let half_open = self.inner.half_open();
        let mut connecting = incoming.accept()?;
        let data = within(async { Ok(connecting.handshake_data().await?) }).await?;
        let protocol = protocol(data);
        // We may speak before the terminal has finished its part of the handshake. What we say then,
        // our HTTP/3 settings, is for everybody; it saves a browser one round trip.
        let (connection, established) = match connecting.into_0rtt() {
            Ok((connection, established)) => (connection, Some(established)),
            Err(connecting) => (within(async { Ok(connecting.await?) }).await?, None),
        };
        if protocol.as_deref() == Some(web_transport_quinn::ALPN) {
            let request = within(async { Ok(Request::accept(connection.clone()).await?) }).await?;
            drop(half_open);
            takes_datagrams(&connection)?;
            return self.accept_web(connection, request).await;
        }
        if let Some(established) = established {
            within(async { Ok(established.await) }).await?;
        }
        drop(half_open);
        takes_datagrams(&connection)?;
        match protocol.as_deref() {
            Some(NODE_ALPN) => self.accept_node(connection).await,
            _ => self.accept_raw(connection).await,
        }
    }

    /// A browser: the path and token are in the address of the request.
    async fn accept_web(
        &self,
        connection: quinn::Connection,
        request: Request,
    ) -> Result<(), AcceptError> {
        if request.url.path() == ping::PATH {
            let session = within(async { Ok(request.respond(ConnectResponse::OK).await?) }).await?;
            tokio::select! {
                () = ping::echo(session) => {}
                () = self.inner.stop.cancelled() => {}
            }
            return Ok(());
        }
        let path = match request.url.query() {
            Some(query) => format!("{}?{query}", request.url.path()),
            None => request.url.path().to_owned(),
        };
        let remote = connection.remote_address();
        let grant = match self.inner.authorize.terminal(&path, remote) {
            Ok(grant) => grant,
            Err(refusal) => {
                within(async { Ok(request.reject(http::StatusCode::FORBIDDEN).await?) }).await?;
                // The answer is lost if the connection goes before the peer has read it.
                let _ = timeout(REFUSED_LINGER, connection.closed()).await;
                return Err(AcceptError::Refused(refusal));
            }
        };
        let version = TERMINAL_VERSIONS
            .into_iter()
            .find(|ours| request.protocols.iter().any(|theirs| theirs == ours))
            .ok_or(AcceptError::NoVersion)?;
        let (sorted, handshake) = within(async {
            let response = ConnectResponse::OK.with_protocol(version);
            let sorted = Sorted::new(request.respond(response).await?);
            let server = moq_net::Server::new();
            let accepting = server.accept_request_lite(Instant::now(), sorted.0.clone());
            Ok((sorted, accepting.await?))
        })
        .await?;
        connection.set_send_window(TERMINAL_SEND_WINDOW);
        let live = Live {
            kind: ConnectionKind::WebTransport,
            label: grant.label.clone(),
            remote,
            peer: None,
            cost: None,
            quic: Some(connection),
            account: Some(Account::default()),
        };
        self.admit_terminal(live, sorted, handshake, grant).await
    }

    /// A native terminal: the path and token are in its first message.
    async fn accept_raw(&self, connection: quinn::Connection) -> Result<(), AcceptError> {
        let sorted = Sorted::new(web_transport_quinn::Session::raw(connection.clone()));
        let handshake = within(async {
            let server = moq_net::Server::new();
            let accepting = server.accept_request_lite(Instant::now(), sorted.0.clone());
            Ok(accepting.await?)
        })
        .await?;
        let remote = connection.remote_address();
        let grant = match self.inner.authorize.terminal(handshake.path(), remote) {
            Ok(grant) => grant,
            Err(refusal) => {
                close(&connection, &CloseCode::Unauthorized, &refusal.0);
                handshake.close(moq_net::Error::Unauthorized);
                return Err(AcceptError::Refused(refusal));
            }
        };
        connection.set_send_window(TERMINAL_SEND_WINDOW);
        let live = Live {
            kind: ConnectionKind::Quic,
            label: grant.label.clone(),
            remote,
            peer: None,
            cost: None,
            quic: Some(connection),
            account: Some(Account::default()),
        };
        self.admit_terminal(live, sorted, handshake, grant).await
    }

    /// Starts a terminal's session with exactly what the grant names, and runs it.
    pub(crate) async fn admit_terminal<S>(
        &self,
        live: Live,
        (session, sorting): (Sorted<S>, Sorting<S>),
        mut handshake: Handshake<Sorted<S>>,
        grant: Grant,
    ) -> Result<(), AcceptError>
    where
        S: transport::poll::Session + Send,
        S::SendStream: Send,
        S::RecvStream: Send,
    {
        let mut table = None;
        if let Some(subscribe) = patterns(&grant.subscribe) {
            let scoped = self.inner.origin.consume().scope("", &subscribe)?;
            handshake = handshake.with_publisher(scoped.clone());
            table = Some(scoped);
        }
        let watch = Watch {
            table,
            account: live.account.clone().unwrap_or_default(),
            fans: self.inner.fans.clone(),
        };
        // Dropped, and so ended, when the session is over.
        let _sorting = AbortOnDropHandle::new(self.inner.tracker.spawn(sorting.run(watch)));
        if let Some(camera) = grant.camera {
            return self.admit_camera(live, session, handshake, camera).await;
        }
        if let Some(publish) = patterns(&grant.publish) {
            handshake = handshake.with_subscriber(self.inner.origin.scope("", &publish)?);
        }
        let (session, driver) = handshake.ok().await?;
        self.run(live, grant.lifetime, session, driver).await;
        Ok(())
    }

    async fn accept_node(&self, connection: quinn::Connection) -> Result<(), AcceptError> {
        let peer = self.authorize_node(&connection)?;
        let handshake = within(async {
            let session = Fresh::new(NodeSession::new(connection.clone()));
            let server = moq_net::Server::new();
            Ok(server.accept_request_lite(Instant::now(), session).await?)
        })
        .await?;
        if handshake.peer_hop() != Some(peer.hop.inner()) {
            close(&connection, &CloseCode::Unauthorized, "hop");
            return Err(AcceptError::WrongHop);
        }
        connection.set_send_window(NODE_SEND_WINDOW);
        let (session, driver) = handshake
            .with_peer_hop(peer.hop.inner())
            .with_publisher(self.inner.origin.consume().with_hidden(true))
            .with_subscriber(self.inner.origin.clone().peer())
            .ok()
            .await?;
        let live = Live {
            kind: ConnectionKind::Node,
            label: peer.label,
            remote: connection.remote_address(),
            peer: Some(peer.hop),
            cost: None,
            quic: Some(connection),
            account: None,
        };
        let leaving = leave_with(session.clone());
        tokio::select! {
            () = self.run(live, None, session, driver) => {}
            () = leaving => {}
        }
        Ok(())
    }

    /// Whether this connection is a node's; closes it if not.
    pub(crate) fn authorize_node(
        &self,
        connection: &quinn::Connection,
    ) -> Result<NodePeer, AcceptError> {
        self.inner.authorize.node(connection).map_err(|refusal| {
            close(connection, &CloseCode::Unauthorized, &refusal.0);
            AcceptError::Refused(refusal)
        })
    }
}

/// When the peer says that it will leave, says so, too: each end turns only from those who do. Never
/// ends.
async fn leave_with(session: moq_net::Session) {
    if session.draining().recv().await.is_some() {
        // Said before, or over: nothing more to do.
        let _ = session.drain().send(Goaway::new());
    }
    std::future::pending().await
}

/// The media library takes datagrams for granted and panics without.
fn takes_datagrams(connection: &quinn::Connection) -> Result<(), AcceptError> {
    if connection.max_datagram_size().is_some() {
        return Ok(());
    }
    close(connection, &CloseCode::Version, "datagrams required");
    Err(AcceptError::NoDatagrams)
}

/// A step of a handshake, which nobody may draw out.
pub(crate) async fn within<T>(
    step: impl Future<Output = Result<T, AcceptError>>,
) -> Result<T, AcceptError> {
    timeout(HANDSHAKE_MAX, step)
        .await
        .map_err(|_| AcceptError::Slow)?
}

fn close(connection: &quinn::Connection, code: &CloseCode, word: &str) {
    connection.close(VarInt::from_u32(code.to_code()), word.as_bytes());
}

/// An error with all of its causes, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
