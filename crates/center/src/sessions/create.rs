//! Starting a session.

use std::sync::Arc;

use api::session::{CreateSession, CreatedSession};
use model::{AppName, SessionId};

use super::place::{Wish, place};
use super::program::Program;
use super::{Told, close, route};
use crate::admin::{random_text, secret_hash};
use crate::clock;
use crate::error::Refusal;
use crate::shared::Shared;

/// Sessions of one cloud. Each costs a record and a few kilobytes of memory.
const SESSIONS_MAX: usize = 100_000;

/// Starts a session on the best node that takes it.
pub(crate) async fn create(
    shared: Arc<Shared>,
    request: CreateSession,
) -> Result<CreatedSession, Refusal> {
    let program = Program::present(&shared, &request.app)?;
    if shared.world().sessions.len() >= SESSIONS_MAX {
        let message = format!("there are {SESSIONS_MAX} sessions already");
        return Err(Refusal::new(api::ErrorCode::Unavailable, message)
            .hint("close some, or wait until some end"));
    }
    let random = |error: getrandom::Error| Refusal::internal(&error);
    let key = random_text().map_err(random)?;
    let session = SessionId(getrandom::u64().map_err(random)?.max(1));
    let told = Told::new(request.terminal);
    let wish = Wish {
        session,
        program,
        terminal: told.now(),
        screen: request.screen,
        key_hash: secret_hash(&key),
        created_unix_ms: clock::unix_ms(),
        cause: "the session was started".into(),
        site: None,
        avoid: Vec::new(),
        lost_entry: None,
        before: None,
    };
    let record = place(&shared, wish).await?;
    let ticket = {
        let mut world = shared.world();
        let ticket = route::ticket(&shared, &world, &record, &told.now());
        if let Some(session) = world.sessions.get_mut(&session) {
            session.told = Some(told);
        }
        ticket
    };
    let Some(ticket) = ticket else {
        close(Arc::clone(&shared), session).await?;
        return Err(route::no_entry());
    };
    shared.metrics.sessions.created.add(1);
    tracing::info!(%session, app = %record.app, node = %record.node, entry = %record.entry, "a session was started");
    Ok(CreatedSession {
        session,
        key,
        ticket,
        explain: record.explanation,
    })
}

pub(crate) fn unknown_app(app: &AppName) -> Refusal {
    Refusal::not_found(format!("there is no app called {app}"))
        .hint("`selvedge app list` shows all; `selvedge app deploy` adds one")
}
