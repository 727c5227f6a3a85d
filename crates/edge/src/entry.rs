//! The door for terminals: one port number for UDP (WebTransport, raw QUIC, other nodes) and TCP
//! (HTTPS and WebSocket).
//!
//! With a self-signed certificate, plain HTTP is answered on the same port: no browser would take
//! the certificate for a WebSocket, and such a node is for development.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{self, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use futures::{SinkExt as _, StreamExt as _};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use model::AppName;
use relay::websocket::{self, Message, NotAdmitted};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::error::EdgeError;
use crate::shared::Shared;

/// TCP connections at once. Each costs a few kilobytes until it has said what it wants.
const CONNECTIONS_MAX: usize = 2_048;

/// How long a connection may take to say what it wants.
const GREETING_MAX: Duration = Duration::from_secs(5);

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// How often two ports are drawn until one number is free for both protocols.
const PORT_TRIES: u32 = 16;

/// The largest message of a WebSocket: a record of the media session, with room.
const MESSAGE_MAX: usize = 1 << 20;

/// The bound ports.
pub(crate) struct Entry {
    endpoint: quinn::Endpoint,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    address: SocketAddr,
}

impl Entry {
    pub(crate) async fn bind(shared: &Arc<Shared>) -> Result<Self, EdgeError> {
        let credentials = shared.identity.credentials();
        let quic =
            mesh::tls::entry_quic(credentials, &shared.certificate, &[]).map_err(EdgeError::Tls)?;
        let quic = relay::transport::server_config(quic)?;
        let tls =
            mesh::tls::entry_https(&shared.certificate, &[b"http/1.1"]).map_err(EdgeError::Tls)?;
        let (endpoint, listener) = bind_both(shared.config.listen, quic).await?;
        let address = listener.local_addr().map_err(|source| EdgeError::Listen {
            address: shared.config.listen,
            source,
        })?;
        Ok(Self {
            endpoint,
            listener,
            tls: Arc::new(tls),
            address,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The UDP end, also used to dial other nodes.
    pub(crate) fn endpoint(&self) -> quinn::Endpoint {
        self.endpoint.clone()
    }

    /// Serves until `stop`, and answers `routes` beside its own.
    pub(crate) async fn serve(
        self,
        shared: Arc<Shared>,
        ready: watch::Receiver<bool>,
        routes: Router,
        stop: CancellationToken,
    ) {
        let relay = shared.relay.clone();
        let endpoint = self.endpoint.clone();
        shared
            .tracker
            .spawn(async move { relay.serve(endpoint).await });
        let renewing = renew(Arc::clone(&shared));
        let plain = shared.certificate.sha256().is_some();
        let door = Door {
            router: router(Arc::clone(&shared), ready).merge(routes),
            tls: TlsAcceptor::from(self.tls),
            plain,
        };
        tokio::select! {
            () = accept(self.listener, Arc::new(door), &shared, &stop) => {}
            () = renewing => {}
            () = stop.cancelled() => {}
        }
        // Those who are still here read why it closed.
        self.endpoint
            .close(quinn::VarInt::from_u32(0), b"the node is shutting down");
    }
}

/// The same port number for UDP and TCP. With port 0 several are drawn.
async fn bind_both(
    address: SocketAddr,
    quic: quinn::ServerConfig,
) -> Result<(quinn::Endpoint, TcpListener), EdgeError> {
    let tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    let mut last = None;
    for _ in 0..tries {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let endpoint = relay::transport::open(quic.clone(), listener.local_addr()?)?;
            Ok((endpoint, listener))
        };
        match bound.await {
            Ok(both) => return Ok(both),
            Err(source) => last = Some(source),
        }
    }
    Err(EdgeError::Listen {
        address,
        source: last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()),
    })
}

/// Replaces the certificate for terminals in time.
async fn renew(shared: Arc<Shared>) {
    loop {
        let now = std::time::SystemTime::now();
        let wait = shared.certificate.renew_at().duration_since(now);
        tokio::time::sleep(wait.unwrap_or(Duration::from_secs(60))).await;
        if let Err(error) = shared.certificate.renew(std::time::SystemTime::now()) {
            warn!(%error, "the certificate for terminals was not renewed");
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    }
}

/// What a TCP connection meets.
struct Door {
    router: Router,
    tls: TlsAcceptor,
    plain: bool,
}

async fn accept(listener: TcpListener, door: Arc<Door>, shared: &Shared, stop: &CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection was not accepted");
                // Out of descriptors, most likely: give some time to come back.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            debug!(%remote, "too many connections");
            continue;
        };
        let door = Arc::clone(&door);
        let stop = stop.clone();
        shared.tracker.spawn(async move {
            tokio::select! {
                () = serve(stream, remote, &door) => {}
                () = stop.cancelled() => {}
            }
            drop(slot);
        });
    }
}

async fn serve(stream: TcpStream, remote: SocketAddr, door: &Door) {
    // Every frame of a WebSocket session must leave at once.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut first = [0];
    match timeout(GREETING_MAX, stream.peek(&mut first)).await {
        Ok(Ok(1)) => {}
        Ok(_) | Err(_) => return,
    }
    if first[0] == TLS_HANDSHAKE {
        match timeout(GREETING_MAX, door.tls.accept(stream)).await {
            Ok(Ok(stream)) => http(stream, remote, &door.router).await,
            Ok(Err(error)) => debug!(%remote, %error, "no tls"),
            Err(_) => debug!(%remote, "tls took too long"),
        }
    } else if door.plain {
        http(stream, remote, &door.router).await;
    } else {
        debug!(%remote, "plain http is not answered beside a trusted certificate");
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    remote: SocketAddr,
    router: &Router,
) {
    let router = router.clone();
    let service = tower_service(router, remote);
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(GREETING_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!(%remote, %error, "http ended");
    }
}

/// The router, with the address of this connection in every request.
fn tower_service(router: Router, remote: SocketAddr) -> Router {
    router.layer(axum::Extension(ConnectInfo(remote)))
}

#[derive(Clone)]
struct Context {
    shared: Arc<Shared>,
    ready: watch::Receiver<bool>,
}

fn router(shared: Arc<Shared>, ready: watch::Receiver<bool>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/moq", get(moq))
        .route("/ping", get(|| async { StatusCode::NO_CONTENT }))
        .route("/play/{app}", get(play))
        .route("/watch/{app}", get(watch))
        .with_state(Context { shared, ready })
}

async fn readyz(State(context): State<Context>) -> Response {
    if *context.ready.borrow() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no link to the center\n").into_response()
    }
}

async fn metrics(State(context): State<Context>) -> Response {
    let page = context.shared.metrics.page(&context.shared.relay);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

async fn play(State(context): State<Context>, Path(app): Path<String>) -> Response {
    at_the_center(&context, "play", &app)
}

async fn watch(State(context): State<Context>, Path(event): Path<String>) -> Response {
    at_the_center(&context, "watch", &event)
}

/// The pages themselves are served by the center.
fn at_the_center(context: &Context, page: &str, app: &str) -> Response {
    match app.parse::<AppName>() {
        Ok(app) => Redirect::temporary(&format!(
            "http://{}/{page}/{app}",
            context.shared.config.center
        ))
        .into_response(),
        Err(error) => (StatusCode::NOT_FOUND, format!("{error}\n")).into_response(),
    }
}

/// A media session over a WebSocket.
async fn moq(
    State(context): State<Context>,
    axum::Extension(ConnectInfo(remote)): axum::Extension<ConnectInfo<SocketAddr>>,
    upgrade: WebSocketUpgrade,
    request: Request,
) -> Response {
    let relay = context.shared.relay.clone();
    let path = request.uri().path_and_query().map_or("", |it| it.as_str());
    let admission = match relay.admit(path, remote) {
        Ok(admission) => admission,
        Err(NotAdmitted::Refused(word)) => {
            return (StatusCode::FORBIDDEN, format!("{word}\n")).into_response();
        }
        Err(NotAdmitted::Full) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    upgrade
        .protocols(websocket::protocols())
        .max_message_size(MESSAGE_MAX)
        .on_upgrade(async move |socket| {
            let protocol = socket
                .protocol()
                .and_then(|it| it.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            relay
                .websocket(admission, &protocol, messages(socket))
                .await;
        })
}

/// A WebSocket as the relay sees it.
fn messages(
    socket: WebSocket,
) -> impl futures::Stream<Item = Result<Message, axum::Error>>
+ futures::Sink<Message, Error = axum::Error>
+ Send
+ Unpin {
    socket
        .map(|message| {
            message.map(|message| match message {
                ws::Message::Binary(data) => Message::Binary(data),
                ws::Message::Ping(_) => Message::Ping,
                ws::Message::Text(_) | ws::Message::Pong(_) | ws::Message::Close(_) => {
                    Message::Other
                }
            })
        })
        .with(|message| {
            futures::future::ready(Ok(match message {
                Message::Binary(data) => ws::Message::Binary(data),
                Message::Ping | Message::Other => ws::Message::Ping(bytes::Bytes::new()),
            }))
        })
}
