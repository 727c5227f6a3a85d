//! The event stream.

use std::collections::BTreeMap;

use api::client::Client;
use api::event::{Event, RemovedKind, Snapshot};
use api::session::SessionState;
use futures::{Stream, StreamExt as _};
use tokio::io::AsyncWriteExt as _;

use crate::support::{PATIENCE, TestCenter, manifest, terminal};

/// Reads events until one satisfies `wanted`, and returns what that says.
async fn next<T>(
    events: &mut (impl Stream<Item = Result<Event, api::client::ClientError>> + Unpin),
    mut wanted: impl FnMut(Event) -> Option<T>,
) -> T {
    let search = async {
        loop {
            let event = events.next().await.expect("the stream goes on").unwrap();
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search)
        .await
        .expect("an event")
}

async fn watch(
    client: &Client,
) -> (
    Box<Snapshot>,
    impl Stream<Item = Result<Event, api::client::ClientError>> + Unpin + use<>,
) {
    let mut events = Box::pin(client.events().await.unwrap());
    let snapshot = next(&mut events, |it| match it {
        Event::Snapshot(snapshot) => Some(snapshot),
        other => panic!("the first is {other:?}"),
    })
    .await;
    (snapshot, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_then_every_change() {
    let center = TestCenter::start().await;
    let (snapshot, mut events) = watch(&center.client()).await;
    assert_eq!(snapshot.nodes, []);
    assert_eq!(snapshot.places.len(), 1);

    let [frankfurt, shanghai, _] = &center.cloud().await;
    let app = next(&mut events, |it| match it {
        Event::App(app) if app.sites.len() == 3 => Some(app),
        _ => None,
    })
    .await;
    assert_eq!(app.name.as_str(), "test");
    frankfurt.measure(shanghai, 123.0);
    next(&mut events, |it| match it {
        Event::Links(links) => links
            .iter()
            .any(|it| it.round_trip_ms > 122.0)
            .then_some(()),
        _ => None,
    })
    .await;

    let created = center.create(terminal(&[(frankfurt, 10)])).await;
    next(&mut events, |it| match it {
        Event::Session(session) => {
            let mine = session.id == created.session;
            (mine && session.state == SessionState::Active).then_some(())
        }
        _ => None,
    })
    .await;
    frankfurt.kill();
    next(&mut events, |it| match it {
        Event::Session(session) => (session.state == SessionState::Lost).then_some(()),
        _ => None,
    })
    .await;
    center
        .client()
        .close_session(created.session)
        .await
        .unwrap();
    let removed = next(&mut events, |it| match it {
        Event::Removed(removed) => Some(removed),
        _ => None,
    })
    .await;
    assert_eq!(removed.kind, RemovedKind::Session);
    assert_eq!(removed.id, created.session.to_string());

    // Whoever comes now sees the same.
    let (snapshot, _events) = watch(&center.client()).await;
    assert_eq!((snapshot.nodes.len(), snapshot.sessions.len()), (3, 0));
    let (_, _) = center.stop().await;
    let rest = events.count();
    tokio::time::timeout(PATIENCE, rest)
        .await
        .expect("the stream ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_told_about_a_few_times_a_second() {
    let center = TestCenter::start().await;
    let (_, mut events) = watch(&center.client()).await;
    let begun = std::time::Instant::now();
    for width in 1..=40 {
        let more = format!("[screen]\nwidth = {}\n", 640 + 2 * width);
        center.deploy(&manifest("test", &more)).await;
    }
    let mut told = BTreeMap::<u32, u32>::new();
    next(&mut events, |it| {
        let Event::App(app) = it else { return None };
        *told.entry(app.release.number.0).or_default() += 1;
        (app.release.number.0 == 40).then_some(())
    })
    .await;
    let most = begun.elapsed().as_millis() / 200 + 2;
    assert!(told.len() as u128 <= most, "{told:?} in {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_does_not_read_disturbs_nobody() {
    let center = TestCenter::start().await;
    let token = crate::support::admin_token(center.directory.path());
    let mut lazy = tokio::net::TcpStream::connect(center.address)
        .await
        .unwrap();
    let request =
        format!("GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    lazy.write_all(request.as_bytes()).await.unwrap();
    let (_, mut events) = watch(&center.client()).await;
    for width in 1..=60 {
        let more = format!("[screen]\nwidth = {}\n", 640 + 2 * width);
        center.deploy(&manifest("test", &more)).await;
    }
    next(&mut events, |it| match it {
        Event::App(app) => (app.release.number.0 == 60).then_some(()),
        _ => None,
    })
    .await;
}
