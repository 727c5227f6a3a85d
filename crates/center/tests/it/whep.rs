//! One address to play an event at.

use std::time::SystemTime;

use mesh::token::WatchClaims;
use reqwest::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};

use crate::support::TestCenter;

fn event(name: &str, public: bool) -> String {
    format!(
        "name = '{name}'\nkind = 'live'\naccess = {{ public = {public} }}\n\
         [[cameras]]\nname = 'north'\nposition = [0, 20, 3]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn players_are_sent_on_to_an_edge_with_a_ticket() {
    let center = TestCenter::start().await;
    let node = center.node("frankfurt").await;
    center.deploy(&event("arena", true)).await;
    center.deploy(&event("closed", false)).await;
    let http = reqwest::Client::builder();
    let http = http.redirect(Policy::none()).build().unwrap();
    let post = async |path: &str| {
        let asked = http.post(format!("{}{path}", center.base())).body("v=0");
        let answer = asked.send().await.unwrap();
        let location = answer.headers().get(LOCATION);
        let location = location.map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{path}");
        (answer.status(), location.unwrap_or_default())
    };

    let (status, location) = post("/whep/arena/north").await;
    assert_eq!(status, StatusCode::TEMPORARY_REDIRECT);
    let (address, ticket) = location.split_once("?watch=").unwrap();
    assert!(
        address.starts_with("http://") && address.ends_with("/whep/arena/north"),
        "{address}"
    );
    let claims: WatchClaims = node.verifier().verify(ticket, SystemTime::now()).unwrap();
    assert_eq!(claims.event.as_str(), "arena");
    let (status, location) = post("/whep/arena?network=dev%3Aberlin").await;
    assert_eq!(status, StatusCode::TEMPORARY_REDIRECT);
    assert!(location.contains("/whep/arena?watch="), "{location}");

    for (path, status) in [
        ("/whep/closed", StatusCode::UNAUTHORIZED),
        ("/whep/nothing", StatusCode::UNAUTHORIZED),
        ("/whep/arena?network=", StatusCode::BAD_REQUEST),
        ("/whep/No-Name/north", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(post(path).await.0, status, "{path}");
    }
    // What a browser asks before it lets a page of another origin do so.
    let url = format!("{}/whep/arena", center.base());
    let asked = http.request(Method::OPTIONS, url).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::NO_CONTENT);
    let allowed = asked.headers()[ACCESS_CONTROL_ALLOW_HEADERS]
        .to_str()
        .unwrap();
    assert!(allowed.contains("content-type"), "{allowed}");
}
