//! The HTTP API: `api` on the wire, one module for each noun.

mod answer;
mod apps;
mod auth;
mod events;
mod health;
mod live;
mod nodes;
pub(crate) mod openapi;
mod places;
pub(crate) mod server;
mod sessions;
mod sites;
mod status;
mod whep;

use std::sync::Arc;
use std::time::Duration;

use api::ErrorCode;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::console;
use crate::error::Refusal;
use crate::shared::Shared;

/// The longest body: a manifest in JSON, where each character may be escaped.
const BODY_MAX: usize = 2 * model::manifest::MANIFEST_MAX;

/// The longest time for a request, body and all. A little less than the client waits.
const REQUEST_MAX: Duration = Duration::from_secs(14);

/// Requests at once. Beyond it the center is quick to say no rather than slow to say yes.
const REQUESTS_MAX: usize = 512;

/// What handlers get.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: CancellationToken,
    requests: Arc<Semaphore>,
}

/// Everything that is answered on the HTTP port.
pub(crate) fn router(shared: Arc<Shared>, stop: CancellationToken) -> Router {
    let api = Api {
        shared,
        stop,
        requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
    };
    let bounded = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::openapi))
        .route("/v1/status", get(status::status))
        .route("/v1/places", get(places::list))
        .route("/v1/sites", get(sites::list))
        .route("/v1/sites/{site}", get(sites::show))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/{node}", get(nodes::show))
        .route("/v1/join-tokens", post(nodes::create_join_token))
        .route("/v1/apps", get(apps::list).post(apps::deploy))
        .route("/v1/apps/{app}", get(apps::show).delete(apps::remove))
        .route("/v1/apps/{app}/releases", get(apps::releases))
        .route("/v1/discover", post(sessions::discover))
        .route("/v1/sessions", get(sessions::list).post(sessions::create))
        .route(
            "/v1/sessions/{session}",
            get(sessions::show).delete(sessions::close),
        )
        .route("/v1/sessions/{session}/explain", get(sessions::explain))
        .route("/v1/sessions/{session}/logs", get(sessions::logs))
        .route("/v1/sessions/{session}/ticket", post(sessions::renew))
        .route("/v1/sessions/{session}/move", post(sessions::relocate))
        .route("/v1/live", get(live::list))
        .route("/v1/live/{event}", get(live::show))
        .route("/v1/live/{event}/watch", post(live::watch))
        .route("/v1/live/{event}/publish", post(live::publish))
        .route(
            "/v1/live/{event}/align",
            post(live::align).delete(live::forget_alignment),
        )
        .route(
            "/v1/live/{event}/keys",
            get(live::keys).post(live::create_key),
        )
        .route("/v1/live/{event}/keys/{key}", delete(live::revoke_key))
        .merge(whep::routes())
        .merge(console::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(api.clone(), bound));
    // A stream has no end: it is bounded by the number of watchers instead.
    let endless = Router::new()
        .route("/v1/events", get(events::watch))
        .method_not_allowed_fallback(wrong_method);
    endless
        .merge(bounded)
        .layer(middleware::from_fn_with_state(api.clone(), count))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(api)
}

/// Bounds the number of requests and the time of each.
async fn bound(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Ok(_permit) = api.requests.try_acquire() else {
        return Refusal::new(ErrorCode::Unavailable, "the center is busy")
            .hint("try again in a moment")
            .into_response();
    };
    match tokio::time::timeout(REQUEST_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::new(ErrorCode::Unavailable, "the center took too long")
            .hint("try again in a moment")
            .into_response(),
    }
}

async fn count(State(api): State<Api>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let http = &api.shared.metrics.http;
    http.requests.add(1);
    if response.status().is_client_error() {
        http.client_errors.add(1);
    } else if response.status().is_server_error() {
        http.server_errors.add(1);
    }
    response
}

async fn unknown_path(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(100).collect();
    Refusal::not_found(format!("there is nothing at {path}"))
        .hint("/openapi.json lists all that is there")
}

async fn wrong_method(method: Method, uri: Uri) -> (StatusCode, Refusal) {
    let path: String = uri.path().chars().take(100).collect();
    let refusal = Refusal::new(
        ErrorCode::BadRequest,
        format!("{path} does not answer {method}"),
    );
    (
        StatusCode::METHOD_NOT_ALLOWED,
        refusal.hint("/openapi.json says what it answers"),
    )
}
