//! `/whep`: one address to play an event at, for players that speak WHEP and nothing of ours. It
//! sends them on to the edge that suits them, with a ticket.

use api::live::WatchEvent;
use api::{ErrorBody, ErrorCode};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use model::{AccessNetwork, AppName, CameraName, Terminal};

use super::Api;
use super::answer::Segment;
use super::auth::Caller;
use crate::error::Refusal;
use crate::live;

/// The addresses, which pages of any origin may ask at: what lets them in is no cookie.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/whep/{event}", post(play).options(allowed))
        .route("/whep/{event}/{camera}", post(play_camera).options(allowed))
        .layer(map_response(for_any_origin))
}

/// Sends a player on to an edge (WHEP): the same request, offer and all, goes there. Open to anybody
/// for events that are public. `?network=` says which access network the player is on, if it knows.
#[utoipa::path(post, path = "/whep/{event}", tag = "terminals", security((), ("token" = [])), params(("event" = AppName, Path)), responses(
    (status = 307, description = "The edge to play at, in `location`"),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(super) async fn play(
    State(api): State<Api>,
    caller: Caller,
    Segment(event): Segment<AppName>,
    uri: Uri,
) -> Result<Response, Refusal> {
    lead(&api, &caller, &event, None, &uri)
}

/// The same, beginning with one camera.
#[utoipa::path(post, path = "/whep/{event}/{camera}", tag = "terminals", security((), ("token" = [])), params(("event" = AppName, Path), ("camera" = CameraName, Path)), responses(
    (status = 307, description = "The edge to play at, in `location`"),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(super) async fn play_camera(
    State(api): State<Api>,
    caller: Caller,
    Segment((event, camera)): Segment<(AppName, CameraName)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    lead(&api, &caller, &event, Some(&camera), &uri)
}

fn lead(
    api: &Api,
    caller: &Caller,
    event: &AppName,
    camera: Option<&CameraName>,
    uri: &Uri,
) -> Result<Response, Refusal> {
    caller.may_use(&api.shared, event)?;
    let watch = WatchEvent {
        terminal: Terminal {
            network: network(uri)?,
            ..Terminal::default()
        },
        lost_entry: None,
    };
    let (base, ticket) = live::watch_by_webrtc(&api.shared, event, &watch)?;
    let camera = camera.map_or_else(String::new, |it| format!("/{it}"));
    let location = format!("{base}/whep/{event}{camera}?watch={}", ticket.token);
    Ok((
        StatusCode::TEMPORARY_REDIRECT,
        [(header::LOCATION, location)],
    )
        .into_response())
}

fn network(uri: &Uri) -> Result<Option<AccessNetwork>, Refusal> {
    let query = uri.query().unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|it| it.split_once('='));
    let network = pairs.find(|(name, _)| *name == "network");
    let network = network.map(|(_, value)| value.replace("%3A", ":").parse());
    network.transpose().map_err(|_| {
        let message = "`network` is no access network";
        Refusal::new(ErrorCode::BadRequest, message).hint("leave it out if you do not know it")
    })
}

async fn allowed() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// What a browser needs to be told before it lets a page of another origin go on.
async fn for_any_origin(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type",
        ),
        (HeaderName::from_static("accept-post"), "application/sdp"),
    ];
    let headers: &mut HeaderMap = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
