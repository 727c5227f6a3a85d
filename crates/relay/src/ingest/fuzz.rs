//! Nonsense for every parser: what ffmpeg writes with bytes changed, cut, doubled and left out. No
//! parser may panic, hold more than it says, or give out what no decoder could start with. Seeds are
//! fixed; a failing one is told.

use std::process::{Command, Stdio};

use bytes::Bytes;

use super::address::Address;
use super::codec::h264::{Framing, H264};
use super::codec::{aac, av1, opus, vp9};
use super::flv::Flv;
use super::input::Container;
use super::rtmp::fuzz as rtmp;
use super::{Fault, Limits, Reordered};
use crate::media::{Published, SAMPLE_MAX};

/// Changed copies of each stream.
const ROUNDS: u64 = 300;

const SOURCE: &str = "-f lavfi -i testsrc=size=64x64:rate=25:duration=0.5 \
    -f lavfi -i sine=sample_rate=48000:duration=0.5 -ac 2 -pix_fmt yuv420p -g 5 -b:a 32k";

const MP4: &str = "-f mp4 -movflags +frag_keyframe+delay_moov+default_base_moof";

/// The same numbers every time.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % most.max(1)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }

    /// A changed copy.
    pub(super) fn spoil(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..1 + self.below(12) {
            // Most of what decides is at the start.
            let most = if self.below(2) == 0 {
                2_000
            } else {
                bytes.len()
            };
            let at = self.below(most.min(bytes.len()));
            let length = self.below(300).min(bytes.len() - at);
            match self.below(8) {
                0 if length > 0 => drop(bytes.drain(at..at + length)),
                1 => {
                    let again = bytes[at..at + length].to_vec();
                    drop(bytes.splice(at..at, again));
                }
                2 => bytes.truncate(at.max(20)),
                3 => bytes[at..at + length.min(8)].fill(0xff),
                4 => bytes[at..at + length.min(8)].fill(0),
                _ if at < bytes.len() => bytes[at] = self.byte(),
                _ => {}
            }
            if bytes.is_empty() {
                return bytes;
            }
        }
        bytes
    }

    /// In pieces as a network makes them.
    pub(super) fn pieces<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let most = [1, 20, 1_316, 65_536][self.below(4)];
            let (piece, rest) = bytes.split_at((1 + self.below(most)).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        reordered: Reordered::Taken,
        ..Limits::default()
    }
}

/// What must hold of all that is given out.
#[derive(Default)]
pub(super) struct Watch {
    video: bool,
    audio: bool,
    pictures: usize,
}

impl Watch {
    pub(super) fn see(&mut self, published: &Published) {
        match published {
            Published::Video(_) => self.video = true,
            Published::Audio(_) => self.audio = true,
            Published::VideoSample(sample) => {
                assert!(self.video && sample.data.len() <= SAMPLE_MAX);
                assert!(self.pictures > 0 || sample.keyframe);
                self.pictures += 1;
            }
            Published::AudioSample(sample) => {
                assert!(self.audio && !sample.data.is_empty() && sample.data.len() <= SAMPLE_MAX);
            }
            Published::Lost(_) | Published::Warning(_) | Published::Ended(_) => {}
        }
    }
}

fn written(how: &str) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-loglevel", "error"])
        .args(SOURCE.split_whitespace().chain(how.split_whitespace()))
        .arg("pipe:1")
        .stderr(Stdio::inherit())
        .output()
        .expect("ffmpeg is installed");
    assert!(
        output.status.success() && output.stdout.len() > 1_000,
        "{how}"
    );
    output.stdout
}

fn read(container: &mut Container, pieces: &[&[u8]]) -> (Result<(), Fault>, Watch) {
    let mut watch = Watch::default();
    for piece in pieces {
        let handled = container.handle(piece);
        while let Some(published) = container.poll() {
            watch.see(&published);
        }
        if handled.is_err() {
            return (handled, watch);
        }
    }
    let finished = container.finish();
    while let Some(published) = container.poll() {
        watch.see(&published);
    }
    (finished, watch)
}

#[test]
fn spoilt_containers() {
    let x264 = "-c:v libx264 -preset ultrafast -bf 2";
    for (name, how) in [
        ("TS with AAC", format!("{x264} -c:a aac -f mpegts")),
        ("TS with Opus", format!("{x264} -c:a libopus -f mpegts")),
        ("MP4 with AAC", format!("{x264} -c:a aac {MP4}")),
        (
            "MP4 with Opus",
            format!("{x264} -c:a libopus -strict -2 {MP4}"),
        ),
        (
            "VP9",
            format!("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a aac {MP4}"),
        ),
        (
            "AV1",
            format!("-c:v libaom-av1 -usage realtime -cpu-used 8 -c:a aac {MP4}"),
        ),
    ] {
        let whole = written(&how);
        let mut container = Container::of(&whole, limits()).unwrap();
        let (read_whole, watch) = read(&mut container, &Dice::new(0).pieces(&whole));
        assert_eq!(read_whole, Ok(()), "{name}");
        assert!(
            (12..=13).contains(&watch.pictures) && watch.audio,
            "{name}: {}",
            watch.pictures
        );
        let mut survived = 0;
        for seed in 1..=ROUNDS {
            let mut dice = Dice::new(seed);
            let spoilt = dice.spoil(&whole);
            let Ok(mut container) = Container::of(&spoilt, limits()) else {
                continue;
            };
            let (_, watch) = read(&mut container, &dice.pieces(&spoilt));
            survived += u64::from(watch.pictures > 0);
        }
        assert!(
            survived > ROUNDS / 10,
            "{name}: {survived} give any picture"
        );
    }
}

#[test]
fn spoilt_tags() {
    // Tags as ffmpeg writes them into a file are what RTMP carries.
    let file = written("-c:v libx264 -preset ultrafast -bf 2 -c:a aac -f flv");
    let tags = tags(&file);
    assert!(tags.len() > 30);
    for seed in 0..ROUNDS * 3 {
        let mut dice = Dice::new(seed);
        let (mut flv, mut watch) = (Flv::new(limits()), Watch::default());
        for (kind, timestamp, body) in &tags {
            let spoils = seed > 0 && dice.below(8) == 0;
            let body = if spoils {
                dice.spoil(body)
            } else {
                body.to_vec()
            };
            let body = Bytes::from(body);
            let handled = match kind {
                8 => flv.handle_audio(*timestamp, body),
                _ => flv.handle_video(*timestamp, body),
            };
            while let Some(published) = flv.poll() {
                watch.see(&published);
            }
            assert!(seed > 0 || handled.is_ok(), "{handled:?}");
        }
        assert!(seed > 0 || watch.pictures == 13, "{}", watch.pictures);
        rtmp::spoilt_session(&mut dice, &tags, seed == 0);
    }
}

fn tags(file: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
    let mut tags = Vec::new();
    let mut rest = &file[13..];
    while rest.len() > 15 {
        let three = |at: usize| u32::from_be_bytes([0, rest[at], rest[at + 1], rest[at + 2]]);
        let length = usize::try_from(three(1)).unwrap();
        if matches!(rest[0], 8 | 9) {
            tags.push((rest[0], three(4), rest[11..11 + length].to_vec()));
        }
        rest = &rest[15 + length..];
    }
    tags
}

#[test]
fn noise() {
    for seed in 0..20_000 {
        let mut dice = Dice::new(seed);
        let length = dice.below(120);
        let mut noise: Vec<u8> = (0..length).map(|_| dice.byte()).collect();
        // A start that leads further in.
        let starts: [&[u8]; 8] = [
            &[0, 0, 0, 1, 0x67, 100, 0, 31],
            &[1, 100, 0, 31, 0xff, 0xe1, 0],
            &[0x0a, 0x0b, 0],
            &[0x81, 0, 0, 0],
            &[0x82, 0x49, 0x83, 0x42],
            &[0xff, 0xf1],
            &[0x7f, 0xe0],
            &[],
        ];
        noise.splice(..0, starts[dice.below(8)].iter().copied());
        let mut h264 = H264::default();
        let _ = h264.handle_record(&noise);
        let _ = h264.handle_picture(Framing::AnnexB, &noise);
        let _ = h264.handle_picture(Framing::Lengths(1 + dice.byte() % 4), &noise);
        let mut av1 = av1::Av1::default();
        let _ = av1.handle_record(&noise);
        let _ = av1.handle_picture(&noise);
        let _ = vp9::picture(noise.clone().into());
        let _ = (aac::config(&noise), aac::adts(&noise));
        let _ = (opus::control(&noise), opus::duration(&noise));
        let text = String::from_utf8_lossy(&noise);
        let _ = (Address::parse(&text), Address::parse_stream_id(&text));
        let mut flv = Flv::new(limits());
        let _ = flv.handle_video(0, noise.clone().into());
        let _ = flv.handle_audio(0, noise.into());
    }
}
