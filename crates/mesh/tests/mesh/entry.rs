//! The port of an edge where terminals and other nodes meet.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mesh::alpn;
use mesh::authority::CERTIFICATE_LIFE;
use mesh::certificate::Fingerprint;
use mesh::identity::Identity;
use mesh::tls::{TerminalCertificate, entry_https, entry_quic, peer_node_id, relay_client};
use model::NodeId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::world::{PATIENCE, World, grant};

#[tokio::test]
async fn a_node_meets_the_node_it_expects_and_both_know_each_other() {
    let world = World::new();
    let authority = world.authority("center");
    let (host, guest) = (
        world.member("host", &authority),
        world.member("guest", &authority),
    );
    let mut entry = Entry::new(&world, &host);
    let config = relay_client(guest.credentials(), host.node_id()).unwrap();
    let connection = dial(entry.address, config).await.unwrap();
    assert_eq!(peer_node_id(&connection), Some(host.node_id()));
    assert_eq!(entry.next().await, Some(guest.node_id()));
}

#[tokio::test]
async fn a_node_refuses_another_node_than_it_expects() {
    let world = World::new();
    let authority = world.authority("center");
    let (host, guest) = (
        world.member("host", &authority),
        world.member("guest", &authority),
    );
    let entry = Entry::new(&world, &host);
    let config = relay_client(guest.credentials(), NodeId(1)).unwrap();
    assert!(dial(entry.address, config).await.is_err());
}

#[tokio::test]
async fn nodes_of_another_authority_refuse_each_other() {
    let world = World::new();
    let (ours, theirs) = (world.authority("ours"), world.authority("theirs"));
    let (host, stranger) = (
        world.member("host", &ours),
        world.member("stranger", &theirs),
    );
    let entry = Entry::new(&world, &host);
    let config = relay_client(stranger.credentials(), host.node_id()).unwrap();
    assert!(
        dial(entry.address, config).await.is_err(),
        "the host is unknown to it"
    );
    let connection = connect(entry.address, Shows::Certificate(&stranger), &[alpn::RELAY]).await;
    assert!(connection.was_refused().await, "it is unknown to the host");
}

#[tokio::test]
async fn an_expired_node_was_refused() {
    let world = World::new();
    let authority = world.authority("center");
    let host = world.member("host", &authority);
    let guest = world.identity("guest");
    let long_ago = SystemTime::now() - CERTIFICATE_LIFE - Duration::from_secs(60);
    grant(&authority, &guest, long_ago);
    let entry = Entry::new(&world, &host);
    let connection = connect(entry.address, Shows::Certificate(&guest), &[alpn::RELAY]).await;
    assert!(connection.was_refused().await);

    // And an expired host is refused by its guests.
    let fresh = world.member("fresh", &authority);
    let entry = Entry::new(&world, &guest);
    let config = relay_client(fresh.credentials(), guest.node_id()).unwrap();
    assert!(dial(entry.address, config).await.is_err());
}

#[tokio::test]
async fn a_terminal_sees_the_terminal_certificate_and_is_nobody() {
    let world = World::new();
    let authority = world.authority("center");
    let host = world.member("host", &authority);
    let mut entry = Entry::new(&world, &host);
    let connection = connect(entry.address, Shows::Nothing, &[b"h3"]).await;
    assert_eq!(connection.certificate(), entry.terminal.sha256());
    assert_eq!(entry.next().await, None);

    // Also one that asks for the protocol of nodes: it gets the name of the node, no more.
    let connection = connect(entry.address, Shows::Nothing, &[alpn::RELAY]).await;
    assert_ne!(connection.certificate(), entry.terminal.sha256());
    assert_eq!(entry.next().await, None);
}

#[tokio::test]
async fn a_renewed_terminal_certificate_is_shown_at_once() {
    let world = World::new();
    let authority = world.authority("center");
    let host = world.member("host", &authority);
    let entry = Entry::new(&world, &host);
    let before = entry.terminal.sha256();
    entry.terminal.renew(SystemTime::now()).unwrap();
    let connection = connect(entry.address, Shows::Nothing, &[b"h3"]).await;
    assert_ne!(connection.certificate(), before);
    assert_eq!(connection.certificate(), entry.terminal.sha256());
}

#[tokio::test]
async fn an_edge_that_has_not_joined_serves_terminals_but_not_nodes() {
    let world = World::new();
    let authority = world.authority("center");
    let host = world.identity("host");
    let guest = world.member("guest", &authority);
    let entry = Entry::new(&world, &host);
    let connection = connect(entry.address, Shows::Nothing, &[b"h3"]).await;
    assert_eq!(connection.certificate(), entry.terminal.sha256());
    let config = relay_client(guest.credentials(), host.node_id()).unwrap();
    assert!(dial(entry.address, config).await.is_err());
}

#[test]
fn the_https_side_offers_what_it_is_told() {
    let terminal = TerminalCertificate::self_signed(&[], SystemTime::now()).unwrap();
    let config = entry_https(&terminal, &[b"h2", b"http/1.1"]).unwrap();
    assert_eq!(config.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
}

struct Entry {
    address: SocketAddr,
    terminal: TerminalCertificate,
    arrivals: mpsc::Receiver<Option<NodeId>>,
}

impl Entry {
    fn new(world: &World, host: &Identity) -> Self {
        let terminal = TerminalCertificate::self_signed(&[], SystemTime::now()).unwrap();
        let tls = entry_quic(host.credentials(), &terminal, &[b"h3"]).unwrap();
        let crypto = Arc::new(QuicServerConfig::try_from(tls).unwrap());
        let config = quinn::ServerConfig::with_crypto(crypto);
        let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = endpoint.local_addr().unwrap();
        let (tx, arrivals) = mpsc::channel(16);
        world.tasks.spawn(async move {
            let mut open = Vec::new();
            while let Some(incoming) = endpoint.accept().await {
                if let Ok(connection) = incoming.await {
                    let _ = tx.send(peer_node_id(&connection)).await;
                    open.push(connection);
                }
            }
        });
        Self {
            address,
            terminal,
            arrivals,
        }
    }

    async fn next(&mut self) -> Option<NodeId> {
        timeout(PATIENCE, self.arrivals.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

/// What a client of the tests shows; it accepts every server.
pub(crate) enum Shows<'a> {
    Nothing,
    Certificate(&'a Identity),
}

/// What came of a connection of a client that accepts every server.
pub(crate) struct Attempt {
    connection: Result<Connection, quinn::ConnectionError>,
    seen: Arc<Mutex<Option<String>>>,
}

impl Attempt {
    pub(crate) fn expect(self, why: &str) -> Connection {
        self.connection.expect(why)
    }

    /// Whether the server ended it, in the handshake or right after.
    pub(crate) async fn was_refused(self) -> bool {
        match self.connection {
            Err(_) => true,
            Ok(connection) => matches!(
                timeout(PATIENCE, connection.closed()).await,
                Ok(quinn::ConnectionError::ConnectionClosed(_)
                    | quinn::ConnectionError::ApplicationClosed(_))
            ),
        }
    }

    /// The SHA-256 of the certificate that the server has shown.
    fn certificate(&self) -> Option<String> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) async fn connect(address: SocketAddr, shows: Shows<'_>, protocols: &[&[u8]]) -> Attempt {
    let seen = Arc::new(Mutex::new(None));
    let verifier = Arc::new(AcceptsAll(Arc::clone(&seen)));
    let mut config = match shows {
        // Our own configuration, but for whom it accepts.
        Shows::Certificate(identity) => {
            let mut config = relay_client(identity.credentials(), NodeId(1)).unwrap();
            config.dangerous().set_certificate_verifier(verifier);
            config
        }
        Shows::Nothing => {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth()
        }
    };
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    let connection = dial(address, config).await;
    Attempt { connection, seen }
}

async fn dial(
    address: SocketAddr,
    config: ClientConfig,
) -> Result<Connection, quinn::ConnectionError> {
    let crypto = QuicClientConfig::try_from(config).unwrap();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connecting = endpoint.connect_with(config, address, "anybody").unwrap();
    timeout(PATIENCE, connecting).await.unwrap()
}

#[derive(Debug)]
struct AcceptsAll(Arc<Mutex<Option<String>>>);

impl ServerCertVerifier for AcceptsAll {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = Some(Fingerprint::of(certificate).to_hex());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
        ]
    }
}
