//! A terminal that does not keep to what it was granted, and peers that speak nothing at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::session::Ticket;
use moq_net::{Timescale, Timestamp, broadcast, origin, track};
use rustls::DigitallySignedStruct;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::task::TaskTracker;

use crate::support::soon;

/// How long a listener may take to turn down what it does not understand. The slowest waits 20 s for
/// the head of a request; the test does not wait for those.
const TURNED_DOWN_MAX: Duration = Duration::from_secs(1);

/// A connection with a ticket that is good, used for anything.
pub(crate) struct Stranger {
    mine: origin::Producer,
    found: origin::Producer,
    _session: moq_net::Session,
}

/// A broadcast of a stranger. Ends when dropped.
pub(crate) struct Claim {
    track: track::Producer,
    _broadcast: broadcast::Producer,
}

impl Stranger {
    pub(crate) async fn enter(ticket: &Ticket) -> Self {
        let path = format!("/moq?token={}", ticket.token);
        Self::enter_by(&ticket.entry.address, &path).await
    }

    /// Enters with whatever opens the door.
    pub(crate) async fn enter_by(address: &str, path: &str) -> Self {
        let address = address.parse().unwrap();
        let quic = soon("quic", dial(address, b"moq-lite-06")).await.unwrap();
        let (mine, found) = (table(), table());
        let client = moq_net::Client::new()
            .with_publisher(&mine)
            .with_subscriber(found.clone())
            .with_path(path);
        let session = web_transport_quinn::Session::raw(quic);
        let connecting = client.connect_lite(Instant::now(), session);
        let (session, driver) = soon("a media session", connecting).await.unwrap();
        TaskTracker::new().spawn(moq_net::time::run(driver));
        Self {
            mine,
            found,
            _session: session,
        }
    }

    /// Whether the door keeps a broadcast that is there from this stranger.
    pub(crate) async fn cannot_see(&self, path: &str) -> bool {
        let asked = self.found.consume().request_broadcast(path);
        let asked = tokio::time::timeout(Duration::from_secs(2), asked).await;
        !matches!(asked, Ok(Ok(_)))
    }

    /// Publishes a broadcast with this track in it.
    pub(crate) fn claim(&self, path: &str, name: &str) -> Claim {
        let broadcast = self.mine.create_broadcast(path).unwrap();
        let info = track::Info::default().with_timescale(Timescale::MICRO);
        let track = broadcast.create_track(name, info).unwrap();
        broadcast.announce(origin::Route::default()).unwrap();
        Claim {
            track,
            _broadcast: broadcast,
        }
    }
}

impl Claim {
    /// Writes a frame in a group of its own. What does not fit is not sent, which is no fault.
    pub(crate) fn write(&self, frame: Vec<u8>) {
        let group = self.track.append_group().unwrap();
        let _ = group.clone().write_frame(Timestamp::ZERO, frame);
        let _ = group.finish();
    }
}

/// Opens a QUIC connection without any certificate of ours, to whoever is there.
pub(crate) async fn dial(
    address: SocketAddr,
    alpn: &[u8],
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint
        .connect_with(config, address, "stranger")
        .unwrap()
        .await
}

/// Sends nonsense to ports by TCP and by UDP, and waits for no answer longer than a moment.
pub(crate) async fn pester(addresses: impl IntoIterator<Item = &str>) {
    let talks = TaskTracker::new();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for address in addresses {
        for (number, nonsense) in nonsense().into_iter().enumerate() {
            // A full buffer of the system's loses some: there is enough of it.
            let datagram = &nonsense[..nonsense.len().min(1_400)];
            let _ = udp.send_to(datagram, address).await;
            let address = address.to_owned();
            let talk = async move {
                let mut tcp = TcpStream::connect(address).await?;
                tcp.write_all(&nonsense).await?;
                if number % 2 == 0 {
                    tcp.shutdown().await?;
                }
                let mut answer = [0; 256];
                tcp.read(&mut answer).await
            };
            // Refused, reset, answered or silent: all of it is right.
            talks.spawn(async { drop(tokio::time::timeout(TURNED_DOWN_MAX, talk).await) });
        }
    }
    talks.close();
    talks.wait().await;
}

/// What nobody expects: noise, halves of handshakes, heads of requests that never end.
fn nonsense() -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let byte = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        };
        (0..length).map(byte).collect()
    };
    let with = |head: &[u8], rest: Vec<u8>| [head, &rest].concat();
    vec![
        noise(1),
        noise(1_400),
        noise(100_000),
        vec![0; 2_000],
        // A TLS record and a QUIC first packet that break off into noise.
        with(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], noise(300)),
        with(&[0xc3, 0, 0, 0, 1, 8], noise(1_300)),
        with(&[0x43], noise(60)),
        // An unknown version, to which QUIC answers.
        with(&[0xc0, 0xfa, 0xfa, 0xfa, 0xfa, 8], noise(1_300)),
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n".to_vec(),
        with(b"POST /v1/sessions HTTP/1.1\r\nx: ", vec![b'x'; 90_000]),
        b"GET /moq?token=x HTTP/1.1\r\nupgrade: websocket\r\n\r\n".to_vec(),
        b"\r\n\r\n\r\nHELO stranger\r\n".to_vec(),
    ]
}

fn table() -> origin::Producer {
    let (table, driver) = origin::Producer::new(origin::Config::default());
    TaskTracker::new().spawn(moq_net::time::run(driver));
    table
}

/// Believes every certificate.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        let provider = rustls::crypto::ring::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
