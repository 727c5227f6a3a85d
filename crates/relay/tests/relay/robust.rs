//! Strangers, nonsense, and terminals that vanish.

use std::sync::Arc;
use std::time::Duration;

use relay::publish::Place;
use tokio::net::UdpSocket;

use crate::harness::{Client, World, quic, said, soon, until};
use crate::media::{VIDEO, at};
use crate::road::{Quality, Road};

const NEAR: Quality = Quality {
    delay: Duration::from_millis(1),
    bytes_per_ms: None,
};

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_neither_stops_nor_panics_it() {
    let node = World::default().node(1);
    let screen = node.relay.publish("s/7/1/screen").unwrap();
    let mut video = screen.track("video", VIDEO).unwrap();
    screen.announce().unwrap();
    video.write(Place::NewGroup, at(0), "fine".into()).unwrap();

    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for size in 0..1_400 {
        socket
            .send_to(&noise.bytes(size), node.address)
            .await
            .unwrap();
    }
    // Well-formed QUIC that speaks nonsense in every protocol.
    for alpn in ["h3", "moq-lite-06", "moq-lite-05", "selvedge-relay/1"] {
        for round in 0..8_usize {
            let quic = quic(node.address, alpn).await;
            for stream in 0..4 {
                // The relay may close at any moment, and it is right.
                let payload = noise.bytes(1 + 97 * stream + 13 * round);
                if let Ok(mut uni) = quic.open_uni().await {
                    let _ = uni.write_all(&payload).await;
                    let _ = uni.finish();
                }
                if let Ok((mut bi, _)) = quic.open_bi().await {
                    let _ = bi.write_all(&payload).await;
                }
                let _ = quic.send_datagram(payload.into());
            }
        }
    }
    // A terminal with a grant that then speaks nonsense.
    for _ in 0..16 {
        let client = Client::raw(node.address, "/?token=7").await;
        let quic = client.quic.as_ref().unwrap();
        for kind in 0..8_u8 {
            if let Ok((mut bi, _)) = quic.open_bi().await {
                let _ = bi
                    .write_all(&[&[kind], &noise.bytes(60)[..]].concat())
                    .await;
                let _ = bi.finish();
            }
            if let Ok(mut uni) = quic.open_uni().await {
                let _ = uni
                    .write_all(&[&[kind % 2], &noise.bytes(60)[..]].concat())
                    .await;
                let _ = uni.finish();
            }
        }
    }

    let client = Client::web(node.address, "/?token=7").await.unwrap();
    let mut frames = client
        .subscribe("s/7/1/screen", "video", Duration::ZERO)
        .await;
    assert_eq!(soon("frame", frames.next()).await, Some((0, "fine".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_datagrams_is_sent_away() {
    let node = World::default().node(1);
    let mut tls = rustls_anybody();
    tls.alpn_protocols = vec![b"moq-lite-06".to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    let mut transport = quinn::TransportConfig::default();
    transport.datagram_receive_buffer_size(None);
    config.transport_config(Arc::new(transport));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint
        .connect_with(config, node.address, "localhost")
        .unwrap();
    let quic = soon("quic", connecting).await.unwrap();
    said("datagrams required", &quic).await;
}

fn rustls_anybody() -> rustls::ClientConfig {
    crate::harness::anybody_is_the_server().with_no_client_auth()
}

/// Thirty terminals go dark while a picture of 100 Mbit/s is sent to them.
#[tokio::test(flavor = "multi_thread")]
async fn terminals_that_vanish_cost_no_more_than_their_window() {
    const TERMINALS: usize = 30;
    let node = World::default().node(1);
    let screen = node.relay.publish("s/7/1/screen").unwrap();
    let mut video = screen.track("video", VIDEO).unwrap();
    screen.announce().unwrap();

    let mut dark = Vec::new();
    let mut kept = Vec::new();
    for _ in 0..TERMINALS {
        let road = Road::to(node.address, NEAR).await;
        let client = Client::raw(road.address, "/?token=7").await;
        kept.push((
            client
                .subscribe("s/7/1/screen", "video", Duration::ZERO)
                .await,
            client,
        ));
        dark.push(road);
    }
    let mut n = 0_u32;
    let mut show = async |pictures: u32| {
        for _ in 0..pictures {
            let place = [Place::SameGroup, Place::NewGroup][usize::from(n.is_multiple_of(20))];
            let picture = vec![n.to_le_bytes()[0]; 25_000];
            video.write(place, at(n), picture.into()).unwrap();
            n += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    show(40).await;
    let before = resident();
    for road in &dark {
        road.go_dark();
    }
    show(1_000).await;
    let grown = resident().saturating_sub(before);
    println!("{TERMINALS} dark terminals hold {} MiB", grown >> 20);
    // Each may hold its window of 1 MiB; the terminals' own ends live in this process too, and the
    // cache keeps two seconds of pictures.
    assert!(grown < 120 << 20, "grew by {} MiB", grown >> 20);
    drop(kept);
    until("forgotten", || node.relay.connections().is_empty()).await;
}

/// Memory of this process in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The same noise every time.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_le_bytes()[3]
        };
        std::iter::repeat_with(next).take(count).collect()
    }
}
