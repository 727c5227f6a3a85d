//! The console, the player and the viewer: static files that are part of the binary.
//!
//! With `SELVEDGE_CONSOLE_DIR` set, a debug build reads them from disk, for those who write them.

use std::collections::HashMap;
use std::path::{Component, Path};
use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use include_dir::{Dir, DirEntry, include_dir};
use model::AppName;

use crate::error::Refusal;
use crate::http::Api;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../console");

/// What a page may do. It talks to edges anywhere (WebTransport and health by `https:`, WebSocket
/// by `wss:`; without TLS, as in development, by `http:` and `ws:`); everything else is from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     font-src 'self'; connect-src 'self' https: wss: ws: http:; media-src 'self' blob:; \
     worker-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Only what the files of a page are.
const KINDS: [(&str, &str); 12] = [
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("json", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
];

/// Strong tags of the files, by path: made once, on the first request.
static TAGS: LazyLock<HashMap<&'static Path, HeaderValue>> = LazyLock::new(|| {
    let mut tags = HashMap::new();
    tag_all(&FILES, &mut tags);
    tags
});

/// The pages and their files.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/", get(index))
        .route("/play/{app}", get(player))
        .route("/watch/{event}", get(viewer))
        .route("/console/{*path}", get(file))
        .route("/favicon.ico", get(icon))
}

async fn index(headers: HeaderMap) -> Response {
    serve("index.html", &headers).await
}

async fn player(uri: Uri, headers: HeaderMap) -> Response {
    named("/play/", "play.html", &uri, &headers).await
}

async fn viewer(uri: Uri, headers: HeaderMap) -> Response {
    named("/watch/", "watch.html", &uri, &headers).await
}

/// A page for one app or event, which reads its name from the address.
async fn named(prefix: &str, page: &str, uri: &Uri, headers: &HeaderMap) -> Response {
    let name = uri.path().trim_start_matches(prefix);
    if name.parse::<AppName>().is_err() {
        return not_found(uri.path());
    }
    serve(page, headers).await
}

async fn icon(headers: HeaderMap) -> Response {
    serve("icon.svg", &headers).await
}

async fn file(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches("/console/");
    serve(path, &headers).await
}

async fn serve(path: &str, request: &HeaderMap) -> Response {
    let plain = Path::new(path)
        .components()
        .all(|it| matches!(it, Component::Normal(_)));
    let Some(kind) = kind(path).filter(|_| plain) else {
        return not_found(path);
    };
    let Some((content, tag)) = content(path).await else {
        return not_found(path);
    };
    let known = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .any(|it| it.trim().trim_start_matches("W/").as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, kind)], content).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    for (name, value) in [
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn kind(path: &str) -> Option<&'static str> {
    let (_, extension) = path.rsplit_once('.')?;
    let known = KINDS.iter().find(|(it, _)| *it == extension);
    known.map(|(_, kind)| *kind)
}

async fn content(path: &str) -> Option<(Bytes, HeaderValue)> {
    #[cfg(debug_assertions)]
    if let Some(directory) = std::env::var_os("SELVEDGE_CONSOLE_DIR") {
        let content = tokio::fs::read(Path::new(&directory).join(path))
            .await
            .ok()?;
        let tag = tag(&content);
        return Some((content.into(), tag));
    }
    std::future::ready(()).await;
    let file = FILES.get_file(path)?;
    let tag = TAGS.get(file.path())?.clone();
    Some((Bytes::from_static(file.contents()), tag))
}

fn tag_all(directory: &Dir<'static>, tags: &mut HashMap<&'static Path, HeaderValue>) {
    for entry in directory.entries() {
        match entry {
            DirEntry::Dir(directory) => tag_all(directory, tags),
            DirEntry::File(file) => {
                tags.insert(file.path(), tag(file.contents()));
            }
        }
    }
}

fn tag(content: &[u8]) -> HeaderValue {
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    let hex: String = digest
        .as_ref()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    HeaderValue::from_str(&format!("\"{hex}\"")).expect("hexadecimal digits are visible ASCII")
}

fn not_found(path: &str) -> Response {
    let path: String = path.chars().take(100).collect();
    Refusal::not_found(format!("there is nothing at {path}"))
        .hint("the console is at /")
        .into_response()
}
