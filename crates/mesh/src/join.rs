//! How a machine without a certificate gets one: the text a person copies, and the exchange.
//!
//! A join token names the center's authority by its fingerprint and holds a secret that is good
//! once. The joiner checks the authority before it sends anything; the center keeps only the
//! secret's hash. What the request and the answer mean is `api::link`'s business.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::certificate::{Fingerprint, sha256};
use crate::link::{CallError, DialError, call_once, connect};
use crate::tls;

const PREFIX: &str = "selvedge-";

/// The text `selvedge-<fingerprint>.<secret>`, handed to a machine that shall join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// The authority that the center must prove.
    pub authority: Fingerprint,
    /// What the joiner proves.
    pub secret: JoinSecret,
}

/// 24 random bytes, good for one join. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinSecret([u8; 24]);

/// Why a text is not a join token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenError {
    /// Does not look like one.
    #[error("a join token looks like selvedge-<43 characters>.<32 characters>")]
    Form,
    /// Looks like one, but was cut or mistyped.
    #[error("the join token is damaged; copy it again as a whole")]
    Damaged,
}

impl JoinSecret {
    /// Draws a secret.
    pub fn generate() -> Self {
        let mut bytes = [0; 24];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the system has randomness: every key of this process came from it");
        Self(bytes)
    }

    /// What the center keeps. One round of SHA-256 is enough: 192 random bits cannot be guessed.
    /// Looking a secret up by its hash also needs no comparison in constant time.
    pub fn hash(&self) -> JoinSecretHash {
        JoinSecretHash(sha256(&self.0))
    }
}

/// The hash of a [`JoinSecret`], 64 hexadecimal digits as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinSecretHash([u8; 32]);

impl fmt::Display for JoinSecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(..)")
    }
}

/// The secret alone, as it goes into a request to join.
impl fmt::Display for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for JoinSecret {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        decode(text).map(Self)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = URL_SAFE_NO_PAD.encode(self.authority.as_bytes());
        write!(f, "{PREFIX}{authority}.{}", self.secret)
    }
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        let (authority, secret) = text
            .trim()
            .strip_prefix(PREFIX)
            .and_then(|it| it.split_once('.'))
            .ok_or(JoinTokenError::Form)?;
        Ok(Self {
            authority: Fingerprint::from_bytes(decode(authority)?),
            secret: secret.parse()?,
        })
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], JoinTokenError> {
    let mut bytes = [0; N];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(length) if length == N => Ok(bytes),
        Ok(_) | Err(_) => Err(JoinTokenError::Damaged),
    }
}

/// Why joining failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No connection. With a wrong fingerprint the reason is a certificate error.
    #[error("reach the center at {address}")]
    Dial {
        /// Where it was tried.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: DialError,
    },
    /// Connected, but no or a negative answer.
    #[error("ask the center to join")]
    Call(#[source] CallError),
}

/// Connects to the center at `address`, checks that it proves `authority`, then sends `request`
/// and returns the answer. Also for a node whose certificate has expired.
pub async fn ask(
    address: SocketAddr,
    authority: Fingerprint,
    request: Bytes,
    deadline: Duration,
) -> Result<Bytes, JoinError> {
    let dial = |source| JoinError::Dial { address, source };
    let config = tls::join_client(authority).map_err(|source| dial(DialError::Tls(source)))?;
    let (endpoint, connection) = connect(address, config, deadline).await.map_err(dial)?;
    let answer = call_once(&connection, &request, deadline).await;
    connection.close(0_u32.into(), b"done");
    // The close frame is a courtesy; without it the center waits for its idle timeout.
    let _ = tokio::time::timeout(Duration::from_millis(200), endpoint.wait_idle()).await;
    answer.map_err(JoinError::Call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_what_it_prints() {
        let token = JoinToken {
            authority: Fingerprint::from_bytes([7; 32]),
            secret: JoinSecret::generate(),
        };
        let text = token.to_string();
        assert_eq!(text.len(), PREFIX.len() + 43 + 1 + 32);
        assert_eq!(format!(" {text}\n").parse(), Ok(token));
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let token = JoinToken {
            authority: Fingerprint::from_bytes([7; 32]),
            secret: JoinSecret::generate(),
        };
        let text = token.to_string();
        for bad in ["", "selvedge-", "selvedge-.", "hello.world"] {
            assert!(bad.parse::<JoinToken>().is_err(), "{bad}");
        }
        for end in 0..text.len() {
            assert!(text[..end].parse::<JoinToken>().is_err(), "{end}");
        }
        assert!(format!("{text}A").parse::<JoinToken>().is_err());
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let secret = JoinSecret::generate();
        let shown = secret.to_string();
        let token = JoinToken {
            authority: Fingerprint::from_bytes([7; 32]),
            secret,
        };
        assert!(!format!("{token:?}").contains(&shown));
        assert_ne!(JoinSecret::generate().hash(), token.secret.hash());
    }
}
