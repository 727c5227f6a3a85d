//! Apps and their releases.

use api::ErrorCode;
use api::app::DeployApp;
use api::session::{CreateSession, Discover};
use model::{AppName, ReleaseNumber, Terminal};

use crate::support::{TestCenter, code, manifest};

#[tokio::test(flavor = "multi_thread")]
async fn releases_come_never_change_and_go_with_their_app() {
    let center = TestCenter::start().await;
    let client = center.client();
    let app = "test".parse().unwrap();
    assert_eq!(code(client.app(&app).await), ErrorCode::NotFound);
    center.deploy(&manifest("test", "")).await;
    center.deploy(&manifest("test", "")).await;
    assert_eq!(client.releases(&app).await.unwrap().items.len(), 1);
    for width in 1..=25 {
        let more = format!("[screen]\nwidth = {}\n", 640 + 2 * width);
        center.deploy(&manifest("test", &more)).await;
    }
    let releases = client.releases(&app).await.unwrap().items;
    let numbers: Vec<_> = releases.iter().map(|it| it.number.0).collect();
    assert_eq!(numbers, (7..=26).rev().collect::<Vec<_>>());
    let view = client.app(&app).await.unwrap();
    assert_eq!(view.release.number, ReleaseNumber(26));
    let stream = view.release.manifest.stream().unwrap();
    assert_eq!(stream.screen.width, 690);

    client.remove_app(&app).await.unwrap();
    assert_eq!(code(client.app(&app).await), ErrorCode::NotFound);
    assert!(client.apps().await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_manifest_is_answered_with_what_would_be_right() {
    let center = TestCenter::start().await;
    let deploy = DeployApp {
        manifest: manifest("test", "[screen]\nwidht = 640\n"),
    };
    let error = center.client().deploy(&deploy).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::BadRequest));
    assert!(error.to_string().contains("line"), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("width"), "{hint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_listed_and_told_to_nodes_but_not_played() {
    let center = TestCenter::start().await;
    center
        .deploy(
            "name = 'arena'\nkind = 'live'\n[[cameras]]\nname = 'north'\nposition = [0, 20, 3]\n",
        )
        .await;
    let client = center.client();
    let app: AppName = "arena".parse().unwrap();
    let view = client.app(&app).await.unwrap();
    let live = view.release.manifest.live().unwrap();
    assert_eq!(live.cameras[0].name.as_str(), "north");
    let _node = center.node("frankfurt").await;
    center.wait_for_app("arena", 1).await;

    let create = CreateSession {
        app: app.clone(),
        terminal: Terminal::default(),
        screen: None,
    };
    let error = client.create_session(&create).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::BadRequest));
    assert_eq!(error.hint(), Some("open /watch/arena instead"));
    let discover = Discover {
        app,
        terminal: Terminal::default(),
    };
    let refused = client.discover(&discover).await;
    assert_eq!(code(refused), ErrorCode::BadRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_with_their_app() {
    let center = TestCenter::start().await;
    let nodes = center.cloud().await;
    let created = center.create(Terminal::default()).await;
    let client = center.client();
    client.remove_app(&"test".parse().unwrap()).await.unwrap();
    assert_eq!(
        code(client.session(created.session).await),
        ErrorCode::NotFound
    );
    assert!(nodes.iter().all(|it| it.held().is_empty()));
}
