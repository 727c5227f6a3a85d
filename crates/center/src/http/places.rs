//! `/v1/places`

use api::Page;
use api::place::Place;
use axum::Json;
use axum::extract::State;

use super::Api;
use super::answer::page;

/// Places that people may say they are in.
#[utoipa::path(get, path = "/v1/places", tag = "terminals", responses((status = 200, body = Page<Place>)))]
pub(super) async fn list(State(api): State<Api>) -> Json<Page<Place>> {
    page(api.shared.config.places.clone())
}
