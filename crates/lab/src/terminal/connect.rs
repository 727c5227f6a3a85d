//! Getting in: QUIC with a pinned certificate, and a media session on it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moq_net::{Client, Driver, Session, origin, transport};
use quinn::crypto::rustls::QuicClientConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use web_transport_quinn::proto::ConnectRequest;

use super::eager::Eager;
use super::{CertificateHash, Manner, TerminalError, Transport, WayIn};

/// What we speak, best first.
pub(crate) const VERSIONS: [&str; 2] = ["moq-lite-06", "moq-lite-05"];

/// The same figures as at the entry.
const IDLE: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_millis(2_500);
const INITIAL_RTT: Duration = Duration::from_millis(100);
const UNI_STREAMS: u32 = 1_024;
const BIDI_STREAMS: u32 = 512;

/// How long the goodbye may take when the terminal leaves.
const GOODBYE: Duration = Duration::from_millis(500);

/// A media session and what drives it. Ends when dropped.
pub(crate) struct Line {
    session: Session,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Line {
    pub(crate) const fn new(session: Session, stop: CancellationToken, tasks: TaskTracker) -> Self {
        Self {
            session,
            stop,
            tasks,
        }
    }

    /// Waits until the entry closes it, and says why.
    pub(crate) async fn closed(&self) -> moq_net::Error {
        self.session.closed().await
    }

    /// Leaves, and waits until that has been said.
    pub(crate) async fn close(self) {
        self.session.abort(moq_net::Error::Cancel);
        self.session.closed().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.session.abort(moq_net::Error::Cancel);
        self.stop.cancel();
    }
}

/// Opens a media session that publishes `mine` and puts what it finds into `found`.
pub(super) async fn connect(
    way: &WayIn,
    screen: &str,
    mine: &origin::Producer,
    found: &origin::Producer,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Session, TerminalError> {
    let mut client = Client::new()
        // A price of our own, or the library waits for the entry's before it believes any answer.
        .with_cost(1)
        .with_publisher(mine)
        .with_subscriber(found.clone());
    let session = match way.transport {
        Transport::Quic => {
            client = client.with_path(format!("/moq?token={}", way.token));
            web_transport_quinn::Session::raw(
                dial(&way.address, way.certificate_sha256, VERSIONS[0]).await?,
            )
        }
        Transport::WebTransport => {
            let quic = dial(
                &way.address,
                way.certificate_sha256,
                web_transport_quinn::ALPN,
            )
            .await?;
            let text = format!("https://{}/moq?token={}", way.address, way.token);
            let url = url::Url::parse(&text);
            let url = url.map_err(|error| TerminalError::Setup(error.to_string()))?;
            let request = ConnectRequest::new(url).with_protocols(VERSIONS.map(str::to_owned));
            let session = web_transport_quinn::Session::connect(quic, request).await;
            session.map_err(|error| TerminalError::NotLetIn(Box::new(error)))?
        }
    };
    match way.manner {
        Manner::Patient => {
            let (session, driver) = client.connect_lite(Instant::now(), session).await?;
            run(tasks, stop, driver);
            Ok(session)
        }
        Manner::Eager => {
            let eager = Eager::new(session, vec![screen.to_owned()]);
            let (session, driver) = client.connect_lite(Instant::now(), eager).await?;
            run(tasks, stop, driver);
            Ok(session)
        }
    }
}

/// Drives a session until `stop`.
pub(crate) fn run<S>(tasks: &TaskTracker, stop: &CancellationToken, driver: Driver<S>)
where
    S: transport::poll::Session,
    Driver<S>: Send,
{
    let stopped = stop.clone();
    tasks.spawn(async move {
        let mut driver = std::pin::pin!(moq_net::time::run(driver));
        tokio::select! {
            _ = &mut driver => {}
            () = stopped.cancelled() => {
                let _ = tokio::time::timeout(GOODBYE, driver).await;
            }
        }
    });
}

/// Connects to `host:port`, which must show the certificate of this hash.
pub(crate) async fn dial(
    address: &str,
    pin: CertificateHash,
    alpn: &str,
) -> Result<quinn::Connection, TerminalError> {
    let found = tokio::net::lookup_host(address).await;
    let no_address = |source| TerminalError::Address {
        address: address.to_owned(),
        source,
    };
    let nothing = || no_address(std::io::Error::from(std::io::ErrorKind::NotFound));
    let remote = found.map_err(no_address)?.next().ok_or_else(nothing)?;
    let local = match remote {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let endpoint = quinn::Endpoint::client(local).map_err(TerminalError::Socket)?;
    dial_from(&endpoint, address, remote, pin, alpn).await
}

/// Connects to `remote`, known as `host:port`, from a socket that others may use, too.
pub(crate) async fn dial_from(
    endpoint: &quinn::Endpoint,
    address: &str,
    remote: SocketAddr,
    pin: CertificateHash,
    alpn: &str,
) -> Result<quinn::Connection, TerminalError> {
    let name = address.rsplit_once(':').map_or("", |(host, _)| host);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let connecting = endpoint.connect_with(config(pin, alpn)?, remote, name);
    let connecting = connecting.map_err(|error| TerminalError::Setup(error.to_string()))?;
    connecting.await.map_err(TerminalError::Connect)
}

fn config(pin: CertificateHash, alpn: &str) -> Result<quinn::ClientConfig, TerminalError> {
    let setup = |error: &dyn std::error::Error| TerminalError::Setup(error.to_string());
    let tls = mesh::tls::entry_client(Some(&pin.to_string()));
    let mut tls = tls.map_err(|error| setup(&error))?;
    tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| setup(&error))?;
    let idle = quinn::IdleTimeout::try_from(IDLE).map_err(|error| setup(&error))?;
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .max_concurrent_uni_streams(UNI_STREAMS.into())
        .max_concurrent_bidi_streams(BIDI_STREAMS.into())
        .send_fairness(false);
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}
