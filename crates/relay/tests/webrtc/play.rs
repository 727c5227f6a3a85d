//! Playing, with clocks that are known.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use relay::media::VideoCodec;
use relay::webrtc::{Player, Told};
use str0m::Event;
use str0m::media::{Direction, KeyframeRequestKind, MediaData};

use crate::native::Native;
use crate::{Node, soon};

const EVERY: Duration = Duration::from_millis(20);

/// Sound and picture of one moment must be told to be of one moment, to this.
const EXACT: Duration = Duration::from_millis(5);

fn picture(keyframe: bool, n: u32) -> Vec<u8> {
    let kind = if keyframe { 0x65 } else { 0x41 };
    [&[0, 0, 0, 1, kind][..], &n.to_be_bytes(), &[0x88; 3_000]].concat()
}

/// Sends what belongs to moment `n`, sound a while after the picture, and says what the viewer said.
async fn show(mut player: Player) -> (Vec<Told>, u32) {
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut told = Vec::new();
    let mut tick = tokio::time::interval(EVERY);
    for n in 0_u32.. {
        loop {
            tokio::select! {
                it = player.next() => match it {
                    Some(Told::Opened) => player.say("welcome"),
                    Some(it) => told.push(it),
                    None => return (told, n),
                },
                _ = tick.tick() => break,
            }
        }
        assert!(player.plays(VideoCodec::H264) && player.hears());
        player.show(
            VideoCodec::H264,
            start + EVERY * n,
            &picture(n.is_multiple_of(50), n),
        );
        if let Some(n) = n.checked_sub(10) {
            let packet = [&[0xfc][..], &n.to_be_bytes()].concat();
            player.sound(start + EVERY * n, &packet);
        }
    }
    unreachable!("a viewer goes before numbers end")
}

/// When it was sent, by the sender's clock, as far as its reports tell.
fn sent(data: &MediaData) -> Option<SystemTime> {
    let report = data.last_sender_info?;
    let here = data.time.numer() as u32;
    let there = report.rtp_time.numer() as u32;
    let ticks = i64::from(here.wrapping_sub(there) as i32);
    let rate = i64::from(data.params.spec().clock_rate.get());
    let after = Duration::from_micros((ticks.abs() * 1_000_000 / rate).unsigned_abs());
    if ticks < 0 {
        report.ntp_time.checked_sub(after)
    } else {
        report.ntp_time.checked_add(after)
    }
}

/// The number in a frame: pictures have a start code and a kind before it, packets one byte.
fn number(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(data[at..at + 4].try_into().unwrap())
}

/// When each moment's picture and sound were sent.
type Sent = BTreeMap<u32, SystemTime>;

/// Receives a hundred moments and a word, says one and asks for a keyframe.
async fn hear(native: &mut Native) -> (Sent, Sent, Vec<u8>) {
    let (mut pictures, mut sounds) = (Sent::new(), Sent::new());
    let (mut heard, mut asked) = (None, false);
    let until = Instant::now() + crate::LIMIT;
    loop {
        let both = sounds
            .keys()
            .filter(|it| pictures.contains_key(*it))
            .count();
        if both >= 100
            && let Some(heard) = heard.take()
        {
            return (pictures, sounds, heard);
        }
        match native.next(until).await.expect("enough comes in time") {
            Event::MediaData(data) if data.mid == native.picture => {
                // Start codes have three bytes or four.
                let at = data.data.iter().position(|it| *it == 1).unwrap() + 2;
                if let Some(sent) = sent(&data) {
                    pictures.insert(number(&data.data, at), sent);
                }
                if !std::mem::replace(&mut asked, true) {
                    let mut writer = native.rtc.writer(native.picture).unwrap();
                    writer
                        .request_keyframe(None, KeyframeRequestKind::Pli)
                        .unwrap();
                }
            }
            Event::MediaData(data) => {
                if let Some(sent) = sent(&data) {
                    sounds.insert(number(&data.data, 1), sent);
                }
            }
            Event::ChannelOpen(id, name) => {
                assert_eq!(name, "view");
                assert!(
                    native
                        .rtc
                        .channel(id)
                        .unwrap()
                        .write(false, b"hello")
                        .unwrap()
                );
            }
            Event::ChannelData(data) => heard = Some(data.data),
            _ => {}
        }
    }
}

#[tokio::test]
async fn pictures_and_sound_arrive_and_their_reports_keep_them_in_step() {
    let node = Node::start().await;
    let mut native = Native::new(Direction::RecvOnly).await;
    let played = node
        .webrtc
        .play(&native.offer, node.address, "viewer of pitch".into());
    let (answer, player) = played.unwrap();
    native.accept(&answer.sdp);
    let showing = node.tracker.spawn(show(player));
    soon("it connects", native.connected()).await;

    let (pictures, sounds, heard) = hear(&mut native).await;
    assert_eq!(heard, b"welcome");
    for (n, sound) in sounds {
        let Some(picture) = pictures.get(&n) else {
            continue;
        };
        let apart = picture
            .duration_since(sound)
            .unwrap_or_else(|it| it.duration());
        assert!(apart <= EXACT, "{n}: {apart:?} apart");
    }

    assert!(node.webrtc.end(&answer.id));
    let (told, _) = soon("the viewer is gone", showing).await.unwrap();
    assert!(
        told.contains(&Told::Connected) && told.contains(&Told::KeyframeWanted),
        "{told:?}"
    );
    assert!(told.contains(&Told::Said("hello".into())), "{told:?}");
    assert!(
        told.iter()
            .any(|it| matches!(it, Told::Room(room) if room.as_bps() > 100_000)),
        "{told:?}"
    );
    node.stop().await;
}

#[tokio::test]
async fn what_is_lost_is_sent_again() {
    let node = Node::start().await;
    let mut native = Native::new(Direction::RecvOnly).await;
    let played = node.webrtc.play(&native.offer, node.address, String::new());
    let (answer, player) = played.unwrap();
    native.accept(&answer.sdp);
    let showing = node.tracker.spawn(show(player));
    soon("it connects", native.connected()).await;
    native.loses = Some(20);
    let until = Instant::now() + crate::LIMIT;
    let (mut came, mut whole) = (0_u32, 0_u32);
    while came < 150 {
        if let Event::MediaData(data) = native.next(until).await.expect("pictures go on")
            && data.mid == native.picture
        {
            came += 1;
            whole += u32::from(data.contiguous);
        }
    }
    // Each picture is three packets, so one in seven would be broken.
    assert!(whole >= 145, "{whole} of {came} are whole");
    assert!(node.webrtc.end(&answer.id));
    soon("the viewer is gone", showing).await.unwrap();
    node.stop().await;
}
