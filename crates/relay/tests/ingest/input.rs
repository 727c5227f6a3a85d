//! Standard input: MPEG-TS and fragmented MP4 as ffmpeg writes them.

use std::time::Duration;

use relay::ingest::{Admitted, Limits, input};
use relay::media::{AudioCodec, Ended, VideoCodec, publication};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use crate::harness::{Taken, Tool, X264, words};

const MP4: &str = "-f mp4 -movflags +frag_keyframe+delay_moov+default_base_moof pipe:1";

const AAC: &str = "-c:a aac";

async fn take(from: impl AsyncRead + Unpin) -> Taken {
    let (sink, mut publication) = publication();
    let limits = Limits::default();
    let reading = input::read(
        from,
        None,
        Admitted { sink, limits },
        CancellationToken::new(),
    );
    let (ended, taken) = tokio::join!(reading, Taken::all(&mut publication));
    assert_eq!(taken.ended, Some(ended));
    taken
}

/// What ffmpeg writes of two seconds of picture and tone, as fast as it can.
async fn written(how: &str) -> Taken {
    let source = "-f lavfi -i testsrc=size=320x240:rate=25:duration=2 \
        -f lavfi -i sine=frequency=440:sample_rate=48000:duration=2 -ac 2";
    let mut tool = Tool::start(&[words(source), words(how)]);
    let taken = take(tool.output()).await;
    let said = tool.said().await;
    assert!(
        !taken.pictures.is_empty() || taken.ended != Some(Ended::Done),
        "{said}"
    );
    taken
}

fn check(taken: &Taken, video: VideoCodec, audio: AudioCodec) {
    assert_eq!(taken.ended, Some(Ended::Done));
    assert_eq!((taken.video[0].codec, taken.audio[0].codec), (video, audio));
    assert_eq!(
        (taken.video.len(), taken.audio.len(), taken.lost),
        (1, 1, 0)
    );
    taken.check((320, 240), 25, 10);
    assert_eq!(taken.pictures.len(), 50);
    assert_eq!(
        (taken.audio[0].sample_rate, taken.audio[0].channels),
        (48_000, 2)
    );
    let [first, .., last] = &taken.sounds[..] else {
        panic!("{} sounds", taken.sounds.len());
    };
    let sounds = last.timestamp - first.timestamp;
    assert!((1_900..2_100).contains(&sounds.as_millis()), "{sounds:?}");
    let apart = taken.pictures[0].timestamp.abs_diff(first.timestamp);
    assert!(apart < Duration::from_millis(45), "{apart:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mpeg_ts() {
    let taken = written(&format!("{X264} {AAC} -f mpegts pipe:1")).await;
    check(&taken, VideoCodec::H264, AudioCodec::Aac);
    let taken = written(&format!("{X264} -c:a libopus -f mpegts pipe:1")).await;
    check(&taken, VideoCodec::H264, AudioCodec::Opus);
    assert!(
        (98..=104).contains(&taken.sounds.len()),
        "{}",
        taken.sounds.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fragmented_mp4() {
    let taken = written(&format!("{X264} {AAC} {MP4}")).await;
    check(&taken, VideoCodec::H264, AudioCodec::Aac);
    assert_eq!(taken.audio[0].codec_string, "mp4a.40.2");
    let each = MP4.replace("frag_keyframe", "frag_every_frame");
    let taken = written(&format!("{X264} -c:a libopus -strict -2 {each}")).await;
    check(&taken, VideoCodec::H264, AudioCodec::Opus);
    // Described before anything is known of it: then ffmpeg begins every track at nothing.
    let blind = MP4.replace("delay_moov", "empty_moov");
    let taken = written(&format!("{X264} {AAC} {blind}")).await;
    assert_eq!((taken.ended, taken.pictures.len()), (Some(Ended::Done), 50));
    // Described behind its samples, but before those of the next fragment.
    let late = MP4.replace(
        "+frag_keyframe+delay_moov+default_base_moof",
        "+frag_keyframe",
    );
    let taken = written(&format!("{X264} {AAC} {late}")).await;
    assert_eq!(taken.ended, Some(Ended::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn vp9_and_av1_pass_through() {
    let vp9 =
        "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -lag-in-frames 0 -g 10";
    let taken = written(&format!("{vp9} -c:a libopus -strict -2 {MP4}")).await;
    check(&taken, VideoCodec::Vp9, AudioCodec::Opus);
    assert_eq!(taken.video[0].codec_string, "vp09.00.21.08");
    let av1 = "-pix_fmt yuv420p -c:v libaom-av1 -usage realtime -cpu-used 8 -lag-in-frames 0 -g 10";
    let taken = written(&format!("{av1} {AAC} {MP4}")).await;
    check(&taken, VideoCodec::Av1, AudioCodec::Aac);
    let codec = &taken.video[0].codec_string;
    assert!(
        codec.starts_with("av01.0.") && codec.ends_with("M.08"),
        "{codec}"
    );
    for picture in taken.pictures.iter().filter(|it| it.keyframe) {
        assert_eq!(
            picture.data[0] >> 3 & 0xf,
            1,
            "the sequence header is first"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_is_told() {
    let fast = "-pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params log-level=none";
    for (how, words) in [
        (
            format!("{fast} {AAC} -f mpegts pipe:1"),
            "HEVC is not taken",
        ),
        (format!("{fast} {AAC} {MP4}"), "HEVC is not taken"),
        (
            format!("{X264} -c:a mp2 -f mpegts pipe:1"),
            "sound as MPEG audio",
        ),
        (format!("-c:v mpeg2video {AAC} -f mpegts pipe:1"), "MPEG-2"),
        (format!("{X264} {AAC} -f matroska pipe:1"), "Matroska"),
    ] {
        let taken = written(&how).await;
        let Some(Ended::Refused(said)) = &taken.ended else {
            panic!("{how}: {:?}", taken.ended);
        };
        assert!(said.contains(words), "{how}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_told() {
    for (bytes, words) in [
        (vec![], "nothing came"),
        (vec![7; 100], "nobody here knows what this is"),
        ([&[0x47][..], &[9; 200_000]].concat(), "this is not MPEG-TS"),
        (
            b"\0\0\0\x08ftyp\0\0\0\x03moov".to_vec(),
            "the MP4 is broken",
        ),
        (b"\0\0\0\x08ftyp\xff\0\0\0moov".to_vec(), "too large"),
        (
            b"\0\0\0\x08ftyp\0\0\0\x10mdat12345678".to_vec(),
            "not in fragments",
        ),
    ] {
        let taken = take(&bytes[..]).await;
        let Some(Ended::Refused(said)) = &taken.ended else {
            panic!("{words}: {:?}", taken.ended);
        };
        assert!(said.contains(words), "{words}: {said}");
    }
}
