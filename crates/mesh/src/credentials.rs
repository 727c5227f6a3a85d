//! The certificate a process shows and the authority it trusts, exchangeable while running.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

use crate::certificate::{self, CertificateError, Content, Fingerprint, Subject};
use crate::tls::provider;

/// A shared slot for a certificate, its key and the authority that signed it. Everything built
/// from it (TLS configurations, endpoints) follows a renewal without being rebuilt.
#[derive(Clone, Default)]
pub struct Credentials(Arc<RwLock<Option<Arc<Loaded>>>>);

impl Credentials {
    /// Whom the present certificate names; `None` before joining.
    pub fn subject(&self) -> Option<Subject> {
        self.loaded().map(|it| it.content.subject.clone())
    }

    /// When the present certificate ends; `None` before joining.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.loaded().map(|it| it.content.not_after)
    }

    /// When a new certificate should be asked for: half way, so that the center may be away for
    /// half a day before anybody notices. `None` before joining.
    pub fn renew_at(&self) -> Option<SystemTime> {
        let Content {
            not_before,
            not_after,
            ..
        } = self.loaded()?.content;
        let life = not_after.duration_since(not_before).unwrap_or_default();
        Some(not_before + life / 2)
    }

    /// The fingerprint of the authority; `None` before joining.
    pub fn authority(&self) -> Option<Fingerprint> {
        self.loaded().map(|it| Fingerprint::of(&it.authority))
    }

    pub(crate) fn loaded(&self) -> Option<Arc<Loaded>> {
        // A panic cannot leave the slot half written: it holds one pointer.
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn replace(&self, loaded: Loaded) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(loaded));
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.subject()).finish()
    }
}

/// Why a certificate, key and authority do not make credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The certificate is not one of ours.
    #[error("read the certificate")]
    Certificate(#[source] CertificateError),
    /// TLS cannot use them.
    #[error("use the certificate and its key in tls")]
    Tls(#[source] rustls::Error),
    /// The authority's certificate cannot verify anybody.
    #[error("trust the certificate authority")]
    Authority(#[source] rustls::server::VerifierBuilderError),
    /// Not signed by the authority, or not for this time.
    #[error("verify the certificate by its authority")]
    NotSigned(#[source] rustls::Error),
}

pub(crate) struct Loaded {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) authority: CertificateDer<'static>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) client_verifier: Arc<dyn ClientCertVerifier>,
    pub(crate) content: Content,
}

impl Loaded {
    /// Puts the parts together and checks that they belong to each other. An expired certificate
    /// is accepted here: a node that was off for days must be able to start and ask for a new one.
    pub(crate) fn new(
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'_>,
        authority: CertificateDer<'static>,
    ) -> Result<Self, CredentialsError> {
        let content = certificate::read(&certificate).map_err(CredentialsError::Certificate)?;
        let mut roots = RootCertStore::empty();
        roots
            .add(authority.clone())
            .map_err(CredentialsError::Tls)?;
        let roots = Arc::new(roots);
        let client_verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
                .build()
                .map_err(CredentialsError::Authority)?;
        let at_its_time = content.not_before.max(SystemTime::UNIX_EPOCH);
        let at_its_time = at_its_time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        client_verifier
            .verify_client_cert(&certificate, &[], UnixTime::since_unix_epoch(at_its_time))
            .map_err(CredentialsError::NotSigned)?;

        let key = rustls::crypto::ring::sign::any_ecdsa_type(key).map_err(CredentialsError::Tls)?;
        // The authority travels along: a joiner knows it by fingerprint only.
        let certified = CertifiedKey::new(vec![certificate, authority.clone()], key);
        certified.keys_match().map_err(CredentialsError::Tls)?;
        Ok(Self {
            certified: Arc::new(certified),
            authority,
            roots,
            client_verifier,
            content,
        })
    }
}
