//! WHIP and WHEP at this node's HTTP door.
//!
//! `POST /whip/<event>/<camera>` with a stream key publishes a camera; `POST /whep/<event>` or
//! `/whep/<event>/<camera>` with a viewer's ticket plays one. Both answer where the session is to be
//! ended (`DELETE`). Pages of any origin may ask: what lets them in is in their hands, not in a cookie.

mod line;
mod viewer;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::error::ErrorDetail;
use api::{ErrorBody, ErrorCode};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use mesh::token::WatchClaims;
use model::CameraName;
use model::manifest::Live as Event;
use relay::ingest::{Asked, Gateway};
use relay::webrtc::{Answer, NotTaken, OFFER_MAX, WebRtc};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{Door, Live, viewer_label};
use crate::grant::parameter;

/// How long the name of this node may take to become an address.
const RESOLVE_MAX: Duration = Duration::from_secs(2);

/// How long an event may take to show what is on air: a way through every node there is.
const ON_AIR_MAX: Duration = Duration::from_secs(2);

/// The longest stream key or ticket, in characters.
const SECRET_MAX: usize = 1_024;

/// What the handlers get.
#[derive(Clone)]
struct Context {
    live: Arc<Live>,
    webrtc: WebRtc,
    /// Who everybody knows this node as.
    host: Arc<str>,
    port: u16,
}

/// What is answered on the HTTP port.
pub(super) fn router(live: Arc<Live>, webrtc: WebRtc, host: &str, port: u16) -> Router {
    let context = Context {
        live,
        webrtc,
        host: host.trim_matches(['[', ']']).into(),
        port,
    };
    Router::new()
        .route("/whip/{event}/{camera}", post(publish).options(allowed))
        .route("/whep/{event}", post(play_any).options(allowed))
        .route("/whep/{event}/{camera}", post(play_one).options(allowed))
        .route(
            "/webrtc/{session}",
            any(no_changes).delete(end).options(allowed),
        )
        .layer(DefaultBodyLimit::max(OFFER_MAX))
        .layer(map_response(for_any_origin))
        .with_state(context)
}

/// Why not, for a program and for a person.
struct Refused(StatusCode, ErrorCode, String);

impl Refused {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Self(status, code, message.into())
    }
}

impl From<NotTaken> for Refused {
    fn from(not_taken: NotTaken) -> Self {
        let words = not_taken.to_string();
        match not_taken {
            NotTaken::Refused(_) => Self::new(ErrorCode::Unauthorized, words),
            NotTaken::NotAcceptable(_) => {
                Self(StatusCode::NOT_ACCEPTABLE, ErrorCode::BadRequest, words)
            }
            NotTaken::Malformed(_) => Self::new(ErrorCode::BadRequest, words),
            NotTaken::Full => Self::new(ErrorCode::Unavailable, words),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        let body = ErrorBody {
            error: ErrorDetail {
                code,
                message,
                hint: None,
            },
        };
        let body = serde_json::to_vec(&body).expect("it has text alone");
        let json = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (status, json, body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = HeaderValue::from_static("2");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}

async fn publish(
    State(context): State<Context>,
    Path((event, camera)): Path<(String, String)>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let offer = offer(&headers, &body)?;
    let nothing = |_| Refused::new(ErrorCode::NotFound, "publish to /whip/<event>/<camera>");
    let asked = Asked {
        gateway: Gateway::Whip,
        event: event.parse().map_err(nothing)?,
        camera: camera.parse().map_err(nothing)?,
        key: bearer(&headers).unwrap_or_default().to_owned(),
        remote: Some(remote),
    };
    let candidate = context.candidate(remote).await?;
    let door = Door(Arc::clone(&context.live));
    let published = context.webrtc.publish(offer, candidate, asked, &door);
    Ok(created(published.await?))
}

async fn play_any(
    State(context): State<Context>,
    Path(event): Path<String>,
    uri: Uri,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let offer = offer(&headers, &body)?;
    context
        .play(&event, None, &uri, remote, &headers, offer)
        .await
}

async fn play_one(
    State(context): State<Context>,
    Path((event, camera)): Path<(String, String)>,
    uri: Uri,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let offer = offer(&headers, &body)?;
    context
        .play(&event, Some(&camera), &uri, remote, &headers, offer)
        .await
}

impl Context {
    async fn play(
        &self,
        event: &str,
        camera: Option<&str>,
        uri: &Uri,
        remote: SocketAddr,
        headers: &HeaderMap,
        offer: &str,
    ) -> Result<Response, Refused> {
        let address = uri.path_and_query().map_or("", |it| it.as_str());
        // Not every player can send headers.
        let ticket = bearer(headers).or_else(|| parameter(address, "watch"));
        let ticket = ticket.unwrap_or_default();
        let event = self.may_watch(event, ticket)?;
        let camera = camera.map(|it| known(&event, it)).transpose()?;
        let candidate = self.candidate(remote).await?;
        let label = viewer_label(&event.name);
        let (answer, player) = self.webrtc.play(offer, candidate, label)?;
        let board = self.live.boards.of(&self.live.shared, &event.name);
        let viewer =
            viewer::Viewer::new(Arc::clone(&self.live.shared), event, board, player, camera);
        let viewer = timeout(ON_AIR_MAX, viewer.on_air()).await;
        let words = "nothing of this event is on air";
        let viewer = viewer.map_err(|_| Refused::new(ErrorCode::Unavailable, words))??;
        self.live.shared.tracker.spawn(viewer.run());
        Ok(created(answer))
    }

    /// The event that a ticket opens, if it is the one that is asked for.
    fn may_watch(&self, event: &str, ticket: &str) -> Result<Arc<Event>, Refused> {
        let refused = |words: String| Refused::new(ErrorCode::Unauthorized, words);
        if ticket.is_empty() || ticket.len() > SECRET_MAX {
            let words = "this needs a viewer's ticket: send `authorization: Bearer <ticket>`, or ask \
                the center at the same path, which sends you on with one";
            return Err(refused(words.to_owned()));
        }
        let verifier = self.live.shared.identity.verifier();
        let claims: Result<WatchClaims, _> = verifier.verify(ticket, SystemTime::now());
        let claims = claims.map_err(|it| refused(it.to_string()))?;
        if claims.event.as_str() != event {
            return Err(refused("the ticket is for another event".to_owned()));
        }
        let known = self.live.lock().events.get(&claims.event).cloned();
        known.ok_or_else(|| Refused::new(ErrorCode::NotFound, "the event is over"))
    }

    /// Where whoever asks reaches the socket.
    async fn candidate(&self, remote: SocketAddr) -> Result<SocketAddr, Refused> {
        let bound = self.webrtc.local_addr().map(|it| it.ip());
        let unreachable =
            || Refused::new(ErrorCode::Unavailable, "this node has no address for you");
        let bound = bound.map_err(|_| unreachable())?;
        let looked_up = tokio::net::lookup_host((&*self.host, self.port));
        let mut found = match timeout(RESOLVE_MAX, looked_up).await {
            Ok(Ok(addresses)) => addresses
                .filter(|it| speaks(bound, it.ip()))
                .collect::<Vec<_>>(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        // The same family first: somebody with both may have but one that leads here.
        found.sort_by_key(|it| it.is_ipv4() != remote.is_ipv4());
        match found.first() {
            Some(address) if !address.ip().is_unspecified() => Ok(*address),
            // It is known by no address of its own: by the one that leads to whoever asks.
            _ => {
                let any = SocketAddr::new(bound, 0);
                let socket = UdpSocket::bind(any).await.map_err(|_| unreachable())?;
                socket.connect(remote).await.map_err(|_| unreachable())?;
                let here = socket.local_addr().map_err(|_| unreachable())?;
                Ok(SocketAddr::new(here.ip(), self.port))
            }
        }
    }
}

/// Whether a socket bound to `bound` is reached at `address`.
fn speaks(bound: IpAddr, address: IpAddr) -> bool {
    bound.is_ipv4() == address.is_ipv4() || bound == IpAddr::from([0_u16; 8])
}

fn known(event: &Event, camera: &str) -> Result<CameraName, Refused> {
    let name = camera.parse::<CameraName>().ok();
    name.filter(|it| event.camera(it).is_some())
        .ok_or_else(|| Refused::new(ErrorCode::NotFound, viewer::no_camera(event, camera)))
}

async fn end(State(context): State<Context>, Path(session): Path<String>) -> Response {
    if context.webrtc.end(&session) {
        StatusCode::OK.into_response()
    } else {
        Refused::new(ErrorCode::NotFound, "there is no such session").into_response()
    }
}

/// Addresses need not be told one after the other: the answer has all of ours, and theirs are seen
/// when they come. Nothing restarts either: a new session is as quick.
async fn no_changes() -> Response {
    let words = "a session is not changed: end it with DELETE and begin another";
    let refused = Refused(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::BadRequest,
        words.to_owned(),
    );
    let mut response = refused.into_response();
    let allow = HeaderValue::from_static("DELETE, OPTIONS");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

async fn allowed() -> StatusCode {
    StatusCode::NO_CONTENT
}

const SDP: &str = "application/sdp";

fn offer<'a>(headers: &HeaderMap, body: &'a Bytes) -> Result<&'a str, Refused> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|it| it.to_str().ok()?.split(';').next());
    if !kind.is_some_and(|it| it.trim().eq_ignore_ascii_case(SDP)) {
        return Err(Refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::BadRequest,
            format!("send an offer as {SDP}"),
        ));
    }
    std::str::from_utf8(body)
        .map_err(|_| Refused::new(ErrorCode::BadRequest, "the offer is no text"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    let secret = secret.trim();
    (scheme.eq_ignore_ascii_case("bearer") && secret.len() <= SECRET_MAX).then_some(secret)
}

fn created(answer: Answer) -> Response {
    let location = format!("/webrtc/{}", answer.id);
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, location),
    ];
    (StatusCode::CREATED, headers, answer.sdp).into_response()
}

/// What a browser needs to be told before it lets a page of another origin see the answer.
async fn for_any_origin(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 6] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "POST, DELETE, PATCH, OPTIONS",
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, if-match",
        ),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "location, retry-after",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
        (HeaderName::from_static("accept-post"), SDP),
    ];
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
