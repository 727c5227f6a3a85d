//! `/v1/events`

use api::event::Event;
use api::{ErrorBody, ErrorCode};
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use std::convert::Infallible;

use super::Api;
use super::auth::Administrator;
use crate::error::Refusal;
use crate::events::Watcher;

/// Everything that changes, as server-sent events: a snapshot first.
#[utoipa::path(get, path = "/v1/events", tag = "center", security(("token" = [])), responses(
    (status = 200, body = Event, content_type = "text/event-stream"),
    (status = 401, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(super) async fn watch(State(api): State<Api>, _: Administrator) -> Result<Response, Refusal> {
    let watcher = Watcher::new(&api.shared, api.stop).ok_or_else(|| {
        Refusal::new(ErrorCode::Unavailable, "too many watch already")
            .hint("close a console that nobody looks at")
    })?;
    let stream = futures::stream::unfold(watcher, async |mut watcher| {
        let piece = watcher.next().await?;
        Some((Ok::<Bytes, Infallible>(piece), watcher))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}
