//! Media over QUIC as a way to publish: the tracks that viewers get, from one publisher into a table
//! of its own.
//!
//! Nothing of what it says is believed. `info` only names the codecs; sizes, profiles and keyframes
//! are read from the pictures, and a header that says something else is refused.

mod take;

use std::borrow::Cow;

use bytes::Bytes;
use model::media::Coding;
use model::picture::{HEADER_LEN, Header};

use super::codec::h264::{Framing, H264};
use super::codec::{Malformed, Picture, aac, av1::Av1, opus, vp9};
use super::gate::Gate;
use super::{Fault, Limits};
use crate::access::Refusal;
use crate::media::{AudioCodec, AudioConfig, Published, VideoCodec};
use crate::subscribe::Frame;
pub(crate) use take::{End, take};

/// The largest description of a publication, in bytes. It has some 300.
const INFO_MAX: usize = 8 << 10;

/// What a publisher sends, checked. Pure: it is fed frames of each track in their order.
pub(super) struct Intake {
    gate: Gate,
    video: Option<Video>,
    audio: Option<AudioConfig>,
    /// The group of pictures that is open.
    group: Option<u64>,
}

enum Video {
    H264(Box<H264>),
    Av1(Box<Av1>),
    Vp9,
}

impl Intake {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            gate: Gate::new(limits),
            video: None,
            audio: None,
            group: None,
        }
    }

    /// What goes on, in order. Drain it after each `handle_*`.
    pub(super) fn poll(&mut self) -> Option<Published> {
        self.gate.poll()
    }

    /// How the picture is coded, once that was said.
    pub(super) fn has_video(&self) -> bool {
        self.video.is_some()
    }

    pub(super) fn has_audio(&self) -> bool {
        self.audio.is_some()
    }

    /// The publication is described, for the first time or again.
    pub(super) fn handle_info(&mut self, info: &[u8]) -> Result<(), Fault> {
        const BROKEN: Malformed =
            Malformed("the track `info` is not JSON with `video` and `audio`");
        if info.len() > INFO_MAX {
            return Err(BROKEN.into());
        }
        let coding: Coding = serde_json::from_slice(info).map_err(|_| BROKEN)?;
        if let Some(video) = coding.video {
            self.gate.handle_codec(video.codec)?;
            match (&self.video, video.codec) {
                (None, codec) => self.video = Some(Video::of(codec)),
                (Some(known), codec) if known.codec() == codec => {}
                (Some(_), _) => return Err(changed("picture")),
            }
        }
        if let Some(audio) = coding.audio {
            let audio = match audio.codec {
                AudioCodec::Opus => opus::config(audio.channels)?,
                AudioCodec::Aac => aac::config(&audio.description)?,
            };
            if self
                .audio
                .as_ref()
                .is_some_and(|it| it.codec != audio.codec)
            {
                return Err(changed("sound"));
            }
            self.audio = Some(audio);
        }
        Ok(())
    }

    /// A picture of the track `video`, before which so many groups broke off.
    pub(super) fn handle_picture(&mut self, frame: &Frame, broken: u64) -> Result<(), Fault> {
        let Some(video) = &mut self.video else {
            return Ok(());
        };
        let Some((header, _)) = Header::split(&frame.payload) else {
            return Err(refused(
                "a picture does not begin with the header of version 1 that all pictures have",
            ));
        };
        let missing = self.group.map_or(0, |it| missing(it, frame.group));
        let lost = missing.max(broken);
        if lost > 0 {
            self.gate.handle_lost(lost);
        }
        self.group = Some(frame.group);
        let codec = video.codec();
        let picture = video.picture(frame.payload.slice(HEADER_LEN..))?;
        let Some(picture) = picture else {
            return Err(refused(match codec {
                VideoCodec::H264 => {
                    "a picture is not H.264 with start codes and parameter sets before every \
                     keyframe: in ffmpeg -bsf:v h264_mp4toannexb"
                }
                VideoCodec::Av1 | VideoCodec::Vp9 => "a picture is empty",
            }));
        };
        agrees(header, frame.index, &picture)?;
        Ok(self.gate.handle_picture(codec, frame.timestamp, picture)?)
    }

    /// A packet of the track `audio`, before which so many groups broke off.
    pub(super) fn handle_sound(&mut self, frame: &Frame, broken: u64) -> Result<(), Fault> {
        let Some(config) = &self.audio else {
            return Ok(());
        };
        if broken > 0 {
            self.gate.handle_lost_sound(broken);
        }
        let opus = config.codec == AudioCodec::Opus;
        if opus && opus::duration(&frame.payload).is_none() {
            return Err(refused("a packet of sound is not Opus"));
        }
        let data = frame.payload.clone();
        Ok(self.gate.handle_sound(config, frame.timestamp, data)?)
    }
}

impl Video {
    fn of(codec: VideoCodec) -> Self {
        match codec {
            VideoCodec::H264 => Self::H264(Box::default()),
            VideoCodec::Av1 => Self::Av1(Box::default()),
            VideoCodec::Vp9 => Self::Vp9,
        }
    }

    const fn codec(&self) -> VideoCodec {
        match self {
            Self::H264(_) => VideoCodec::H264,
            Self::Av1(_) => VideoCodec::Av1,
            Self::Vp9 => VideoCodec::Vp9,
        }
    }

    fn picture(&mut self, data: Bytes) -> Result<Option<Picture>, Malformed> {
        match self {
            Self::H264(h264) => h264.handle_picture(Framing::AnnexB, &data),
            Self::Av1(av1) => av1.handle_picture(&data),
            Self::Vp9 => vp9::picture(data),
        }
    }
}

/// How many groups are missing between two, which come in order.
const fn missing(before: u64, group: u64) -> u64 {
    group.saturating_sub(before.saturating_add(1))
}

/// What a header says must be so: players believe it before they decode.
fn agrees(header: Header, index: u64, picture: &Picture) -> Result<(), Fault> {
    if header.keyframe != picture.keyframe {
        return Err(refused(if header.keyframe {
            "a header says that its picture is a keyframe, and it is none"
        } else {
            "a keyframe's header does not say that it is one"
        }));
    }
    if index == 0 && !picture.keyframe {
        return Err(refused(
            "a group of the track `video` does not begin with a keyframe: begin one with each",
        ));
    }
    match &picture.config {
        Some(it) if (it.width, it.height) != (header.width, header.height) => {
            Err(Fault::Refused(Refusal(Cow::Owned(format!(
                "a header says {}x{}, its picture is {}x{}",
                header.width, header.height, it.width, it.height
            )))))
        }
        _ => Ok(()),
    }
}

fn changed(what: &str) -> Fault {
    Fault::Refused(Refusal(Cow::Owned(format!(
        "the codec of the {what} has changed: publish anew"
    ))))
}

const fn refused(words: &'static str) -> Fault {
    Fault::Refused(Refusal(Cow::Borrowed(words)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ingest::fuzz::Dice;
    use crate::media::Sample;

    const SETS: [u8; 35] = [
        0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40, 0, 0, 3, 0,
        0x40, 0, 0, 0x0c, 0x83, 0xc6, 0x0c, 0xa8, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80,
    ];

    const H264_AND_OPUS: &str = r#"{"video":{"codec":"h264","codec_string":"","width":0,"height":0},
        "audio":{"codec":"opus","codec_string":"opus","sample_rate":48000,"channels":2,"description":""},
        "group_ms":500}"#;

    fn picture(keyframe: bool) -> Vec<u8> {
        let header = Header::of_camera(keyframe, 1280, 720).to_bytes();
        if keyframe {
            [&header[..], &SETS, &[0, 0, 0, 1, 0x65, 1, 2]].concat()
        } else {
            [&header[..], &[0, 0, 0, 1, 0x41, 9]].concat()
        }
    }

    fn frame(group: u64, index: u64, payload: Vec<u8>) -> Frame {
        Frame {
            group,
            index,
            timestamp: Duration::from_millis(1_700_000_000_000 + 500 * group + 40 * index),
            payload: payload.into(),
        }
    }

    fn intake() -> Intake {
        let mut intake = Intake::new(Limits::default());
        intake.handle_info(H264_AND_OPUS.as_bytes()).unwrap();
        intake
    }

    /// Pictures `k` and `p` in groups between spaces, and what comes: `L` with a number for losses.
    fn check(groups: &[(u64, &str)]) -> String {
        let (mut intake, mut told) = (intake(), String::new());
        for (group, pictures) in groups {
            for (index, kind) in pictures.bytes().enumerate() {
                let index = u64::try_from(index).unwrap();
                let frame = frame(*group, index, picture(kind == b'k'));
                let handled = intake.handle_picture(&frame, 0);
                while let Some(published) = intake.poll() {
                    told.push_str(&match published {
                        Published::Video(it) => format!("{}x{} ", it.width, it.height),
                        Published::VideoSample(Sample { keyframe: true, .. }) => "K".into(),
                        Published::VideoSample(_) => "P".into(),
                        Published::Lost(it) => format!("L{it}"),
                        other => panic!("{other:?}"),
                    });
                }
                if let Err(fault) = handled {
                    return format!("{told}: {fault}");
                }
            }
        }
        told
    }

    #[test]
    fn pictures_pass_and_groups_that_are_missing_are_told() {
        assert_eq!(check(&[(7, "kpp"), (8, "kp")]), "1280x720 KPPKP");
        assert_eq!(check(&[(7, "kp"), (10, "kp")]), "1280x720 KPL2KP");
        let late = check(&[(7, "kp"), (8, "pp")]);
        assert!(late.contains("does not begin with a keyframe"), "{late}");
    }

    #[test]
    fn what_the_header_says_must_be_so() {
        let wrong = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut payload = picture(true);
            change(&mut payload);
            let handled = intake().handle_picture(&frame(1, 0, payload), 0);
            handled.unwrap_err().to_string()
        };
        for (said, want) in [
            (wrong(&|it| it[0] = 0), "does not say that it is one"),
            (wrong(&|it| it[1] = 2), "version 1"),
            (wrong(&|it| it.truncate(15)), "version 1"),
            (wrong(&|it| it[2] = 1), "a header says 1281x720"),
            (wrong(&|it| it.truncate(HEADER_LEN)), "h264_mp4toannexb"),
            (wrong(&|it| it.truncate(it.len() - 7)), "h264_mp4toannexb"),
            (
                wrong(&|it| {
                    it.splice(HEADER_LEN..HEADER_LEN + SETS.len(), []);
                }),
                "h264_mp4toannexb",
            ),
        ] {
            assert!(said.contains(want), "{said}");
        }
        let mut delta = picture(false);
        delta[0] = 1;
        let mut intake = intake();
        intake
            .handle_picture(&frame(1, 0, picture(true)), 0)
            .unwrap();
        let said = intake.handle_picture(&frame(1, 1, delta), 0).unwrap_err();
        assert!(said.to_string().contains("it is none"), "{said}");
    }

    #[test]
    fn info_must_be_understood_and_stay() {
        for wrong in ["", "{", "7", r#"{"video":7}"#, &" ".repeat(9_000)] {
            let mut intake = Intake::new(Limits::default());
            assert!(intake.handle_info(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let mut intake = intake();
        assert!(intake.has_video() && intake.has_audio());
        let said = intake
            .handle_info(H264_AND_OPUS.replace("h264", "av1").as_bytes())
            .unwrap_err();
        assert!(said.to_string().contains("publish anew"), "{said}");
        let limits = Limits {
            video: vec![VideoCodec::H264],
            ..Limits::default()
        };
        let said = Intake::new(limits)
            .handle_info(H264_AND_OPUS.replace("h264", "vp9").as_bytes())
            .unwrap_err();
        assert!(said.to_string().starts_with("VP9 is not taken"), "{said}");
        let mut early = Intake::new(Limits::default());
        early
            .handle_picture(&frame(1, 0, picture(true)), 0)
            .unwrap();
        assert!(early.poll().is_none(), "nobody knows what it is");
    }

    /// Whatever is spoilt, in headers, pictures, sounds or words: no panic, and nothing that no
    /// decoder could start with.
    #[test]
    fn nonsense_is_refused_or_passed_but_never_believed() {
        let mut passed = 0;
        for seed in 0..4_000 {
            let mut dice = Dice::new(seed);
            let mut intake = Intake::new(Limits::default());
            let spoils = |dice: &mut Dice, bytes: &[u8]| match dice.below(6) {
                0 => dice.spoil(bytes),
                1 => (0..dice.below(80)).map(|_| dice.byte()).collect(),
                _ => bytes.to_vec(),
            };
            let info = spoils(&mut dice, H264_AND_OPUS.as_bytes());
            if intake.handle_info(&info).is_err() {
                continue;
            }
            let mut pictures = 0;
            for group in 0..6 {
                for index in 0..4 {
                    let payload = spoils(&mut dice, &picture(index == 0));
                    let mut frame = frame(group, index, payload);
                    if dice.below(20) == 0 {
                        frame.group = u64::MAX - group;
                        frame.timestamp = Duration::from_micros(u64::MAX);
                    }
                    let _ = intake.handle_picture(&frame, 0);
                    frame.payload = spoils(&mut dice, &[0xfc, 1, 2, 3]).into();
                    let _ = intake.handle_sound(&frame, 0);
                    while let Some(published) = intake.poll() {
                        if let Published::VideoSample(sample) = published {
                            assert!(pictures > 0 || sample.keyframe);
                            pictures += 1;
                        }
                    }
                }
            }
            passed += u64::from(pictures > 0);
        }
        assert!(passed > 1_000, "{passed} of them gave any picture");
    }
}
