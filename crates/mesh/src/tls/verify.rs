//! Who is accepted: by our authority and by the names it signed, never by DNS.

use std::fmt;
use std::sync::Arc;

use model::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    RootCertStore, SignatureScheme,
};

use super::provider;
use crate::certificate::{self, Fingerprint, Subject};
use crate::credentials::Credentials;

/// The parts that every verifier of TLS 1.3 shares.
macro_rules! checks_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(PeerIncompatible::Tls12NotOffered.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}

/// Accepts the center, or one node, if our authority has signed it.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    credentials: Credentials,
    expected: Expected,
    provider: Arc<CryptoProvider>,
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    Center,
    Node(NodeId),
}

impl ServerVerifier {
    pub(super) fn center(credentials: &Credentials) -> Self {
        Self::new(credentials, Expected::Center)
    }

    pub(super) fn node(credentials: &Credentials, id: NodeId) -> Self {
        Self::new(credentials, Expected::Node(id))
    }

    fn new(credentials: &Credentials, expected: Expected) -> Self {
        Self {
            credentials: credentials.clone(),
            expected,
            provider: provider(),
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let loaded = self
            .credentials
            .loaded()
            .ok_or_else(|| Error::General("this node has not joined".to_owned()))?;
        let subject = verify_server(certificate, &loaded.roots, now, &self.provider)?;
        let good = match self.expected {
            Expected::Center => subject == Subject::Center,
            Expected::Node(id) => subject.node_id() == Some(id),
        };
        if good {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    checks_signatures!();
}

/// Accepts a center whose authority has the fingerprint in a join token.
#[derive(Debug)]
pub(super) struct PinnedCenter {
    authority: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl PinnedCenter {
    pub(super) fn new(authority: Fingerprint) -> Self {
        Self {
            authority,
            provider: provider(),
        }
    }
}

impl ServerCertVerifier for PinnedCenter {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates
            .iter()
            .find(|it| Fingerprint::of(it) == self.authority)
            .ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        match verify_server(certificate, &roots, now, &self.provider)? {
            Subject::Center => Ok(ServerCertVerified::assertion()),
            // A node that pretends to be the center would collect join secrets.
            Subject::Node { .. } => Err(CertificateError::NotValidForName.into()),
        }
    }

    checks_signatures!();
}

/// Accepts the one certificate of an entry whose hash the center told.
#[derive(Debug)]
pub(super) struct PinnedEntry {
    certificate: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl PinnedEntry {
    pub(super) fn new(certificate: Fingerprint) -> Self {
        Self {
            certificate,
            provider: provider(),
        }
    }
}

impl ServerCertVerifier for PinnedEntry {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if Fingerprint::of(certificate) == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    checks_signatures!();
}

/// Accepts nodes that our authority has signed, and anonymous clients: which of the two a
/// protocol admits is decided after the handshake, when it is known.
pub(super) struct ClientVerifier {
    credentials: Credentials,
    provider: Arc<CryptoProvider>,
}

impl ClientVerifier {
    pub(super) fn new(credentials: &Credentials) -> Self {
        Self {
            credentials: credentials.clone(),
            provider: provider(),
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let loaded = self
            .credentials
            .loaded()
            .ok_or_else(|| Error::General("this node has not joined".to_owned()))?;
        let verified =
            loaded
                .client_verifier
                .verify_client_cert(certificate, intermediates, now)?;
        subject(certificate)?;
        Ok(verified)
    }

    checks_signatures!();
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientVerifier")
            .field(&self.credentials)
            .finish()
    }
}

/// Our authority signs end certificates directly, so intermediates are never used.
fn verify_server(
    certificate: &CertificateDer<'_>,
    roots: &RootCertStore,
    now: UnixTime,
    provider: &CryptoProvider,
) -> Result<Subject, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let algorithms = provider.signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, &[], now, algorithms)?;
    subject(certificate)
}

fn subject(certificate: &CertificateDer<'_>) -> Result<Subject, Error> {
    certificate::read(certificate)
        .map(|content| content.subject)
        .map_err(|_| CertificateError::NotValidForName.into())
}
