//! `selvedge live publish`: what ffmpeg writes becomes a camera that others watch.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use api::ErrorCode;
use api::live::{CreateStreamKey, LiveView, PublishCamera, WatchEvent, publish_path};
use lab::viewer::{Decoder, View, Viewer};
use model::{AppName, CameraName, Terminal};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::cloud::{Cloud, TWO_SITES, at};
use crate::support::stranger::Stranger;
use crate::support::{processes, soon, until};

const EVENT: &str = "
name = 'pitch'
kind = 'live'
[access]
public = true
[ingest]
video = ['h264']
[[cameras]]
name = 'north'
position = [0, 20, 3]
[[cameras]]
name = 'south'
position = [0, -20, 3]
";

/// Once a second for 80 ms: white, and a tone.
const FLASH_AND_CLICK: [&str; 2] = [
    "color=black:size=320x240:rate=25,drawbox=color=white:t=fill:enable=lt(mod(t\\,1)\\,0.08)",
    "aevalsrc=if(lt(mod(t\\,1)\\,0.08)\\,0.8*sin(2*PI*1000*t)\\,0):s=48000",
];

const TS: &[&str] = &["-c:a", "aac", "-f", "mpegts"];

const MP4: &[&str] = &[
    "-c:a",
    "aac",
    "-f",
    "mp4",
    "-movflags",
    "+frag_every_frame+delay_moov+default_base_moof",
];

const X264: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
];

/// ffmpeg, and `selvedge live publish` behind it.
struct Camera {
    tool: Child,
    publisher: Child,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Camera {
    fn start(cloud: &Cloud, camera: &str, key: &str, codec: &[&str], container: &[&str]) -> Self {
        let mut tool = Command::new("ffmpeg");
        tool.args(["-hide_banner", "-loglevel", "error", "-re"])
            .args(["-f", "lavfi", "-i", FLASH_AND_CLICK[0]])
            .args(["-re", "-f", "lavfi", "-i", FLASH_AND_CLICK[1], "-ac", "2"])
            .args(codec)
            .args(["-g", "10", "-pix_fmt", "yuv420p"])
            .args(container)
            .arg("pipe:1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut tool = tool.spawn().unwrap();
        let mut publisher =
            cloud.command(&["live", "publish", camera, "--json", "--place", "berlin"]);
        publisher
            .env("SELVEDGE_STREAM_KEY", key)
            .stdin(tool.stdout.take().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut publisher = publisher.spawn().unwrap();
        Self {
            stdout: publisher.stdout.take(),
            stderr: publisher.stderr.take(),
            tool,
            publisher,
        }
    }

    /// Waits until it ends by itself, and returns how, its events and its words.
    async fn ended(&mut self, what: &str) -> (ExitStatus, Vec<Value>, String) {
        let (mut stdout, mut stderr) = (self.stdout.take().unwrap(), self.stderr.take().unwrap());
        let reading = tokio::task::spawn_blocking(move || {
            let (mut events, mut words) = (String::new(), String::new());
            stdout.read_to_string(&mut events).unwrap();
            stderr.read_to_string(&mut words).unwrap();
            (events, words)
        });
        let (events, words) = soon(what, reading).await.unwrap();
        let events = events.lines().map(|it| serde_json::from_str(it).unwrap());
        (self.publisher.wait().unwrap(), events.collect(), words)
    }

    /// The recording is over, or the cable is out.
    fn unplug(&mut self) {
        let _ = self.tool.kill();
        let _ = self.tool.wait();
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.unplug();
        let _ = self.publisher.kill();
        let _ = self.publisher.wait();
    }
}

async fn event(cloud: &Cloud) -> (AppName, String) {
    let event = cloud.deploy(EVENT.to_owned()).await;
    let create = CreateStreamKey::default();
    let made = cloud.client.create_stream_key(&event, &create).await;
    (event, made.unwrap().key)
}

async fn on_air(cloud: &Cloud, event: &AppName, is: impl Fn(&LiveView) -> bool) {
    until("the cameras are as they should be", async || {
        let view = cloud.client.live(event).await.ok()?;
        is(&view).then_some(())
    })
    .await;
}

fn runs(view: &LiveView, camera: usize) -> bool {
    let status = view.cameras[camera].status.as_ref();
    status.is_some_and(|it| it.protocol == "MoQ" && it.frames_per_second > 15.0)
}

async fn viewer(cloud: &Cloud, event: &AppName, city: &str) -> Viewer {
    let watch = WatchEvent {
        terminal: at(city),
        lost_entry: None,
    };
    let ticket = cloud.client.watch(event, &watch).await.unwrap();
    soon("a way in", Viewer::connect(&ticket, None))
        .await
        .unwrap()
}

async fn watch(viewer: &Viewer, camera: &str, track: &str) -> View {
    let camera: CameraName = camera.parse().unwrap();
    let view = viewer.watch(&camera, track, Duration::from_secs(5));
    soon(track, view).await.unwrap()
}

/// When the picture turns white, so many times.
async fn flashes(view: &mut View, count: usize) -> Vec<Duration> {
    let mut decoder = Decoder::open().unwrap();
    let (mut flashes, mut was_white, mut begun) = (Vec::new(), true, false);
    while flashes.len() < count {
        let arrived = soon("a picture", view.next()).await.expect("it goes on");
        let (header, data) = arrived.picture().unwrap();
        if !begun && !header.keyframe {
            continue;
        }
        begun = true;
        let picture = decoder.decode(data).unwrap().unwrap();
        let [luma, ..] = picture.planes();
        let white = luma[luma.len() / 2] > 128;
        if white && !was_white {
            flashes.push(arrived.timestamp);
        }
        was_white = white;
    }
    flashes
}

/// When the tone begins, so many times.
async fn clicks(view: &mut View, count: usize) -> Vec<Duration> {
    let mut packets = Vec::new();
    let mut stream = Vec::new();
    let wanted = Duration::from_secs(count as u64 + 1);
    loop {
        let arrived = soon("sound", view.next()).await.expect("it goes on");
        let first = packets.first().copied().unwrap_or(arrived.timestamp);
        if arrived.timestamp > first + wanted {
            break;
        }
        packets.push(arrived.timestamp);
        // AAC LC, 48 kHz, stereo, as a file of its own would have it.
        let length = (arrived.payload.len() + 7) << 5;
        let [high, middle, low] = [16, 8, 0].map(|by| (length >> by).to_le_bytes()[0]);
        stream.extend([0xff, 0xf1, 0x4c, 0x80 | high, middle, low | 0x1f, 0xfc]);
        stream.extend_from_slice(&arrived.payload);
    }
    let decoding = tokio::task::spawn_blocking(move || decoded(&stream));
    let samples = soon("decoded sound", decoding).await.unwrap();
    let mut found: Vec<usize> = Vec::new();
    for (at, sample) in samples.iter().enumerate() {
        if sample.unsigned_abs() > 6_000 && found.last().is_none_or(|last| at - last > 24_000) {
            found.push(at);
        }
    }
    let when = |at: usize| {
        let within = u64::try_from(at % 1_024).unwrap();
        packets[at / 1_024] + Duration::from_micros(within * 1_000_000 / 48_000)
    };
    found.into_iter().map(when).collect()
}

fn decoded(aac: &[u8]) -> Vec<i16> {
    let mut tool = Command::new("ffmpeg")
        .args([
            "-hide_banner",
            "-loglevel",
            "error",
            "-f",
            "aac",
            "-i",
            "pipe:0",
        ])
        .args(["-f", "s16le", "-ac", "1", "-ar", "48000", "pipe:1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = tool.stdin.take().unwrap();
    let aac = aac.to_vec();
    let writing = std::thread::spawn(move || input.write_all(&aac));
    let output = tool.wait_with_output().unwrap().stdout;
    writing.join().unwrap().unwrap();
    let samples = output.chunks_exact(2);
    samples
        .map(|it| i16::from_le_bytes([it[0], it[1]]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tool_writes_is_watched_from_afar_with_its_sound_in_step() {
    let cloud = Cloud::start(TWO_SITES, &[]).await;
    let (event, key) = event(&cloud).await;
    let _north = Camera::start(&cloud, "pitch/north", &key, X264, TS);
    let _south = Camera::start(&cloud, "pitch/south", &key, X264, MP4);
    on_air(&cloud, &event, |it| runs(it, 0) && runs(it, 1)).await;
    let view = cloud.client.live(&event).await.unwrap();
    assert_eq!(view.cameras[0].site, Some("frankfurt".parse().unwrap()));

    let far = viewer(&cloud, &event, "tokyo").await;
    for camera in ["north", "south"] {
        let mut pictures = watch(&far, camera, "video").await;
        let mut sound = watch(&far, camera, "audio").await;
        let (flashes, clicks) = tokio::join!(flashes(&mut pictures, 4), clicks(&mut sound, 5));
        let apart = flashes.iter().filter_map(|flash| {
            let apart = clicks
                .iter()
                .map(|click| click.as_secs_f64() - flash.as_secs_f64());
            apart.min_by(|a, b| a.abs().total_cmp(&b.abs()))
        });
        let apart: Vec<f64> = apart.map(|it| (it * 1e3).round()).collect();
        println!("{camera}: clicks are {apart:?} ms behind their flashes");
        // The first flash may have been before the first sound.
        let good = apart.iter().filter(|it| it.abs() <= 45.0).count();
        assert!(good >= 3, "{flashes:?} {clicks:?}");
    }
    far.close().await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_go_on_is_told_why() {
    let cloud = Cloud::start(TWO_SITES, &[]).await;
    let (event, key) = event(&cloud).await;
    let refused = async |camera: &str, key: &str, codec: &[&str], container: &[&str]| {
        let mut camera = Camera::start(&cloud, camera, key, codec, container);
        let (status, _, said) = camera.ended("a refusal").await;
        (status.code().unwrap(), said)
    };
    let (code, said) = refused("pitch/north", "guess", X264, TS).await;
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains("the stream key is not good for pitch/north"),
        "{said}"
    );
    assert!(
        said.contains("hint: `selvedge live key create pitch`"),
        "{said}"
    );
    assert!(!said.contains("guess"), "{said}");
    let (code, said) = refused("pitch/west", &key, X264, TS).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("it has north, south"), "{said}");
    let vp9 = [
        "-c:v",
        "libvpx-vp9",
        "-deadline",
        "realtime",
        "-cpu-used",
        "8",
    ];
    let (code, said) = refused("pitch/north", &key, &vp9, MP4).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("VP9 is not taken: send H.264"), "{said}");
    let (code, said) = refused("pitch/north", &key, X264, &["-an", "-f", "matroska"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("Matroska"), "{said}");
    assert!(!said.contains(&key), "{said}");

    // Whoever comes second takes over, and the first does not fight.
    let mut first = Camera::start(&cloud, "pitch/north", &key, X264, TS);
    on_air(&cloud, &event, |it| runs(it, 0)).await;
    let mut second = Camera::start(&cloud, "pitch/north", &key, X264, TS);
    let (status, events, said) = first.ended("being taken over").await;
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("another publisher took over"), "{said}");
    assert!(
        events.iter().any(|it| it["event"] == "on_air"),
        "{events:?}"
    );
    on_air(&cloud, &event, |it| runs(it, 0)).await;

    let keys = cloud.client.stream_keys(&event).await.unwrap().items;
    let revoked = cloud.client.revoke_stream_key(&event, &keys[0].id);
    revoked.await.unwrap();
    let (status, _, said) = second.ended("its key's end").await;
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("the stream key was taken back"), "{said}");
    on_air(&cloud, &event, |it| it.cameras[0].status.is_none()).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_dies_is_left_for_another_and_the_end_of_the_input_is_an_end() {
    let cloud = Cloud::start(TWO_SITES, &["--no-restart"]).await;
    let (event, key) = event(&cloud).await;
    let mut north = Camera::start(&cloud, "pitch/north", &key, X264, TS);
    on_air(&cloud, &event, |it| runs(it, 0)).await;
    let far = viewer(&cloud, &event, "tokyo").await;
    let mut pictures = watch(&far, "north", "video").await;
    assert!(soon("a picture", pictures.next()).await.is_some());

    processes::signal(cloud.site("frankfurt").pid, Signal::KILL);
    let shanghai = Some("shanghai".parse().unwrap());
    on_air(&cloud, &event, |it| {
        runs(it, 0) && it.cameras[0].site == shanghai
    })
    .await;
    let mut pictures = watch(&far, "north", "video").await;
    let mut seen = 0;
    while seen < 10 {
        match soon("pictures again", pictures.next()).await {
            Some(_) => seen += 1,
            // The broadcast of before, whose end came late.
            None => pictures = watch(&far, "north", "video").await,
        }
    }

    north.unplug();
    let (status, events, said) = north.ended("its end").await;
    assert_eq!(status.code(), Some(0), "{said}");
    let of = |kind: &str| events.iter().filter(|it| it["event"] == kind).count();
    assert_eq!(of("on_air"), 2, "{events:?}");
    assert!(of("lost") >= 1 && of("progress") >= 2, "{events:?}");
    assert_eq!(
        events.iter().filter(|it| it["site"] == "shanghai").count(),
        1
    );
    on_air(&cloud, &event, |it| it.cameras[0].status.is_none()).await;
}

/// A key that is good for one camera opens that one by its own name, and shows nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_gets_one_camera_and_sees_none() {
    let cloud = Cloud::start(&["frankfurt"], &[]).await;
    let (event, key) = event(&cloud).await;
    let _north = Camera::start(&cloud, "pitch/north", &key, X264, TS);
    on_air(&cloud, &event, |it| runs(it, 0)).await;
    let only_south = CreateStreamKey {
        camera: Some("south".parse().unwrap()),
        ..CreateStreamKey::default()
    };
    let south = cloud.client.create_stream_key(&event, &only_south).await;
    let south = south.unwrap().key;
    let ask = |camera: &str| PublishCamera {
        camera: camera.parse().unwrap(),
        terminal: Terminal::default(),
        site: None,
        lost_entry: None,
    };
    let client = cloud.client.with_token(&*south);
    let error = client.publish(&event, &ask("north")).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthorized));
    let way = client.publish(&event, &ask("south")).await.unwrap();

    let south_name: CameraName = "south".parse().unwrap();
    let path = publish_path(&event, &south_name, &south);
    let stranger = Stranger::enter_by(&way.entry.address, &path).await;
    let _claim = stranger.claim("live/pitch/north", "video");
    assert!(
        stranger.cannot_see("live/pitch/north").await,
        "a publisher saw a camera"
    );
    // What it claims replaces nothing.
    let near = viewer(&cloud, &event, "berlin").await;
    let mut pictures = watch(&near, "north", "video").await;
    flashes(&mut pictures, 1).await;
    near.close().await;
    cloud.end().await;
}
