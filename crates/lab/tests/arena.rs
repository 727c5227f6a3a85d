//! The event to try, as it comes out of real encoders and goes through a real ffmpeg.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::arena::{
    ArenaError, CameraState, Event, GOP_FRAMES, Live, Marker, Progress, Publisher, Settings,
    prepare,
};
use tokio::io::AsyncReadExt as _;

/// How long anything may take on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn cameras_agree_frame_by_frame_and_keyframe_by_keyframe() {
    let dir = tempfile::tempdir().unwrap();
    let settings = small(3, 8);
    let event = prepare(dir.path(), &settings, &mut go_on).unwrap();
    assert_eq!(event.cameras.len(), 3);
    for (index, camera) in event.cameras.iter().enumerate() {
        let path = event.dir.join(&camera.file);
        let markers = markers(&path);
        let wanted: Vec<Option<Marker>> = (0..settings.frames() as u16)
            .map(|frame| {
                let camera = index as u8;
                Some(Marker { frame, camera })
            })
            .collect();
        assert_eq!(markers, wanted, "{}", camera.name);

        let video = probe(
            &path,
            "v",
            "stream=codec_name,profile,has_b_frames,width,height",
        );
        assert_eq!(video, "h264,Constrained Baseline,320,180,0");
        let keys = probe(&path, "v", "packet=flags");
        let keys: Vec<usize> = keys
            .lines()
            .enumerate()
            .filter(|(_, flags)| flags.starts_with('K'))
            .map(|(index, _)| index)
            .collect();
        let wanted: Vec<usize> = (0..settings.frames() as usize)
            .step_by(GOP_FRAMES as usize)
            .collect();
        assert_eq!(keys, wanted, "keyframes");
        parameter_sets_come_with_each_keyframe(&path, wanted.len());

        let kbps = bytes_of(&path) * 8 / 1000 / u64::from(settings.seconds);
        assert!(
            (200..700).contains(&kbps),
            "{kbps} kbit/s, of 500 + 96 wanted"
        );
    }
}

#[test]
fn sound_is_as_long_as_the_pictures_and_clicks_each_second() {
    let dir = tempfile::tempdir().unwrap();
    let event = prepare(dir.path(), &small(1, 8), &mut go_on).unwrap();
    let path = event.dir.join(&event.cameras[0].file);
    // 8 s are 375 packets of 1,024 samples exactly: so it loops without a gap.
    let packets = probe(&path, "a", "packet=pts_time");
    assert_eq!(packets.lines().count(), 375);
    assert_eq!(packets.lines().next(), Some("0.000000"));
    let sound = output(&[
        "-i",
        text(&path),
        "-map",
        "0:a",
        "-ac",
        "1",
        "-f",
        "s16le",
        "-",
    ]);
    let samples: Vec<i16> = sound
        .chunks_exact(2)
        .map(|it| i16::from_le_bytes([it[0], it[1]]))
        .collect();
    // The first click needs the packet before it, which comes with the loop.
    for second in 1..8 {
        let (from, to) = (second * 48_000 - 24_000, second * 48_000 + 24_000);
        let nearby = &samples[from..to.min(samples.len())];
        let at = clearest(nearby);
        assert!(
            at.abs_diff(24_000) < 480,
            "click {second} is at {at}, 24000 wanted"
        );
    }
}

#[test]
fn what_is_there_is_kept_and_what_is_other_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let settings = small(2, 1);
    let mut calls = 0;
    let stopped = prepare(dir.path(), &settings, &mut |it: Progress| {
        calls += 1;
        // When one camera is ready: two are rendered at the same time, so a little later.
        match it.done >= 45 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    assert!(matches!(stopped, Err(ArenaError::Stopped)), "{stopped:?}");
    assert!(calls > 0);
    assert!(!dir.path().join("cam02.flv.part").exists());

    let event = prepare(dir.path(), &settings, &mut go_on).unwrap();
    let file = |it: usize| dir.path().join(&event.cameras[it].file);
    let first = std::fs::read(file(0)).unwrap();
    let made = std::fs::metadata(file(0)).unwrap().modified().unwrap();

    // All there: nothing is rendered.
    let mut told = Vec::new();
    prepare(dir.path(), &settings, &mut |it| {
        told.push(it);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(
        told,
        [Progress {
            done: 60,
            total: 60
        }]
    );
    assert_eq!(
        std::fs::metadata(file(0)).unwrap().modified().unwrap(),
        made
    );

    // One lost: only that one.
    std::fs::remove_file(file(0)).unwrap();
    let mut least = u32::MAX;
    prepare(dir.path(), &settings, &mut |it| {
        least = least.min(it.done);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(least, 31, "the other camera counts as done");
    assert!(
        std::fs::read(file(0)).unwrap() == first,
        "not the same file again"
    );

    // Others wanted: none of the old stay.
    let one = Settings {
        cameras: 1,
        ..settings
    };
    prepare(dir.path(), &one, &mut go_on).unwrap();
    assert!(!file(1).exists());
}

#[test]
fn settings_out_of_their_limits_are_refused() {
    let refused = |settings: Settings| {
        let planned = Event::plan(&settings);
        assert!(
            matches!(planned, Err(ArenaError::Settings(_))),
            "{settings:?}"
        );
    };
    let settings = Settings::default;
    refused(Settings {
        width: 321,
        ..settings()
    });
    refused(Settings {
        height: 90,
        ..settings()
    });
    refused(Settings {
        cameras: 0,
        ..settings()
    });
    refused(Settings {
        seconds: 0,
        ..settings()
    });
    refused(Settings {
        video_kbps: 0,
        ..settings()
    });
    let event = Event::plan(&settings()).unwrap();
    assert_eq!(event.cameras.len(), 12);
    let bearings: Vec<f32> = event
        .cameras
        .iter()
        .map(|it| it.bearing_degrees().round())
        .collect();
    assert_eq!(bearings[0], 270.0, "the main stand is in the south");
    assert_eq!(bearings[3], 0.0, "then comes the east goal");
}

/// Takes what ffmpeg sends by TCP instead of RTMP: it is the same FLV.
#[tokio::test(flavor = "multi_thread")]
async fn published_cameras_keep_their_clocks_over_the_end_of_the_loop_and_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let event = tokio::task::spawn_blocking(move || prepare(&path, &small(1, 2), &mut go_on))
        .await
        .unwrap()
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let publisher = Publisher::start(&event, |_| target.clone(), 7).unwrap();
    let offset = publisher.offset(0).unwrap();
    assert!(offset <= Duration::from_millis(120));

    let accept = async {
        let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
        accepted.expect("no ffmpeg came").unwrap().0
    };
    let times = keyframe_times(accept, 10).await;
    // Keyframes are 500 ms apart by the camera's clock, and the loop of 2 s ends without a seam.
    for time in &times {
        let within = (time + 500 - offset.as_millis() as u64) % 500;
        assert!(
            within <= 1 || within >= 499,
            "{time} with an offset of {offset:?}"
        );
    }
    for pair in times.windows(2) {
        assert_eq!((pair[1] - pair[0] + 5) / 10, 50, "{times:?}");
    }

    // The receiver hung up: the camera comes back, at the time it is by then.
    let mut state = publisher.state(0).unwrap();
    let accept = async {
        let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
        accepted.expect("it did not come back").unwrap().0
    };
    let again = keyframe_times(accept, 2).await;
    assert!(again[0] > times[9], "{again:?} after {times:?}");
    let within = (again[0] + 500 - offset.as_millis() as u64) % 500;
    assert!(
        within <= 1 || within >= 499,
        "{again:?} with an offset of {offset:?}"
    );

    publisher.set_live(0, Live::Off);
    let off = state.wait_for(|it| *it == CameraState::Off);
    tokio::time::timeout(PATIENCE, off).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, publisher.shutdown())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_is_refused_says_why_without_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let event = tokio::task::spawn_blocking(move || prepare(&path, &small(1, 1), &mut go_on))
        .await
        .unwrap()
        .unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let target = format!("rtmp://127.0.0.1:{port}/live/very-secret");
    let publisher = Publisher::start(&event, |_| target.clone(), 1).unwrap();
    let mut state = publisher.state(0).unwrap();
    let waits = state.wait_for(|it| matches!(it, CameraState::Waiting { .. }));
    let waits = tokio::time::timeout(PATIENCE, waits)
        .await
        .unwrap()
        .unwrap()
        .clone();
    let CameraState::Waiting { why } = waits else {
        panic!("{waits:?}");
    };
    assert!(why.contains("refused"), "{why}");
    assert!(!why.contains("very-secret"), "{why}");
    publisher.shutdown().await;
}

fn small(cameras: u32, seconds: u32) -> Settings {
    Settings {
        width: 320,
        height: 180,
        cameras,
        seconds,
        video_kbps: 500,
    }
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn markers(path: &Path) -> Vec<Option<Marker>> {
    let video = output(&[
        "-i",
        text(path),
        "-map",
        "0:v",
        "-pix_fmt",
        "gray",
        "-f",
        "rawvideo",
        "-",
    ]);
    let frames = video.chunks_exact(320 * 180);
    frames.map(|it| Marker::read(it, 320, 180)).collect()
}

/// Annex B has them before each IDR when a receiver may join there.
fn parameter_sets_come_with_each_keyframe(path: &Path, keyframes: usize) {
    let video = output(&[
        "-i",
        text(path),
        "-map",
        "0:v",
        "-c",
        "copy",
        "-bsf:v",
        "h264_mp4toannexb",
        "-f",
        "h264",
        "-",
    ]);
    let mut kinds = Vec::new();
    for start in video.windows(4).filter(|it| it[..3] == [0, 0, 1]) {
        kinds.push(start[3] & 31);
    }
    let count = |kind: u8| kinds.iter().filter(|it| **it == kind).count();
    assert!(
        count(7) >= keyframes && count(8) >= keyframes,
        "SPS {} PPS {}",
        count(7),
        count(8)
    );
    assert_eq!(count(5), keyframes, "IDR");
}

/// Where a click is: the greatest change from sample to sample, as the crowd has no highs.
fn clearest(samples: &[i16]) -> usize {
    let steps = samples.windows(2).enumerate();
    let steps = steps.map(|(at, it)| (i32::from(it[1]).abs_diff(i32::from(it[0])), at));
    steps.max().expect("there is sound").1
}

/// Milliseconds of the first keyframes of an FLV stream.
async fn keyframe_times(
    stream: impl Future<Output = tokio::net::TcpStream>,
    count: usize,
) -> Vec<u64> {
    let mut stream = stream.await;
    let mut times = Vec::new();
    let read = async {
        let mut head = [0; 13];
        stream.read_exact(&mut head).await.expect("it goes on");
        assert_eq!(&head[..3], b"FLV");
        while times.len() < count {
            let mut head = [0; 11];
            stream.read_exact(&mut head).await.expect("it goes on");
            let size = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
            let mut body = vec![0; size + 4];
            stream.read_exact(&mut body).await.expect("it goes on");
            if head[0] == 9 && body[0] >> 4 == 1 && body[1] == 1 {
                times.push(u64::from(u32::from_be_bytes([
                    head[7], head[4], head[5], head[6],
                ])));
            }
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("it sends");
    times
}

fn probe(path: &Path, stream: &str, entries: &str) -> String {
    let mut command = Command::new("ffprobe");
    command.args([
        "-v",
        "error",
        "-select_streams",
        stream,
        "-show_entries",
        entries,
    ]);
    command.args(["-of", "csv=p=0"]).arg(path);
    String::from_utf8(ran(command))
        .expect("ffprobe writes text")
        .trim()
        .to_owned()
}

fn output(args: &[&str]) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error"]).args(args);
    ran(command)
}

fn ran(mut command: Command) -> Vec<u8> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .expect("ffmpeg is installed");
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

fn bytes_of(path: &Path) -> u64 {
    std::fs::metadata(path).expect("it is there").len()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our own names")
}
