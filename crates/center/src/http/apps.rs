//! `/v1/apps`

use std::sync::Arc;

use api::app::{AppView, DeployApp, Release};
use api::{ErrorBody, ErrorCode, Page};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use model::{AppName, Manifest};

use super::Api;
use super::answer::{Answer, Body, Segment, page};
use super::auth::Administrator;
use crate::apps as catalogue;
use crate::error::Refusal;
use crate::sessions::{close_app, unknown_app};

/// All apps.
#[utoipa::path(get, path = "/v1/apps", tag = "apps", security(("token" = [])), responses(
    (status = 200, body = Page<AppView>),
    (status = 401, body = ErrorBody),
))]
pub(super) async fn list(State(api): State<Api>, _: Administrator) -> Json<Page<AppView>> {
    page(api.shared.world().app_views())
}

/// Publishes a release. The same manifest again changes nothing.
#[utoipa::path(post, path = "/v1/apps", tag = "apps", security(("token" = [])), request_body = DeployApp, responses(
    (status = 200, body = AppView),
    (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody),
    (status = 409, body = ErrorBody),
))]
pub(super) async fn deploy(
    State(api): State<Api>,
    _: Administrator,
    Body(body): Body<DeployApp>,
) -> Answer<AppView> {
    let manifest = Manifest::read(&body.manifest).map_err(|mut error| {
        let hint = error.hint.take();
        let refusal = Refusal::new(ErrorCode::BadRequest, format!("the manifest: {error}"));
        match hint {
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    })?;
    let name = manifest.name().clone();
    catalogue::deploy(&api.shared, manifest).await?;
    let view = api.shared.world().app_view(&name);
    view.map(Json).ok_or_else(|| unknown_app(&name))
}

/// One app.
#[utoipa::path(get, path = "/v1/apps/{app}", tag = "apps", security(("token" = [])), params(("app" = AppName, Path)), responses(
    (status = 200, body = AppView),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn show(
    State(api): State<Api>,
    _: Administrator,
    Segment(app): Segment<AppName>,
) -> Answer<AppView> {
    let view = api.shared.world().app_view(&app);
    view.map(Json).ok_or_else(|| unknown_app(&app))
}

/// The releases of an app, newest first.
#[utoipa::path(get, path = "/v1/apps/{app}/releases", tag = "apps", security(("token" = [])), params(("app" = AppName, Path)), responses(
    (status = 200, body = Page<Release>),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn releases(
    State(api): State<Api>,
    _: Administrator,
    Segment(name): Segment<AppName>,
) -> Answer<Page<Release>> {
    let world = api.shared.world();
    let app = world.apps.get(&name).ok_or_else(|| unknown_app(&name))?;
    let newest_first = app.releases.values().rev();
    Ok(page(newest_first.map(|it| it.0.clone()).collect()))
}

/// Removes an app; its sessions are closed.
#[utoipa::path(delete, path = "/v1/apps/{app}", tag = "apps", security(("token" = [])), params(("app" = AppName, Path)), responses(
    (status = 204),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn remove(
    State(api): State<Api>,
    _: Administrator,
    Segment(app): Segment<AppName>,
) -> Result<StatusCode, Refusal> {
    catalogue::remove(&api.shared, &app).await?;
    let closing = close_app(Arc::clone(&api.shared), app);
    let done = api.shared.finish(closing).await;
    done.ok_or_else(super::sessions::broken)?;
    Ok(StatusCode::NO_CONTENT)
}
