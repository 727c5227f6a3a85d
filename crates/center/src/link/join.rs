//! Who may join, and certificates for those who have.

use std::time::{Duration, SystemTime};

use api::link::{Grant, JoinRequest};
use api::node::JoinToken;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mesh::authority::Authority;
use mesh::join::JoinSecret;
use model::{NodeId, SiteName};

use crate::clock;
use crate::error::{Refusal, chain};
use crate::records::{JoinRecord, MemberRecord, RecordError};
use crate::shared::Shared;

/// How long a join token is good.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Unused join tokens at once: an operator's script that runs wild must not fill the store.
const TOKENS_MAX: usize = 10_000;

const NOT_GOOD: &str = "the join token is not good: it works once and for an hour; make a new one";

/// Makes a token that lets one machine join.
pub(crate) async fn create_token(shared: &Shared) -> Result<JoinToken, Refusal> {
    if shared.records.all::<JoinRecord>().await?.len() >= TOKENS_MAX {
        let message = format!("{TOKENS_MAX} join tokens are waiting to be used");
        return Err(
            Refusal::new(api::ErrorCode::Unavailable, message).hint("they run out after an hour")
        );
    }
    let secret = JoinSecret::generate();
    let record = JoinRecord {
        hash: secret.hash().to_string(),
        expires_unix_ms: clock::unix_ms_in(TOKEN_LIFE),
    };
    shared.records.write(&record, None).await?;
    let token = mesh::join::JoinToken {
        authority: shared.authority.fingerprint(),
        secret,
    };
    Ok(JoinToken {
        token: token.to_string(),
        expires_unix_ms: record.expires_unix_ms,
    })
}

/// Lets a machine in that has a good token, or was let in before.
pub(crate) async fn join(shared: &Shared, request: &[u8]) -> Result<(NodeId, Grant), String> {
    let request: JoinRequest = serde_json::from_slice(request)
        .map_err(|error| format!("the request to join is not understood: {error}"))?;
    let signing_request = decode(&request.signing_request)?;
    let node = Authority::requester(&signing_request).map_err(|error| chain(&error))?;
    // Signed first: a broken request must not use the token up.
    let grant = grant(shared, node, &request.site, &signing_request)?;
    let known = check_member(shared, node, &request.site).await;
    match (&request.secret, known) {
        // A node that was let in and has proved its key needs no token, and may still show the one
        // that it has used.
        (_, Ok(())) => {}
        (Some(secret), Err(_)) => {
            use_token(shared, secret).await?;
            remember(shared, node, &request.site).await?;
        }
        (None, Err(why)) => return Err(why),
    }
    Ok((node, grant))
}

/// A new certificate for a node that has a good one.
pub(crate) async fn renew(
    shared: &Shared,
    node: NodeId,
    site: &SiteName,
    signing_request: &str,
) -> Result<Grant, String> {
    check_member(shared, node, site).await?;
    grant(shared, node, site, &decode(signing_request)?)
}

/// Takes the token away, so that nobody can use it again.
async fn use_token(shared: &Shared, secret: &str) -> Result<(), String> {
    let secret: JoinSecret = secret.parse().map_err(|_| NOT_GOOD)?;
    let key = JoinRecord::key_of(&secret.hash().to_string());
    let found = shared.records.one::<JoinRecord>(&key).await;
    let (record, revision) = found.map_err(|error| failed(&error))?.ok_or(NOT_GOOD)?;
    match shared.records.remove(&key, revision).await {
        Ok(()) => {}
        Err(RecordError::Conflict) => return Err(NOT_GOOD.into()), // somebody was faster
        Err(error) => return Err(failed(&error)),
    }
    if record.expires_unix_ms < clock::unix_ms() {
        return Err(NOT_GOOD.into());
    }
    Ok(())
}

async fn remember(shared: &Shared, id: NodeId, site: &SiteName) -> Result<(), String> {
    let key = MemberRecord::key_of(id);
    let before = shared.records.one::<MemberRecord>(&key).await;
    let before = before.map_err(|error| failed(&error))?;
    let record = MemberRecord {
        id,
        site: site.clone(),
        joined_unix_ms: clock::unix_ms(),
    };
    let written = shared.records.write(&record, before.map(|it| it.1)).await;
    written.map(drop).map_err(|error| failed(&error))
}

async fn check_member(shared: &Shared, id: NodeId, site: &SiteName) -> Result<(), String> {
    let key = MemberRecord::key_of(id);
    let found = shared.records.one::<MemberRecord>(&key).await;
    match found.map_err(|error| failed(&error))? {
        Some((member, _)) if member.site == *site => Ok(()),
        Some((member, _)) => Err(format!(
            "node {id} has joined at {}; to move it to {site} it must join again with a token",
            member.site
        )),
        None => Err(format!(
            "node {id} has not joined this cloud; it needs a join token"
        )),
    }
}

fn grant(
    shared: &Shared,
    node: NodeId,
    site: &SiteName,
    signing_request: &[u8],
) -> Result<Grant, String> {
    let grant = shared
        .authority
        .issue(signing_request, node, site, SystemTime::now())
        .map_err(|error| chain(&error))?;
    serde_json::to_value(&grant).map_err(|error| failed(&error))
}

fn decode(signing_request: &str) -> Result<Vec<u8>, String> {
    STANDARD
        .decode(signing_request)
        .map_err(|_| "the signing request is not base64".into())
}

fn failed(error: &(dyn std::error::Error + 'static)) -> String {
    tracing::error!(error = %chain(error), "a machine could not be let in");
    "the center failed; its log says why".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn a_token_that_has_run_out_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let shared = Shared::open(Config {
            data_dir: directory.path().to_owned(),
            listen: ([127, 0, 0, 1], 0).into(),
            tls: None,
            places: Vec::new(),
        })
        .await
        .unwrap();
        let old = JoinSecret::generate();
        let record = JoinRecord {
            hash: old.hash().to_string(),
            expires_unix_ms: clock::unix_ms() - 1,
        };
        shared.records.write(&record, None).await.unwrap();
        assert_eq!(
            use_token(&shared, &old.to_string()).await.unwrap_err(),
            NOT_GOOD
        );

        let token = create_token(&shared).await.unwrap().token;
        let token: mesh::join::JoinToken = token.parse().unwrap();
        let secret = token.secret.to_string();
        use_token(&shared, &secret).await.unwrap();
        assert_eq!(use_token(&shared, &secret).await.unwrap_err(), NOT_GOOD);
    }
}
