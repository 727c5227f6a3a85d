//! The center's certificate authority: says which key is which node, for a day at a time.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use model::{NodeId, SiteName};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};

use crate::certificate::{self, Fingerprint, Subject};
use crate::credentials::{Credentials, CredentialsError, Loaded};
use crate::files::{self, FileError};
use crate::identity::{Der, Grant, parse_key};
use crate::token::{KeyError, Signer};

/// How long a certificate is good: a node that was thrown out is out after this.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Certificates start this much in the past, for nodes whose clocks are behind.
const CLOCK_SLACK: Duration = Duration::from_secs(5 * 60);

/// The authority outlives any installation: replacing it means that every node joins again.
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// A request holds one key and no names, about 300 bytes; parsing more is work for nothing.
const REQUEST_MAX: usize = 8 * 1024;

const KEY_FILE: &str = "authority.key";
const CERTIFICATE_FILE: &str = "authority.crt";
const TOKEN_KEY_FILE: &str = "tokens.key";

/// The center's keys: the authority over nodes, the center's own certificate for its endpoint,
/// and the signer of session tokens.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    signer: Signer,
    /// The center's own key lives as long as the process: nobody pins it.
    own_key: KeyPair,
    credentials: Credentials,
}

/// Why the authority could not be loaded or refused to sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read or written.
    #[error("keep the certificate authority")]
    File(#[from] FileError),
    /// A file was read and is not what it should be. Nothing is overwritten.
    #[error("{} is damaged; restore it from a backup, or move it away and let every node join again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Making a key or a certificate failed.
    #[error("sign a certificate")]
    Sign(#[source] rcgen::Error),
    /// The key of session tokens could not be made or read.
    #[error("load the key of session tokens")]
    TokenKey(#[source] KeyError),
    /// The center's own certificate does not work.
    #[error("use the center's own certificate")]
    Credentials(#[source] CredentialsError),
    /// What was sent is not a request that we sign.
    #[error("the signing request is not valid: {0}")]
    BadRequest(&'static str),
    /// The request claims to come from a node whose key it does not hold.
    #[error("the request claims to be node {claimed} but holds the key of node {derived}")]
    OtherKey {
        /// The id it claims.
        claimed: NodeId,
        /// The id its key has.
        derived: NodeId,
    },
}

impl Authority {
    /// Reads the authority from `directory`, making it on the first start, and issues the
    /// center's own certificate.
    pub fn load_or_create(directory: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        let key_path = directory.join(KEY_FILE);
        let pem = files::read_or_create_secret(&key_path, || {
            Ok::<_, AuthorityError>(new_key()?.serialize_pem().into_bytes())
        })?;
        let key = parse_key(&pem).map_err(|source| damaged(&key_path, source))?;

        let certificate_path = directory.join(CERTIFICATE_FILE);
        let pem = files::read_or_create_secret(&certificate_path, || {
            let certificate = authority_params(now)?
                .self_signed(&key)
                .map_err(AuthorityError::Sign)?;
            Ok::<_, AuthorityError>(certificate.pem().into_bytes())
        })?;
        let certificate = CertificateDer::from_pem_slice(&pem)
            .map_err(|source| damaged(&certificate_path, source.to_string()))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|source| damaged(&certificate_path, source))?;

        let token_path = directory.join(TOKEN_KEY_FILE);
        let token_key = files::read_or_create_secret(&token_path, || {
            Signer::new_key().map_err(AuthorityError::TokenKey)
        })?;
        let signer =
            Signer::from_pkcs8(&token_key).map_err(|source| damaged(&token_path, source))?;

        let authority = Self {
            issuer,
            certificate,
            signer,
            own_key: new_key()?,
            credentials: Credentials::default(),
        };
        authority
            .renew_own(now)
            .map_err(|error| authority.explain(error, &certificate_path))?;
        Ok(authority)
    }

    /// The fingerprint that goes into join tokens.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Signs session tokens.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// What the center's endpoint shows and trusts.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Gives the center's endpoint a fresh certificate. Call when
    /// [`Credentials::renew_at`] has passed.
    pub fn renew_own(&self, now: SystemTime) -> Result<(), AuthorityError> {
        let certificate = self.sign(&self.own_key, &Subject::Center, now)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.own_key.serialized_der()));
        let loaded = Loaded::new(certificate, &key, self.certificate.clone())
            .map_err(AuthorityError::Credentials)?;
        self.credentials.replace(loaded);
        Ok(())
    }

    /// Which node made this signing request. Proves that it held the key, not that it was now:
    /// a request that somebody repeats earns them a certificate for a key they do not have.
    pub fn requester(request: &[u8]) -> Result<NodeId, AuthorityError> {
        let request = read_request(request)?;
        Ok(certificate::node_id(
            &request.public_key.subject_public_key_info(),
        ))
    }

    /// Signs a certificate of [`CERTIFICATE_LIFE`] for the key in `request` (PKCS #10, DER), which
    /// must be that of node `claimed`. Whether the node may have one is the caller's decision.
    pub fn issue(
        &self,
        request: &[u8],
        claimed: NodeId,
        site: &SiteName,
        now: SystemTime,
    ) -> Result<Grant, AuthorityError> {
        let request = read_request(request)?;
        let derived = certificate::node_id(&request.public_key.subject_public_key_info());
        if derived != claimed {
            return Err(AuthorityError::OtherKey { claimed, derived });
        }
        let subject = Subject::Node {
            id: derived,
            site: site.clone(),
        };
        // Of the request only the key is used: it has no say in names, time or usage.
        let certificate = self.sign(&request.public_key, &subject, now)?;
        Ok(Grant {
            certificate: Der(certificate.to_vec()),
            authority: Der(self.certificate.to_vec()),
            token_keys: vec![self.signer.public_key()],
        })
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        subject: &Subject,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&subject.to_string());
        for uri in subject.to_uris() {
            let uri = uri.as_str().try_into().map_err(AuthorityError::Sign)?;
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params.not_before = (now - CLOCK_SLACK).into();
        params.not_after = (now + CERTIFICATE_LIFE).into();
        params.serial_number = Some(serial_number()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(key, &self.issuer)
            .map_err(AuthorityError::Sign)?;
        Ok(certificate.into())
    }

    /// The first certificate fails when the two files of the authority do not belong together.
    fn explain(&self, error: AuthorityError, path: &Path) -> AuthorityError {
        match error {
            AuthorityError::Credentials(source) => damaged(path, source),
            other => other,
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

fn new_key() -> Result<KeyPair, AuthorityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Sign)
}

fn authority_params(now: SystemTime) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Selvedge authority");
    params.not_before = (now - CLOCK_SLACK).into();
    params.not_after = (now + AUTHORITY_LIFE).into();
    params.serial_number = Some(serial_number()?);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)); // signs machines, not authorities
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn read_request(request: &[u8]) -> Result<CertificateSigningRequestParams, AuthorityError> {
    if request.len() > REQUEST_MAX {
        return Err(AuthorityError::BadRequest("too long"));
    }
    // Checks the request's signature as well.
    let request =
        CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|_| AuthorityError::BadRequest("not a signed pkcs #10 request"))?;
    if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err(AuthorityError::BadRequest("the key is not ecdsa p-256"));
    }
    Ok(request)
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Random, so that two certificates of one key never share a number.
fn serial_number() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| AuthorityError::Sign(rcgen::Error::RingUnspecified))?;
    bytes[0] &= 0x7f; // DER integers are signed
    Ok(SerialNumber::from_slice(&bytes))
}

fn damaged(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> AuthorityError {
    AuthorityError::Damaged {
        path: path.to_owned(),
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer as _, X509CertificationRequest};

    use super::*;
    use crate::identity::{Identity, IdentityError};

    #[test]
    fn a_granted_certificate_survives_a_restart_of_both_sides() {
        let world = World::new();
        let authority = world.authority("center");
        let identity = world.identity("node");
        world.grant(&authority, &identity, world.now).unwrap();
        let id = identity.node_id();
        drop((authority, identity));

        let authority = world.authority("center");
        let identity = world.identity("node");
        assert_eq!(identity.node_id(), id);
        assert_eq!(identity.site(), Some("frankfurt".parse().unwrap()));
        assert_eq!(
            identity.credentials().authority(),
            Some(authority.fingerprint())
        );
    }

    #[test]
    fn a_request_is_signed_only_for_the_node_that_holds_the_key() {
        let world = World::new();
        let authority = world.authority("center");
        let [mallory, alice] = ["mallory", "alice"].map(|it| world.identity(it));
        let request = mallory.signing_request().unwrap();
        assert_eq!(Authority::requester(&request).unwrap(), mallory.node_id());
        let issued = authority.issue(&request, alice.node_id(), &site(), world.now);
        assert!(matches!(issued, Err(AuthorityError::OtherKey { .. })));
    }

    #[test]
    fn a_damaged_request_is_refused() {
        let world = World::new();
        let authority = world.authority("center");
        let identity = world.identity("node");
        let good = identity.signing_request().unwrap();
        let (_, parsed) = X509CertificationRequest::from_der(&good).unwrap();
        let signed = parsed.certification_request_info.raw.len();
        // The last bytes before the signature name its algorithm a second time; they say nothing.
        for at in 0..signed {
            let mut bad = good.clone();
            bad[at] ^= 0x01;
            let issued = authority.issue(&bad, identity.node_id(), &site(), world.now);
            assert!(
                matches!(issued, Err(AuthorityError::BadRequest(_))),
                "byte {at}: {issued:?}"
            );
        }
        let long = vec![0; REQUEST_MAX + 1];
        assert!(Authority::requester(&long).is_err());
    }

    #[test]
    fn a_grant_of_another_authority_is_not_adopted() {
        let world = World::new();
        let (ours, theirs) = (world.authority("ours"), world.authority("theirs"));
        let identity = world.identity("node");
        let request = identity.signing_request().unwrap();
        let grant = theirs
            .issue(&request, identity.node_id(), &site(), world.now)
            .unwrap();
        let adopted = identity.adopt(grant, ours.fingerprint(), world.now);
        assert!(matches!(adopted, Err(IdentityError::OtherAuthority)));
        assert_eq!(identity.site(), None);
    }

    #[test]
    fn a_grant_with_the_authority_of_another_does_not_verify() {
        let world = World::new();
        let (ours, theirs) = (world.authority("ours"), world.authority("theirs"));
        let identity = world.identity("node");
        let request = identity.signing_request().unwrap();
        let mut grant = theirs
            .issue(&request, identity.node_id(), &site(), world.now)
            .unwrap();
        grant.authority = Der(ours.certificate.to_vec());
        let adopted = identity.adopt(grant, ours.fingerprint(), world.now);
        assert!(matches!(
            adopted,
            Err(IdentityError::Credentials(CredentialsError::NotSigned(_)))
        ));
    }

    #[test]
    fn a_grant_for_somebody_else_or_another_time_is_not_adopted() {
        let world = World::new();
        let authority = world.authority("center");
        let [alice, bob] = ["alice", "bob"].map(|it| world.identity(it));
        let request = alice.signing_request().unwrap();
        let grant = authority
            .issue(&request, alice.node_id(), &site(), world.now)
            .unwrap();
        let adopted = bob.adopt(grant.clone(), authority.fingerprint(), world.now);
        assert!(adopted.is_err(), "bob does not hold alice's key");

        let tomorrow = world.now + CERTIFICATE_LIFE + Duration::from_secs(1);
        let adopted = alice.adopt(grant, authority.fingerprint(), tomorrow);
        assert!(matches!(adopted, Err(IdentityError::WrongTime)));
    }

    #[test]
    fn an_expired_grant_is_still_loaded_so_that_it_can_be_renewed() {
        let world = World::new();
        let authority = world.authority("center");
        let identity = world.identity("node");
        let last_week = world.now - 7 * CERTIFICATE_LIFE;
        world.grant(&authority, &identity, last_week).unwrap();
        let identity = world.identity("node");
        assert!(identity.credentials().not_after().unwrap() < world.now);
        assert!(identity.credentials().renew_at().unwrap() < world.now);
        world.grant(&authority, &identity, world.now).unwrap();
        assert!(identity.credentials().not_after().unwrap() > world.now);
    }

    #[test]
    fn damaged_files_are_named_and_left_alone() {
        let world = World::new();
        drop(world.authority("center"));
        drop(world.identity("node"));
        for (directory, file) in [
            ("center", KEY_FILE),
            ("center", CERTIFICATE_FILE),
            ("center", TOKEN_KEY_FILE),
            ("node", "node.key"),
        ] {
            let path = world.directory.path().join(directory).join(file);
            let good = std::fs::read(&path).unwrap();
            std::fs::write(&path, "garbage").unwrap();
            let directory = world.directory.path().join(directory);
            let error = if file == "node.key" {
                Identity::load_or_create(&directory)
                    .unwrap_err()
                    .to_string()
            } else {
                Authority::load_or_create(&directory, world.now)
                    .unwrap_err()
                    .to_string()
            };
            assert!(error.contains(file), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), b"garbage");
            std::fs::write(&path, good).unwrap();
        }
    }

    #[test]
    fn mixed_up_authority_files_are_noticed() {
        let world = World::new();
        drop((world.authority("ours"), world.authority("theirs")));
        let path = |it: &str| world.directory.path().join(it).join(CERTIFICATE_FILE);
        std::fs::copy(path("theirs"), path("ours")).unwrap();
        let loaded = Authority::load_or_create(&world.directory.path().join("ours"), world.now);
        assert!(matches!(loaded, Err(AuthorityError::Damaged { .. })));
    }

    struct World {
        directory: tempfile::TempDir,
        now: SystemTime,
    }

    impl World {
        fn new() -> Self {
            Self {
                directory: tempfile::tempdir().unwrap(),
                now: SystemTime::now(),
            }
        }

        fn authority(&self, name: &str) -> Authority {
            Authority::load_or_create(&self.directory.path().join(name), self.now).unwrap()
        }

        fn identity(&self, name: &str) -> Identity {
            Identity::load_or_create(&self.directory.path().join(name)).unwrap()
        }

        fn grant(
            &self,
            authority: &Authority,
            identity: &Identity,
            at: SystemTime,
        ) -> Result<(), IdentityError> {
            let request = identity.signing_request()?;
            let grant = authority
                .issue(&request, identity.node_id(), &site(), at)
                .unwrap();
            identity.adopt(grant, authority.fingerprint(), at)
        }
    }

    fn site() -> SiteName {
        "frankfurt".parse().unwrap()
    }
}
