//! `/v1/discover` and `/v1/sessions`
//!
//! What changes a session runs to its end even if the caller goes away: nothing half-done stays.

use std::sync::Arc;

use api::session::{
    CreateSession, CreatedSession, Discover, Discovered, Explanations, MoveSession, RenewTicket,
    Renewed, SessionLogs, SessionView,
};
use api::{ErrorBody, ErrorCode, Page};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use model::SessionId;

use super::Api;
use super::answer::{Answer, Body, Segment, page};
use super::auth::{Administrator, Caller};
use crate::error::Refusal;
use crate::sessions::{self, Mover};

/// Which places could serve this terminal. Open to anybody for apps that are public.
#[utoipa::path(post, path = "/v1/discover", tag = "terminals", security((), ("token" = [])), request_body = Discover, responses(
    (status = 200, body = Discovered),
    (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody),
))]
pub(super) async fn discover(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<Discover>,
) -> Answer<Discovered> {
    caller.may_use(&api.shared, &body.app)?;
    sessions::discover(&api.shared, &body).map(Json)
}

/// Starts a session. Open to anybody for apps that are public.
#[utoipa::path(post, path = "/v1/sessions", tag = "terminals", security((), ("token" = [])), request_body = CreateSession, responses(
    (status = 200, body = CreatedSession),
    (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<CreateSession>,
) -> Answer<CreatedSession> {
    caller.may_use(&api.shared, &body.app)?;
    let create = sessions::create(Arc::clone(&api.shared), body);
    finish(&api, create).await.map(Json)
}

/// All sessions.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", security(("token" = [])), responses(
    (status = 200, body = Page<SessionView>),
    (status = 401, body = ErrorBody),
))]
pub(super) async fn list(State(api): State<Api>, _: Administrator) -> Json<Page<SessionView>> {
    page(api.shared.world().session_views())
}

/// One session.
#[utoipa::path(get, path = "/v1/sessions/{session}", tag = "sessions", security(("token" = []), ("session_key" = [])), params(("session" = SessionId, Path)), responses(
    (status = 200, body = SessionView),
    (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segment(session): Segment<SessionId>,
) -> Answer<SessionView> {
    caller.may_steer(&api.shared, session)?;
    let view = api.shared.world().session_view(session);
    view.map(Json).ok_or_else(|| sessions::unknown(session))
}

/// Why a session is where it is.
#[utoipa::path(get, path = "/v1/sessions/{session}/explain", tag = "sessions", security(("token" = []), ("session_key" = [])), params(("session" = SessionId, Path)), responses(
    (status = 200, body = Explanations),
    (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn explain(
    State(api): State<Api>,
    caller: Caller,
    Segment(session): Segment<SessionId>,
) -> Answer<Explanations> {
    caller.may_steer(&api.shared, session)?;
    sessions::explanations(&api.shared, session).map(Json)
}

/// What a session's app printed.
#[utoipa::path(get, path = "/v1/sessions/{session}/logs", tag = "sessions", security(("token" = []), ("session_key" = [])), params(("session" = SessionId, Path)), responses(
    (status = 200, body = SessionLogs),
    (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(super) async fn logs(
    State(api): State<Api>,
    caller: Caller,
    Segment(session): Segment<SessionId>,
) -> Answer<SessionLogs> {
    caller.may_steer(&api.shared, session)?;
    sessions::logs(&api.shared, session).await.map(Json)
}

/// A new ticket: after a reload, or when the connection was lost. If the session's node is gone,
/// a new instance is started elsewhere.
#[utoipa::path(post, path = "/v1/sessions/{session}/ticket", tag = "terminals", security(("token" = []), ("session_key" = [])), params(("session" = SessionId, Path)), request_body = RenewTicket, responses(
    (status = 200, body = Renewed),
    (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(super) async fn renew(
    State(api): State<Api>,
    caller: Caller,
    Segment(session): Segment<SessionId>,
    Body(body): Body<RenewTicket>,
) -> Answer<Renewed> {
    caller.may_steer(&api.shared, session)?;
    let renew = sessions::renew(Arc::clone(&api.shared), session, body);
    finish(&api, renew).await.map(Json)
}

/// Moves a session: because its terminal moved, or because an operator says so.
#[utoipa::path(post, path = "/v1/sessions/{session}/move", tag = "sessions", security(("token" = []), ("session_key" = [])), params(("session" = SessionId, Path)), request_body = MoveSession, responses(
    (status = 200, body = Renewed),
    (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(super) async fn relocate(
    State(api): State<Api>,
    caller: Caller,
    Segment(session): Segment<SessionId>,
    Body(body): Body<MoveSession>,
) -> Answer<Renewed> {
    caller.may_steer(&api.shared, session)?;
    let mover = match caller {
        Caller::Administrator => Mover::Operator,
        Caller::Bearer(_) | Caller::Anybody => Mover::Terminal,
    };
    let moving = sessions::move_session(Arc::clone(&api.shared), session, body, mover);
    finish(&api, moving).await.map(Json)
}

/// Closes a session.
#[utoipa::path(delete, path = "/v1/sessions/{session}", tag = "sessions", security(("token" = []), ("session_key" = [])), params(("session" = SessionId, Path)), responses(
    (status = 204),
    (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn close(
    State(api): State<Api>,
    caller: Caller,
    Segment(session): Segment<SessionId>,
) -> Result<StatusCode, Refusal> {
    caller.may_steer(&api.shared, session)?;
    let closing = sessions::close(Arc::clone(&api.shared), session);
    finish(&api, closing).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Runs `work` to its end even if the caller goes away.
async fn finish<T: Send + 'static>(
    api: &Api,
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    api.shared.finish(work).await.ok_or_else(broken)?
}

/// Work that was begun has panicked: a fault of ours, which the log shows.
pub(super) fn broken() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the center failed to do this")
        .hint("the center's log says why")
}
