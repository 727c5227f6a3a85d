//! The certificate that terminals see: from files, or self-signed for development.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::provider;
use crate::certificate::Fingerprint;

/// Browsers accept a certificate by its hash only if it lives for less than 14 days.
pub const SELF_SIGNED_LIFE: Duration = Duration::from_secs(13 * 24 * 3600);

/// Self-signed certificates start this much in the past, for terminals whose clocks are behind.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// A self-signed certificate is replaced after this, long before any terminal would refuse it.
const SELF_SIGNED_RENEW: Duration = Duration::from_secs(10 * 24 * 3600);

/// The certificate for terminals. Clones share it, so that a renewal reaches every endpoint.
#[derive(Clone, Debug)]
pub struct TerminalCertificate {
    source: Arc<Source>,
    present: Arc<RwLock<Present>>,
}

/// Why there is no certificate for terminals.
#[derive(Debug, thiserror::Error)]
pub enum TerminalCertificateError {
    /// A file could not be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// No certificate in the file.
    #[error("there is no certificate in {}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The certificate and the key do not go together, or are of an unknown kind.
    #[error("use the certificate for terminals")]
    Tls(#[source] rustls::Error),
    /// Making one failed.
    #[error("make a certificate for terminals")]
    Make(#[source] rcgen::Error),
}

#[derive(Debug)]
enum Source {
    Files { certificate: PathBuf, key: PathBuf },
    SelfSigned { names: Vec<String> },
}

#[derive(Clone, Debug)]
struct Present {
    certified: Arc<CertifiedKey>,
    /// When to make or read the next one.
    renew_at: SystemTime,
}

impl TerminalCertificate {
    /// Uses a certificate chain and a key in PEM, read again every hour so that an external
    /// renewal needs no restart.
    pub fn from_files(
        certificate: &Path,
        key: &Path,
        now: SystemTime,
    ) -> Result<Self, TerminalCertificateError> {
        Self::new(
            Source::Files {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            },
            now,
        )
    }

    /// Makes a self-signed certificate (ECDSA P-256, [`SELF_SIGNED_LIFE`]) for localhost,
    /// 127.0.0.1, ::1, this machine's name and `names`.
    pub fn self_signed(
        names: &[String],
        now: SystemTime,
    ) -> Result<Self, TerminalCertificateError> {
        let names = names.to_vec();
        Self::new(Source::SelfSigned { names }, now)
    }

    /// The SHA-256 for tickets, 64 hexadecimal digits; `None` for a certificate from files,
    /// which browsers check by its name.
    pub fn sha256(&self) -> Option<String> {
        match *self.source {
            Source::Files { .. } => None,
            Source::SelfSigned { .. } => {
                let certified = self.certified();
                Some(Fingerprint::of(certified.end_entity_cert().ok()?).to_hex())
            }
        }
    }

    /// When [`renew`](Self::renew) has something to do.
    pub fn renew_at(&self) -> SystemTime {
        self.present().renew_at
    }

    /// Makes or reads the next certificate. On an error the present one stays.
    pub fn renew(&self, now: SystemTime) -> Result<(), TerminalCertificateError> {
        let next = self.source.load(now)?;
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.present().certified
    }

    fn new(source: Source, now: SystemTime) -> Result<Self, TerminalCertificateError> {
        let present = source.load(now)?;
        Ok(Self {
            source: Arc::new(source),
            present: Arc::new(RwLock::new(present)),
        })
    }

    fn present(&self) -> Present {
        self.present
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ResolvesServerCert for TerminalCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }
}

impl Source {
    fn load(&self, now: SystemTime) -> Result<Present, TerminalCertificateError> {
        match self {
            Self::Files { certificate, key } => Ok(Present {
                certified: read(certificate, key)?,
                renew_at: now + Duration::from_secs(3600),
            }),
            Self::SelfSigned { names } => Ok(Present {
                certified: make(names, now)?,
                renew_at: now + SELF_SIGNED_RENEW,
            }),
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TerminalCertificateError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TerminalCertificateError::Read { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed(certificate))?;
    if chain.is_empty() {
        let path = certificate.to_owned();
        return Err(TerminalCertificateError::Empty { path });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    let certified =
        CertifiedKey::from_der(chain, key, &provider()).map_err(TerminalCertificateError::Tls)?;
    Ok(Arc::new(certified))
}

fn make(names: &[String], now: SystemTime) -> Result<Arc<CertifiedKey>, TerminalCertificateError> {
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    all.extend(host_name());
    all.extend_from_slice(names);
    all.sort();
    all.dedup();

    let key =
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(TerminalCertificateError::Make)?;
    let mut params = CertificateParams::new(all).map_err(TerminalCertificateError::Make)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Selvedge edge, self-signed");
    params.not_before = (now - CLOCK_SLACK).into();
    params.not_after = (now - CLOCK_SLACK + SELF_SIGNED_LIFE).into();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params
        .self_signed(&key)
        .map_err(TerminalCertificateError::Make)?;

    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let certified = CertifiedKey::from_der(vec![certificate.into()], key, &provider())
        .map_err(TerminalCertificateError::Tls)?;
    Ok(Arc::new(certified))
}

fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty() && name.is_ascii()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;

    #[test]
    fn a_self_signed_certificate_is_what_browsers_accept_by_hash() {
        let now = SystemTime::now();
        let names = ["edge.example".to_owned(), "192.0.2.7".to_owned()];
        let certificate = TerminalCertificate::self_signed(&names, now).unwrap();
        let certified = certificate.certified();
        let (_, parsed) = X509Certificate::from_der(&certified.cert[0]).unwrap();
        let validity = parsed.validity();
        let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400;
        assert!(days < 14, "{days}");
        assert!(validity.is_valid());
        let key = parsed.public_key().algorithm.algorithm.to_id_string();
        assert_eq!(key, "1.2.840.10045.2.1", "an elliptic curve, not rsa");
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert!(names.value.general_names.len() >= 5);
    }

    #[test]
    fn a_renewal_reaches_every_clone() {
        let now = SystemTime::now();
        let certificate = TerminalCertificate::self_signed(&[], now).unwrap();
        let clone = certificate.clone();
        let before = clone.sha256().unwrap();
        certificate.renew(now).unwrap();
        assert_ne!(clone.sha256().unwrap(), before);
        assert_eq!(clone.sha256().unwrap().len(), 64);
    }

    #[test]
    fn files_are_read_again_and_a_broken_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let [certificate, key] = ["a.pem", "a.key"].map(|it| directory.path().join(it));
        write_pair(&certificate, &key);
        let now = SystemTime::now();
        let terminal = TerminalCertificate::from_files(&certificate, &key, now).unwrap();
        assert_eq!(terminal.sha256(), None);
        let first = terminal.certified();

        write_pair(&certificate, &key);
        terminal.renew(now).unwrap();
        let second = terminal.certified();
        assert_ne!(first.cert, second.cert);

        fs::write(&key, "garbage").unwrap();
        let error = terminal.renew(now).unwrap_err();
        assert!(error.to_string().contains("a.key"), "{error}");
        assert_eq!(terminal.certified().cert, second.cert);
    }

    fn write_pair(certificate: &Path, key: &Path) {
        let pair = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["edge.example".to_owned()])
            .unwrap()
            .self_signed(&pair)
            .unwrap();
        fs::write(certificate, made.pem()).unwrap();
        fs::write(key, pair.serialize_pem()).unwrap();
    }
}
