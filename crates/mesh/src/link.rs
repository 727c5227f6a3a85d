//! The connection between a node and the center: requests in both directions, and notices.
//!
//! A request is one bidirectional stream, a notice one unidirectional stream; notices of one side
//! are handled in the order they were sent. Messages are opaque here; `api::link` says what they
//! mean. A peer that is killed is noticed within [`SILENCE_MAX`].
//!
//! **Invariant:** whoever reaches a [`Handler`] has proved who they are.

mod frame;
mod server;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, IdleTimeout, TransportConfig, VarInt};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use self::frame::{CALL, FrameError, PING, read_frame};
use crate::certificate::{Content, Subject};
use crate::credentials::Credentials;
use crate::tls;

pub use self::frame::MESSAGE_MAX;
pub use self::server::{BindError, LinkServer, Service};

/// A peer that was killed is noticed within this time.
pub const SILENCE_MAX: Duration = Duration::from_millis(1_900);

/// How often an idle node says that it lives. The center answers, so one side is enough.
const KEEP_ALIVE: Duration = Duration::from_millis(400);

/// A connection without a sign of life for this long is over; three keep-alives may be lost
/// before. It counts from the first packet sent after the last one received, hence a keep-alive
/// less than [`SILENCE_MAX`].
const IDLE_MAX: Duration = SILENCE_MAX.saturating_sub(KEEP_ALIVE);

/// Requests that one peer may have open with us. More wait on their side: a node has a handful
/// of sessions to start at once, and every request may hold [`MESSAGE_MAX`] bytes.
const CALLS_MAX: u32 = 64;

/// Notices on their way from one peer. They are handled one at a time, so this is only enough to
/// keep a long link busy.
const NOTICES_MAX: u32 = 32;

/// Unread bytes of one peer that we hold.
const RECEIVE_WINDOW: u32 = 4 * 1024 * 1024;

/// The other side of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who it has proved to be.
    pub subject: Subject,
    /// Where its packets come from.
    pub address: SocketAddr,
    /// When the certificate it has shown ends.
    pub not_after: SystemTime,
}

/// What a side does with messages of the other.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request. The error is a text for a person at the other side. Many run at once;
    /// one goes on when its caller has given up.
    fn call(
        &self,
        peer: &Peer,
        request: Bytes,
    ) -> impl Future<Output = Result<Bytes, String>> + Send;

    /// Takes a notice. The next one waits until it returns.
    fn notice(&self, peer: &Peer, notice: Bytes) -> impl Future<Output = ()> + Send;
}

/// A live connection to a peer. Clones are the same link; it closes when the last one is dropped.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

struct Shared {
    connection: Connection,
    peer: Peer,
    /// A dialled link has its own endpoint, which must live as long.
    _endpoint: Option<Endpoint>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The link is gone. Whether the request was handled is unknown.
    #[error("the link is closed")]
    Closed(#[source] ConnectionError),
    /// No answer in time. Whether the request was handled is unknown.
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The other side said no, in these words.
    #[error("{0}")]
    Refused(String),
    /// Not sent: the message is too long.
    #[error("a message of {size} bytes is over the limit of {MESSAGE_MAX}")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
    },
    /// The other side does not speak our protocol.
    #[error("the answer is not understood")]
    Malformed,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Our certificate cannot be used.
    #[error("prepare tls")]
    Tls(#[source] rustls::Error),
    /// No socket.
    #[error("open a udp socket")]
    Socket(#[source] std::io::Error),
    /// The address cannot be connected to.
    #[error("connect")]
    Connect(#[source] quinn::ConnectError),
    /// Connected, then refused, or the other side is not who it should be.
    #[error("the handshake failed")]
    Handshake(#[source] ConnectionError),
    /// Nobody answered.
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The handshake went through but the first request did not: most likely our certificate
    /// was refused.
    #[error("the other side closed the link at once")]
    Refused(#[source] CallError),
}

/// Connects to the center at `address` with our certificate. Messages of the center go to
/// `handler`, in tasks of `tasks`. Returns once the center has accepted us.
pub async fn dial<H: Handler>(
    address: SocketAddr,
    credentials: &Credentials,
    handler: Arc<H>,
    tasks: &TaskTracker,
    deadline: Duration,
) -> Result<Link, DialError> {
    let config = tls::link_client(credentials).map_err(DialError::Tls)?;
    let (endpoint, connection) = connect(address, config, deadline).await?;
    // The server looks at our certificate after our side of the handshake is done.
    let ping = frame::exchange(&connection, PING, &[]);
    timeout(deadline, ping)
        .await
        .map_err(|_| DialError::Deadline(deadline))?
        .map_err(|error| match error {
            CallError::Closed(source) => DialError::Handshake(source),
            other => DialError::Refused(other),
        })?;
    let content = tls::peer_content(&connection).ok_or(DialError::Refused(CallError::Malformed))?;
    let link = Link::new(connection, content, Some(endpoint));
    link.serve(handler, tasks);
    Ok(link)
}

impl Link {
    fn new(connection: Connection, content: Content, endpoint: Option<Endpoint>) -> Self {
        let peer = Peer {
            subject: content.subject,
            address: connection.remote_address(),
            not_after: content.not_after,
        };
        Self(Arc::new(Shared {
            connection,
            peer,
            _endpoint: endpoint,
        }))
    }

    /// Sends a request and returns its answer.
    pub async fn call(&self, request: &[u8], deadline: Duration) -> Result<Bytes, CallError> {
        call_once(&self.0.connection, request, deadline).await
    }

    /// Sends a notice. Returns when it is on its way, which is no proof that it arrived.
    pub async fn notify(&self, notice: &[u8], deadline: Duration) -> Result<(), CallError> {
        timeout(deadline, frame::send_notice(&self.0.connection, notice))
            .await
            .map_err(|_| CallError::Deadline(deadline))?
    }

    /// Who is at the other side.
    pub fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// The present estimate of the round trip.
    pub fn round_trip(&self) -> Duration {
        self.0.connection.rtt()
    }

    /// Waits until the link is closed, by whom ever, and says why.
    pub async fn closed(&self) -> ConnectionError {
        self.0.connection.closed().await
    }

    /// Whether the link is closed.
    pub fn is_closed(&self) -> bool {
        self.0.connection.close_reason().is_some()
    }

    /// Closes the link; the other side sees `reason`.
    pub fn close(&self, reason: &str) {
        self.0.connection.close(0_u32.into(), reason.as_bytes());
    }

    /// Handles what the peer sends, until the connection ends. The tasks hold the connection but
    /// not the link, so that dropping the link ends them.
    fn serve<H: Handler>(&self, handler: Arc<H>, tasks: &TaskTracker) {
        let connection = self.0.connection.clone();
        tasks.spawn(serve_notices(
            connection.clone(),
            self.0.peer.clone(),
            Arc::clone(&handler),
        ));
        let peer = self.0.peer.clone();
        let calls = tasks.clone();
        tasks.spawn(serve_calls(connection, peer, handler, calls));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.connection.close(0_u32.into(), b"dropped");
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.0.peer).finish()
    }
}

async fn serve_notices<H: Handler>(connection: Connection, peer: Peer, handler: Arc<H>) {
    while let Ok(mut stream) = connection.accept_uni().await {
        match read_frame(&mut stream).await {
            Ok((_, notice)) => handler.notice(&peer, notice).await,
            Err(FrameError::Cut) => {} // its sender gave up
            Err(error) => return refuse(&connection, &peer, &error),
        }
    }
}

async fn serve_calls<H: Handler>(
    connection: Connection,
    peer: Peer,
    handler: Arc<H>,
    tasks: TaskTracker,
) {
    // The number of tasks is bounded by the streams that the peer may open.
    while let Ok((send, receive)) = connection.accept_bi().await {
        let (connection, peer, handler) = (connection.clone(), peer.clone(), Arc::clone(&handler));
        tasks.spawn(async move {
            let answer = |request| handler.call(&peer, request);
            match frame::answer(send, receive, answer).await {
                Ok(()) | Err(FrameError::Cut) => {}
                Err(error) => refuse(&connection, &peer, &error),
            }
        });
    }
}

/// A peer with our certificate that breaks the protocol is broken itself: it may come again.
fn refuse(connection: &Connection, peer: &Peer, error: &FrameError) {
    tracing::warn!(peer = %peer.subject, address = %peer.address, %error, "link closed");
    connection.close(1_u32.into(), error.to_string().as_bytes());
}

pub(crate) async fn call_once(
    connection: &Connection,
    request: &[u8],
    deadline: Duration,
) -> Result<Bytes, CallError> {
    timeout(deadline, frame::exchange(connection, CALL, request))
        .await
        .map_err(|_| CallError::Deadline(deadline))?
}

pub(crate) async fn connect(
    address: SocketAddr,
    config: rustls::ClientConfig,
    deadline: Duration,
) -> Result<(Endpoint, Connection), DialError> {
    let config = QuicClientConfig::try_from(config)
        .expect("our tls configurations are tls 1.3 with the provider's quic suites");
    let mut config = quinn::ClientConfig::new(Arc::new(config));
    let mut transport = transport();
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    config.transport_config(Arc::new(transport));
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0_u16; 8], 0)),
    };
    let endpoint = Endpoint::client(any).map_err(DialError::Socket)?;
    let connecting = endpoint
        .connect_with(config, address, "selvedge") // the name is not sent and not checked
        .map_err(DialError::Connect)?;
    let connection = timeout(deadline, connecting)
        .await
        .map_err(|_| DialError::Deadline(deadline))?
        .map_err(DialError::Handshake)?;
    Ok((endpoint, connection))
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(IDLE_MAX).expect("two seconds fit into a quic timeout");
    transport
        .max_idle_timeout(Some(idle))
        .max_concurrent_bidi_streams(CALLS_MAX.into())
        .max_concurrent_uni_streams(NOTICES_MAX.into())
        .stream_receive_window(VarInt::from_u32(frame::LENGTH_MAX))
        .receive_window(RECEIVE_WINDOW.into())
        .datagram_receive_buffer_size(None);
    transport
}
