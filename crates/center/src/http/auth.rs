//! Who asks, and what they may.
//!
//! The administrator's token opens everything. A session's key opens that session. Without either
//! one may look for a place and start a session of an app that is public.

use api::ErrorCode;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use model::{AppName, SessionId};

use super::Api;
use crate::admin::secret_hash;
use crate::error::Refusal;
use crate::shared::Shared;

/// A token longer than this is not ours, and is not worth hashing.
const TOKEN_MAX: usize = 256;

/// Who asks.
pub(super) enum Caller {
    /// Holds the administrator's token.
    Administrator,
    /// Holds some other token: a session's key, if any.
    Bearer(String),
    /// Shows nothing.
    Anybody,
}

/// Holds the administrator's token.
pub(super) struct Administrator;

/// Holds what may be a stream key.
pub(super) struct StreamKey(pub(super) String);

impl FromRequestParts<Api> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refusal> {
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
            return Ok(Self::Anybody);
        };
        let token = value.to_str().ok().and_then(|it| {
            let (scheme, token) = it.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        });
        match token.map(str::trim) {
            Some(token) if token.len() > TOKEN_MAX => Err(wrong_token()),
            Some(token) if api.shared.admin.matches(token) => Ok(Self::Administrator),
            Some(token) => Ok(Self::Bearer(token.to_owned())),
            None => Err(wrong_token()),
        }
    }
}

impl FromRequestParts<Api> for Administrator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refusal> {
        match Caller::from_request_parts(parts, api).await? {
            Caller::Administrator => Ok(Self),
            Caller::Bearer(_) => Err(wrong_token()),
            Caller::Anybody => Err(no_token()),
        }
    }
}

impl FromRequestParts<Api> for StreamKey {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refusal> {
        match Caller::from_request_parts(parts, api).await? {
            Caller::Bearer(key) => Ok(Self(key)),
            Caller::Administrator => Err(no_stream_key("this is the administrator's token")),
            Caller::Anybody => Err(no_stream_key("this needs a stream key")),
        }
    }
}

impl Caller {
    /// May it use this app?
    pub(super) fn may_use(&self, shared: &Shared, app: &AppName) -> Result<(), Refusal> {
        if matches!(self, Self::Administrator) {
            return Ok(());
        }
        let world = shared.world();
        let release = world.apps.get(app).and_then(|it| it.present());
        if release.is_some_and(|it| it.manifest.access().public) {
            return Ok(());
        }
        // Whether a private app exists is nobody's business.
        let message = format!("there is no public app called {app}");
        let refusal = Refusal::new(ErrorCode::Unauthorized, message);
        Err(refusal.hint("is the name right? an app that is not public needs a token"))
    }

    /// May it see and steer this session? A session that does not exist is as closed to a
    /// stranger as one that does.
    pub(super) fn may_steer(&self, shared: &Shared, session: SessionId) -> Result<(), Refusal> {
        match self {
            Self::Administrator => Ok(()),
            Self::Anybody => Err(no_token()),
            Self::Bearer(key) => {
                let hash = secret_hash(key);
                let world = shared.world();
                match world.sessions.get(&session) {
                    // Hashes of secrets: their comparison's time tells nothing of use.
                    Some(it) if it.record.key_hash == hash => Ok(()),
                    Some(_) => Err(Refusal::new(
                        ErrorCode::Forbidden,
                        "the key does not belong to this session",
                    )),
                    None => Err(Refusal::not_found(format!("there is no session {session}"))
                        .hint("it may have ended; start a new one")),
                }
            }
        }
    }
}

fn no_token() -> Refusal {
    Refusal::new(ErrorCode::Unauthorized, "this needs a token")
        .hint("send `authorization: Bearer <token>`; the administrator's is in admin.token in the center's data directory")
}

fn no_stream_key(message: &str) -> Refusal {
    Refusal::new(ErrorCode::Unauthorized, message).hint(
        "send `authorization: Bearer <stream key>`; `selvedge live key create <event>` makes one",
    )
}

fn wrong_token() -> Refusal {
    Refusal::new(ErrorCode::Unauthorized, "the token is not good here")
        .hint("the administrator's is in admin.token in the center's data directory")
}
