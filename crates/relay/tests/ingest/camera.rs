//! From ffmpeg to a subscriber: groups, headers, wall time, and whether sound stays with the picture.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use logic::mediaclock::Offset;
use model::picture::HEADER_LEN;
use relay::camera::{AUDIO_TRACK, Carry, INFO_TRACK, Told, VIDEO_TRACK};
use relay::ingest::srt::{Srt, SrtConfig};
use relay::ingest::{Limits, rtmp};
use relay::media::{Ended, Publication};
use relay::subscribe::{Frame, Preferences, Subscription};
use relay::{Authorize, Grant, Hop, NodePeer, Refusal, Relay, RelayConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::{Edge, KEY, Tool, X264, soon, words};

const PATH: &str = "live/match/north";

/// Once a second for 80 ms: white, and a tone.
const FLASH_AND_CLICK: &str = "-re -f lavfi -i \
    color=black:size=320x240:rate=25:duration=6,drawbox=color=white:t=fill:enable='lt(mod(t\\,1)\\,0.08)' \
    -re -f lavfi -i aevalsrc='if(lt(mod(t\\,1)\\,0.08)\\,0.8*sin(2*PI*1000*t)\\,0)':s=48000:d=6 -ac 2";

struct Nobody;

impl Authorize for Nobody {
    fn terminal(&self, _: &str, _: SocketAddr) -> Result<Grant, Refusal> {
        Err(Refusal("nobody".into()))
    }

    fn node(&self, _: &quinn::Connection) -> Result<NodePeer, Refusal> {
        Err(Refusal("nobody".into()))
    }
}

/// A relay that carries one camera.
struct Carried {
    relay: Relay,
    told: watch::Receiver<Told>,
    correction: watch::Sender<Offset>,
    ended: JoinHandle<Option<Ended>>,
}

fn carry(edge: &Edge, publication: Publication) -> Carried {
    let config = RelayConfig {
        hop: Hop::try_from(1).unwrap(),
        authorize: Arc::new(Nobody),
        connections_max: 1,
    };
    let relay = Relay::new(config, edge.tracker.clone(), edge.stop.clone());
    let broadcast = relay.publish(PATH).unwrap();
    let (told_tx, told) = watch::channel(Told::default());
    let (correction, correction_rx) = watch::channel(Offset::default());
    let carry = Carry {
        keep: Duration::from_secs(60),
        correction: correction_rx,
        told: told_tx,
        describe: Box::new(|told| {
            let size = told.video.as_ref().map(|it| (it.width, it.height));
            let sound = told.audio.as_ref().map(|it| it.sample_rate);
            format!("{size:?} {sound:?}").into()
        }),
    };
    let ended = edge
        .tracker
        .spawn(async move { carry.run(&broadcast, publication).await.unwrap() });
    Carried {
        relay,
        told,
        correction,
        ended,
    }
}

impl Carried {
    async fn subscribe(&self, track: &str) -> Subscription {
        let preferences = Preferences {
            priority: 0,
            max_age: Duration::from_secs(60),
        };
        soon(track, self.relay.subscribe(PATH, track, preferences))
            .await
            .unwrap()
    }
}

async fn all(mut track: Subscription) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = soon("frame", track.next()).await {
        frames.push(frame);
    }
    assert_eq!(track.skipped_groups(), 0);
    frames
}

async fn rtmp(edge: &Edge) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (admit, tracker, stop) = (edge.admit.clone(), edge.tracker.clone(), edge.stop.clone());
    edge.tracker
        .spawn(rtmp::serve(listener, admit, tracker, stop));
    format!("-f flv rtmp://{address}/match/north/{KEY}")
}

async fn srt(edge: &Edge) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (admit, tracker, stop) = (edge.admit.clone(), edge.tracker.clone(), edge.stop.clone());
    let srt = Srt::new(socket, SrtConfig::default(), admit, tracker, stop).unwrap();
    edge.tracker.spawn(srt.run());
    format!("-f mpegts srt://{address}?streamid=publish:match/north:{KEY}")
}

fn wall() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_stays_with_the_picture() {
    for gateway in ["RTMP", "SRT"] {
        let mut edge = Edge::new(Limits::default());
        let to = match gateway {
            "RTMP" => rtmp(&edge).await,
            _ => srt(&edge).await,
        };
        let how = format!("{X264} -c:a aac {to}");
        let tool = Tool::start(&[words(&FLASH_AND_CLICK.replace('\'', "")), words(&how)]);
        let (_, publication) = edge.next().await;
        let began = wall();
        let carried = carry(&edge, publication);
        let (video, audio) = tokio::join!(
            carried.subscribe(VIDEO_TRACK),
            carried.subscribe(AUDIO_TRACK)
        );
        let (video, audio) = tokio::join!(all(video), all(audio));
        let ended = carried.ended.await.unwrap();
        assert_eq!(ended, Some(Ended::Done), "{}", tool.said().await);

        check_video(&video, began);
        assert!(audio.windows(2).all(|it| {
            let step = it[1].timestamp.abs_diff(it[0].timestamp);
            step < Duration::from_millis(30)
        }));
        let flashes = flashes(&video).await;
        let clicks = clicks(&audio).await;
        let apart: Vec<i64> = flashes
            .iter()
            .filter_map(|flash| {
                let apart = clicks.iter().map(|click| {
                    let micros = |it: &Duration| i64::try_from(it.as_micros()).unwrap();
                    (micros(click) - micros(flash)) / 1_000
                });
                apart.min_by_key(|it| it.abs())
            })
            .collect();
        println!("{gateway}: clicks are {apart:?} ms behind their flashes");
        assert!(apart.len() >= 4, "{flashes:?} {clicks:?}");
        assert!(apart.iter().all(|it| it.abs() <= 45), "{apart:?}");
    }
}

fn check_video(video: &[Frame], began: Duration) {
    // Who subscribes begins with the newest group, so some may be over beside other load.
    assert!(video.len() >= 110, "{}", video.len());
    for frame in video {
        let keyframe = frame.payload[0] & 1 == 1;
        assert_eq!(
            keyframe,
            frame.index == 0,
            "a group starts with its keyframe"
        );
        assert_eq!(frame.payload[1], 1);
        let side = |at: usize| u16::from_le_bytes([frame.payload[at], frame.payload[at + 1]]);
        assert_eq!((side(2), side(4)), (320, 240));
        assert_eq!(frame.payload[HEADER_LEN..HEADER_LEN + 4], [0, 0, 0, 1]);
    }
    let first = video[0].timestamp;
    assert!(
        first.abs_diff(began) < Duration::from_secs(3),
        "{first:?} {began:?}"
    );
    let took = video.last().unwrap().timestamp - first;
    let pictures = u32::try_from(video.len() - 1).unwrap();
    let want = Duration::from_millis(40) * pictures;
    assert!(
        took.abs_diff(want) < Duration::from_millis(300),
        "{took:?}, not {want:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_knows_what_and_how() {
    let mut edge = Edge::new(Limits::default());
    let to = rtmp(&edge).await;
    let how = format!("{X264} -c:a aac {to}");
    let _tool = Tool::start(&[crate::harness::source(60), words(&how)]);
    let (_, publication) = edge.next().await;
    let mut carried = carry(&edge, publication);
    let mut info = carried.subscribe(INFO_TRACK).await;
    loop {
        let said = soon("info", info.next()).await.unwrap().unwrap();
        if said.payload == "Some((320, 240)) Some(48000)" {
            break;
        }
    }
    let good = carried.told.wait_for(|told| {
        let figures = &told.figures;
        let group = figures
            .group
            .map(|it| (it.pictures, it.length.as_millis() / 20));
        group == Some((10, 20)) && (22.0..28.0).contains(&figures.pictures_per_sec)
    });
    let told = soon("figures", good).await.unwrap().clone();
    assert!(
        told.figures.video.as_bps() > 20_000 && told.figures.audio.as_bps() > 5_000,
        "{told:?}"
    );
    assert!(
        told.figures
            .keyframe_age
            .is_some_and(|it| it < Duration::from_secs(1))
    );
    assert_eq!((told.figures.lost, told.clock.jumps), (0, 0));

    // A correction moves what follows.
    let mut video = carried.subscribe(VIDEO_TRACK).await;
    let before = soon("frame", video.next()).await.unwrap().unwrap();
    carried.correction.send_replace(Offset::micros(700_000));
    let mut last = before.timestamp;
    loop {
        let frame = soon("frame", video.next()).await.unwrap().unwrap();
        let step = frame.timestamp.saturating_sub(last);
        last = frame.timestamp;
        if step > Duration::from_millis(600) {
            assert!((720..760).contains(&step.as_millis()), "{step:?}");
            assert_eq!(frame.index, 0, "with the next group");
            break;
        }
    }
}

/// When the picture turns white.
async fn flashes(video: &[Frame]) -> Vec<Duration> {
    let pictures: Vec<u8> = video
        .iter()
        .flat_map(|it| it.payload[HEADER_LEN..].to_vec())
        .collect();
    let decoded = decode(
        &pictures,
        "-f h264 -i pipe:0 -vf scale=16:16 -fps_mode passthrough -f rawvideo -pix_fmt gray pipe:1",
    )
    .await;
    let means = decoded
        .chunks_exact(256)
        .map(|it| it.iter().map(|it| u32::from(*it)).sum::<u32>() / 256);
    let means: Vec<u32> = means.collect();
    assert_eq!(means.len(), video.len());
    let rises = (1..means.len()).filter(|at| means[*at] > 128 && means[at - 1] <= 128);
    rises.map(|at| video[at].timestamp).collect()
}

/// When the tone begins.
async fn clicks(audio: &[Frame]) -> Vec<Duration> {
    let mut stream = Vec::new();
    for frame in audio {
        let length = (frame.payload.len() + 7) << 5;
        let [high, middle, low] = [16, 8, 0].map(|by| (length >> by).to_le_bytes()[0]);
        stream.extend([0xff, 0xf1, 0x4c, 0x80 | high, middle, low | 0x1f, 0xfc]);
        stream.extend_from_slice(&frame.payload);
    }
    let decoded = decode(&stream, "-f aac -i pipe:0 -f s16le -ac 1 -ar 48000 pipe:1").await;
    let samples = decoded
        .chunks_exact(2)
        .map(|it| i16::from_le_bytes([it[0], it[1]]).unsigned_abs());
    let samples: Vec<u16> = samples.collect();
    assert_eq!(samples.len() / 1_024, audio.len());
    let mut found: Vec<usize> = Vec::new();
    for (at, sample) in samples.iter().enumerate() {
        if *sample > 6_000 && found.last().is_none_or(|last| at - last > 24_000) {
            found.push(at);
        }
    }
    let when = |at: usize| {
        let within = u64::try_from(at % 1_024).unwrap();
        audio[at / 1_024].timestamp + Duration::from_micros(within * 1_000_000 / 48_000)
    };
    found.into_iter().map(when).collect()
}

async fn decode(data: &[u8], how: &str) -> Vec<u8> {
    let mut tool = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error"])
        .args(words(how))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut input, mut output) = (tool.stdin.take().unwrap(), tool.stdout.take().unwrap());
    let mut decoded = Vec::new();
    let writing = async {
        input.write_all(data).await.unwrap();
        drop(input);
    };
    let both = async { tokio::join!(writing, output.read_to_end(&mut decoded)) };
    soon("decoder", both).await.1.unwrap();
    decoded
}
