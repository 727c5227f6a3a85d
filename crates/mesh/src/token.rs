//! Tokens: what a terminal shows at an edge, checked without asking the center.
//!
//! `base64url(json) . base64url(signature)`, Ed25519 over the prefix of its kind and the JSON, so
//! that a token of one kind is none of another.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{AppName, Epoch, SessionId};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Our tokens have about 250 characters. Longer ones are refused before any work is done.
pub const TOKEN_MAX: usize = 1024;

/// What a kind of token says.
pub trait Claims: Serialize + DeserializeOwned {
    /// A signature made for this purpose is good for no other.
    const PURPOSE: &[u8];

    /// The last moment it is good, in milliseconds since 1970.
    fn expires_unix_ms(&self) -> u64;
}

/// What a session token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClaims {
    /// The session that its holder may see and steer.
    pub session: SessionId,
    /// The ownership of the session it was issued for.
    pub epoch: Epoch,
    /// The app, for messages to the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The last moment it is good, in milliseconds since 1970.
    pub expires_unix_ms: u64,
}

impl Claims for SessionClaims {
    const PURPOSE: &[u8] = b"selvedge session token 1\0";

    fn expires_unix_ms(&self) -> u64 {
        self.expires_unix_ms
    }
}

/// What a viewer's token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchClaims {
    /// The event whose cameras its holder may see.
    pub event: AppName,
    /// The last moment it is good, in milliseconds since 1970.
    pub expires_unix_ms: u64,
}

impl Claims for WatchClaims {
    const PURPOSE: &[u8] = b"selvedge watch token 1\0";

    fn expires_unix_ms(&self) -> u64 {
        self.expires_unix_ms
    }
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token at all.
    #[error("not a token")]
    Malformed,
    /// Not signed by our center, or changed afterwards.
    #[error("the token is not signed by our center")]
    Forged,
    /// Good once, but no longer.
    #[error("the token has expired")]
    Expired,
}

/// Why a signing key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The system gave no randomness.
    #[error("draw a key")]
    Random,
    /// Not an Ed25519 key.
    #[error("not an ed25519 key in pkcs #8")]
    Damaged,
}

/// Signs tokens. Only the center has one.
pub struct Signer {
    key: Ed25519KeyPair,
}

impl Signer {
    pub(crate) fn new_key() -> Result<Vec<u8>, KeyError> {
        let key =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        Ok(key.as_ref().to_vec())
    }

    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let key = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Damaged)?;
        Ok(Self { key })
    }

    /// The key that checks our tokens.
    pub fn public_key(&self) -> TokenKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.key.public_key().as_ref());
        TokenKey(key)
    }

    /// Makes a token.
    pub fn sign<C: Claims>(&self, claims: &C) -> String {
        let json = serde_json::to_vec(claims).expect("claims are strings and numbers");
        let signature = self.key.sign(&signed_bytes::<C>(&json));
        format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(&json),
            URL_SAFE_NO_PAD.encode(signature)
        )
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.public_key()).finish()
    }
}

/// A public key for tokens; base64url in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenKey([u8; 32]);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Serialize for TokenKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for TokenKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut key = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut key) {
            Ok(32) => Ok(Self(key)),
            Ok(_) | Err(_) => Err(serde::de::Error::custom("a key is 32 bytes in base64url")),
        }
    }
}

/// Checks tokens.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: Vec<TokenKey>,
}

impl Verifier {
    /// Accepts tokens signed by any of `keys`; with none, no token at all.
    pub fn new(keys: Vec<TokenKey>) -> Self {
        Self { keys }
    }

    /// Returns what a good token says. Claims are not looked at before the signature is good.
    pub fn verify<C: Claims>(&self, token: &str, now: SystemTime) -> Result<C, TokenError> {
        if token.len() > TOKEN_MAX {
            return Err(TokenError::Malformed);
        }
        let (json, signature) = token.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |text| URL_SAFE_NO_PAD.decode(text).ok();
        let json = decode(json).ok_or(TokenError::Malformed)?;
        let signature = decode(signature).ok_or(TokenError::Malformed)?;

        let signed = signed_bytes::<C>(&json);
        let good = self.keys.iter().any(|key| {
            UnparsedPublicKey::new(&ED25519, key.0)
                .verify(&signed, &signature)
                .is_ok()
        });
        if !good {
            return Err(TokenError::Forged);
        }
        let claims: C = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if now.as_millis() > u128::from(claims.expires_unix_ms()) {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

fn signed_bytes<C: Claims>(json: &[u8]) -> Vec<u8> {
    [C::PURPOSE, json].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_good_token_says_what_was_signed() {
        let signer = signer();
        let token = signer.sign(&claims());
        assert_eq!(
            verifier(&signer).verify::<SessionClaims>(&token, at(1_000)),
            Ok(claims())
        );
        assert!(token.len() < TOKEN_MAX / 2, "{}", token.len());
    }

    #[test]
    fn it_is_good_until_it_expires_and_not_a_millisecond_longer() {
        let signer = signer();
        let token = signer.sign(&claims());
        assert!(
            verifier(&signer)
                .verify::<SessionClaims>(&token, at(2_000))
                .is_ok()
        );
        let late = verifier(&signer).verify::<SessionClaims>(&token, at(2_001));
        assert_eq!(late, Err(TokenError::Expired));
    }

    #[test]
    fn claims_of_one_token_with_the_signature_of_another_are_forged() {
        let signer = signer();
        let mine = signer.sign(&claims());
        let mut theirs = claims();
        theirs.session = SessionId(2);
        let theirs = signer.sign(&theirs);
        let mixed = format!(
            "{}.{}",
            theirs.split_once('.').unwrap().0,
            mine.split_once('.').unwrap().1
        );
        let result = verifier(&signer).verify::<SessionClaims>(&mixed, at(1_000));
        assert_eq!(result, Err(TokenError::Forged));
    }

    #[test]
    fn another_centers_token_is_forged() {
        let token = signer().sign(&claims());
        let result = verifier(&signer()).verify::<SessionClaims>(&token, at(1_000));
        assert_eq!(result, Err(TokenError::Forged));
        let nobody = Verifier::new(Vec::new());
        assert_eq!(
            nobody.verify::<SessionClaims>(&token, at(1_000)),
            Err(TokenError::Forged)
        );
    }

    #[test]
    fn a_signature_for_another_purpose_is_forged() {
        let signer = signer();
        let json = serde_json::to_vec(&claims()).unwrap();
        let bare = signer.key.sign(&json);
        let token = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(&json),
            URL_SAFE_NO_PAD.encode(bare)
        );
        let result = verifier(&signer).verify::<SessionClaims>(&token, at(1_000));
        assert_eq!(result, Err(TokenError::Forged));
    }

    /// A claim that both kinds understand would otherwise open the other's door.
    #[test]
    fn a_token_of_one_kind_is_none_of_another() {
        let signer = signer();
        let watch = WatchClaims {
            event: "arena".parse().unwrap(),
            expires_unix_ms: 2_000,
        };
        let token = signer.sign(&watch);
        let verifier = verifier(&signer);
        assert_eq!(verifier.verify(&token, at(1_000)), Ok(watch));
        let session = verifier.verify::<SessionClaims>(&token, at(1_000));
        assert_eq!(session, Err(TokenError::Forged));
        let token = signer.sign(&claims());
        let watch = verifier.verify::<WatchClaims>(&token, at(1_000));
        assert_eq!(watch, Err(TokenError::Forged));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let signer = signer();
        let verifier = verifier(&signer);
        let token = signer.sign(&claims());
        for index in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[index] = if bytes[index] == b'B' { b'C' } else { b'B' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(
                verifier
                    .verify::<SessionClaims>(&changed, at(1_000))
                    .is_err(),
                "{index}"
            );
        }
        for end in 0..token.len() {
            assert!(
                verifier
                    .verify::<SessionClaims>(&token[..end], at(1_000))
                    .is_err(),
                "{end}"
            );
        }
    }

    #[test]
    fn what_is_not_a_token_is_malformed() {
        let signer = signer();
        let long = "A".repeat(TOKEN_MAX + 1);
        for text in ["", ".", "a.b.c", "é.é", "====.====", &long] {
            let result = verifier(&signer).verify::<SessionClaims>(text, at(1_000));
            assert!(
                matches!(result, Err(TokenError::Malformed | TokenError::Forged)),
                "{text}"
            );
        }
    }

    /// Edges of the last release must read tokens of this one: the form is fixed here.
    #[test]
    fn golden() {
        let json = serde_json::to_string(&claims()).unwrap();
        assert_eq!(
            json,
            r#"{"session":"1f","epoch":3,"app":"doom","expires_unix_ms":2000}"#
        );
    }

    fn signer() -> Signer {
        Signer::from_pkcs8(&Signer::new_key().unwrap()).unwrap()
    }

    fn verifier(signer: &Signer) -> Verifier {
        Verifier::new(vec![signer.public_key()])
    }

    fn claims() -> SessionClaims {
        SessionClaims {
            session: SessionId(0x1f),
            epoch: Epoch(3),
            app: Some("doom".parse().unwrap()),
            expires_unix_ms: 2_000,
        }
    }

    fn at(unix_ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(unix_ms)
    }
}
