//! `/v1/sites`

use api::site::SiteView;
use api::{ErrorBody, Page};
use axum::Json;
use axum::extract::State;
use model::SiteName;

use super::Api;
use super::answer::{Answer, Segment, page};
use super::auth::Administrator;
use crate::error::Refusal;

/// All sites.
#[utoipa::path(get, path = "/v1/sites", tag = "sites", security(("token" = [])), responses(
    (status = 200, body = Page<SiteView>),
    (status = 401, body = ErrorBody),
))]
pub(super) async fn list(State(api): State<Api>, _: Administrator) -> Json<Page<SiteView>> {
    page(api.shared.world().site_views())
}

/// One site.
#[utoipa::path(get, path = "/v1/sites/{site}", tag = "sites", security(("token" = [])), params(("site" = SiteName, Path)), responses(
    (status = 200, body = SiteView),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn show(
    State(api): State<Api>,
    _: Administrator,
    Segment(site): Segment<SiteName>,
) -> Answer<SiteView> {
    let view = api.shared.world().site_view(&site);
    view.map(Json).ok_or_else(|| {
        Refusal::not_found(format!("there is no site called {site}"))
            .hint("`selvedge site list` shows all")
    })
}
