//! Live events: keys, tickets, and how the cameras are.

use std::time::SystemTime;

use api::ErrorCode;
use api::live::{CreateStreamKey, PublishCamera, WatchEvent};
use mesh::token::{SessionClaims, TokenError, WatchClaims};
use model::AppName;

use crate::support::{TestCenter, code, eventually, manifest, terminal};

const ARENA: &str = "
name = 'arena'
kind = 'live'
[[cameras]]
name = 'north'
position = [0, 20, 3]
[[cameras]]
name = 'south'
position = [0, -20, 3]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_told_once_reaches_the_edges_as_a_hash_and_goes_with_its_event() {
    let center = TestCenter::start().await;
    center.deploy(ARENA).await;
    let node = center.node("frankfurt").await;
    let client = center.client();
    let arena = arena();
    let made = client
        .create_stream_key(&arena, &CreateStreamKey::default())
        .await
        .unwrap();
    let only_north = CreateStreamKey {
        label: "the van".into(),
        camera: Some("north".parse().unwrap()),
    };
    let north = client.create_stream_key(&arena, &only_north).await.unwrap();

    let planned = eventually("the node has both", async || {
        let keys = node.plan().stream_keys;
        (keys.len() == 2).then_some(keys)
    })
    .await;
    assert!(
        planned
            .iter()
            .all(|it| it.event == arena && it.hash.len() == 64)
    );
    let cameras: Vec<_> = planned.iter().filter_map(|it| it.camera.clone()).collect();
    assert_eq!(cameras, ["north".parse().unwrap()]);
    let listed = client.stream_keys(&arena).await.unwrap().items;
    assert_eq!(listed, [made.view.clone(), north.view.clone()]);
    let wire = serde_json::to_string(&(planned, listed)).unwrap();
    assert!(!wire.contains(&made.key) && !wire.contains(&north.key));

    // A restart forgets nothing.
    let (directory, port) = center.stop().await;
    let center = TestCenter::start_in(directory, port).await;
    let client = center.client();
    assert_eq!(client.stream_keys(&arena).await.unwrap().items.len(), 2);
    client
        .revoke_stream_key(&arena, &north.view.id)
        .await
        .unwrap();
    let again = client.revoke_stream_key(&arena, &north.view.id).await;
    assert_eq!(code(again), ErrorCode::NotFound);
    let listed = client.stream_keys(&arena).await.unwrap().items;
    assert_eq!(listed, [made.view]);

    // Whoever takes the name next does not get the old cameras.
    client.remove_app(&arena).await.unwrap();
    center.deploy(ARENA).await;
    assert!(client.stream_keys(&arena).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_for_the_owner_and_for_cameras_that_are() {
    let center = TestCenter::start().await;
    center.deploy(ARENA).await;
    center.deploy(&manifest("test", "")).await;
    let (client, arena) = (center.client(), arena());
    let ask = CreateStreamKey::default();
    let stranger = center.stranger().create_stream_key(&arena, &ask).await;
    assert_eq!(code(stranger), ErrorCode::Unauthorized);
    let stranger = center.stranger().live(&arena).await;
    assert_eq!(code(stranger), ErrorCode::Unauthorized);
    let program = client
        .create_stream_key(&"test".parse().unwrap(), &ask)
        .await;
    assert_eq!(code(program), ErrorCode::BadRequest);
    let nobody = CreateStreamKey {
        camera: Some("west".parse().unwrap()),
        ..ask.clone()
    };
    let error = client.create_stream_key(&arena, &nobody).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotFound));
    assert_eq!(error.hint(), Some("it has north, south"));
    let long = CreateStreamKey {
        label: "x".repeat(65),
        ..ask
    };
    let long = client.create_stream_key(&arena, &long).await;
    assert_eq!(code(long), ErrorCode::TooLarge);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_enters_near_and_its_ticket_opens_no_session() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, _] = &center.cloud().await;
    center
        .deploy(&format!("{ARENA}[access]\npublic = true\n"))
        .await;
    frankfurt.on_air("arena", "north", 1_000);
    shanghai.watched("arena", 3);
    frankfurt.watched("arena", 4);
    let arena = arena();
    let view = eventually("the camera is seen", async || {
        let view = center.client().live(&arena).await.unwrap();
        (view.cameras[0].status.is_some() && view.viewers == 7).then_some(view)
    })
    .await;
    assert_eq!(view.cameras[0].site, Some("frankfurt".parse().unwrap()));
    assert_eq!(view.cameras[1].status, None);
    let mut ways: Vec<_> = view
        .ingest
        .iter()
        .filter_map(|it| it.rtmp.as_deref())
        .collect();
    ways.sort_unstable();
    assert_eq!(ways.len(), 3);
    assert_eq!(ways[0], "rtmp://frankfurt.example:1935/arena");

    let watch = WatchEvent {
        terminal: terminal(&[(frankfurt, 200), (shanghai, 8)]),
        lost_entry: None,
    };
    let ticket = center.stranger().watch(&arena, &watch).await.unwrap();
    assert_eq!(ticket.entry.node, shanghai.id());
    assert_eq!(ticket.on_air, ["north".parse().unwrap()]);
    assert_eq!(ticket.event.cameras.len(), 2);
    let (verifier, now) = (shanghai.verifier(), SystemTime::now());
    let claims: WatchClaims = verifier.verify(&ticket.token, now).unwrap();
    assert_eq!(claims.event, arena);
    let session = verifier.verify::<SessionClaims>(&ticket.token, now);
    assert_eq!(session, Err(TokenError::Forged));

    let elsewhere = WatchEvent {
        lost_entry: Some(shanghai.id()),
        ..watch
    };
    let ticket = center.stranger().watch(&arena, &elsewhere).await.unwrap();
    assert_ne!(ticket.entry.node, shanghai.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_key_is_told_where_to_publish_and_nobody_else() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, _] = &center.cloud().await;
    center.deploy(ARENA).await;
    let arena = arena();
    let key = CreateStreamKey {
        camera: Some("north".parse().unwrap()),
        ..CreateStreamKey::default()
    };
    let key = center.client().create_stream_key(&arena, &key).await;
    let key = center.stranger().with_token(key.unwrap().key);
    let north = PublishCamera {
        camera: "north".parse().unwrap(),
        terminal: terminal(&[(frankfurt, 200), (shanghai, 8)]),
        site: None,
        lost_entry: None,
    };
    let way = key.publish(&arena, &north).await.unwrap();
    assert_eq!(way.entry.node, shanghai.id());
    assert_eq!(way.broadcast, "live/arena/north");
    let lost = PublishCamera {
        lost_entry: Some(shanghai.id()),
        ..north.clone()
    };
    let way = key.publish(&arena, &lost).await.unwrap();
    assert_ne!(way.entry.node, shanghai.id());
    let there = PublishCamera {
        site: Some("frankfurt".parse().unwrap()),
        ..north.clone()
    };
    let way = key.publish(&arena, &there).await.unwrap();
    assert_eq!(way.entry.node, frankfurt.id());

    let south = PublishCamera {
        camera: "south".parse().unwrap(),
        ..north.clone()
    };
    let nothing: AppName = "nothing".parse().unwrap();
    for (client, event, ask) in [
        (&key, &arena, &south),
        (&key, &nothing, &north),
        (&center.stranger().with_token("guess"), &arena, &north),
        (&center.stranger(), &arena, &north),
        (&center.client(), &arena, &north),
    ] {
        assert_eq!(
            code(client.publish(event, ask).await),
            ErrorCode::Unauthorized
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_not_public_is_closed_to_strangers() {
    let center = TestCenter::start().await;
    let _node = center.node("frankfurt").await;
    center.deploy(ARENA).await;
    let (arena, watch) = (arena(), WatchEvent::default());
    let stranger = center.stranger().watch(&arena, &watch).await;
    assert_eq!(code(stranger), ErrorCode::Unauthorized);
    let nothing: AppName = "nothing".parse().unwrap();
    let nothing = center.stranger().watch(&nothing, &watch).await;
    assert_eq!(code(nothing), ErrorCode::Unauthorized, "no more is told");
    center.client().watch(&arena, &watch).await.unwrap();
}

fn arena() -> AppName {
    "arena".parse().unwrap()
}
