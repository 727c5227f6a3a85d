//! Nodes and terminals on loopback.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moq_net::{origin, track};
use relay::{Authorize, Grant, Hop, NodePeer, Refusal, Relay, RelayConfig, Scope};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use web_transport_quinn::Session;
use web_transport_quinn::proto::ConnectRequest;

/// Far beyond what any step takes, even beside other load.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing within {DEADLINE:?}"))
}

/// Waits until a state holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Waits until the relay closes a connection, and why. Under load the closing packet may come so late
/// that only the fact is left.
pub(crate) async fn said(word: &str, quic: &quinn::Connection) {
    match soon(word, quic.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => assert_eq!(close.reason, word),
        quinn::ConnectionError::Reset => {}
        other => panic!("not {word} but {other}"),
    }
}

/// Everybody's certificates. `?token=<session>` is the grant of session `<session>`, epoch 1.
#[derive(Clone, Default)]
pub(crate) struct World {
    hops: Arc<Mutex<HashMap<Vec<u8>, u64>>>,
}

struct Rules(World);

impl Authorize for Rules {
    fn terminal(&self, path: &str, _: SocketAddr) -> Result<Grant, Refusal> {
        let Some((_, session)) = path.split_once("?token=") else {
            return Err(Refusal("no token".into()));
        };
        if session.parse::<u64>().is_err() {
            return Err(Refusal("bad token".into()));
        }
        Ok(Grant {
            publish: vec![Scope::Under(format!("s/{session}/1/input"))],
            subscribe: vec![Scope::Exactly(format!("s/{session}/1/screen"))],
            label: format!("session {session}"),
            lifetime: path.contains("short").then_some(Duration::from_millis(200)),
            camera: None,
        })
    }

    fn node(&self, connection: &quinn::Connection) -> Result<NodePeer, Refusal> {
        let refused = || Refusal("no node".into());
        let identity = connection.peer_identity().ok_or_else(refused)?;
        let chain = identity.downcast::<Vec<CertificateDer<'static>>>();
        let chain = chain.map_err(|_| refused())?;
        let hop = *self
            .0
            .hops
            .lock()
            .unwrap()
            .get(chain[0].as_ref())
            .ok_or_else(refused)?;
        Ok(NodePeer {
            hop: Hop::try_from(hop).map_err(|_| refused())?,
            label: format!("node {hop}"),
        })
    }
}

pub(crate) struct Node {
    pub relay: Relay,
    pub hop: Hop,
    pub endpoint: quinn::Endpoint,
    pub address: SocketAddr,
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl World {
    pub(crate) fn node(&self, hop: u64) -> Node {
        self.node_with(hop, 1_000)
    }

    pub(crate) fn node_with(&self, hop: u64, connections_max: usize) -> Node {
        let (certificate, key) = self_signed();
        self.hops.lock().unwrap().insert(certificate.to_vec(), hop);
        let tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(Anybody))
            .with_single_cert(vec![certificate.clone()], private(&key))
            .unwrap();
        let config = relay::transport::server_config(tls).unwrap();
        let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = endpoint.local_addr().unwrap();
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let config = RelayConfig {
            hop: Hop::try_from(hop).unwrap(),
            authorize: Arc::new(Rules(self.clone())),
            connections_max,
        };
        let hop = config.hop;
        let relay = Relay::new(config, tracker.clone(), stop.clone());
        let (serving, at) = (relay.clone(), endpoint.clone());
        tracker.spawn(async move { serving.serve(at).await });
        Node {
            relay,
            hop,
            endpoint,
            address,
            tracker,
            stop,
            certificate,
            key,
        }
    }
}

impl Node {
    /// Dials another node until the returned token is cancelled.
    pub(crate) fn dial(
        &self,
        to: &Node,
        cost: tokio::sync::watch::Receiver<u64>,
    ) -> CancellationToken {
        self.dial_at(to.address, to, cost)
    }

    /// Dials another node at an address from which the way leads to it.
    pub(crate) fn dial_at(
        &self,
        address: SocketAddr,
        to: &Node,
        cost: tokio::sync::watch::Receiver<u64>,
    ) -> CancellationToken {
        let tls = anybody_is_the_server()
            .with_client_auth_cert(vec![self.certificate.clone()], private(&self.key))
            .unwrap();
        let link = relay::Link {
            endpoint: self.endpoint.clone(),
            config: relay::transport::node_client_config(tls).unwrap(),
            address,
            server_name: "localhost".into(),
            peer: to.hop,
        };
        let (relay, stop) = (self.relay.clone(), CancellationToken::new());
        let stopped = stop.clone();
        self.tracker
            .spawn(async move { relay.dial(link, cost, stopped).await });
        stop
    }

    pub(crate) async fn linked(&self, to: &Node) {
        let peer = Some(to.hop);
        until("link", || {
            self.relay.connections().iter().any(|c| c.peer == peer)
        })
        .await;
    }
}

/// A terminal as others may write one: the media library over plain QUIC.
pub(crate) struct Client {
    pub session: moq_net::Session,
    /// What it publishes.
    pub mine: origin::Producer,
    /// What it has found.
    pub found: origin::Producer,
    pub quic: Option<quinn::Connection>,
}

impl Client {
    pub(crate) async fn raw(address: SocketAddr, path: &str) -> Self {
        let quic = quic(address, "moq-lite-06").await;
        let session = Session::raw(quic.clone());
        Self::start(session, Some(path), Some(quic)).await
    }

    pub(crate) async fn web(
        address: SocketAddr,
        path: &str,
    ) -> Result<Self, web_transport_quinn::ClientError> {
        let quic = quic(address, "h3").await;
        let request = ConnectRequest::new(url(address, path))
            .with_protocols(["moq-lite-05", "moq-lite-04"].map(str::to_owned));
        let session = Session::connect(quic.clone(), request).await?;
        Ok(Self::start(session, None, Some(quic)).await)
    }

    pub(crate) async fn start<S>(
        session: S,
        path: Option<&str>,
        quic: Option<quinn::Connection>,
    ) -> Self
    where
        S: moq_net::transport::poll::Boxable,
        moq_net::Driver<S>: Send,
    {
        let (mine, found) = (table(), table());
        let mut client = moq_net::Client::new()
            .with_publisher(&mine)
            .with_subscriber(found.clone());
        if let Some(path) = path {
            client = client.with_path(path);
        }
        let (session, driver) = client.connect(Instant::now(), session).await.unwrap();
        TaskTracker::new().spawn(moq_net::time::run(driver));
        Self {
            session,
            mine,
            found,
            quic,
        }
    }

    pub(crate) async fn subscribe(&self, path: &str, name: &str, max_age: Duration) -> Frames {
        let preferences = track::Subscription::default().with_max_age(max_age);
        let broadcast = soon(path, self.found.consume().routed_broadcast(path))
            .await
            .unwrap();
        let subscribed = soon(name, broadcast.track(name).unwrap().subscribe(preferences)).await;
        Frames {
            groups: subscribed.unwrap().ordered(),
            open: None,
        }
    }
}

pub(crate) struct Frames {
    groups: track::Ordered,
    open: Option<moq_net::group::Consumer>,
}

impl Frames {
    /// The next frame and the number of its group.
    pub(crate) async fn next(&mut self) -> Option<(u64, Bytes)> {
        loop {
            if let Some(group) = &mut self.open {
                match group.read_frame().await {
                    Ok(Some(frame)) => return Some((group.sequence, frame.payload)),
                    Ok(None) | Err(_) => self.open = None,
                }
            } else {
                self.open = Some(self.groups.next_group().await.ok()??);
            }
        }
    }
}

fn table() -> origin::Producer {
    let (producer, driver) = origin::Producer::new(origin::Config::default());
    TaskTracker::new().spawn(moq_net::time::run(driver));
    producer
}

pub(crate) async fn quic(address: SocketAddr, alpn: &str) -> quinn::Connection {
    let mut tls = anybody_is_the_server().with_no_client_auth();
    tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    let mut transport = quinn::TransportConfig::default();
    transport.max_concurrent_uni_streams(1_024_u32.into());
    config.transport_config(Arc::new(transport));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(config, address, "localhost").unwrap();
    soon("quic", connecting).await.unwrap()
}

pub(crate) fn url(address: SocketAddr, path: &str) -> url::Url {
    format!("https://{address}{path}").parse().unwrap()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn self_signed() -> (CertificateDer<'static>, Vec<u8>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().clone(), key.serialize_der())
}

fn private(key: &[u8]) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(key.to_vec().into())
}

pub(crate) fn anybody_is_the_server()
-> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
}

/// Trusts every certificate: the rules look at it afterwards.
#[derive(Debug)]
struct Anybody;

macro_rules! signatures {
    ($result:ty) => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<$result, rustls::Error> {
            Err(rustls::Error::General("tls 1.3 only".into()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<$result, rustls::Error> {
            let algorithms = provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    signatures!(rustls::client::danger::HandshakeSignatureValid);
}

impl rustls::server::danger::ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<rustls::server::danger::ClientCertVerified, rustls::Error> {
        Ok(rustls::server::danger::ClientCertVerified::assertion())
    }

    signatures!(rustls::client::danger::HandshakeSignatureValid);
}
