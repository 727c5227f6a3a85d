//! Who this node is: a key that never leaves its directory, and what the center granted to it.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{NodeId, SiteName};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::certificate::{self, Fingerprint, Subject};
use crate::credentials::{Credentials, CredentialsError, Loaded};
use crate::files::{self, FileError};
use crate::token::{TokenKey, Verifier};

const KEY_FILE: &str = "node.key";
const GRANT_FILE: &str = "node.grant.json";

/// This node's key and, once it has joined, its certificate.
#[derive(Debug)]
pub struct Identity {
    key: KeyPair,
    node_id: NodeId,
    directory: PathBuf,
    credentials: Credentials,
    token_keys: RwLock<Vec<TokenKey>>,
}

/// What the center gives to a node: its certificate, the authority behind it, and the keys that
/// sign session tokens. Travels in the answers to joining and renewing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The node's certificate, DER in base64.
    pub certificate: Der,
    /// The authority's certificate, DER in base64.
    pub authority: Der,
    /// Public keys whose session tokens are good. Several while the center changes its key.
    pub token_keys: Vec<TokenKey>,
}

/// DER bytes; base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Der(pub Vec<u8>);

/// Why an identity could not be loaded, or a grant was not adopted.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error("keep the node's identity")]
    File(#[from] FileError),
    /// A file was read and is not what it should be.
    #[error("{} is damaged; move it away to start with a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Making a key or a request failed.
    #[error("use the node's key")]
    Key(#[source] rcgen::Error),
    /// The certificate does not fit the authority or the key.
    #[error("check the granted certificate")]
    Credentials(#[source] CredentialsError),
    /// Granted by an authority that we were not told to trust.
    #[error("the grant comes from another authority than the expected one")]
    OtherAuthority,
    /// The certificate names somebody else.
    #[error("the granted certificate names {named}, but this is node {here}")]
    NotForUs {
        /// Whom it names.
        named: String,
        /// Who we are.
        here: NodeId,
    },
    /// The certificate is over, or not yet valid.
    #[error("the granted certificate is not valid now; compare the clocks of both machines")]
    WrongTime,
}

impl Identity {
    /// Reads the node's key from `directory`, making one (ECDSA P-256) on the first start, and
    /// the grant if there is one. An expired grant is loaded as well: see
    /// [`Credentials::not_after`].
    pub fn load_or_create(directory: &Path) -> Result<Self, IdentityError> {
        let key_path = directory.join(KEY_FILE);
        let pem = files::read_or_create_secret(&key_path, || {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Key)?;
            Ok::<_, IdentityError>(key.serialize_pem().into_bytes())
        })?;
        let key = parse_key(&pem).map_err(|source| damaged(&key_path, source))?;
        let identity = Self {
            node_id: certificate::node_id(&key.subject_public_key_info()),
            key,
            directory: directory.to_owned(),
            credentials: Credentials::default(),
            token_keys: RwLock::default(),
        };
        let grant_path = identity.directory.join(GRANT_FILE);
        if let Some(json) = files::read_secret(&grant_path)? {
            let grant: Grant =
                serde_json::from_slice(&json).map_err(|source| damaged(&grant_path, source))?;
            let loaded = identity
                .check(&grant)
                .map_err(|source| damaged(&grant_path, source))?;
            identity.replace(loaded, grant);
        }
        Ok(identity)
    }

    /// This node's id, derived from its key.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Where this node was allowed to join; `None` before joining.
    pub fn site(&self) -> Option<SiteName> {
        match self.credentials.subject()? {
            Subject::Node { site, .. } => Some(site),
            Subject::Center => None,
        }
    }

    /// A certificate signing request (PKCS #10, DER): proof that we hold our key.
    pub fn signing_request(&self) -> Result<Vec<u8>, IdentityError> {
        let request = CertificateParams::default()
            .serialize_request(&self.key)
            .map_err(IdentityError::Key)?;
        Ok(request.der().to_vec())
    }

    /// Checks a grant, writes it to disk and uses it from now on. `authority` is the one that
    /// the join token named or, for a renewal, the present one.
    pub fn adopt(
        &self,
        grant: Grant,
        authority: Fingerprint,
        now: SystemTime,
    ) -> Result<(), IdentityError> {
        let loaded = self.check(&grant)?;
        if Fingerprint::of(&loaded.authority) != authority {
            return Err(IdentityError::OtherAuthority);
        }
        if !(loaded.content.not_before..=loaded.content.not_after).contains(&now) {
            return Err(IdentityError::WrongTime);
        }
        let path = self.directory.join(GRANT_FILE);
        let json = serde_json::to_vec_pretty(&grant).map_err(|source| damaged(&path, source))?;
        files::write_secret(&path, &json)?;
        self.replace(loaded, grant);
        Ok(())
    }

    /// What TLS needs; follows every [`adopt`](Self::adopt).
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Checks session tokens with the keys of the latest grant. Before joining it accepts none.
    pub fn verifier(&self) -> Verifier {
        let keys = self
            .token_keys
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Verifier::new(keys.clone())
    }

    fn check(&self, grant: &Grant) -> Result<Loaded, IdentityError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialized_der()));
        let loaded = Loaded::new(
            CertificateDer::from(grant.certificate.0.clone()),
            &key,
            CertificateDer::from(grant.authority.0.clone()),
        )
        .map_err(IdentityError::Credentials)?;
        let subject = &loaded.content.subject;
        if subject.node_id() != Some(self.node_id) {
            let named = subject.to_string();
            let here = self.node_id;
            return Err(IdentityError::NotForUs { named, here });
        }
        Ok(loaded)
    }

    fn replace(&self, loaded: Loaded, grant: Grant) {
        self.credentials.replace(loaded);
        *self
            .token_keys
            .write()
            .unwrap_or_else(PoisonError::into_inner) = grant.token_keys;
    }
}

impl Serialize for Der {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Der {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

pub(crate) fn parse_key(pem: &[u8]) -> Result<KeyPair, Box<dyn std::error::Error + Send + Sync>> {
    let key = KeyPair::from_pem(std::str::from_utf8(pem)?)?;
    if key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err("not an ecdsa p-256 key".into());
    }
    Ok(key)
}

fn damaged(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> IdentityError {
    IdentityError::Damaged {
        path: path.to_owned(),
        source: source.into(),
    }
}
