//! Strangers, nonsense, and terminals that vanish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use relay::publish::Place;
use tokio::net::UdpSocket;
use tokio_util::task::TaskTracker;

use crate::harness::{Client, World, quic, said, soon, until};
use crate::media::{VIDEO, at};

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
        let (address, cut) = cuttable(node.address).await;
        let client = Client::raw(address, "/?token=7").await;
        kept.push((
            client
                .subscribe("s/7/1/screen", "video", Duration::ZERO)
                .await,
            client,
        ));
        dark.push(cut);
    }
    let picture = Bytes::from(vec![3; 25_000]);
    let mut n = 0;
    let mut show = async |pictures: u32| {
        for _ in 0..pictures {
            let place = [Place::SameGroup, Place::NewGroup][usize::from(n % 20 == 0)];
            video.write(place, at(n), picture.clone()).unwrap();
            n += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    show(40).await;
    let before = resident();
    for cut in &dark {
        cut.store(true, Ordering::Relaxed);
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

/// A way to an address that can go dark.
async fn cuttable(to: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    far.connect(to).await.unwrap();
    let address = near.local_addr().unwrap();
    let cut = Arc::new(AtomicBool::new(false));
    let tasks = TaskTracker::new();
    let (dark, n, f) = (cut.clone(), near.clone(), far.clone());
    tasks.spawn(async move {
        let mut buffer = vec![0; 65_536];
        let mut terminal = None;
        loop {
            let mut answer = vec![0; 65_536];
            tokio::select! {
                Ok((size, from)) = n.recv_from(&mut buffer) => {
                    terminal = Some(from);
                    if !dark.load(Ordering::Relaxed) {
                        let _ = f.send(&buffer[..size]).await;
                    }
                }
                Ok(size) = f.recv(&mut answer) => {
                    if let Some(terminal) = terminal && !dark.load(Ordering::Relaxed) {
                        let _ = n.send_to(&answer[..size], terminal).await;
                    }
                }
                else => {}
            }
        }
    });
    (address, cut)
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
