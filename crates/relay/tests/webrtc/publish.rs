//! Publishing, with clocks that are known.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use relay::Refusal;
use relay::ingest::{Admit, Admitted, Asked, Gateway, Limits};
use relay::media::{AudioCodec, Ended, Publication, Published, VideoCodec, publication};
use relay::webrtc::NotTaken;
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, MediaTime};

use crate::native::Native;
use crate::{Node, soon};

/// So much later sound leaves than the picture of the same moment.
const LATE: Duration = Duration::from_millis(300);

/// Lips and sound may be so far apart.
const IN_STEP: Duration = Duration::from_millis(45);

const EVERY: Duration = Duration::from_millis(20);

/// Lets in who has the key, once.
struct Door(Mutex<Option<Admitted>>);

impl Door {
    fn new(limits: Limits) -> (Self, Publication) {
        let (sink, publication) = publication();
        let admitted = Admitted { sink, limits };
        (Self(Mutex::new(Some(admitted))), publication)
    }
}

impl Admit for Door {
    fn admit(&self, asked: Asked) -> BoxFuture<'_, Result<Admitted, Refusal>> {
        let admitted = (asked.key == "key").then(|| self.0.lock().unwrap().take());
        let admitted = admitted.flatten().ok_or(Refusal("no".into()));
        std::future::ready(admitted).boxed()
    }
}

fn asked(key: &str) -> Asked {
    Asked {
        gateway: Gateway::Whip,
        event: "pitch".parse().unwrap(),
        camera: "north".parse().unwrap(),
        key: key.to_owned(),
        remote: None,
    }
}

/// An IDR of 1280x720 that no decoder would like, and what follows one.
fn picture(keyframe: bool) -> Vec<u8> {
    const SETS: [u8; 32] = [
        0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40, 0, 0, 3, 0,
        0x40, 0, 0, 0x0f, 0x03, 0xc6, 0x0c, 0xa8, 0, 0, 0, 1, 0x68,
    ];
    let slice = |kind| [&[0, 0, 0, 1, kind][..], &[0x88; 2_500]].concat();
    if keyframe {
        [&SETS[..], &[0xce, 0x0f, 0xc8], &slice(0x65)].concat()
    } else {
        slice(0x41)
    }
}

/// Sends picture `n` of so many, and the sound that belongs to an earlier one. Keyframes come when they
/// are asked for, as browsers send them.
fn send(native: &mut Native, start: Instant, n: u32, keyframe: bool) {
    let payload = |native: &mut Native, mid, codec| {
        let writer = native.rtc.writer(mid).unwrap();
        let mut all = writer.payload_params();
        all.find(|it| it.spec().codec == codec).unwrap().pt()
    };
    // Tracks count from anywhere.
    let at = |n: u32, rate: u64, from| from + u64::from(n) * rate / 50;
    let (mid, from) = (native.picture, 77_000_000);
    let pt = payload(native, mid, Codec::H264);
    let time = MediaTime::new(at(n, 90_000, from), Frequency::NINETY_KHZ);
    let writer = native.rtc.writer(mid).unwrap();
    writer
        .write(pt, start + EVERY * n, time, picture(keyframe))
        .unwrap();
    let late = u32::try_from(LATE.as_millis() / EVERY.as_millis()).unwrap();
    if let Some(n) = n.checked_sub(late) {
        let (mid, from) = (native.sound, 3_000);
        let pt = payload(native, mid, Codec::Opus);
        let time = MediaTime::new(at(n, 48_000, from), Frequency::FORTY_EIGHT_KHZ);
        let writer = native.rtc.writer(mid).unwrap();
        // Its number is in it, so that it is known again.
        let packet = [&[0xfc][..], &n.to_be_bytes()].concat();
        writer.write(pt, start + EVERY * n, time, packet).unwrap();
    }
}

/// What came of a publication.
#[derive(Debug, Default)]
struct Seen {
    /// When the first picture is, and which one it was.
    first: Option<(Duration, u32)>,
    /// By how much sound was beside the picture of its moment.
    apart: Vec<Duration>,
    /// When keyframes are.
    groups: Vec<Duration>,
}

impl Seen {
    /// Takes in what came after picture `n` was sent.
    fn take(&mut self, published: Published, n: u32) {
        match published {
            Published::Video(config) => {
                assert_eq!((config.codec, config.width), (VideoCodec::H264, 1_280));
            }
            Published::Audio(config) => assert_eq!(config.codec, AudioCodec::Opus),
            Published::VideoSample(it) => {
                self.first.get_or_insert((it.timestamp, n));
                if it.keyframe {
                    self.groups.push(it.timestamp);
                }
            }
            Published::AudioSample(it) => {
                let number = u32::from_be_bytes(it.data[1..5].try_into().unwrap());
                if let Some((time, n)) = self.first {
                    let (here, there) = (it.timestamp + EVERY * n, time + EVERY * number);
                    self.apart.push(here.abs_diff(there));
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn keyframes_are_asked_for_and_sound_that_leaves_late_comes_to_its_picture() {
    let node = Node::start().await;
    let (door, mut publication) = Door::new(Limits::default());
    let mut native = Native::new(Direction::SendOnly).await;
    let asked = asked("key");
    let answer = node
        .webrtc
        .publish(&native.offer, node.address, asked, &door);
    let answer = answer.await.unwrap();
    assert_eq!(node.webrtc.labels(), ["camera north of pitch"]);
    native.accept(&answer.sdp);
    soon("it connects", native.connected()).await;

    let start = Instant::now();
    let (mut keyframes, mut wanted) = (0, false);
    let mut seen = Seen::default();
    // Until sound has been right for a second, and some keyframes were asked for.
    for n in 0_u32.. {
        assert!(
            start.elapsed() < crate::LIMIT,
            "{seen:?}, {keyframes} keyframes"
        );
        send(&mut native, start, n, wanted);
        keyframes += u32::from(std::mem::take(&mut wanted));
        let until = start + EVERY * (n + 1);
        while let Some(event) = native.next(until).await {
            wanted |= matches!(event, str0m::Event::KeyframeRequest(_));
        }
        while let Some(Some(published)) = publication.next().now_or_never() {
            seen.take(published, n);
        }
        let apart = &seen.apart;
        let settled = apart.len() > 50 && apart[apart.len() - 50..].iter().all(|it| *it <= IN_STEP);
        if settled && keyframes >= 4 {
            break;
        }
    }
    let groups = &seen.groups;
    for pair in groups.windows(2) {
        let length = pair[1] - pair[0];
        assert!(length < Duration::from_millis(1_500), "{groups:?}");
        assert!(
            length > Duration::from_millis(500),
            "no more than are needed: {groups:?}"
        );
    }

    assert!(node.webrtc.end(&answer.id) && !node.webrtc.end("nobody"));
    let ended = async {
        loop {
            if let Published::Ended(ended) = publication.next().await.unwrap() {
                return ended;
            }
        }
    };
    assert_eq!(soon("the publication ends", ended).await, Ended::Done);
    assert_eq!(node.webrtc.labels(), [""; 0]);
    node.stop().await;
}

#[tokio::test]
async fn a_group_that_is_too_long_is_refused_in_words() {
    let node = Node::start().await;
    let (door, mut publication) = Door::new(Limits::default());
    let mut native = Native::new(Direction::SendOnly).await;
    let answer = node
        .webrtc
        .publish(&native.offer, node.address, asked("key"), &door);
    native.accept(&answer.await.unwrap().sdp);
    soon("it connects", native.connected()).await;
    let start = Instant::now();
    let mut ended = None;
    // One keyframe and never another, whatever it is asked.
    for n in 0_u32.. {
        assert!(start.elapsed() < crate::LIMIT);
        send(&mut native, start, n, n == 0);
        while native.next(start + EVERY * (n + 1)).await.is_some() {}
        while let Some(Some(published)) = publication.next().now_or_never() {
            if let Published::Ended(it) = published {
                ended = Some(it);
            }
        }
        if ended.is_some() || !native.rtc.is_alive() {
            break;
        }
    }
    let Some(Ended::Refused(words)) = ended else {
        panic!("{ended:?}");
    };
    assert!(words.contains("keyframes are"), "{words}");
    node.stop().await;
}

#[tokio::test]
async fn who_may_not_publish_is_told_and_costs_no_place() {
    let node = Node::start().await;
    let (door, _publication) = Door::new(Limits::default());
    let native = Native::new(Direction::SendOnly).await;
    let refused = node
        .webrtc
        .publish(&native.offer, node.address, asked("wrong"), &door);
    assert!(matches!(refused.await, Err(NotTaken::Refused(_))));
    // Who wants to receive publishes nothing.
    let native = Native::new(Direction::RecvOnly).await;
    let refused = node
        .webrtc
        .publish(&native.offer, node.address, asked("key"), &door);
    assert!(matches!(refused.await, Err(NotTaken::NotAcceptable(_))));
    assert_eq!(node.webrtc.labels(), [""; 0]);
    node.stop().await;
}
