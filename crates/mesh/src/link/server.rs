//! The center's end of all links.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, EndpointConfig, Incoming, TokioRuntime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::frame::{self, FrameError};
use super::{Handler, Link, transport};
use crate::alpn;
use crate::credentials::Credentials;
use crate::tls;

/// Handshakes at once. A thousand nodes that come back after a restart of the center wait a
/// little and try again; strangers cannot make us hold more state than this.
const HANDSHAKES_MAX: usize = 256;

/// From this many on a stranger must prove its address before it costs us a signature.
const HANDSHAKES_TRUSTING: usize = 64;

/// A machine that wants to join has this long for its one request.
const JOIN_MAX: Duration = Duration::from_secs(10);

/// And this long to read the answer.
const JOIN_LINGER: Duration = Duration::from_secs(2);

/// Unread bytes that we hold of a machine that wants to join.
const JOIN_WINDOW: u32 = 64 * 1024;

/// Machines that join at once.
const JOINS_MAX: usize = 32;

/// How long shutdown waits for requests that are being handled.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

/// What the center does with links.
pub trait Service: Handler {
    /// A node is here. Runs in a task of its own; the link closes when all its clones are
    /// dropped, so keep one, or wait for [`Link::closed`].
    fn connected(&self, link: Link) -> impl Future<Output = ()> + Send;

    /// Somebody without a certificate asks to join. The sender has proved nothing yet.
    fn join(
        &self,
        from: SocketAddr,
        request: Bytes,
    ) -> impl Future<Output = Result<Bytes, String>> + Send;
}

/// Why the center cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The center's certificate cannot be used.
    #[error("prepare tls")]
    Tls(#[source] rustls::Error),
    /// The port cannot be used.
    #[error("listen for nodes on {address} (udp)")]
    Socket {
        /// Where it was tried.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// A UDP port on which nodes link up and join.
#[derive(Debug)]
pub struct LinkServer {
    endpoint: Endpoint,
}

impl LinkServer {
    /// Opens the port. `credentials` are [`Authority::credentials`](crate::authority::Authority).
    pub fn bind(address: SocketAddr, credentials: &Credentials) -> Result<Self, BindError> {
        let socket = |source| BindError::Socket { address, source };
        let tls = tls::link_server(credentials).map_err(BindError::Tls)?;
        let crypto = QuicServerConfig::try_from(tls)
            .expect("our tls configurations are tls 1.3 with the provider's quic suites");
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(Arc::new(transport()))
            .max_incoming(HANDSHAKES_MAX);
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            Some(config),
            UdpSocket::bind(address).map_err(socket)?,
            Arc::new(TokioRuntime),
        )
        .map_err(socket)?;
        Ok(Self { endpoint })
    }

    /// The address in use; tells the port after binding port 0.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Serves until `stop`, then tells every peer, and waits a bounded time for requests that
    /// are being handled.
    pub async fn run<S: Service>(self, service: Arc<S>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let joins = Arc::new(Semaphore::new(JOINS_MAX));
        while let Some(Some(incoming)) = stop.run_until_cancelled(self.endpoint.accept()).await {
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let busy = HANDSHAKES_MAX - handshakes.available_permits() > HANDSHAKES_TRUSTING;
            if busy && incoming.may_retry() && !incoming.remote_address_validated() {
                if incoming.retry().is_err() {
                    tracing::debug!("a stranger could not be asked to prove its address");
                }
                continue;
            }
            let newcomer = Newcomer {
                service: Arc::clone(&service),
                joins: Arc::clone(&joins),
                tasks: tasks.clone(),
            };
            tasks.spawn(newcomer.welcome(incoming, permit));
        }
        self.endpoint.close(0_u32.into(), b"the center is stopping");
        tasks.close();
        if timeout(SHUTDOWN_MAX, tasks.wait()).await.is_err() {
            tracing::warn!(left = tasks.len(), "link requests were still being handled");
        }
    }
}

struct Newcomer<S> {
    service: Arc<S>,
    joins: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl<S: Service> Newcomer<S> {
    async fn welcome(self, incoming: Incoming, permit: OwnedSemaphorePermit) {
        let address = incoming.remote_address();
        let connecting = match incoming.accept() {
            Ok(connecting) => connecting,
            Err(error) => return tracing::debug!(%address, %error, "not a handshake"),
        };
        // Bounded by the idle timeout of the transport.
        let connection = match connecting.await {
            Ok(connection) => connection,
            Err(error) => return tracing::debug!(%address, %error, "handshake failed"),
        };
        drop(permit);
        match tls::protocol(&connection).as_deref() {
            Some(alpn::LINK) => self.link(connection).await,
            Some(alpn::JOIN) => self.join(connection).await,
            Some(_) | None => connection.close(2_u32.into(), b"unknown protocol"),
        }
    }

    async fn link(self, connection: Connection) {
        let content = tls::peer_content(&connection);
        let Some(content) = content.filter(|it| it.subject.node_id().is_some()) else {
            return connection.close(3_u32.into(), b"a node certificate is required");
        };
        let link = Link::new(connection, content, None);
        tracing::debug!(peer = %link.peer().subject, address = %link.peer().address, "linked");
        link.serve(Arc::clone(&self.service), &self.tasks);
        self.service.connected(link).await;
    }

    async fn join(self, connection: Connection) {
        // One request is all that is read, and no more than that is held of what else is sent.
        connection.set_max_concurrent_uni_streams(0_u32.into());
        connection.set_max_concurrent_bi_streams(1_u32.into());
        connection.set_receive_window(JOIN_WINDOW.into());
        let Ok(_permit) = self.joins.try_acquire() else {
            return connection.close(4_u32.into(), b"too many machines join; try again");
        };
        let from = connection.remote_address();
        let answer = async {
            let (send, receive) = connection.accept_bi().await.map_err(|_| FrameError::Cut)?;
            frame::answer(send, receive, |request| self.service.join(from, request)).await
        };
        match timeout(JOIN_MAX, answer).await {
            // The joiner closes once it has read the answer.
            Ok(Ok(())) => drop(timeout(JOIN_LINGER, connection.closed()).await),
            Ok(Err(error)) => tracing::debug!(%from, %error, "not a request to join"),
            Err(_) => tracing::debug!(%from, "no request to join came"),
        }
        connection.close(0_u32.into(), b"done");
    }
}
