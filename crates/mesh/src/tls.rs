//! TLS configurations for every kind of connection.
//!
//! | connection | the server shows | the client shows |
//! |---|---|---|
//! | link to the center | center certificate | node certificate |
//! | joining | center certificate, authority pinned by fingerprint | nothing |
//! | media between nodes | node certificate of the expected id | node certificate |
//! | terminal | terminal certificate, pinned by hash if self-signed | nothing |
//!
//! **Invariant:** no session is resumed: a resumed one would not look at certificates again, and
//! they live for a day only.

mod terminal;
mod verify;

use std::sync::Arc;

use model::NodeId;
use quinn::crypto::rustls::HandshakeData;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SignatureScheme};

use self::verify::{ClientVerifier, PinnedCenter, PinnedEntry, ServerVerifier};
use crate::alpn;
use crate::certificate::{self, Content, Fingerprint};
use crate::credentials::Credentials;

pub use self::terminal::{SELF_SIGNED_LIFE, TerminalCertificate, TerminalCertificateError};

/// The terminal entry over QUIC: nodes that offer [`alpn::RELAY`] get the node certificate,
/// everybody else the terminal certificate. A client certificate is asked for and may be
/// missing (browsers have none); a bad one ends the handshake. `protocols` are offered beside
/// [`alpn::RELAY`].
pub fn entry_quic(
    credentials: &Credentials,
    terminal: &TerminalCertificate,
    protocols: &[&[u8]],
) -> Result<ServerConfig, rustls::Error> {
    let resolver = EntryResolver {
        credentials: credentials.clone(),
        terminal: terminal.clone(),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(ClientVerifier::new(credentials)))
        .with_cert_resolver(Arc::new(resolver));
    forget_sessions(&mut config);
    config.alpn_protocols = std::iter::once(&alpn::RELAY)
        .chain(protocols)
        .map(|it| it.to_vec())
        .collect();
    Ok(config)
}

/// The terminal entry over TCP: the terminal certificate, TLS 1.2 or 1.3, no client certificate.
pub fn entry_https(
    terminal: &TerminalCertificate,
    protocols: &[&[u8]],
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS12, &TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(terminal.clone()));
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    Ok(config)
}

/// To another node's entry, for media: shows our certificate and accepts none but that of node
/// `expected`, whatever its address or name. Speaks [`alpn::RELAY`] only.
pub fn relay_client(
    credentials: &Credentials,
    expected: NodeId,
) -> Result<ClientConfig, rustls::Error> {
    let verifier = ServerVerifier::node(credentials, expected);
    client(Arc::new(verifier), Some(credentials), alpn::RELAY)
}

/// Who the other side of a connection has proved to be: the node in its verified client or
/// server certificate. `None` for terminals and for the center.
pub fn peer_node_id(connection: &quinn::Connection) -> Option<NodeId> {
    peer_content(connection)?.subject.node_id()
}

/// To a node's entry as a terminal that is no browser: shows nothing. `pin` is the SHA-256 of the
/// entry's certificate in hexadecimal, for one that is self-signed; without it the entry's name must
/// be one that this system trusts. The protocol is up to the caller.
pub fn entry_client(pin: Option<&str>) -> Result<ClientConfig, EntryClientError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous();
    let verifier: Arc<dyn rustls::client::danger::ServerCertVerifier> = match pin {
        Some(pin) => Arc::new(PinnedEntry::new(
            Fingerprint::from_hex(pin).ok_or(EntryClientError::Pin)?,
        )),
        None => Arc::new(rustls_platform_verifier::Verifier::new(provider())?),
    };
    let mut config = builder
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Why an entry cannot be dialled.
#[derive(Debug, thiserror::Error)]
pub enum EntryClientError {
    /// What should be the hash of a certificate is none.
    #[error("the certificate's hash is not 64 hexadecimal digits")]
    Pin,
    /// This system's certificates cannot be used.
    #[error("set up tls")]
    Tls(#[from] rustls::Error),
}

pub(crate) fn link_server(credentials: &Credentials) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(ClientVerifier::new(credentials)))
        .with_cert_resolver(Arc::new(OwnCertificate(credentials.clone())));
    forget_sessions(&mut config);
    config.alpn_protocols = vec![alpn::LINK.to_vec(), alpn::JOIN.to_vec()];
    Ok(config)
}

pub(crate) fn link_client(credentials: &Credentials) -> Result<ClientConfig, rustls::Error> {
    let verifier = ServerVerifier::center(credentials);
    client(Arc::new(verifier), Some(credentials), alpn::LINK)
}

pub(crate) fn join_client(authority: Fingerprint) -> Result<ClientConfig, rustls::Error> {
    client(Arc::new(PinnedCenter::new(authority)), None, alpn::JOIN)
}

/// What the peer's certificate says; it was verified in the handshake.
pub(crate) fn peer_content(connection: &quinn::Connection) -> Option<Content> {
    let chain = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    certificate::read(chain.first()?).ok()
}

/// The protocol that both sides have agreed on.
pub(crate) fn protocol(connection: &quinn::Connection) -> Option<Vec<u8>> {
    connection
        .handshake_data()?
        .downcast::<HandshakeData>()
        .ok()?
        .protocol
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client(
    verifier: Arc<dyn rustls::client::danger::ServerCertVerifier>,
    credentials: Option<&Credentials>,
    protocol: &[u8],
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match credentials {
        Some(credentials) => {
            builder.with_client_cert_resolver(Arc::new(OwnCertificate(credentials.clone())))
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_sni = false; // names play no part
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

fn forget_sessions(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}

/// Shows whatever certificate is in the slot at the moment.
#[derive(Debug)]
struct OwnCertificate(Credentials);

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.loaded()?.certified))
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(
        &self,
        _authorities: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.loaded()?.certified))
    }

    fn has_certs(&self) -> bool {
        self.0.loaded().is_some()
    }
}

#[derive(Debug)]
struct EntryResolver {
    credentials: Credentials,
    terminal: TerminalCertificate,
}

impl ResolvesServerCert for EntryResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A client that offers this name beside others will get it: it is the first of ours.
        let is_node = hello
            .alpn()
            .is_some_and(|mut names| names.any(|name| name == alpn::RELAY));
        if is_node {
            Some(Arc::clone(&self.credentials.loaded()?.certified))
        } else {
            Some(self.terminal.certified())
        }
    }
}
