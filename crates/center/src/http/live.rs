//! `/v1/live`

use api::live::{
    Align, Aligned, CreateStreamKey, CreatedStreamKey, LiveView, PublishCamera, PublishWay,
    StreamKeyView, WatchEvent, WatchTicket,
};
use api::{ErrorBody, Page};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use model::AppName;

use super::Api;
use super::answer::{Answer, Body, Segment, page};
use super::auth::{Administrator, Caller, StreamKey};
use crate::error::Refusal;
use crate::live;

/// All events.
#[utoipa::path(get, path = "/v1/live", tag = "live", security(("token" = [])), responses(
    (status = 200, body = Page<LiveView>),
    (status = 401, body = ErrorBody),
))]
pub(super) async fn list(State(api): State<Api>, _: Administrator) -> Json<Page<LiveView>> {
    page(live::views(&api.shared))
}

/// One event: its cameras and how they are.
#[utoipa::path(get, path = "/v1/live/{event}", tag = "live", security(("token" = [])), params(("event" = AppName, Path)), responses(
    (status = 200, body = LiveView),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn show(
    State(api): State<Api>,
    _: Administrator,
    Segment(event): Segment<AppName>,
) -> Answer<LiveView> {
    live::view(&api.shared, &event).map(Json)
}

/// A way to watch the event. Open to anybody for events that are public.
#[utoipa::path(post, path = "/v1/live/{event}/watch", tag = "terminals", security((), ("token" = [])), params(("event" = AppName, Path)), request_body = WatchEvent, responses(
    (status = 200, body = WatchTicket),
    (status = 401, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(super) async fn watch(
    State(api): State<Api>,
    caller: Caller,
    Segment(event): Segment<AppName>,
    Body(body): Body<WatchEvent>,
) -> Answer<WatchTicket> {
    caller.may_use(&api.shared, &event)?;
    live::watch(&api.shared, &event, &body).map(Json)
}

/// Where to publish a camera by a media session. The token is a stream key of the event.
#[utoipa::path(post, path = "/v1/live/{event}/publish", tag = "terminals", security(("stream_key" = [])), params(("event" = AppName, Path)), request_body = PublishCamera, responses(
    (status = 200, body = PublishWay),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(super) async fn publish(
    State(api): State<Api>,
    StreamKey(key): StreamKey,
    Segment(event): Segment<AppName>,
    Body(body): Body<PublishCamera>,
) -> Answer<PublishWay> {
    live::publish(&api.shared, &event, &key, &body).map(Json)
}

/// Brings the event's cameras together in time, by flashes that all of them see or claps that all of
/// them hear while it looks. Answers when it has looked long enough.
#[utoipa::path(post, path = "/v1/live/{event}/align", tag = "live", security(("token" = [])), params(("event" = AppName, Path)), request_body = Align, responses(
    (status = 200, body = Aligned),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody),
))]
pub(super) async fn align(
    State(api): State<Api>,
    _: Administrator,
    Segment(event): Segment<AppName>,
    Body(body): Body<Align>,
) -> Answer<Aligned> {
    live::align(&api.shared, &event, &body).await.map(Json)
}

/// Forgets what brings the event's cameras together: they are as they come.
#[utoipa::path(delete, path = "/v1/live/{event}/align", tag = "live", security(("token" = [])), params(("event" = AppName, Path)), responses(
    (status = 204),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn forget_alignment(
    State(api): State<Api>,
    _: Administrator,
    Segment(event): Segment<AppName>,
) -> Result<StatusCode, Refusal> {
    live::forget_alignment(&api.shared, &event).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a key that lets cameras publish. Its secret is told once.
#[utoipa::path(post, path = "/v1/live/{event}/keys", tag = "live", security(("token" = [])), params(("event" = AppName, Path)), request_body = CreateStreamKey, responses(
    (status = 200, body = CreatedStreamKey),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn create_key(
    State(api): State<Api>,
    _: Administrator,
    Segment(event): Segment<AppName>,
    Body(body): Body<CreateStreamKey>,
) -> Answer<CreatedStreamKey> {
    live::create_key(&api.shared, &event, body).await.map(Json)
}

/// The keys of an event, without their secrets.
#[utoipa::path(get, path = "/v1/live/{event}/keys", tag = "live", security(("token" = [])), params(("event" = AppName, Path)), responses(
    (status = 200, body = Page<StreamKeyView>),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn keys(
    State(api): State<Api>,
    _: Administrator,
    Segment(event): Segment<AppName>,
) -> Answer<Page<StreamKeyView>> {
    live::keys(&api.shared, &event).map(page)
}

/// Takes a key back; who publishes with it is cut off.
#[utoipa::path(delete, path = "/v1/live/{event}/keys/{key}", tag = "live", security(("token" = [])), params(("event" = AppName, Path), ("key" = String, Path)), responses(
    (status = 204),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn revoke_key(
    State(api): State<Api>,
    _: Administrator,
    Segment((event, key)): Segment<(AppName, String)>,
) -> Result<StatusCode, Refusal> {
    live::revoke_key(&api.shared, &event, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
