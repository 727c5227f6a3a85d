//! The same session over a WebSocket.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, Stream};
use qmux::ws::tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use qmux::ws::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use qmux::ws::tungstenite::{Error, Message as Wire, http};
use relay::publish::Place;
use relay::subscribe::Preferences;
use relay::websocket::{Message, PollSession, protocols};
use relay::{ConnectionKind, Relay, priority};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::harness::{Client, World, soon, until};
use crate::media::{VIDEO, at};

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_carries_screen_and_input() {
    let node = World::default().node(1);
    let address = listen(&node.relay).await;
    let screen = node.relay.publish("s/7/1/screen").unwrap();
    let mut video = screen.track("video", VIDEO).unwrap();
    screen.announce().unwrap();
    for version in ["moq-lite-06", "moq-lite-05"] {
        let client = connect(address, "/moq?token=7", version).await.unwrap();
        let mut frames = client
            .subscribe("s/7/1/screen", "video", Duration::from_secs(2))
            .await;
        let shown = node.relay.connections();
        assert_eq!(shown[0].kind, ConnectionKind::WebSocket);
        assert_eq!(shown[0].version, version);

        // Larger than any record, window or queue between.
        for n in 0..40_u32 {
            let place = [Place::SameGroup, Place::NewGroup][usize::from(n % 4 == 0)];
            let payload: Vec<u8> = (0..200_000_u32)
                .map(|i| (i * 31 + n).to_le_bytes()[1])
                .collect();
            let payload = Bytes::from(payload);
            video.write(place, at(n), payload.clone()).unwrap();
            let arrived = soon("frame", async {
                loop {
                    let (_, frame) = frames.next().await.unwrap();
                    if frame == payload {
                        break;
                    }
                    // Only what the round before left in the cache may come instead.
                    assert_eq!((n, frame.len()), (0, payload.len()));
                }
            });
            arrived.await;
        }

        let input = client.mine.create_broadcast("s/7/1/input/x").unwrap();
        let events = input.create_track("events", None).unwrap();
        input.announce(Default::default()).unwrap();
        let preferences = Preferences {
            priority: priority::INPUT,
            max_age: Duration::from_secs(5),
        };
        let subscribed = node.relay.subscribe("s/7/1/input/x", "events", preferences);
        let mut received = soon("input", subscribed).await.unwrap();
        let group = events.append_group().unwrap();
        for n in 0..500_u32 {
            let stamp = moq_net::Timestamp::from_millis(u64::from(n)).unwrap();
            group.clone().write_frame(stamp, n.to_string()).unwrap();
            let frame = soon("event", received.next()).await.unwrap().unwrap();
            assert_eq!(frame.payload, n.to_string());
        }
        drop((client, input, events, group));
        until("gone", || node.relay.connections().is_empty()).await;
    }
}

/// What is late is skipped by whole groups, also where one TCP connection carries everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_websocket_skips_to_the_newest_group() {
    let node = World::default().node(1);
    let address = listen(&node.relay).await;
    let screen = node.relay.publish("s/7/1/screen").unwrap();
    let mut video = screen.track("video", VIDEO).unwrap();
    screen.announce().unwrap();
    video.write(Place::NewGroup, at(0), "first".into()).unwrap();
    let client = connect(address, "/moq?token=7", "moq-lite-05")
        .await
        .unwrap();
    let mut frames = client
        .subscribe("s/7/1/screen", "video", Duration::ZERO)
        .await;
    assert_eq!(
        soon("first", frames.next()).await,
        Some((0, "first".into()))
    );
    // Nobody reads meanwhile: 60 MB go nowhere.
    for n in 1..=300_u32 {
        video
            .write(Place::NewGroup, at(n * 10), vec![1; 200_000].into())
            .unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    video
        .write(Place::NewGroup, at(4_000), "last".into())
        .unwrap();
    let mut read = 0;
    soon("last", async {
        while frames.next().await.unwrap().1 != "last" {
            read += 1;
        }
    })
    .await;
    assert!(read < 150, "{read} stale pictures");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_without_token_is_not_upgraded() {
    let node = World::default().node(1);
    let address = listen(&node.relay).await;
    let refused = connect(address, "/moq", "moq-lite-05").await;
    let error = refused.err().expect("no token").to_string();
    assert!(error.contains("403"), "{error}");
    assert!(
        connect(address, "/moq?token=7", "moq-transport-18")
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_can_be_closed() {
    let node = World::default().node(1);
    let address = listen(&node.relay).await;
    let client = connect(address, "/moq?token=7", "moq-lite-05")
        .await
        .unwrap();
    until("session", || node.relay.connections().len() == 1).await;
    assert_eq!(node.relay.close_labelled("session 7"), 1);
    soon("closed", client.session.closed()).await;
    until("gone", || node.relay.connections().is_empty()).await;
}

async fn connect(address: SocketAddr, path: &str, version: &str) -> Result<Client, qmux::Error> {
    let connecting = qmux::ws::Client::new()
        .with_protocol(version, &[])
        .require_protocol();
    let session = connecting.connect(&format!("ws://{address}{path}")).await?;
    Ok(Client::start(PollSession::new(session), None, None).await)
}

/// An HTTP server that does what the relay asks of one.
async fn listen(relay: &Relay) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (relay, tasks) = (relay.clone(), TaskTracker::new());
    tasks.clone().spawn(async move {
        while let Ok((stream, remote)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let relay = relay.clone();
            tasks.spawn(async move { upgrade(&relay, stream, remote).await });
        }
    });
    address
}

fn refuse(code: u16) -> ErrorResponse {
    let mut refused = ErrorResponse::new(None);
    *refused.status_mut() = http::StatusCode::from_u16(code).unwrap();
    refused
}

#[expect(
    clippy::result_large_err,
    reason = "the type of the library's callback"
)]
async fn upgrade(relay: &Relay, stream: TcpStream, remote: SocketAddr) {
    let mut admitted = None;
    let decide = |request: &Request, mut response: Response| {
        let path = request.uri().path_and_query().unwrap().as_str();
        let admission = relay.admit(path, remote).map_err(|_| refuse(403))?;
        let offered = request.headers()["sec-websocket-protocol"]
            .to_str()
            .unwrap();
        let offered: Vec<_> = offered.split(',').map(str::trim).collect();
        let chosen = protocols().find(|ours| offered.contains(&ours.as_str()));
        let chosen = chosen.ok_or_else(|| refuse(400))?;
        let header = chosen.parse().unwrap();
        response
            .headers_mut()
            .insert("sec-websocket-protocol", header);
        admitted = Some((admission, chosen));
        Ok(response)
    };
    let Ok(socket) = accept_hdr_async(stream, decide).await else {
        return;
    };
    let (admission, protocol) = admitted.unwrap();
    relay.websocket(admission, &protocol, Socket(socket)).await;
}

/// What the HTTP server's WebSocket looks like to the relay.
struct Socket(WebSocketStream<TcpStream>);

impl Stream for Socket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        pin!(&mut self.0).poll_next(cx).map(|next| match next {
            Some(Ok(Wire::Close(_))) | None => None,
            Some(Ok(Wire::Binary(data))) => Some(Ok(Message::Binary(data))),
            Some(Ok(Wire::Ping(_))) => Some(Ok(Message::Ping)),
            Some(Ok(_)) => Some(Ok(Message::Other)),
            Some(Err(error)) => Some(Err(error)),
        })
    }
}

impl Sink<Message> for Socket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        pin!(&mut self.0).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let wire = match message {
            Message::Binary(data) => Wire::Binary(data),
            Message::Ping | Message::Other => Wire::Ping(Bytes::new()),
        };
        pin!(&mut self.0).start_send(wire)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        pin!(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        pin!(&mut self.0).poll_close(cx)
    }
}
