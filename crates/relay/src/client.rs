//! The other side of the door: a connection to a node as a terminal that is no browser, by raw QUIC.
//! It publishes; what it may is in the path.

mod heard;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use moq_net::{SessionError as CloseCode, cache, origin};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::publish::{Broadcast, PublishError};
use crate::relay::CLOSE_MAX;
use crate::transport::{TERMINAL_SEND_WINDOW, UnusableTls, terminal_client_config};
use heard::{Closing, Heard};

/// From the first packet to a running session.
const CONNECT_MAX: Duration = Duration::from_secs(6);

/// What is kept of what is published: what a link may fall behind, at 20 Mbit/s for 10 s.
const CACHE_CAPACITY: u64 = 24 << 20;

/// A door, and what opens it.
#[derive(Clone)]
pub struct Door {
    /// `host:port`.
    pub address: String,
    /// Path and query, with whatever lets us in.
    pub path: String,
    /// Verifies the node.
    pub tls: rustls::ClientConfig,
}

/// Without path: there is a secret in it.
impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Why a door did not open.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address leads nowhere.
    #[error("find {address}")]
    Address {
        /// Which.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no socket.
    #[error("open a socket")]
    Socket(#[source] io::Error),
    /// TLS cannot be used.
    #[error("set up quic")]
    Tls(#[from] UnusableTls),
    /// It cannot be dialled.
    #[error("dial")]
    Dial(#[from] quinn::ConnectError),
    /// It does not answer, or is somebody else.
    #[error("connect")]
    Quic(#[from] quinn::ConnectionError),
    /// It speaks something else.
    #[error("begin the media session")]
    Media(#[from] moq_net::Error),
    /// It takes too long.
    #[error("nobody answers within {CONNECT_MAX:?}")]
    Slow,
}

/// How a node closed a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It has all that was published, and nothing more to say.
    Done,
    /// It does not want us, and will not as we are.
    Refused(String),
    /// It is gone, or will take us again.
    Lost(String),
}

/// A connection. Ends when dropped.
pub struct Client {
    closing: Closing,
    endpoint: quinn::Endpoint,
    session: moq_net::Session,
    table: origin::Producer,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Client {
    /// Connects. Whether the node lets us in is told by [`Client::closed`].
    ///
    /// # Errors
    /// When nobody is there, or not who should be.
    pub async fn connect(door: &Door) -> Result<Self, ConnectError> {
        let connected = timeout(CONNECT_MAX, Self::enter(door)).await;
        connected.map_err(|_| ConnectError::Slow)?
    }

    async fn enter(door: &Door) -> Result<Self, ConnectError> {
        let address = &door.address;
        let no_address = |source| ConnectError::Address {
            address: address.clone(),
            source,
        };
        let mut found = tokio::net::lookup_host(address).await.map_err(no_address)?;
        let nothing = || no_address(io::ErrorKind::NotFound.into());
        let remote = found.next().ok_or_else(nothing)?;
        let local = match remote {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let endpoint = quinn::Endpoint::client(local).map_err(ConnectError::Socket)?;
        let config = terminal_client_config(door.tls.clone())?;
        let name = address.rsplit_once(':').map_or("", |(host, _)| host);
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let quic = endpoint.connect_with(config, remote, name)?.await?;
        quic.set_send_window(TERMINAL_SEND_WINDOW);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let table = table(&tasks, &stop);
        let client = moq_net::Client::new()
            // A price of our own, or the library waits for the node's before it publishes.
            .with_cost(1)
            .with_publisher(&table)
            .with_path(door.path.clone());
        let heard = Heard::new(quic);
        let closing = heard.closing();
        let (session, driver) = client.connect_lite(Instant::now(), heard).await?;
        let stopped = stop.clone();
        tasks.spawn(async move {
            let mut driver = std::pin::pin!(moq_net::time::run(driver));
            tokio::select! {
                _ = &mut driver => {}
                () = stopped.cancelled() => {
                    let _ = timeout(CLOSE_MAX, driver).await;
                }
            }
        });
        Ok(Self {
            closing,
            endpoint,
            session,
            table,
            tasks,
            stop,
        })
    }

    /// Creates a broadcast. The node sees it when it is announced.
    ///
    /// # Errors
    /// When the path is malformed.
    pub fn publish(&self, path: &str) -> Result<Broadcast, PublishError> {
        Broadcast::create(&self.table, path)
    }

    /// Waits until the node closes the connection, or it is lost.
    pub async fn closed(&self) -> Closed {
        closed(self.closing.closed().await)
    }

    /// Leaves, and waits until that has been said.
    pub async fn close(self) {
        self.session.abort(moq_net::Error::Cancel);
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let _ = timeout(CLOSE_MAX, self.endpoint.wait_idle()).await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.session.abort(moq_net::Error::Cancel);
        self.stop.cancel();
    }
}

fn closed(why: quinn::ConnectionError) -> Closed {
    let quinn::ConnectionError::ApplicationClosed(close) = why else {
        return Closed::Lost(why.to_string());
    };
    let words = String::from_utf8_lossy(&close.reason).into_owned();
    let code = u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX);
    match CloseCode::from_code(code) {
        CloseCode::Cancel if words == DONE => Closed::Done,
        CloseCode::Unauthorized | CloseCode::Version => Closed::Refused(words),
        _ => Closed::Lost(words),
    }
}

/// What a node says to a publisher whose tracks have ended and are read to their end.
pub(crate) const DONE: &str = "done";

fn table(tasks: &TaskTracker, stop: &CancellationToken) -> origin::Producer {
    let mut settings = origin::Config::new(moq_net::Hop::random());
    settings.pool = cache::Pool::new(cache::Config::default().with_capacity(CACHE_CAPACITY));
    let (table, driver) = origin::Producer::new(settings);
    let stopped = stop.clone();
    tasks.spawn(async move {
        tokio::select! {
            _ = moq_net::time::run(driver) => {}
            () = stopped.cancelled() => {}
        }
    });
    table
}
