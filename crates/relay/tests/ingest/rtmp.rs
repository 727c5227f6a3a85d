//! RTMP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use relay::ingest::{Gateway, Limits, Reordered, rtmp};
use relay::media::{AudioCodec, Ended, VideoCodec, WarningKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Edge, KEY, Taken, Tool, X264, soon, source, words};

async fn serve(edge: &Edge) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = rtmp::serve(
        listener,
        edge.admit.clone(),
        edge.tracker.clone(),
        edge.stop.clone(),
    );
    edge.tracker.spawn(serving);
    address
}

fn publish(address: SocketAddr, seconds: u32, codecs: &str, path: &str) -> Tool {
    let to = words(&format!("-c:a aac {codecs} -f flv rtmp://{address}/{path}"));
    Tool::start(&[source(seconds), to])
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_publishes_pictures_and_sound() {
    let mut edge = Edge::new(Limits::default());
    let address = serve(&edge).await;
    let tool = publish(address, 3, X264, &format!("match/north/{KEY}"));
    let (asked, mut publication) = edge.next().await;
    assert_eq!(
        (asked.gateway, asked.event.as_str(), asked.camera.as_str()),
        (Gateway::Rtmp, "match", "north")
    );
    assert!(!format!("{asked:?}").contains(KEY));
    let taken = Taken::all(&mut publication).await;
    let said = tool.said().await;
    assert_eq!(taken.ended, Some(Ended::Done), "{said}");
    assert_eq!(taken.warnings, []);

    taken.check((320, 240), 25, 10);
    assert_eq!(taken.pictures.len(), 75);
    assert_eq!(taken.video.len(), 1);
    assert_eq!(taken.video[0].codec, VideoCodec::H264);
    assert!(taken.video[0].codec_string.starts_with("avc1."));
    for picture in &taken.pictures {
        let kind = picture.data[4] & 0x1f;
        assert!(picture.data.starts_with(&[0, 0, 0, 1]));
        assert_eq!(kind == 7, picture.keyframe, "parameter sets before each");
    }
    assert_eq!(taken.audio.len(), 1);
    let audio = &taken.audio[0];
    assert_eq!(
        (audio.codec, audio.sample_rate, audio.channels),
        (AudioCodec::Aac, 48_000, 2)
    );
    assert_eq!(audio.description[..2], [0x11, 0x90]);
    assert!(
        (138..=145).contains(&taken.sounds.len()),
        "{}",
        taken.sounds.len()
    );
    let apart = taken.pictures[0]
        .timestamp
        .abs_diff(taken.sounds[0].timestamp);
    assert!(apart < Duration::from_millis(45), "{apart:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_wrong_key_reads_so() {
    let edge = Edge::new(Limits::default());
    let address = serve(&edge).await;
    for (path, words) in [
        ("match/north/guessed", "the stream key is wrong"),
        ("other/north/s3cret", "there is no such event"),
        ("live/Camera1", "`live/Camera1` names no camera: publish to"),
    ] {
        let said = publish(address, 20, X264, path).said().await;
        assert!(said.contains(words), "{path}: {said}");
    }
}

/// Publishes what is not wanted; answers what its user reads, and what came.
async fn unwanted(limits: Limits, codecs: &str) -> (String, Taken) {
    let mut edge = Edge::new(limits);
    let address = serve(&edge).await;
    let tool = publish(address, 20, codecs, &format!("match/north/{KEY}"));
    let taken = async {
        let (_, mut publication) = edge.next().await;
        Taken::all(&mut publication).await
    };
    let (said, taken) = tokio::join!(tool.said(), taken);
    let Some(Ended::Refused(words)) = &taken.ended else {
        panic!("{:?}: {said}", taken.ended);
    };
    assert!(said.contains(words), "{words} is not in: {said}");
    (said, taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn long_groups_are_refused_in_words() {
    let codecs = X264.replace("-g 10", "-g 500");
    let (said, taken) = unwanted(Limits::default(), &codecs).await;
    assert!(
        said.contains("keyframes are 2.2 s apart, at most 2 s is taken"),
        "{said}"
    );
    assert!(taken.pictures.len() >= 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn reordered_pictures_are_refused_in_words() {
    let codecs = "-pix_fmt yuv420p -c:v libx264 -preset veryfast -g 25 -bf 2";
    let (said, _) = unwanted(Limits::default(), codecs).await;
    assert!(
        said.contains("B-frames") && said.contains("-bf 0"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_codecs_are_refused_in_words() {
    let (said, _) = unwanted(Limits::default(), "-c:v flv1 -c:a aac").await;
    assert!(
        said.contains("H.263") && said.contains("send H.264"),
        "{said}"
    );
    let codecs = format!("{X264} -c:a libmp3lame");
    let (said, _) = unwanted(Limits::default(), &codecs).await;
    assert!(
        said.contains("sound as MP3 is not taken: send Opus or AAC"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_good_is_told_and_taken() {
    let limits = Limits {
        reordered: Reordered::Taken,
        group_max: Duration::from_secs(4),
        ..Limits::default()
    };
    let mut edge = Edge::new(limits);
    let address = serve(&edge).await;
    let codecs = "-pix_fmt yuv420p -c:v libx264 -preset veryfast -g 50 -bf 2 -an";
    let tool = publish(address, 5, codecs, &format!("match/north/{KEY}"));
    let (_, mut publication) = edge.next().await;
    let taken = Taken::all(&mut publication).await;
    assert_eq!(taken.ended, Some(Ended::Done), "{}", tool.said().await);
    let mut kinds: Vec<WarningKind> = taken.warnings.iter().map(|it| it.kind).collect();
    kinds.sort();
    assert_eq!(kinds, [WarningKind::LongGroup, WarningKind::Reordered]);
    assert_eq!(taken.pictures.len(), 125);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_nobody_takes_ends_in_words() {
    let mut edge = Edge::new(Limits::default());
    let address = serve(&edge).await;
    let tool = publish(address, 60, X264, &format!("match/north/{KEY}"));
    let (_, mut publication) = edge.next().await;
    soon("a picture", publication.next()).await;
    drop(publication);
    let said = tool.said().await;
    assert!(said.contains("this camera is no longer taken"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_sent_away() {
    let edge = Edge::new(Limits::default());
    let address = serve(&edge).await;
    // Another protocol, and a greeting that is followed by nonsense.
    let nonsense = [&[3][..], &[0; 3_072], &[0xc9; 500]].concat();
    let giant = [
        &[3][..],
        &[0; 3_072],
        &[3, 0, 0, 0, 255, 255, 255, 20, 0, 0, 0, 0],
    ]
    .concat();
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), nonsense, giant] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        // Closed or reset: either way it is over.
        let _ = soon("the end", stream.read_to_end(&mut answer)).await;
        assert!(answer.len() <= 3_073, "{} bytes", answer.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dawdles_is_sent_away() {
    let edge = Edge::new(Limits::default());
    let address = serve(&edge).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let began = Instant::now();
    let (mut read, mut write) = stream.into_split();
    let dawdle = async {
        write.write_all(&[3]).await?;
        loop {
            write.write_all(&[0]).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut answer = Vec::new();
    let ended: std::io::Result<()> = tokio::select! {
        ended = dawdle => ended,
        _ = read.read_to_end(&mut answer) => Ok(()),
    };
    assert!(began.elapsed() < Duration::from_secs(30), "{ended:?}");
}
