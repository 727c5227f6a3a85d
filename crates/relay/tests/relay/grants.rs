//! Default deny, exactly.

use std::time::Duration;

use bytes::Bytes;
use relay::publish::Place;
use relay::subscribe::Announcement;
use web_transport_quinn::Session;
use web_transport_quinn::proto::ConnectRequest;

use crate::harness::{Client, World, quic, said, soon, until, url};
use crate::media::{VIDEO, at};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_a_browser_gets_403_and_a_native_terminal_the_word() {
    let node = World::default().node(1);
    let refused = Client::web(node.address, "/?token=nonsense").await;
    let Err(web_transport_quinn::ClientError::HttpError(error)) = refused else {
        panic!("not refused as expected: {:?}", refused.map(|_| ()));
    };
    assert!(format!("{error:?}").contains("403"), "{error:?}");

    // A hand-made SETUP without parameters: no path, no token.
    let quic = quic(node.address, "moq-lite-06").await;
    let mut setup = quic.open_uni().await.unwrap();
    setup.write_all(&[1, 1, 0]).await.unwrap();
    said("no token", &quic).await;
    until("nobody", || node.relay.connections().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sessions_screen_is_invisible() {
    let node = World::default().node(1);
    let mut kept = Vec::new();
    for path in [
        "s/8/1/screen",
        "s/7/2/screen",
        "s/7/1/screen/x",
        "s/7/1/screen",
    ] {
        let screen = node.relay.publish(path).unwrap();
        let mut video = screen.track("video", VIDEO).unwrap();
        video
            .write(Place::NewGroup, at(0), path.to_owned().into())
            .unwrap();
        screen.announce().unwrap();
        kept.push((screen, video));
    }
    let client = Client::web(node.address, "/?token=7").await.unwrap();
    let mut announced = client.found.consume().announced();
    // Its own was announced last: whatever else it could see would have come before.
    let own = client.subscribe("s/7/1/screen", "video", Duration::ZERO);
    assert_eq!(
        soon("own", own.await.next()).await,
        Some((0, "s/7/1/screen".into()))
    );
    let mut seen = Vec::new();
    while let Some(update) = announced.try_next() {
        seen.push(update.prefix.to_string());
    }
    assert_eq!(seen, ["s/7/1/screen"]);
    let other = client
        .found
        .consume()
        .request_broadcast("s/8/1/screen")
        .await;
    assert!(other.is_err());
}

/// A terminal that asks without having been told: the relay itself must refuse.
#[tokio::test(flavor = "multi_thread")]
async fn asking_for_another_sessions_screen_by_name_is_refused() {
    let node = World::default().node(1);
    let mut kept = Vec::new();
    for path in ["s/8/1/screen", "s/7/1/screen"] {
        let screen = node.relay.publish(path).unwrap();
        let mut video = screen.track("video", VIDEO).unwrap();
        video
            .write(Place::NewGroup, at(0), path.to_owned().into())
            .unwrap();
        screen.announce().unwrap();
        kept.push((screen, video));
    }
    let client = Client::raw(node.address, "/?token=7").await;
    until("session", || !node.relay.connections().is_empty()).await;
    let quic = client.quic.as_ref().unwrap();
    let own = track_info(quic, "s/7/1/screen").await;
    assert!(own.is_ok(), "the request itself is right: {own:?}");
    let other = track_info(quic, "s/8/1/screen").await;
    assert!(other.is_err(), "the other's track was described: {other:?}");
}

/// Sends a hand-made TRACK request.
async fn track_info(quic: &quinn::Connection, path: &str) -> Result<(), quinn::ReadError> {
    const TRACK: u8 = 6;
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let body = [text(path), text("video")].concat();
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    let message = [vec![TRACK, u8::try_from(body.len()).unwrap()], body].concat();
    send.write_all(&message).await.unwrap();
    let answer = soon("answer", recv.read_chunk(100, true)).await?;
    answer.map(|_| ()).ok_or(quinn::ReadError::ClosedStream)
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_elsewhere_goes_nowhere() {
    let node = World::default().node(1);
    let mut announced = node.relay.announcements("s").unwrap();
    let client = Client::raw(node.address, "/?token=7").await;
    let mut kept = Vec::new();
    for path in [
        "s/8/1/input/a",
        "s/7/1/screen",
        "s/7/2/input/a",
        "s/7/1/input/a",
    ] {
        let broadcast = client.mine.create_broadcast(path).unwrap();
        broadcast.announce(Default::default()).unwrap();
        kept.push(broadcast);
    }
    let first = soon("announcement", announced.next()).await;
    assert_eq!(first, Some(Announcement::Started("s/7/1/input/a".into())));
    drop(kept);
    let second = soon("retraction", announced.next()).await;
    assert_eq!(second, Some(Announcement::Ended("s/7/1/input/a".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_known_certificate_is_refused() {
    let world = World::default();
    let node = world.node(1);
    let quic = quic(node.address, "selvedge-relay/1").await;
    said("no node", &quic).await;

    // A known one that dials somebody else finds out.
    let (a, mut wrong, c) = (world.node(2), world.node(3), world.node(4));
    let (_cost, at_one) = tokio::sync::watch::channel(1);
    wrong.hop = c.hop;
    a.dial(&wrong, at_one.clone());
    a.dial(&c, at_one);
    a.linked(&c).await;
    assert_eq!(a.relay.connections().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_when_told_and_when_their_time_is_over() {
    let node = World::default().node(1);
    let labelled = Client::raw(node.address, "/?token=7").await;
    let other = Client::raw(node.address, "/?token=8").await;
    until("both", || node.relay.connections().len() == 2).await;
    assert_eq!(node.relay.close_labelled("session 7"), 1);
    soon("closed by label", labelled.quic.as_ref().unwrap().closed()).await;
    until("one", || node.relay.connections().len() == 1).await;
    assert!(node.relay.close(node.relay.connections()[0].id));
    soon("closed by id", other.quic.as_ref().unwrap().closed()).await;

    let short = Client::web(node.address, "/short?token=9").await.unwrap();
    soon("lifetime over", short.quic.as_ref().unwrap().closed()).await;

    let last = Client::raw(node.address, "/?token=9").await;
    until("last", || node.relay.connections().len() == 1).await;
    node.stop.cancel();
    node.tracker.close();
    soon("relay stops", node.tracker.wait()).await;
    soon("told so", last.quic.as_ref().unwrap().closed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_relay_refuses() {
    let node = World::default().node_with(1, 1);
    let first = Client::raw(node.address, "/?token=7").await;
    until("first", || node.relay.connections().len() == 1).await;
    let refused = node.relay.admit("/?token=7", node.address);
    assert!(matches!(refused, Err(relay::websocket::NotAdmitted::Full)));
    first.quic.as_ref().unwrap().close(0_u32.into(), b"");
    until("free", || {
        node.relay.admit("/?token=7", node.address).is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_echoes_datagrams_to_a_limit_and_grants_nothing() {
    let node = World::default().node(1);
    let quic = quic(node.address, "h3").await;
    let request = ConnectRequest::new(url(node.address, "/ping"));
    let session = soon("ping session", Session::connect(quic, request))
        .await
        .unwrap();
    for n in 0..64_u8 {
        let datagram = Bytes::from(vec![n; 8]);
        session.send_datagram(datagram.clone()).unwrap();
        assert_eq!(
            soon("echo", session.read_datagram()).await.unwrap(),
            datagram
        );
    }
    assert!(node.relay.connections().is_empty());
    session
        .send_datagram(Bytes::from_static(b"one more"))
        .unwrap();
    let over = tokio::time::timeout(Duration::from_millis(200), session.read_datagram()).await;
    assert!(!matches!(over, Ok(Ok(_))), "a 65th echo");
}
