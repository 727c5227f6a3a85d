//! SRT.

use std::net::SocketAddr;
use std::time::Duration;

use relay::ingest::srt::{Srt, SrtConfig};
use relay::ingest::{Gateway, Limits};
use relay::media::{AudioCodec, Ended};
use tokio::net::UdpSocket;

use crate::harness::{Edge, KEY, Taken, Tool, X264, soon, source, words};

async fn serve(edge: &Edge, config: SrtConfig) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (admit, tracker, stop) = (edge.admit.clone(), edge.tracker.clone(), edge.stop.clone());
    let srt = Srt::new(socket, config, admit, tracker, stop).unwrap();
    edge.tracker.spawn(srt.run());
    address
}

fn publish(to: SocketAddr, seconds: u32, codecs: &str, query: &str) -> Tool {
    let to = words(&format!("{codecs} -f mpegts srt://{to}?{query}"));
    Tool::start(&[source(seconds), to])
}

fn check(taken: &Taken) {
    assert_eq!(taken.ended, Some(Ended::Done));
    assert_eq!(taken.lost, 0);
    taken.check((320, 240), 25, 10);
    // The last picture is whole only when it is known that no more comes.
    assert!(
        (74..=75).contains(&taken.pictures.len()),
        "{}",
        taken.pictures.len()
    );
    let apart = taken.pictures[0]
        .timestamp
        .abs_diff(taken.sounds[0].timestamp);
    assert!(apart < Duration::from_millis(45), "{apart:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_publishes_pictures_and_sound() {
    let mut edge = Edge::new(Limits::default());
    let address = serve(&edge, SrtConfig::default()).await;
    for (audio, codec, id) in [
        ("aac", AudioCodec::Aac, "publish:match/north:s3cret"),
        (
            "libopus",
            AudioCodec::Opus,
            "#!::r=match/north,m=publish,key=s3cret",
        ),
        (
            "aac",
            AudioCodec::Aac,
            "%23!::r%3Dmatch/north%2Ckey%3Ds3cret",
        ),
    ] {
        let codecs = format!("{X264} -c:a {audio}");
        let mut said = Box::pin(publish(address, 3, &codecs, &format!("streamid={id}")).said());
        let (asked, mut publication) = tokio::select! {
            next = edge.next() => next,
            said = &mut said => panic!("{id}: {said}"),
        };
        assert_eq!(
            (asked.gateway, asked.camera.as_str()),
            (Gateway::Srt, "north")
        );
        let (taken, _) = tokio::join!(Taken::all(&mut publication), said);
        check(&taken);
        assert_eq!(taken.audio[0].codec, codec);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_wrong_key_gets_a_number() {
    let edge = Edge::new(Limits::default());
    let address = serve(&edge, SrtConfig::default()).await;
    for (query, number) in [
        ("streamid=publish:match/north:guessed", "403"),
        ("streamid=publish:nowhere", "400"),
        ("streamid=read:match/north:s3cret", "400"),
        ("mode=caller", "400"),
    ] {
        let said = publish(address, 20, X264, query).said().await;
        assert!(
            said.contains("srt://") && said.contains("Input/output error"),
            "{said}"
        );
        assert!(
            said.contains(number) || said.to_lowercase().contains("reject"),
            "{query}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_must_be_the_same() {
    let mut edge = Edge::new(Limits::default());
    let passphrase = Some("correct horse battery".replace(' ', "-"));
    let config = SrtConfig {
        passphrase,
        ..SrtConfig::default()
    };
    let address = serve(&edge, config).await;
    let id = format!("streamid=publish:match/north:{KEY}");
    let codecs = format!("{X264} -c:a aac");
    let right = format!("{id}&passphrase=correct-horse-battery");
    let tool = publish(address, 3, &codecs, &right);
    let (_, mut publication) = edge.next().await;
    let taken = Taken::all(&mut publication).await;
    assert_eq!(taken.ended, Some(Ended::Done), "{}", tool.said().await);
    check(&taken);
    for wrong in [id.clone(), format!("{id}&passphrase=another-horse-battery")] {
        let said = publish(address, 20, &codecs, &wrong).said().await;
        assert!(said.contains("Input/output error"), "{wrong}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_ends() {
    let mut edge = Edge::new(Limits::default());
    let address = serve(&edge, SrtConfig::default()).await;
    let codecs = X264.replace("-g 10", "-g 500") + " -c:a aac";
    let tool = publish(
        address,
        60,
        &codecs,
        &format!("streamid=publish:match/north:{KEY}"),
    );
    let (_, mut publication) = edge.next().await;
    let taken = Taken::all(&mut publication).await;
    let Some(Ended::Refused(words)) = taken.ended else {
        panic!("{:?}", taken.ended);
    };
    assert!(words.contains("keyframes are 2.2 s apart"), "{words}");
    soon("the tool notices", tool.said()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_harms_nobody() {
    let mut edge = Edge::new(Limits::default());
    let address = serve(&edge, SrtConfig::default()).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for n in 0..2_000_u32 {
        let byte = n.to_le_bytes()[0];
        let length = n as usize % 1_500;
        stranger
            .send_to(&vec![byte; length], address)
            .await
            .unwrap();
    }
    let codecs = format!("{X264} -c:a aac");
    let tool = publish(
        address,
        3,
        &codecs,
        &format!("streamid=publish:match/north:{KEY}"),
    );
    let (_, mut publication) = edge.next().await;
    let taken = Taken::all(&mut publication).await;
    assert_eq!(taken.ended, Some(Ended::Done), "{}", tool.said().await);
}
