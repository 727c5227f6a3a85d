//! `/openapi.json`: the API's description, made from the handlers.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{apps, events, health, live, nodes, places, sessions, sites, status, whep};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Selvedge",
        description = "The center of an edge cloud: apps, sites, nodes, sessions, live events.",
        version = "1",
    ),
    paths(
        health::healthz, health::readyz, health::metrics, openapi,
        status::status, events::watch, places::list,
        sites::list, sites::show,
        nodes::list, nodes::show, nodes::create_join_token,
        apps::list, apps::deploy, apps::show, apps::releases, apps::remove,
        sessions::discover, sessions::create, sessions::list, sessions::show,
        sessions::explain, sessions::logs, sessions::renew, sessions::relocate,
        sessions::close,
        live::list, live::show, live::watch, live::publish, live::align,
        live::forget_alignment, live::create_key, live::keys, live::revoke_key,
        whep::play, whep::play_camera,
    ),
    modifiers(&Security),
)]
struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = |description: &str| {
            let mut http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
            http.description = Some(description.to_owned());
            SecurityScheme::Http(http)
        };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", bearer("The administrator's token."));
        components.add_security_scheme("session_key", bearer("The key of this very session."));
        components.add_security_scheme("stream_key", bearer("A stream key of this very event."));
    }
}

/// The document as it stands in `docs/openapi.json`.
pub fn document() -> String {
    let mut text = Document::openapi()
        .to_pretty_json()
        .expect("the document is maps with text keys");
    text.push('\n');
    text
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "center", responses((status = 200, body = Object)))]
pub(super) async fn openapi() -> impl IntoResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(document);
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, DOCUMENT.as_str())
}
