//! The encoder through a real decoder.

use std::time::Duration;

use logic::cadence::Frame;
use logic::content::Mode;
use logic::rate::FrameRate;
use model::Bitrate;
use render::encoder::{self, Encoder, EncoderConfig, EncoderError, Simd};
use render::picture::{I420, Size};

use crate::support::decoder::Decoder;

const SIZE: Size = Size::new(640, 352);

fn open(mode: Mode, kbps: u64, threads: u8) -> Box<dyn Encoder> {
    encoder::open(EncoderConfig {
        size: SIZE,
        mode,
        bitrate: Bitrate::kbps(kbps),
        frame_rate: FrameRate::fps(60),
        threads,
    })
    .unwrap()
}

/// A page of something like text, scrolled by some pixels.
fn page(scrolled: usize) -> I420 {
    let width = usize::from(SIZE.width());
    let mut bgra = Vec::with_capacity(SIZE.area() * 4);
    for at in 0..SIZE.area() {
        let (x, y) = (at % width + scrolled, at / width);
        let letter = (x / 8 * 7919 + y / 16 * 104_729).wrapping_mul(2_654_435_761);
        let ink = letter >> (x % 8 * 2 + y % 16) & 1 == 1 && x % 8 < 6 && y % 16 < 12;
        let value = if ink { 230 } else { 30 };
        bgra.extend([value, value, value, 0]);
    }
    let mut picture = I420::black(SIZE);
    picture.convert(&bgra, 0..SIZE.height());
    picture
}

/// One encoder, one decoder and the time that both live in.
struct Stream {
    encoder: Box<dyn Encoder>,
    decoder: Decoder,
    at: Duration,
}

impl Stream {
    fn open(mode: Mode, kbps: u64, threads: u8) -> Self {
        Self {
            encoder: open(mode, kbps, threads),
            decoder: Decoder::new(),
            at: Duration::ZERO,
        }
    }

    /// Encodes and decodes; returns the bytes.
    fn encode(&mut self, picture: &I420) -> usize {
        let encoded = self.encoder.encode(picture, self.at, Frame::Delta).unwrap();
        self.decoder.decode(&encoded.data).unwrap();
        encoded.data.len()
    }

    /// The mean bytes of a frame, after a while, of pages turned so fast that none resembles the one
    /// before.
    fn leaf(&mut self) -> usize {
        let mut bytes = 0;
        for frame in 0..60 {
            self.at += Duration::from_millis(16);
            let picture = page(frame * 37 % 101 * 13);
            let len = self.encode(&picture);
            bytes += if frame < 40 { 0 } else { len };
        }
        bytes / 20
    }
}

#[test]
fn this_build_uses_vector_instructions() {
    let missing = "install nasm and build openh264-sys2 anew";
    assert_eq!(encoder::simd(), Simd::Present, "{missing}");
}

#[test]
fn both_modes_with_any_threads_decode_to_what_was_encoded() {
    for (mode, threads) in [
        (Mode::Text, 1),
        (Mode::Text, 2),
        (Mode::Motion, 1),
        (Mode::Motion, 2),
        (Mode::Motion, 9),
    ] {
        let mut stream = Stream::open(mode, 60_000, threads);
        stream.leaf();
        let picture = page(400);
        let encoded = stream
            .encoder
            .encode(&picture, stream.at * 2, Frame::Delta)
            .unwrap();
        let decoded = stream.decoder.decode(&encoded.data).unwrap();
        let psnr = decoded.psnr(picture.planes()[0]);
        assert!(psnr > 32.0, "{mode:?} with {threads} threads: {psnr} dB");
    }
}

#[test]
fn a_keyframe_is_one_when_asked_for_and_stands_alone() {
    let mut encoder = open(Mode::Motion, 8_000, 2);
    let first = encoder
        .encode(&page(0), Duration::ZERO, Frame::Delta)
        .unwrap();
    assert_eq!(first.frame, Frame::Key, "there is nothing before it");
    let at = Duration::from_millis(16);
    let second = encoder.encode(&page(1), at, Frame::Delta).unwrap();
    assert_eq!(second.frame, Frame::Delta);
    let third = encoder.encode(&page(2), at * 2, Frame::Key).unwrap();
    assert_eq!(third.frame, Frame::Key);
    let mut decoder = Decoder::new();
    assert!(decoder.decode(&third.data).is_some());
}

#[test]
fn the_bitrate_changes_while_it_runs() {
    // One thread: with more, who is first decides how bits are shared.
    let mut stream = Stream::open(Mode::Motion, 24_000, 1);
    let before = stream.leaf();
    stream.encoder.set_bitrate(Bitrate::kbps(3_000)).unwrap();
    let after = stream.leaf();
    assert!(after * 2 < before, "{before} bytes, then {after}");
    stream.encoder.set_frame_rate(FrameRate::fps(15)).unwrap();
    let slower = stream.leaf();
    assert!(
        slower * 2 > after * 3,
        "fewer share more: {after}, then {slower}"
    );
    assert_eq!(stream.encoder.config().bitrate, Bitrate::kbps(3_000));
}

#[test]
fn a_fixed_quantizer_makes_sharp_and_leaves_the_rate_control_alone() {
    for mode in [Mode::Text, Mode::Motion] {
        let mut stream = Stream::open(mode, 3_000, 2);
        let before = stream.leaf();
        let picture = page(39 * 3);
        stream.at += Duration::from_millis(16);
        stream.encode(&picture);
        let mut psnrs = Vec::new();
        for quantizer in [39, 27, 20, 20, 20] {
            stream.at += Duration::from_millis(120);
            let encoded = stream
                .encoder
                .encode_at(&picture, stream.at, quantizer)
                .unwrap();
            assert_eq!(
                (encoded.quantizer, encoded.frame),
                (quantizer, Frame::Delta)
            );
            let decoded = stream.decoder.decode(&encoded.data).unwrap();
            psnrs.push(decoded.psnr(picture.planes()[0]));
        }
        assert!(psnrs.is_sorted(), "{mode:?}: {psnrs:?}");
        assert!(*psnrs.last().unwrap() > 36.0, "{mode:?}: {psnrs:?}");
        let after = stream.leaf();
        assert!(after < before * 2, "{mode:?}: {before} bytes, then {after}");
    }
}

#[test]
fn another_shape_begins_anew_and_a_wrong_size_is_refused() {
    let mut encoder = open(Mode::Text, 8_000, 2);
    encoder
        .encode(&page(0), Duration::ZERO, Frame::Delta)
        .unwrap();
    let small = I420::black(Size::new(320, 176));
    let refused = encoder.encode(&small, Duration::from_millis(16), Frame::Delta);
    assert!(matches!(refused, Err(EncoderError::Size { .. })));
    encoder.reshape(small.size(), Mode::Motion).unwrap();
    let at = Duration::from_millis(32);
    let encoded = encoder.encode(&small, at, Frame::Delta).unwrap();
    assert_eq!(encoded.frame, Frame::Key);
    let decoded = Decoder::new().decode(&encoded.data).unwrap();
    assert_eq!((decoded.width, decoded.height), (320, 176));
}
