//! Who must not get in, and what must not break.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh::alpn;
use mesh::authority::CERTIFICATE_LIFE;
use mesh::join::{JoinError, JoinToken};
use mesh::link::{CallError, DialError, Handler, Link, LinkServer, Peer, Service};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::entry::{Shows, connect};
use crate::link::closes;
use crate::world::{Center, JoinRequest, PATIENCE, World, grant, join};

#[tokio::test]
async fn a_join_secret_is_good_once() {
    let world = World::new();
    let center = world.center("center");
    let token = center.new_token();
    join(center.address, &world.identity("first"), &token)
        .await
        .unwrap();
    let again = join(center.address, &world.identity("second"), &token).await;
    let Err(JoinError::Call(CallError::Refused(text))) = again else {
        panic!("{again:?}");
    };
    assert!(text.contains("used already"), "{text}");
}

#[tokio::test]
async fn a_joiner_tells_its_secret_to_nobody_but_the_authority_in_its_token() {
    let world = World::new();
    let (ours, theirs) = (world.center("ours"), world.center("theirs"));
    let joined = join(theirs.address, &world.identity("node"), &ours.new_token()).await;
    assert!(
        matches!(
            joined,
            Err(JoinError::Dial {
                source: DialError::Handshake(_),
                ..
            })
        ),
        "{joined:?}"
    );
    assert!(theirs.service.join_requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_node_that_poses_as_the_center_gets_no_secret_and_no_link() {
    let world = World::new();
    let center = world.center("center");
    let rogue = world.member("rogue", center.authority());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = LinkServer::bind(any, rogue.credentials()).unwrap();
    let address = server.local_address().unwrap();
    let stop = CancellationToken::new();
    world.tasks.spawn(server.run(Arc::new(Rogue), stop.clone()));

    let newcomer = world.identity("newcomer");
    let joined = join(address, &newcomer, &center.new_token()).await;
    assert!(matches!(joined, Err(JoinError::Dial { .. })), "{joined:?}");

    let member = world.member("member", center.authority());
    let dialled = world.dial(address, &member).await.map(drop);
    assert!(
        matches!(dialled, Err(DialError::Handshake(_))),
        "{dialled:?}"
    );
    stop.cancel();
}

#[tokio::test]
async fn a_certificate_of_another_authority_gets_no_link() {
    let world = World::new();
    let (ours, theirs) = (world.center("ours"), world.center("theirs"));
    let stranger = world.member("stranger", theirs.authority());
    // The stranger does not accept our center, so it has to be rude.
    let shown = connect(ours.address, Shows::Certificate(&stranger), &[alpn::LINK]).await;
    assert!(shown.was_refused().await);
    let dialled = world.dial(ours.address, &stranger).await.map(drop);
    assert!(
        matches!(dialled, Err(DialError::Handshake(_))),
        "{dialled:?}"
    );
    works(&world, &ours).await;
}

#[tokio::test]
async fn an_expired_certificate_gets_no_link_but_may_ask_for_a_new_one() {
    let world = World::new();
    let center = world.center("center");
    let identity = world.identity("node");
    let long_ago = SystemTime::now() - CERTIFICATE_LIFE - Duration::from_secs(60);
    grant(center.authority(), &identity, long_ago);
    let dialled = world.dial(center.address, &identity).await.map(drop);
    assert!(
        matches!(dialled, Err(DialError::Handshake(_))),
        "{dialled:?}"
    );

    let authority = identity.credentials().authority().unwrap();
    let secret = center.new_token().secret;
    let token = JoinToken { authority, secret };
    join(center.address, &identity, &token).await.unwrap();
    world.dial(center.address, &identity).await.unwrap();
}

#[tokio::test]
async fn nobody_links_without_a_certificate_or_with_an_unknown_protocol() {
    let world = World::new();
    let center = world.center("center");
    for protocols in [&[alpn::LINK][..], &[b"h3"], &[]] {
        let connection = connect(center.address, Shows::Nothing, protocols).await;
        assert!(connection.was_refused().await, "{protocols:?}");
    }
    let node = world.identity("not joined");
    assert!(world.dial(center.address, &node).await.is_err());
    works(&world, &center).await;
}

#[tokio::test]
async fn a_joiner_gets_one_request_and_no_more() {
    let world = World::new();
    let center = world.center("center");
    let stranger = connect(center.address, Shows::Nothing, &[alpn::JOIN]).await;
    let stranger = stranger.expect("anybody may ask to join");
    let (mut send, mut receive) = stranger.open_bi().await.unwrap();
    send.write_all(&frame(1, 7, b"garbage")).await.unwrap();
    send.finish().unwrap();
    let answer = receive.read_to_end(1000).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("not a request"));
    let (mut send, mut receive) = stranger.open_bi().await.unwrap();
    send.write_all(&frame(1, 7, b"another")).await.unwrap();
    send.finish().unwrap();
    let answer = receive.read_to_end(1000).await;
    assert!(answer.is_err(), "a second request was answered: {answer:?}");
    assert_eq!(center.service.join_requests.lock().unwrap().len(), 1);
    works(&world, &center).await;
}

#[tokio::test]
async fn too_long_and_broken_messages_end_that_link_alone() {
    let world = World::new();
    let center = world.center("center");
    let good = world.member("good", center.authority());
    let (good_link, _) = world.dial(center.address, &good).await.unwrap();
    let too_long = vec![0; mesh::link::MESSAGE_MAX + 1];
    let error = good_link.call(&too_long, PATIENCE).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { .. }), "{error}");

    let bad = world.member("bad", center.authority());
    for bytes in [
        frame(1, u32::MAX, b""),
        frame(1, 1024 * 1024 + 1, b"x"),
        frame(77, 1, b"x"),
        frame(1, 1, b"longer than it says"),
    ] {
        let connection = connect(center.address, Shows::Certificate(&bad), &[alpn::LINK]).await;
        let connection = connection.expect("its certificate is good");
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
        let closed = tokio::time::timeout(PATIENCE, connection.closed()).await;
        assert!(closed.is_ok(), "{bytes:?}");
    }

    // A request that is cut off is not handled, and harms nothing.
    let connection = connect(center.address, Shows::Certificate(&bad), &[alpn::LINK]).await;
    let connection = connection.expect("its certificate is good");
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&frame(1, 100, b"cut")).await.unwrap();
    send.finish().unwrap();
    assert_eq!(receive.read_to_end(100).await.unwrap(), b"");
    assert!(good_link.call(b"hello", PATIENCE).await.is_ok());
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody() {
    let world = World::new();
    let center = world.center("center");
    let identity = world.member("node", center.authority());
    let (link, _) = world.dial(center.address, &identity).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut random = 0x9e37_79b9_u32;
    for length in (0..1500).step_by(7) {
        let mut packet: Vec<u8> = Vec::with_capacity(length);
        packet.resize_with(length, || {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random.to_be_bytes()[0]
        });
        if let Some(first) = packet.first_mut() {
            *first |= 0xc0; // looks like the start of a connection
        }
        socket.send_to(&packet, center.address).await.unwrap();
    }
    assert!(link.call(b"hello", PATIENCE).await.is_ok());
    works(&world, &center).await;
}

/// The center still takes a newcomer.
async fn works(world: &World, center: &Center) {
    let identity = world.identity("works");
    join(center.address, &identity, &center.new_token())
        .await
        .unwrap();
    let (link, _) = world.dial(center.address, &identity).await.unwrap();
    assert!(link.call(b"hello", PATIENCE).await.is_ok());
    link.close("done");
    closes(&link).await;
}

fn frame(kind: u8, length: u32, message: &[u8]) -> Vec<u8> {
    [&[kind][..], &length.to_be_bytes(), message].concat()
}

struct Rogue;

impl Service for Rogue {
    async fn connected(&self, _link: Link) {
        panic!("nobody may link to a rogue");
    }

    async fn join(&self, _from: SocketAddr, request: bytes::Bytes) -> Result<bytes::Bytes, String> {
        let request: JoinRequest = serde_json::from_slice(&request).unwrap();
        panic!("a secret was told to a rogue: {}", request.secret);
    }
}

impl Handler for Rogue {
    async fn call(&self, _peer: &Peer, request: bytes::Bytes) -> Result<bytes::Bytes, String> {
        Ok(request)
    }

    async fn notice(&self, _peer: &Peer, _notice: bytes::Bytes) {}
}
