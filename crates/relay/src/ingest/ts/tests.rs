//! When pictures come out, and what is done about those that are not whole.

use std::process::Command;

use super::*;

/// Four seconds as ffmpeg writes them, 25 pictures a second, a keyframe each 10.
fn packets() -> Vec<Vec<u8>> {
    let output = Command::new("ffmpeg")
        .args(
            "-hide_banner -nostdin -loglevel error -f lavfi -i testsrc=size=160x120:rate=25:duration=4 \
             -f lavfi -i sine=sample_rate=48000:duration=4 -pix_fmt yuv420p -c:v libx264 \
             -preset ultrafast -tune zerolatency -g 10 -c:a aac -f mpegts pipe:1"
                .split_whitespace(),
        )
        .output();
    let stream = output.expect("ffmpeg is installed").stdout;
    stream.chunks(PACKET).map(<[u8]>::to_vec).collect()
}

fn starts_picture(packet: &[u8]) -> bool {
    packet[1] & 0x5f == 0x41 && packet[2] == 0
}

#[derive(Default)]
struct Seen {
    pictures: Vec<bool>,
    sounds: usize,
    lost: u64,
    /// The first picture after each loss.
    after: Vec<bool>,
}

fn take(ts: &mut Ts, seen: &mut Seen) {
    while let Some(published) = ts.poll() {
        match published {
            Published::VideoSample(it) => {
                if seen.lost > 0 && seen.after.is_empty() {
                    seen.after.push(it.keyframe);
                }
                seen.pictures.push(it.keyframe);
            }
            Published::AudioSample(_) => seen.sounds += 1,
            Published::Lost(pieces) => seen.lost += pieces,
            _ => {}
        }
    }
}

#[test]
fn pictures_leave_with_their_last_packet() {
    let (mut ts, mut seen, mut begun) = (Ts::new(Limits::default()), Seen::default(), 0);
    let mut waited = 0;
    for packet in packets() {
        if starts_picture(&packet) {
            // Learned after 25 of them; one in 184 ends with a packet that has no room for filler.
            waited += usize::from(begun > 40 && seen.pictures.len() < begun);
            begun += 1;
        }
        ts.handle(&packet).unwrap();
        take(&mut ts, &mut seen);
    }
    ts.finish().unwrap();
    take(&mut ts, &mut seen);
    assert_eq!((begun, seen.pictures.len()), (100, 100));
    assert!(waited <= 3, "{waited} of 60 waited for the next one");
    assert!((186..=192).contains(&seen.sounds), "{}", seen.sounds);
    assert_eq!(seen.lost, 0);
}

#[test]
fn what_is_lost_is_told_and_left_out() {
    let whole = packets();
    // Seven packets are what SRT loses at a time.
    let from = whole
        .iter()
        .enumerate()
        .filter(|(_, it)| starts_picture(it))
        .nth(23);
    let (from, _) = from.expect("a hundred");
    let left = [&whole[..from], &whole[from + 7..]].concat();
    let (mut ts, mut seen) = (Ts::new(Limits::default()), Seen::default());
    for packet in left {
        ts.handle(&packet).unwrap();
        take(&mut ts, &mut seen);
    }
    assert!(seen.lost > 0);
    assert_eq!(
        seen.after,
        [true],
        "a keyframe is the first that comes after"
    );
    // The rest of the group is left out: up to ten pictures.
    assert!(
        (89..99).contains(&seen.pictures.len()),
        "{}",
        seen.pictures.len()
    );
}

#[test]
fn a_stream_that_begins_anywhere_is_found() {
    let whole: Vec<u8> = packets().concat();
    for skipped in [1, 100, 187, 188, 5_000, 40_001] {
        let (mut ts, mut seen) = (Ts::new(Limits::default()), Seen::default());
        for piece in whole[skipped..].chunks(1_000) {
            ts.handle(piece).unwrap();
            take(&mut ts, &mut seen);
        }
        assert!(
            seen.pictures.len() > 60,
            "{skipped}: {}",
            seen.pictures.len()
        );
        assert!(seen.pictures[0]);
    }
}
