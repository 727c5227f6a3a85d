//! Datagrams of those who were never let in, and offers that are none.

use relay::webrtc::{NotTaken, OFFER_MAX, Told};
use str0m::media::Direction;
use tokio::net::UdpSocket;

use crate::native::Native;
use crate::{Node, soon};

#[tokio::test]
async fn a_flood_of_nonsense_reaches_nobody_and_stops_nobody() {
    let node = Node::start().await;
    let mut native = Native::new(Direction::RecvOnly).await;
    let played = node.webrtc.play(&native.offer, node.address, String::new());
    let (answer, mut player) = played.unwrap();
    let name = answer
        .sdp
        .lines()
        .find_map(|it| it.strip_prefix("a=ice-ufrag:"));
    let name = format!("{}:x", name.unwrap());
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // A request with the right name, which is no secret, and without the password, which is one.
    let length = u8::try_from(name.len()).unwrap();
    let mut forged = vec![0, 1, 0, length + 4, 0x21, 0x12, 0xa4, 0x42];
    forged.extend([9; 12]);
    forged.extend([0, 6, 0, length]);
    forged.extend(name.bytes());
    forged.resize(forged.len().next_multiple_of(4), 0);
    for n in 0_u32..3_000 {
        let kind = (n % 251) as u8;
        stranger.send_to(&[kind; 100], node.address).await.unwrap();
        stranger.send_to(&forged, node.address).await.unwrap();
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    native.accept(&answer.sdp);
    let connects =
        async { while player.next().await.expect("it is not over") != Told::Connected {} };
    let both = async {
        tokio::select! {
            () = connects => {}
            () = async { loop { native.connected().await } } => {}
        }
    };
    soon("the viewer gets in beside it", both).await;
    let mut buffer = [0; 100];
    assert!(
        stranger.try_recv(&mut buffer).is_err(),
        "nobody answers a stranger"
    );
    player.close();
    assert_eq!(node.webrtc.labels(), [""; 0]);
    node.stop().await;
}

#[tokio::test]
async fn offers_that_are_none_are_refused() {
    let node = Node::start().await;
    let native = Native::new(Direction::RecvOnly).await;
    let good = &native.offer;
    let mut offers: Vec<String> = (0..good.len())
        .step_by(97)
        .map(|it| good[..it].to_owned())
        .collect();
    offers.push(good.replace("a=fingerprint", "a=nothing"));
    offers.push(
        good.replace("H264", "H999")
            .replace("VP", "XX")
            .replace("AV1", "XX"),
    );
    offers.push(format!("{good}{}", "a=x\r\n".repeat(OFFER_MAX / 5)));
    for offer in &offers {
        if let Ok((_, player)) = node.webrtc.play(offer, node.address, String::new()) {
            player.close();
        }
    }
    let long = node
        .webrtc
        .play(offers.last().unwrap(), node.address, String::new());
    assert!(matches!(long, Err(NotTaken::Malformed(_))));
    assert_eq!(node.webrtc.labels(), [""; 0], "nothing is left of them");
    node.stop().await;
}
