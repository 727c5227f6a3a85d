//! Renditions through a real decoder.

use std::time::Duration;

use logic::cadence::Frame;
use logic::content::Mode;
use logic::rate::FrameRate;
use model::Bitrate;
use model::manifest::live::Rendition;
use render::encoder::{self, Encoder, EncoderConfig};
use render::picture::{I420, Size};
use render::transcode::{Made, Transcoder, Unit};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::support::decoder::Decoder;

const SIZE: Size = Size::new(640, 360);
const FPS: u32 = 30;
const PATIENCE: Duration = Duration::from_secs(20);

/// A camera that sees a bright bar go from left to right.
struct Camera {
    encoder: Box<dyn Encoder>,
    frame: u32,
    start: Duration,
}

impl Camera {
    fn new(start: Duration) -> Self {
        let encoder = encoder::open(EncoderConfig {
            size: SIZE,
            mode: Mode::Motion,
            bitrate: Bitrate::kbps(2_000),
            frame_rate: FrameRate::fps(FPS),
            threads: 1,
        });
        Self {
            encoder: encoder.unwrap(),
            frame: 0,
            start,
        }
    }

    fn picture(frame: u32) -> I420 {
        let mut picture = I420::black(SIZE);
        let width = usize::from(SIZE.width());
        let [y, _, _] = picture.planes_mut();
        for row in y.chunks_exact_mut(width) {
            row[bar(frame)..][..80].fill(200);
        }
        picture
    }

    fn next(&mut self) -> Unit {
        let timestamp = self.start + Duration::from_secs(1) * self.frame / FPS;
        let keyframe = self.frame.is_multiple_of(FPS);
        let frame = if keyframe { Frame::Key } else { Frame::Delta };
        let picture = Self::picture(self.frame);
        self.frame += 1;
        Unit {
            timestamp,
            keyframe,
            data: self
                .encoder
                .encode(&picture, timestamp, frame)
                .unwrap()
                .data,
        }
    }
}

/// Where the bar begins.
fn bar(frame: u32) -> usize {
    (frame as usize * 8) % 560
}

fn rendition(name: &str, height: u16, max_fps: u8) -> Rendition {
    Rendition {
        name: name.parse().unwrap(),
        height,
        max_fps,
        bitrate: Bitrate::kbps(600),
        group_ms: 400,
    }
}

/// Hands a second in, a picture at a time, and takes out what was made of it.
async fn second(
    camera: &mut Camera,
    transcoder: &Transcoder,
    made: &mut Receiver<Made>,
) -> Vec<Made> {
    let mut all = Vec::new();
    for _ in 0..FPS {
        assert!(transcoder.push(camera.next()));
        // As a camera does: the next picture comes when this one has long been made.
        while let Ok(Some(one)) = timeout(Duration::from_millis(30), made.recv()).await {
            all.push(one);
        }
    }
    all
}

#[tokio::test]
async fn a_rendition_shows_what_the_camera_shows_smaller_and_at_the_same_times() {
    let mut camera = Camera::new(Duration::from_secs(1_000));
    let renditions = vec![rendition("low", 240, 30), rendition("tiny", 120, 15)];
    let (transcoder, mut made) = Transcoder::start(renditions).unwrap();
    let nothing = second(&mut camera, &transcoder, &mut made).await;
    assert!(nothing.is_empty(), "nobody wants anything");

    transcoder.want(vec![true, true]);
    let all = second(&mut camera, &transcoder, &mut made).await;
    for (index, size, least) in [(0, (426, 240), 28), (1, (212, 120), 14)] {
        let ours: Vec<_> = all.iter().filter(|it| it.rendition == index).collect();
        assert!(ours.len() >= least, "{} of {index}", ours.len());
        assert!(ours[0].keyframe, "who comes new can begin");
        let mut decoder = Decoder::new();
        for made in ours {
            assert_eq!((made.size.width(), made.size.height()), size);
            let picture = decoder.decode(&made.data).unwrap();
            assert_eq!(
                (picture.width, picture.height),
                (size.0.into(), size.1.into())
            );
            let frame = ((made.timestamp - camera.start).as_secs_f64() * f64::from(FPS)).round();
            let middle = (bar(frame as u32) + 40) * picture.width / usize::from(SIZE.width());
            let [inside, ..] = picture.at(middle, picture.height / 2);
            let outside = (middle + picture.width / 2) % picture.width;
            let [outside, ..] = picture.at(outside, picture.height / 2);
            assert!(
                inside > 150 && outside < 60,
                "{inside} {outside} at {frame}"
            );
        }
    }
    // Keyframes stand at multiples of the group's length, so at the same moments for every camera.
    for key in all.iter().filter(|it| it.keyframe).skip(2) {
        let into = key.timestamp.as_millis() % 400;
        assert!(into < 70, "{into} ms into a group");
    }

    transcoder.want(vec![true, false]);
    let all = second(&mut camera, &transcoder, &mut made).await;
    assert!(
        all.iter().skip(1).all(|it| it.rendition == 0),
        "one was enough"
    );
}

#[tokio::test]
async fn a_group_that_comes_at_once_is_caught_up_with_and_garbage_passes() {
    let mut camera = Camera::new(Duration::from_secs(5));
    let (transcoder, mut made) = Transcoder::start(vec![rendition("low", 240, 30)]).unwrap();
    transcoder.want(vec![true]);
    let mut late = camera.next();
    late.keyframe = false;
    assert!(
        transcoder.push(late),
        "nothing can begin with it, and it is passed over"
    );
    for _ in 0..FPS - 1 {
        camera.next();
    }
    let burst: Vec<_> = (0..25).map(|_| camera.next()).collect();
    let last = burst.last().unwrap().timestamp;
    for unit in burst {
        assert!(transcoder.push(unit));
    }
    let mut viewer = Decoder::new();
    let mut count = 0;
    loop {
        let one = timeout(PATIENCE, made.recv()).await.unwrap().unwrap();
        count += 1;
        assert!(viewer.decode(&one.data).is_some(), "{count}");
        if one.timestamp == last {
            break;
        }
    }
    assert!(
        count < 25,
        "{count}: the way to the present was not encoded"
    );

    let mut broken = camera.next();
    broken.data = bytes::Bytes::from_static(&[0, 0, 0, 1, 0x65, 1, 2, 3]);
    assert!(transcoder.push(broken));
    for _ in 0..2 * FPS {
        assert!(transcoder.push(camera.next()));
    }
    // What the camera's gap leaves out of the rendition leaves the rendition whole.
    loop {
        let one = timeout(PATIENCE, made.recv()).await.unwrap().unwrap();
        assert!(viewer.decode(&one.data).is_some(), "{:?}", one.timestamp);
        if one.timestamp > last + Duration::from_secs(1) {
            break;
        }
    }
}
