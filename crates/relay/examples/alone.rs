//! A relay and nothing else, for `cargo xtask bench relay`: set up as an edge sets it up, but everybody
//! may come in and do everything. Says in JSON where it listens; ends with its standard input.
//!
//! `alone HOP [HOST:PORT]`: relays in a chain have hops 1, 2, 3, and each dials the one before.
#![expect(clippy::print_stdout, reason = "whoever starts it reads where it is")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use relay::transport::{node_client_config, server_config};
use relay::{Authorize, Grant, Hop, Link, NodePeer, Refusal, Relay, RelayConfig, Scope};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// As many as an edge takes, and then some.
const CONNECTIONS_MAX: usize = 8_192;

/// What a link costs: there is only one way.
const COST: u64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let hop: u64 = args.next().ok_or("alone HOP [HOST:PORT]")?.parse()?;
    let before: Option<SocketAddr> = args.next().map(|it| it.parse()).transpose()?;
    // As `selvedge edge` does.
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(run(hop, before))
}

async fn run(hop: u64, before: Option<SocketAddr>) -> Result<(), Box<dyn Error>> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec!["localhost".into()])?.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let endpoint = relay::transport::open(server_config(tls)?, listen)?;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let config = RelayConfig {
        hop: Hop::try_from(hop)?,
        authorize: Arc::new(Everybody { hop, before }),
        connections_max: CONNECTIONS_MAX,
    };
    let relay = Relay::new(config, tracker.clone(), stop.clone());
    let (serving, at) = (relay.clone(), endpoint.clone());
    tracker.spawn(async move { serving.serve(at).await });
    let (_cost, cost) = watch::channel(COST);
    if let Some(address) = before {
        let link = dial(&endpoint, address, hop - 1)?;
        let stopped = stop.clone();
        tracker.spawn(async move { relay.dial(link, cost, stopped).await });
    }
    let bytes = certificate.der().as_ref();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let address = endpoint.local_addr()?;
    println!(r#"{{"address":"{address}","certificate":"{hex}"}}"#);
    let read = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(read).await??;
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(())
}

fn dial(endpoint: &quinn::Endpoint, address: SocketAddr, hop: u64) -> Result<Link, Box<dyn Error>> {
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    Ok(Link {
        endpoint: endpoint.clone(),
        config: node_client_config(tls)?,
        address,
        server_name: "localhost".into(),
        peer: Hop::try_from(hop)?,
    })
}

/// Lets everybody do everything.
struct Everybody {
    hop: u64,
    before: Option<SocketAddr>,
}

impl Authorize for Everybody {
    fn terminal(&self, _: &str, _: SocketAddr) -> Result<Grant, Refusal> {
        let all = || vec![Scope::Under(String::new())];
        Ok(Grant {
            publish: all(),
            subscribe: all(),
            ..Grant::default()
        })
    }

    fn node(&self, connection: &quinn::Connection) -> Result<NodePeer, Refusal> {
        let dialled = Some(connection.remote_address()) == self.before;
        let hop = if dialled { self.hop - 1 } else { self.hop + 1 };
        Ok(NodePeer {
            hop: Hop::try_from(hop).map_err(|_| Refusal("no hop".into()))?,
            label: format!("relay {hop}"),
        })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Trusts every certificate: all of it is on this machine.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
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
        Err(rustls::Error::General("quic speaks tls 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
