//! What every publication has to pass, whichever way it comes in: codecs, keyframes, order, bitrate.
//! Pure. Refusals and warnings are for the tool's user: they say what to change, and where.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use model::Bitrate;

use super::codec::Picture;
use super::{Limits, Reordered};
use crate::access::Refusal;
use crate::media::{AudioConfig, Published, SAMPLE_MAX, Sample, VideoCodec, Warning, WarningKind};

/// The longest group that is taken whatever the limits say: a group is kept whole in memory, and
/// nobody can join in its middle.
const GROUP_LIMIT: Duration = Duration::from_secs(10);

/// Encoders count frames, not time: a group may be this much longer than was asked for.
const GROUP_SLACK: f64 = 1.1;

/// Sound alone for so long is a camera without pictures.
const PICTURE_WITHIN: Duration = Duration::from_secs(10);

/// What a bitrate is measured over; keyframes come in bursts.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// So many windows in a row above the limit end a publication.
const RATE_WINDOWS: u32 = 5;

/// Lets a publication through, or says why not.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Limits,
    out: VecDeque<Published>,
    warned: BTreeSet<WarningKind>,
    video: Option<crate::media::VideoConfig>,
    audio: Option<AudioConfig>,
    /// No picture goes through before the next keyframe.
    waiting: bool,
    /// When the open group began, or the wait for one.
    group: Option<Duration>,
    newest: Option<Duration>,
    first_sound: Option<Duration>,
    rate: Rate,
}

#[derive(Debug, Default)]
struct Rate {
    began: Duration,
    bytes: u64,
    above: u32,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            out: VecDeque::new(),
            warned: BTreeSet::new(),
            video: None,
            audio: None,
            waiting: true,
            group: None,
            newest: None,
            first_sound: None,
            rate: Rate::default(),
        }
    }

    /// What goes through, in order. Drain it after each `handle_*`.
    pub(crate) fn poll(&mut self) -> Option<Published> {
        self.out.pop_front()
    }

    /// Whether pictures of this codec are taken at all: ask as soon as it is known.
    pub(crate) fn handle_codec(&self, codec: VideoCodec) -> Result<(), Refusal> {
        if self.limits.video.contains(&codec) {
            return Ok(());
        }
        Err(self.refused_video(video_name(codec)))
    }

    pub(crate) fn handle_picture(
        &mut self,
        codec: VideoCodec,
        timestamp: Duration,
        picture: Picture,
    ) -> Result<(), Refusal> {
        self.handle_codec(codec)?;
        self.check_size(picture.data.len())?;
        self.check_order(timestamp)?;
        self.check_group(timestamp, picture.keyframe)?;
        self.check_rate(timestamp, picture.data.len())?;
        if self.waiting && !picture.keyframe {
            return Ok(());
        }
        self.waiting = false;
        if let Some(config) = picture.config.filter(|it| self.video.as_ref() != Some(it)) {
            self.video = Some(config.clone());
            self.out.push_back(Published::Video(config));
        }
        self.out.push_back(Published::VideoSample(Sample {
            timestamp,
            keyframe: picture.keyframe,
            data: picture.data,
        }));
        Ok(())
    }

    pub(crate) fn handle_sound(
        &mut self,
        config: &AudioConfig,
        timestamp: Duration,
        data: Bytes,
    ) -> Result<(), Refusal> {
        if !self.limits.audio.contains(&config.codec) {
            return Err(self.refused_audio(config.codec.as_str()));
        }
        self.check_size(data.len())?;
        let first = *self.first_sound.get_or_insert(timestamp);
        if self.newest.is_none() && timestamp.saturating_sub(first) > PICTURE_WITHIN {
            return Err(Refusal(Cow::Borrowed(
                "there is sound but no picture: add a video source, or check that the tool sends it",
            )));
        }
        if data.is_empty() {
            return Ok(());
        }
        if self.audio.as_ref() != Some(config) {
            self.audio = Some(config.clone());
            self.out.push_back(Published::Audio(config.clone()));
        }
        self.out.push_back(Published::AudioSample(Sample {
            timestamp,
            keyframe: true,
            data,
        }));
        Ok(())
    }

    /// So many pieces of the transport were lost: pictures wait for the next keyframe.
    pub(crate) fn handle_lost(&mut self, pieces: u64) {
        if self.video.is_some() {
            self.waiting = true;
        }
        // A keyframe may be among what was lost: how far they are apart is counted from here.
        self.group = None;
        self.out.push_back(Published::Lost(pieces));
    }

    /// So many pieces of the transport were lost that held sound.
    pub(crate) fn handle_lost_sound(&mut self, pieces: u64) {
        self.out.push_back(Published::Lost(pieces));
    }

    /// Something is not carried on.
    pub(crate) fn handle_ignored(&mut self, what: &str) {
        self.warn(WarningKind::Ignored, || format!("{what} is not carried on"));
    }

    /// The words for pictures that nobody here knows.
    pub(crate) fn refused_video(&self, name: &str) -> Refusal {
        let taken = list(self.limits.video.iter().map(|it| video_name(*it)));
        Refusal(Cow::Owned(format!(
            "{name} is not taken: send {taken}. In OBS: Settings > Output > Video Encoder > x264; \
             in ffmpeg: -c:v libx264"
        )))
    }

    /// The words for sound that nobody here knows.
    pub(crate) fn refused_audio(&self, name: &str) -> Refusal {
        let taken = list(self.limits.audio.iter().map(|it| match it {
            crate::media::AudioCodec::Aac => "AAC",
            crate::media::AudioCodec::Opus => "Opus",
        }));
        if self.limits.audio.is_empty() {
            return Refusal(Cow::Borrowed(
                "no sound is taken from this camera: turn it off; in ffmpeg: -an",
            ));
        }
        Refusal(Cow::Owned(format!(
            "sound as {name} is not taken: send {taken}. In OBS: Settings > Output > Audio Encoder; \
             in ffmpeg: -c:a aac"
        )))
    }

    fn check_size(&self, size: usize) -> Result<(), Refusal> {
        if size <= SAMPLE_MAX {
            return Ok(());
        }
        Err(Refusal(Cow::Owned(format!(
            "one picture has {} MB: lower the bitrate or the size of the picture",
            size >> 20
        ))))
    }

    fn check_order(&mut self, timestamp: Duration) -> Result<(), Refusal> {
        let newest = self.newest.unwrap_or(timestamp);
        let behind = newest.saturating_sub(timestamp);
        // Further back is no reordering but a clock that was set.
        if behind > Duration::from_secs(1) {
            (self.newest, self.group) = (Some(timestamp), None);
            return Ok(());
        }
        self.newest = Some(newest.max(timestamp));
        if behind.is_zero() {
            return Ok(());
        }
        const WORDS: &str = "pictures come in another order than they are shown (B-frames), which \
            costs every viewer time. In OBS: x264 with Tune zerolatency, or other encoders with \
            B-frames 0; in ffmpeg: -bf 0";
        if self.limits.reordered == Reordered::Refused {
            return Err(Refusal(Cow::Borrowed(WORDS)));
        }
        self.warn(WarningKind::Reordered, || WORDS.to_owned());
        Ok(())
    }

    fn check_group(&mut self, timestamp: Duration, keyframe: bool) -> Result<(), Refusal> {
        let began = *self.group.get_or_insert(timestamp);
        let length = timestamp.saturating_sub(began);
        let most = self.limits.group_max.min(GROUP_LIMIT);
        let words = |most: Duration| {
            format!(
                "keyframes are {:.1} s apart, at most {} is {}. In OBS: Settings > Output > Keyframe \
                 Interval 1 s; in ffmpeg: -g with the number of frames a second",
                length.as_secs_f64(),
                seconds(most),
                if most == self.limits.group_warn {
                    "good"
                } else {
                    "taken"
                },
            )
        };
        if length > most.mul_f64(GROUP_SLACK) {
            return Err(Refusal(Cow::Owned(words(most))));
        }
        if keyframe {
            let text = words(self.limits.group_warn);
            // The first one may have had to be waited for.
            if !self.waiting && length > self.limits.group_warn.mul_f64(GROUP_SLACK) {
                self.warn(WarningKind::LongGroup, || text);
            }
            self.group = Some(timestamp);
        }
        Ok(())
    }

    fn check_rate(&mut self, timestamp: Duration, size: usize) -> Result<(), Refusal> {
        let most = self.limits.bitrate_max;
        let span = timestamp.saturating_sub(self.rate.began);
        if span < RATE_WINDOW && timestamp >= self.rate.began {
            self.rate.bytes += size as u64;
            return Ok(());
        }
        let bits = u128::from(self.rate.bytes) * 8 * 1_000 / span.as_millis().max(1);
        let rate = Bitrate::bps(u64::try_from(bits).unwrap_or(u64::MAX));
        let above = if rate > most { self.rate.above + 1 } else { 0 };
        self.rate = Rate {
            began: timestamp,
            bytes: size as u64,
            above,
        };
        if above == 0 {
            return Ok(());
        }
        let words = format!(
            "the picture takes {rate}, at most {most} is taken. In OBS: Settings > Output > Video \
             Bitrate; in ffmpeg: -maxrate and -bufsize"
        );
        if above >= RATE_WINDOWS {
            return Err(Refusal(Cow::Owned(words)));
        }
        self.warn(WarningKind::Bitrate, || words);
        Ok(())
    }

    fn warn(&mut self, kind: WarningKind, text: impl FnOnce() -> String) {
        if self.warned.insert(kind) {
            let text = text();
            self.out
                .push_back(Published::Warning(Warning { kind, text }));
        }
    }
}

/// As people write them.
fn video_name(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "H.264",
        VideoCodec::Av1 => "AV1",
        VideoCodec::Vp9 => "VP9",
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", (time.as_secs_f64() * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{AudioCodec, VideoConfig};

    fn picture(keyframe: bool, size: usize) -> Picture {
        Picture {
            keyframe,
            data: vec![0; size].into(),
            config: keyframe.then(|| VideoConfig {
                codec: VideoCodec::H264,
                codec_string: "avc1.42c01f".into(),
                width: 1280,
                height: 720,
            }),
        }
    }

    /// Pictures of 25 a second as `k`, `p` or `b` (80 ms back), each of `size` bytes, and what comes.
    fn check(limits: &Limits, pictures: &str, size: usize) -> String {
        let mut gate = Gate::new(limits.clone());
        let mut told = String::new();
        for (n, kind) in pictures.chars().enumerate() {
            let at = Duration::from_millis(40 * n as u64 + 1_000);
            let at = if kind == 'b' {
                at - Duration::from_millis(80)
            } else {
                at
            };
            let taken = gate.handle_picture(VideoCodec::H264, at, picture(kind == 'k', size));
            while let Some(published) = gate.poll() {
                match published {
                    Published::Video(_) => told.push('C'),
                    Published::VideoSample(it) => told.push(if it.keyframe { 'K' } else { 'P' }),
                    Published::Warning(it) => told.push_str(&format!("({:?})", it.kind)),
                    other => panic!("{other:?}"),
                }
            }
            if let Err(refusal) = taken {
                return format!("{told}: {refusal}");
            }
        }
        told
    }

    #[test]
    fn pictures_start_with_a_keyframe() {
        assert_eq!(check(&Limits::default(), "ppkppkp", 9), "CKPPKP");
    }

    #[test]
    fn long_groups_are_told() {
        let limits = Limits::default();
        let seconds = |frames: usize| format!("k{}k", "p".repeat(frames - 1));
        assert!(!check(&limits, &seconds(25), 9).contains('('));
        assert!(check(&limits, &seconds(50), 9).ends_with("(LongGroup)K"));
        let refused = check(&limits, &seconds(60), 9);
        assert!(
            refused.contains("2.2 s apart, at most 2 s is taken"),
            "{refused}"
        );
        assert!(refused.contains("ffmpeg: -g"), "{refused}");
        let never = check(&limits, &"p".repeat(60), 9);
        assert!(never.contains("at most 2 s"), "{never}");
        let wide = Limits {
            group_max: Duration::from_secs(99),
            ..limits
        };
        let refused = check(&wide, &seconds(300), 9);
        assert!(refused.contains("at most 10 s"), "{refused}");
    }

    #[test]
    fn reordered_pictures_are_told() {
        let refused = check(&Limits::default(), "kpb", 9);
        assert!(
            refused.starts_with("CKP: ") && refused.contains("-bf 0"),
            "{refused}"
        );
        let limits = Limits {
            reordered: Reordered::Taken,
            ..Limits::default()
        };
        assert_eq!(check(&limits, "kpbpb", 9), "CKP(Reordered)PPP");
    }

    #[test]
    fn too_much_is_told_and_then_refused() {
        let limits = Limits {
            bitrate_max: Bitrate::kbps(1_000),
            ..Limits::default()
        };
        let one_second = format!("k{}", "p".repeat(24));
        assert!(!check(&limits, &one_second.repeat(20), 4_900).contains(['(', ':']));
        let told = check(&limits, &one_second.repeat(20), 5_200);
        assert!(
            told.contains("(Bitrate)") && told.contains("at most 1000 kbit/s"),
            "{told}"
        );
    }

    #[test]
    fn what_is_not_taken_is_told() {
        let limits = Limits {
            video: vec![VideoCodec::H264],
            ..Limits::default()
        };
        let mut gate = Gate::new(limits);
        let refused = gate.handle_picture(VideoCodec::Av1, Duration::ZERO, picture(true, 1));
        assert_eq!(
            refused.unwrap_err().0,
            "AV1 is not taken: send H.264. In OBS: Settings > Output > Video Encoder > x264; in \
             ffmpeg: -c:v libx264"
        );
        let refused = gate.refused_audio("MP3").0;
        assert!(
            refused.starts_with("sound as MP3 is not taken: send Opus or AAC."),
            "{refused}"
        );
        let huge = gate.handle_picture(
            VideoCodec::H264,
            Duration::ZERO,
            picture(true, SAMPLE_MAX + 1),
        );
        assert!(huge.unwrap_err().0.contains("8 MB"));
    }

    #[test]
    fn sound_without_a_picture_is_told() {
        let mut gate = Gate::new(Limits::default());
        let config = AudioConfig {
            codec: AudioCodec::Opus,
            codec_string: "opus".into(),
            sample_rate: 48_000,
            channels: 2,
            description: vec![],
        };
        let mut sound =
            |secs| gate.handle_sound(&config, Duration::from_secs(secs), vec![1].into());
        assert_eq!((sound(5), sound(14)), (Ok(()), Ok(())));
        assert!(sound(16).unwrap_err().0.contains("no picture"));
    }

    #[test]
    fn keyframes_that_were_lost_are_not_the_encoders_fault() {
        let mut gate = Gate::new(Limits::default());
        for seconds in [1, 2, 7, 8] {
            if seconds == 7 {
                gate.handle_lost(5);
            }
            let at = Duration::from_secs(seconds);
            let taken = gate.handle_picture(VideoCodec::H264, at, picture(true, 1));
            assert_eq!(taken, Ok(()), "{seconds}");
        }
    }

    #[test]
    fn after_a_loss_a_keyframe_comes_first() {
        let mut gate = Gate::new(Limits::default());
        for (n, keyframe) in [true, false, false, true].into_iter().enumerate() {
            if n == 1 {
                gate.handle_lost(7);
            }
            let at = Duration::from_millis(40 * n as u64);
            gate.handle_picture(VideoCodec::H264, at, picture(keyframe, 1))
                .unwrap();
        }
        let got: Vec<Published> = std::iter::from_fn(|| gate.poll()).collect();
        assert!(
            matches!(
                &got[..],
                [Published::Video(_), Published::VideoSample(_), Published::Lost(7), Published::VideoSample(it)]
                    if it.keyframe
            ),
            "{got:?}"
        );
    }
}
