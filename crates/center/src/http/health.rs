//! Is it alive, is it ready, what has it counted.

use api::ErrorCode;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Api;
use crate::error::{Refusal, chain};
use crate::metrics;

/// Is the process alive?
#[utoipa::path(get, path = "/healthz", tag = "center", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Can it decide?
#[utoipa::path(get, path = "/readyz", tag = "center", responses(
    (status = 200, body = String, content_type = "text/plain"),
    (status = 503, body = api::ErrorBody),
))]
pub(super) async fn readyz(State(api): State<Api>) -> Result<&'static str, Refusal> {
    match api.shared.records.revision().await {
        Ok(_) if api.stop.is_cancelled() => Err(Refusal::new(
            ErrorCode::Unavailable,
            "the center is stopping",
        )),
        Ok(_) => Ok("ok\n"),
        Err(error) => {
            tracing::error!(error = %chain(&error), "the store does not answer");
            Err(Refusal::new(
                ErrorCode::Unavailable,
                "the store does not answer",
            ))
        }
    }
}

/// What it has counted, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "center", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let text = metrics::text(&api.shared).await;
    ([(header::CONTENT_TYPE, kind)], text)
}
