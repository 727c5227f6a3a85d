//! What a certificate of ours says, and how it is read.
//!
//! The names in a certificate are URIs: `selvedge://center`, or `selvedge://node/<id>` together
//! with `selvedge://site/<name>`. DNS names play no part between machines.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{NodeId, SiteName};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

const CENTER: &str = "selvedge://center";
const NODE: &str = "selvedge://node/";
const SITE: &str = "selvedge://site/";

/// Whom a certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The control plane.
    Center,
    /// A machine at a site.
    Node {
        /// Its id, which is a digest of its key.
        id: NodeId,
        /// Where it was allowed to join.
        site: SiteName,
    },
}

impl Subject {
    /// The node's id, if it is a node.
    pub fn node_id(&self) -> Option<NodeId> {
        match self {
            Self::Node { id, .. } => Some(*id),
            Self::Center => None,
        }
    }

    pub(crate) fn to_uris(&self) -> Vec<String> {
        match self {
            Self::Center => vec![CENTER.to_owned()],
            Self::Node { id, site } => vec![format!("{NODE}{id}"), format!("{SITE}{site}")],
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Center => f.write_str("the center"),
            Self::Node { id, site } => write!(f, "node {id} at {site}"),
        }
    }
}

/// The SHA-256 of a certificate: what a join token pins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(sha256(certificate))
    }

    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From 64 hexadecimal digits; `None` if it is something else.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As browsers and `openssl x509 -fingerprint` know it: 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// What is read from a certificate whose chain somebody else has verified.
#[derive(Clone, Debug)]
pub struct Content {
    /// Whom it names.
    pub subject: Subject,
    /// The first moment it is valid.
    pub not_before: SystemTime,
    /// The last moment it is valid.
    pub not_after: SystemTime,
}

/// Why a certificate is not one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate at all.
    #[error("not a certificate")]
    Malformed,
    /// It lacks our names, or has several that contradict each other.
    #[error("the certificate does not name a node or the center")]
    NoSubject,
    /// It names a node whose id is not derived from the key in it.
    #[error("the certificate names node {named} but holds the key of node {derived}")]
    OtherKey {
        /// The id it claims.
        named: NodeId,
        /// The id its key has.
        derived: NodeId,
    },
}

/// Reads a certificate and checks that a node's id belongs to its key. Does not verify who
/// signed it.
pub fn read(certificate: &CertificateDer<'_>) -> Result<Content, CertificateError> {
    let (rest, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::Malformed)?;
    if !rest.is_empty() {
        return Err(CertificateError::Malformed);
    }
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| CertificateError::Malformed)?
        .ok_or(CertificateError::NoSubject)?;
    let uris = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    let subject = read_subject(uris).ok_or(CertificateError::NoSubject)?;
    if let Subject::Node { id: named, .. } = subject {
        let derived = node_id(parsed.public_key().raw);
        if named != derived {
            return Err(CertificateError::OtherKey { named, derived });
        }
    }
    let moment = |at: i64| {
        let since = Duration::from_secs(u64::try_from(at).unwrap_or(0));
        SystemTime::UNIX_EPOCH + since
    };
    Ok(Content {
        subject,
        not_before: moment(parsed.validity().not_before.timestamp()),
        not_after: moment(parsed.validity().not_after.timestamp()),
    })
}

/// The id of the node that holds the key with this SubjectPublicKeyInfo: the first 62 bits of
/// its SHA-256.
pub fn node_id(subject_public_key_info: &[u8]) -> NodeId {
    let digest = sha256(subject_public_key_info);
    let [a, b, c, d, e, f, g, h, ..] = digest;
    let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 2;
    NodeId(first.max(1)) // zero means "no node" in places that have no room for an option
}

pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, data).as_ref());
    bytes
}

/// Exactly the names that [`Subject::to_uris`] writes, nothing less and nothing beside them.
fn read_subject<'a>(uris: impl Iterator<Item = &'a str>) -> Option<Subject> {
    let mut uris: Vec<&str> = uris.take(3).collect();
    uris.sort_unstable();
    match uris.as_slice() {
        [CENTER] => Some(Subject::Center),
        [node, site] => Some(Subject::Node {
            id: node.strip_prefix(NODE)?.parse().ok()?,
            site: site.strip_prefix(SITE)?.parse().ok()?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reads_back_what_it_writes() {
        let node = Subject::Node {
            id: NodeId(0xab12),
            site: "sao-paulo".parse().unwrap(),
        };
        for subject in [Subject::Center, node] {
            let uris = subject.to_uris();
            assert_eq!(read_subject(uris.iter().map(String::as_str)), Some(subject));
        }
    }

    #[test]
    fn contradicting_names_are_refused() {
        for uris in [
            &[][..],
            &[CENTER, "selvedge://node/ab"],
            &["selvedge://node/ab"],
            &["selvedge://node/ab", "selvedge://node/cd"],
            &[
                "selvedge://node/ab",
                "selvedge://site/a",
                "selvedge://site/b",
            ],
            &["selvedge://node/xyz", "selvedge://site/a"],
            &["https://example.org"],
        ] {
            assert_eq!(read_subject(uris.iter().copied()), None, "{uris:?}");
        }
    }

    #[test]
    fn garbage_is_not_a_certificate() {
        for length in [0, 1, 100, 5000] {
            let garbage = CertificateDer::from(vec![0x30; length]);
            assert_eq!(read(&garbage).unwrap_err(), CertificateError::Malformed);
        }
    }
}
