//! The administrator's token: made at the first start, kept in a file that only its owner reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;

use crate::error::LoadError;

const FILE: &str = "admin.token";

/// A token shorter than this was not made by us and may be guessed.
const TOKEN_MIN: usize = 32;

/// Compares tokens in constant time: both sides go through a keyed hash first.
pub(crate) struct AdminToken {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl AdminToken {
    /// Reads the token from `directory`, making it at the first start.
    pub(crate) fn load_or_create(directory: &Path) -> Result<Self, LoadError> {
        let path = directory.join(FILE);
        let failed = |source| LoadError::AdminToken {
            path: path.clone(),
            source,
        };
        let token = match fs::read_to_string(&path) {
            Ok(token) => token.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(directory, &path).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        if token.len() < TOKEN_MIN {
            return Err(failed(io::Error::other("the token in it is too short")));
        }
        Self::new(&token).map_err(failed)
    }

    fn new(token: &str) -> io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| io::Error::other("the system gives no randomness"))?;
        let tag = hmac::sign(&key, token.as_bytes());
        Ok(Self { key, tag })
    }

    /// Whether this is the token.
    pub(crate) fn matches(&self, token: &str) -> bool {
        hmac::verify(&self.key, token.as_bytes(), self.tag.as_ref()).is_ok()
    }
}

/// Makes the data directory for its owner alone.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn create(directory: &Path, path: &Path) -> io::Result<String> {
    let token = random_text().map_err(io::Error::other)?;
    // Written aside and renamed: a crash half way leaves no half token.
    let aside = directory.join(".admin.token.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(directory)?.sync_all()?;
    Ok(token)
}

/// 32 random bytes as text: a secret that cannot be guessed.
pub(crate) fn random_text() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The SHA-256 of a secret, hexadecimal. One round is enough: our secrets are 256 random bits.
pub(crate) fn secret_hash(secret: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let first = AdminToken::load_or_create(directory.path()).unwrap();
        let path = directory.path().join(FILE);
        let token = fs::read_to_string(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(first.matches(token.trim()));
        let again = AdminToken::load_or_create(directory.path()).unwrap();
        assert!(again.matches(token.trim()));
        assert!(!again.matches(""));
        assert!(!again.matches(&token.trim()[1..]));
    }

    #[test]
    fn a_token_that_somebody_cut_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "secret").unwrap();
        assert!(AdminToken::load_or_create(directory.path()).is_err());
    }
}
