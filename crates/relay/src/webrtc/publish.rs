//! WHIP: a browser or OBS publishes a camera.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use logic::lipsync::{LipSync, Track};
use str0m::Event;
use str0m::format::Codec;
use str0m::media::{KeyframeRequestKind, MediaData, MediaKind, Mid, SenderFeedback};
use tracing::{debug, info};

use super::peer::{Over, Peer};
use super::{Answer, NotTaken, SESSIONS_MAX, WebRtc, offer};
use crate::access::Refusal;
use crate::ingest::codec::av1::Av1;
use crate::ingest::codec::h264::{Framing, H264};
use crate::ingest::codec::{Picture, opus, vp9};
use crate::ingest::gate::Gate;
use crate::ingest::{Admit, Admitted, Asked, Fault, Limits};
use crate::media::{AudioCodec, Ended, Published, Sink, VideoCodec};

/// Browsers send a keyframe when they are asked and never else. A little less than a second, so that
/// with the way there and back a group has one.
const KEYFRAME_EVERY: Duration = Duration::from_millis(900);

/// Groups are as much shorter than the longest that is taken.
const KEYFRAME_SHARE: f64 = 0.8;

/// What is asked for is not there yet: it is asked again. Browsers answer no faster.
const KEYFRAME_AGAIN: Duration = Duration::from_millis(300);

/// Where a publication's clock starts: far enough from zero that nothing is before it.
const EPOCH: Duration = Duration::from_secs(10);

/// Browsers offer two channels whatever they send.
const CHANNELS: u8 = 2;

const PICTURE_RATE: u64 = 90_000;

impl WebRtc {
    /// Takes a publication, if it may be: `candidate` is where the publisher reaches the socket.
    pub async fn publish(
        &self,
        offer: &str,
        candidate: SocketAddr,
        asked: Asked,
        admit: &dyn Admit,
    ) -> Result<Answer, NotTaken> {
        let label = format!("camera {} of {}", asked.camera, asked.event);
        info!(?asked, "WHIP publisher");
        let admitted = admit.admit(asked).await.map_err(NotTaken::Refused)?;
        let limits = &admitted.limits;
        let codecs = offer::codecs(offer, "video");
        let pictures = preferred(&codecs, limits)?;
        let config = self
            .0
            .config()
            .enable_h264(pictures == VideoCodec::H264)
            .enable_av1(pictures == VideoCodec::Av1)
            .enable_vp9(pictures == VideoCodec::Vp9)
            .enable_opus(limits.audio.contains(&AudioCodec::Opus), false);
        let (answer, mut peer) =
            self.0
                .answer(config, offer, candidate, label.clone(), SESSIONS_MAX)?;
        let publication = Publication::new(&peer, &answer.sdp, limits.clone())?;
        self.0.tracker.spawn(async move {
            let Admitted { sink, .. } = admitted;
            let ended = run(&mut peer, publication, &sink).await;
            info!(label, ?ended, "WHIP publisher is gone");
            peer.close();
            // Its place is free before anybody hears of the end.
            drop(peer);
            let _ = sink.send(Published::Ended(ended)).await;
        });
        Ok(answer)
    }
}

/// The codec that is agreed on: H.264 wherever it is offered, because edges can make it smaller.
fn preferred(
    offered: &std::collections::BTreeSet<String>,
    limits: &Limits,
) -> Result<VideoCodec, NotTaken> {
    let name = |codec: VideoCodec| codec.as_str();
    let taken = VideoCodec::ALL.into_iter();
    let mut taken = taken.filter(|it| limits.video.contains(it));
    if let Some(codec) = taken.find(|it| offered.contains(name(*it))) {
        return Ok(codec);
    }
    let list: Vec<_> = offered.iter().map(|it| it.to_uppercase()).collect();
    let refusal = if list.is_empty() {
        Refusal("no picture is offered: add a video source".into())
    } else {
        Gate::new(limits.clone()).refused_video(&list.join(", "))
    };
    Err(NotTaken::NotAcceptable(refusal))
}

async fn run(peer: &mut Peer, mut publication: Publication, sink: &Sink) -> Ended {
    tokio::select! {
        ended = publication.take(peer, sink) => ended,
        () = sink.closed() => Ended::Refused(UNTAKEN.to_owned()),
    }
}

const UNTAKEN: &str = "this camera is no longer taken";

/// What comes, taken apart.
struct Publication {
    gate: Gate,
    h264: H264,
    av1: Av1,
    clock: LipSync,
    began: Instant,
    /// The first of each kind that was offered; others are not carried on.
    picture: Option<Source>,
    sound: Option<Source>,
    keyframe_every: Duration,
    connected: bool,
    keyframe_at: Option<Instant>,
    asked_at: Option<Instant>,
}

/// A track of the publisher's.
struct Source {
    mid: Mid,
    /// Counts a second.
    rate: u64,
    /// The newest count.
    newest: u64,
    /// The number of its last packet.
    last: Option<u64>,
}

impl Publication {
    fn new(peer: &Peer, answer: &str, limits: Limits) -> Result<Self, NotTaken> {
        let longest = limits.group_max.mul_f64(KEYFRAME_SHARE);
        let mut gate = Gate::new(limits);
        let (mut picture, mut sound) = (None, None);
        for media in peer.media(&offer::media(answer)) {
            let (place, rate, what) = match media.kind() {
                MediaKind::Video => (&mut picture, PICTURE_RATE, "a second picture"),
                MediaKind::Audio => (&mut sound, u64::from(opus::RATE), "a second sound"),
            };
            if place.is_some() {
                gate.handle_ignored(what);
            } else if media.direction().is_receiving() {
                *place = Some(Source {
                    mid: media.mid(),
                    rate,
                    newest: 0,
                    last: None,
                });
            }
        }
        if picture.is_none() {
            // A profile of the codec that nobody knows, or a direction that brings nothing.
            let refusal = gate.refused_video("a picture such as is offered");
            return Err(NotTaken::NotAcceptable(refusal));
        }
        Ok(Self {
            gate,
            h264: H264::default(),
            av1: Av1::default(),
            clock: LipSync::default(),
            began: Instant::now(),
            picture,
            sound,
            keyframe_every: KEYFRAME_EVERY.min(longest),
            connected: false,
            keyframe_at: None,
            asked_at: None,
        })
    }

    /// Takes what comes until it ends.
    async fn take(&mut self, peer: &mut Peer, sink: &Sink) -> Ended {
        loop {
            let taken = match peer.next(self.ask_at()).await {
                Ok(Some(event)) => self.handle_event(event),
                Ok(None) => {
                    self.ask(peer);
                    continue;
                }
                Err(Over::Stopped | Over::Closed) => return Ended::Done,
                Err(over) => return Ended::Broken(over.to_string()),
            };
            while let Some(published) = self.gate.poll() {
                if sink.send(published).await.is_err() {
                    return Ended::Refused(UNTAKEN.to_owned());
                }
            }
            if let Err(fault) = taken {
                return Ended::Refused(fault.to_string());
            }
        }
    }

    /// When to ask for a keyframe.
    fn ask_at(&self) -> Option<Instant> {
        if !self.connected || self.picture.is_none() {
            return None;
        }
        let due = self.keyframe_at.map(|it| it + self.keyframe_every);
        let again = self.asked_at.map(|it| it + KEYFRAME_AGAIN);
        Some(due.max(again).unwrap_or_else(Instant::now))
    }

    fn ask(&mut self, peer: &mut Peer) {
        self.asked_at = Some(Instant::now());
        let writer = self.picture.as_ref().and_then(|it| peer.rtc.writer(it.mid));
        if let Some(mut writer) = writer {
            // It cannot be asked for before something has come, nor of who did not offer it.
            let _ = writer.request_keyframe(None, KeyframeRequestKind::Pli);
        }
    }

    fn handle_event(&mut self, event: Event) -> Result<(), Fault> {
        match event {
            Event::Connected => self.connected = true,
            Event::MediaData(data) => {
                let is = |it: &Option<Source>| it.as_ref().is_some_and(|it| it.mid == data.mid);
                if is(&self.picture) {
                    return self.handle_picture(&data);
                } else if is(&self.sound) {
                    return self.handle_sound(&data);
                }
            }
            Event::SenderFeedback(feedback) => self.handle_report(&feedback),
            // Everything else is for those who show it.
            _ => {}
        }
        Ok(())
    }

    fn handle_picture(&mut self, data: &MediaData) -> Result<(), Fault> {
        let Some((timestamp, lost)) = self.arrived(Track::Picture, data) else {
            return Ok(());
        };
        if lost > 0 {
            self.gate.handle_lost(lost);
            // At once, and not only when the next one is due.
            (self.keyframe_at, self.asked_at) = (None, None);
        }
        let (codec, picture) = match data.params.spec().codec {
            Codec::H264 => (
                VideoCodec::H264,
                self.h264.handle_picture(Framing::AnnexB, &data.data)?,
            ),
            Codec::Av1 => (VideoCodec::Av1, self.av1.handle_picture(&data.data)?),
            Codec::Vp9 => (
                VideoCodec::Vp9,
                vp9::picture(Bytes::copy_from_slice(&data.data))?,
            ),
            // Nothing else was agreed on.
            _ => return Ok(()),
        };
        let Some(picture) = picture else {
            return Ok(());
        };
        let Picture { keyframe, .. } = picture;
        if keyframe {
            (self.keyframe_at, self.asked_at) = (Some(Instant::now()), None);
        }
        Ok(self.gate.handle_picture(codec, timestamp, picture)?)
    }

    fn handle_sound(&mut self, data: &MediaData) -> Result<(), Fault> {
        let Some((timestamp, lost)) = self.arrived(Track::Sound, data) else {
            return Ok(());
        };
        if lost > 0 {
            self.gate.handle_lost_sound(lost);
        }
        let config = opus::config(CHANNELS)?;
        let packet = Bytes::copy_from_slice(&data.data);
        Ok(self.gate.handle_sound(&config, timestamp, packet)?)
    }

    /// When it was, and how many packets are missing before it.
    fn arrived(&mut self, track: Track, data: &MediaData) -> Option<(Duration, u64)> {
        let source = match track {
            Track::Picture => self.picture.as_mut()?,
            Track::Sound => self.sound.as_mut()?,
        };
        let (first, last) = (**data.seq_range.start(), **data.seq_range.end());
        let expected = source.last.replace(last).map_or(first, |it| it + 1);
        let lost = first.saturating_sub(expected);
        let lost = lost.max(u64::from(!data.contiguous));
        source.newest = data.time.numer();
        let own = since(source.newest, source.rate);
        let arrived = data.network_time.saturating_duration_since(self.began) + EPOCH;
        Some((self.clock.handle(track, own, arrived), lost))
    }

    fn handle_report(&mut self, feedback: &SenderFeedback) {
        let (track, source) = match (&self.picture, &self.sound) {
            (Some(it), _) if it.mid == feedback.mid => (Track::Picture, it),
            (_, Some(it)) if it.mid == feedback.mid => (Track::Sound, it),
            _ => return,
        };
        let info = &feedback.sender_info;
        let clock = info.ntp_time.duration_since(std::time::UNIX_EPOCH);
        let (Ok(clock), Some(count)) = (clock, near(source.newest, info.rtp_time.numer())) else {
            return;
        };
        debug!(?track, ?clock, "a publisher's report");
        let own = since(count, source.rate);
        self.clock.handle_report(track, own, clock);
    }
}

/// A count as time.
fn since(count: u64, rate: u64) -> Duration {
    let micros = u128::from(count) * 1_000_000 / u128::from(rate);
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// The endless count that is nearest to `newest`, of one that starts over at 32 bits. Nothing before
/// anything has come.
fn near(newest: u64, count: u64) -> Option<u64> {
    const LOW: u64 = u32::MAX as u64;
    let ahead = (count & LOW).wrapping_sub(newest & LOW) & LOW;
    let near = if ahead <= LOW / 2 {
        newest.checked_add(ahead)
    } else {
        newest.checked_sub(LOW + 1 - ahead)
    };
    near.filter(|_| newest > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_start_over_are_found_again() {
        let turn = 1 << 32;
        assert_eq!(near(0, 5), None);
        assert_eq!(near(100, 90), Some(90));
        assert_eq!(near(turn + 100, 90), Some(turn + 90));
        assert_eq!(near(turn + 100, turn - 50), Some(turn - 50));
        assert_eq!(near(turn - 50, 100), Some(turn + 100));
        assert_eq!(near(100, turn - 50), None);
        assert_eq!(since(90_000, PICTURE_RATE), Duration::from_secs(1));
        assert_eq!(since(u64::MAX, 1), Duration::from_micros(u64::MAX));
    }

    #[test]
    fn the_picture_that_edges_can_make_smaller_is_preferred() {
        let offered = |list: &str| list.split(' ').map(str::to_owned).collect();
        let limits = Limits::default();
        assert!(matches!(
            preferred(&offered("vp8 vp9 h264 av1"), &limits),
            Ok(VideoCodec::H264)
        ));
        assert!(matches!(
            preferred(&offered("vp9 av1"), &limits),
            Ok(VideoCodec::Av1)
        ));
        let refused = preferred(&offered("vp8 h265"), &limits)
            .unwrap_err()
            .to_string();
        assert!(
            refused.starts_with("H265, VP8 is not taken: send H.264, AV1 or VP9"),
            "{refused}"
        );
        let nothing = preferred(&Default::default(), &limits)
            .unwrap_err()
            .to_string();
        assert!(nothing.contains("no picture"), "{nothing}");
    }
}
