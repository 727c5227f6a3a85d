//! Enhanced RTMP, by the bytes: pictures are ffmpeg's, the tags around them are written here.

use std::process::Command;

use super::*;

/// Frames of an IVF file that ffmpeg writes.
fn frames(codec: &str) -> Vec<Vec<u8>> {
    let arguments = format!(
        "-hide_banner -nostdin -loglevel error -f lavfi -i testsrc=size=64x48:rate=25:duration=0.4 \
         -pix_fmt yuv420p -g 5 {codec} -f ivf pipe:1"
    );
    let output = Command::new("ffmpeg")
        .args(arguments.split_whitespace())
        .output();
    let file = output.expect("ffmpeg is installed").stdout;
    let mut frames = Vec::new();
    let mut rest = file.get(32..).expect("a header");
    while let Some((header, after)) = rest.split_at_checked(12) {
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let (frame, after) = after.split_at(usize::try_from(length).unwrap());
        frames.push(frame.to_vec());
        rest = after;
    }
    frames
}

/// Tells what comes of tags, each `head` and a body.
fn check(video: bool, tags: &[(Vec<u8>, &[u8])]) -> String {
    let mut flv = Flv::new(Limits::default());
    let mut told = String::new();
    for (n, (head, body)) in tags.iter().enumerate() {
        let body = Bytes::from([&head[..], body].concat());
        let timestamp = 40 * u32::try_from(n).unwrap();
        let handled = match video {
            true => flv.handle_video(timestamp, body),
            false => flv.handle_audio(timestamp, body),
        };
        while let Some(published) = flv.poll() {
            match published {
                Published::Video(it) => {
                    told += &format!("({} {}x{})", it.codec_string, it.width, it.height);
                }
                Published::Audio(it) => told += &format!("({} {})", it.codec_string, it.channels),
                Published::VideoSample(it) => told.push(if it.keyframe { 'K' } else { 'P' }),
                Published::AudioSample(_) => told.push('S'),
                Published::Warning(it) => told += &format!("({})", it.text),
                other => panic!("{other:?}"),
            }
        }
        if let Err(fault) = handled {
            return format!("{told}{fault}");
        }
    }
    told
}

fn head(first: u8, fourcc: &[u8]) -> Vec<u8> {
    [&[first], fourcc].concat()
}

#[test]
fn vp9_and_av1_by_their_fourccs() {
    for (codec, fourcc, record, want) in [
        (
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -lag-in-frames 0",
            b"vp09",
            &[1, 0, 0, 0, 0, 21, 0x82, 2, 2, 2, 0, 0][..],
            "(vp09.00.21.08 64x48)KPPPPKPPPP",
        ),
        (
            "-c:v libaom-av1 -usage realtime -cpu-used 8 -lag-in-frames 0",
            b"av01",
            &[0x81, 0, 0x0c, 0],
            "(av01.0.00M.08 64x48)KPPPPKPPPP",
        ),
    ] {
        let frames = frames(codec);
        let mut tags = vec![(head(0x90, fourcc), record)];
        for (n, frame) in frames.iter().enumerate() {
            // Coded frames in both ways of writing them; the container's flag is not believed.
            tags.push((
                head(0xa0 | if n % 2 == 0 { 1 } else { 3 }, fourcc),
                &frame[..],
            ));
        }
        assert_eq!(check(true, &tags), want);
        // The same behind modifiers and as the first of several tracks.
        for (head, _) in &mut tags {
            let kind = head[0] & 0xf;
            let first = head[0] & 0xf0;
            *head = [&[first | 7, 1, 9, 9, 6, kind][..], fourcc, &[0]].concat();
        }
        assert_eq!(check(true, &tags), want);
        let other = [&[0x96, 1][..], fourcc, &[1]].concat();
        tags.push((other, &[1, 2, 3]));
        assert!(check(true, &tags).ends_with("(a second picture is not carried on)"));
    }
}

#[test]
fn opus_by_its_fourcc() {
    let tags = [
        (
            head(0x90, b"Opus"),
            &b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0"[..],
        ),
        (head(0x91, b"Opus"), &[0xfc, 1, 2][..]),
        (head(0x91, b"Opus"), &[0xfc, 3]),
    ];
    assert_eq!(check(false, &tags), "(opus 2)SS");
}

#[test]
fn what_is_not_taken_is_told() {
    for (video, head, want) in [
        (
            true,
            head(0x90, b"hvc1"),
            "HEVC is not taken: send H.264, AV1 or VP9.",
        ),
        (true, vec![0x1c, 0, 0, 0, 0], "HEVC is not taken"),
        (true, head(0x90, b"vvc1"), "VVC is not taken"),
        (true, head(0x90, b"a\xffb1"), "a?b1 is not taken"),
        (true, vec![0x12, 0], "Sorenson H.263"),
        (false, head(0x90, b"ac-3"), "sound as ac-3 is not taken"),
        (
            false,
            vec![0x2f, 0],
            "sound as MP3 is not taken: send Opus or AAC",
        ),
        (
            false,
            head(0x90, b"Opus"),
            "the Opus configuration is broken",
        ),
        (true, vec![0x17, 1, 0], "a message of the stream is broken"),
        (
            true,
            vec![0x17, 0, 0, 0, 0, 9],
            "the H.264 configuration is broken",
        ),
        (true, vec![], ""),
        (true, vec![0x57, 0], ""),
    ] {
        let told = check(video, &[(head, &[])]);
        assert!(told.starts_with(want), "{told}");
    }
}
