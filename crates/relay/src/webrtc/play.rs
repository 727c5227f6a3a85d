//! WHEP: a browser or a player receives one view.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::Bitrate;
use str0m::Event;
use str0m::bwe::BweKind;
use str0m::channel::ChannelId;
use str0m::format::Codec;
use str0m::media::{Frequency, MediaKind, MediaTime, Mid, Pt};
use tracing::debug;

use super::peer::Peer;
use super::{Answer, NotTaken, VIEWERS_MAX, WebRtc, offer};
use crate::access::Refusal;
use crate::media::VideoCodec;

/// The longest message that a viewer may send, in bytes: the name of a camera and room around it.
pub(super) const WORDS_MAX: u32 = 4 << 10;

/// What the network is supposed to carry until it was measured. Groups of 2 Mbit/s begin within a
/// second over it.
pub const ROOM: Bitrate = Bitrate::kbps(2_500);

/// The data channel that views are chosen on.
const CHANNEL: &str = "view";

/// A step of time that no eye sees, in ticks of 90 kHz: pictures that are caught up with are so far
/// apart.
const CATCH_UP: u64 = 9;

/// One viewer. Its session ends with it.
pub struct Player {
    peer: Peer,
    picture: Option<Outlet>,
    sound: Option<Outlet>,
    /// Codecs that were offered and agreed on.
    plays: BTreeSet<VideoCodec>,
    channel: Option<ChannelId>,
    /// The least of what our clock is ahead of timestamps, in microseconds since 1970: it maps them
    /// to moments that have been, for pictures and sound alike.
    ahead: Option<i64>,
    connected: bool,
}

/// A track toward the viewer.
struct Outlet {
    mid: Mid,
    /// The newest time that was sent, in ticks.
    newest: Option<u64>,
}

/// What a viewer's side says.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Media can be sent from now on. What was sent before went nowhere.
    Connected,
    /// So much fits through the network.
    Room(Bitrate),
    /// Its decoder needs a keyframe.
    KeyframeWanted,
    /// Words can be exchanged from now on.
    Opened,
    /// It said something.
    Said(String),
}

impl WebRtc {
    /// Takes a viewer, who reaches the socket at `candidate`. `label` is what it is called in
    /// [`labels`](WebRtc::labels).
    pub fn play(
        &self,
        offer: &str,
        candidate: SocketAddr,
        label: String,
    ) -> Result<(Answer, Player), NotTaken> {
        let config = self
            .0
            .config()
            .enable_h264(true)
            .enable_av1(true)
            .enable_vp9(true)
            .enable_opus(true, false)
            .enable_bwe(Some(str0m::bwe::Bitrate::bps(ROOM.as_bps())));
        if offer::codecs(offer, "video").is_empty() {
            let words = "no picture is asked for: offer a video transceiver that receives";
            return Err(NotTaken::NotAcceptable(Refusal(words.into())));
        }
        let (answer, mut peer) = self
            .0
            .answer(config, offer, candidate, label, VIEWERS_MAX)?;
        let (mut picture, mut sound) = (None, None);
        for media in peer.media(&offer::media(&answer.sdp)) {
            let place = match media.kind() {
                MediaKind::Video => &mut picture,
                MediaKind::Audio => &mut sound,
            };
            if media.direction().is_sending() && place.is_none() {
                *place = Some(Outlet {
                    mid: media.mid(),
                    newest: None,
                });
            }
        }
        let mid = picture.as_ref().map(|it| it.mid);
        let plays = VideoCodec::ALL.into_iter().filter(|codec| {
            let payload = mid.and_then(|it| payload(&mut peer, it, *codec));
            payload.is_some()
        });
        let plays = plays.collect();
        let player = Player {
            peer,
            picture,
            sound,
            plays,
            channel: None,
            ahead: None,
            connected: false,
        };
        Ok((answer, player))
    }
}

impl Player {
    /// What its side says next; `None` when the session is over. Must be waited for, or nothing is
    /// sent. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            let event = match self.peer.next(None).await {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                Err(over) => {
                    debug!(%over, "a viewer is gone");
                    return None;
                }
            };
            let told = self.handle(event);
            if told.is_some() {
                return told;
            }
        }
    }

    fn handle(&mut self, event: Event) -> Option<Told> {
        match event {
            Event::Connected => {
                self.connected = true;
                Some(Told::Connected)
            }
            Event::KeyframeRequest(_) => Some(Told::KeyframeWanted),
            Event::EgressBitrateEstimate(
                BweKind::Twcc { estimate, .. } | BweKind::Remb { estimate, .. },
            ) => Some(Told::Room(Bitrate::bps(estimate.as_u64()))),
            Event::ChannelOpen(id, name) if name == CHANNEL && self.channel.is_none() => {
                self.channel = Some(id);
                Some(Told::Opened)
            }
            Event::ChannelClose(id) if self.channel == Some(id) => {
                self.channel = None;
                None
            }
            Event::ChannelData(data) if self.channel == Some(data.id) => {
                String::from_utf8(data.data).ok().map(Told::Said)
            }
            // Everything else is for those who publish.
            _ => None,
        }
    }

    /// Whether pictures of this codec can be sent to it.
    pub fn plays(&self, codec: VideoCodec) -> bool {
        self.plays.contains(&codec)
    }

    /// Whether it wants sound. Only Opus can be sent.
    pub const fn hears(&self) -> bool {
        self.sound.is_some()
    }

    /// The network is tried for so much.
    pub fn reach_for(&mut self, most: Bitrate) {
        let most = str0m::bwe::Bitrate::bps(most.as_bps());
        self.peer
            .rtc
            .bwe()
            .set_bitrate(str0m::bwe::Bitrate::ZERO, most);
    }

    /// The timestamp that the next picture must be after, if any was sent.
    pub fn newest_picture(&self) -> Option<Duration> {
        let newest = self.picture.as_ref()?.newest?;
        Some(Duration::from_micros(newest.saturating_mul(100) / 9))
    }

    /// Sends a picture, whose timestamp is since 1970. One that is not after the last follows it at
    /// once: so a group that began before is caught up with.
    pub fn show(&mut self, codec: VideoCodec, timestamp: Duration, data: &[u8]) {
        let Some(outlet) = self.picture.as_mut().filter(|_| self.connected) else {
            return;
        };
        let ticks = ticks(timestamp, 90_000);
        let ticks = outlet.newest.map_or(ticks, |it| ticks.max(it + CATCH_UP));
        outlet.newest = Some(ticks);
        let mid = outlet.mid;
        let moment = self.moment(timestamp);
        let Some(payload) = payload(&mut self.peer, mid, codec) else {
            return;
        };
        let time = MediaTime::new(ticks, Frequency::NINETY_KHZ);
        self.write(mid, payload, moment, time, data);
    }

    /// Sends a packet of Opus, whose timestamp is since 1970. One that is not after the last is left
    /// out.
    pub fn sound(&mut self, timestamp: Duration, data: &[u8]) {
        let Some(outlet) = self.sound.as_mut().filter(|_| self.connected) else {
            return;
        };
        let ticks = ticks(timestamp, 48_000);
        if outlet.newest.is_some_and(|it| ticks <= it) {
            return;
        }
        outlet.newest = Some(ticks);
        let mid = outlet.mid;
        let moment = self.moment(timestamp);
        let writer = self.peer.rtc.writer(mid);
        let payload = writer.and_then(|it| {
            let mut all = it.payload_params();
            all.find(|it| it.spec().codec == Codec::Opus)
                .map(|it| it.pt())
        });
        if let Some(payload) = payload {
            let time = MediaTime::new(ticks, Frequency::FORTY_EIGHT_KHZ);
            self.write(mid, payload, moment, time, data);
        }
    }

    /// Tells it something, if it listens and is not far behind.
    pub fn say(&mut self, words: &str) {
        let channel = self.channel.and_then(|it| self.peer.rtc.channel(it));
        if let Some(mut channel) = channel
            && !channel.write(false, words.as_bytes()).unwrap_or(false)
        {
            debug!("a viewer does not listen");
        }
    }

    /// Ends the session, and says so.
    pub fn close(mut self) {
        self.peer.close();
    }

    fn write(&mut self, mid: Mid, payload: Pt, moment: Instant, time: MediaTime, data: &[u8]) {
        let Some(writer) = self.peer.rtc.writer(mid) else {
            return;
        };
        if let Err(error) = writer.write(payload, moment, time, data) {
            debug!(%error, "a frame was not sent to a viewer");
        }
    }

    /// The moment that reports to the viewer give for a timestamp.
    fn moment(&mut self, timestamp: Duration) -> Instant {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH);
        let clock = micros(clock.unwrap_or_default());
        let ahead = clock.saturating_sub(micros(timestamp));
        let least = self.ahead.map_or(ahead, |it| it.min(ahead));
        self.ahead = Some(least);
        let ago = Duration::from_micros(u64::try_from(ahead - least).unwrap_or_default());
        let now = Instant::now();
        now.checked_sub(ago).unwrap_or(now)
    }
}

/// How pictures of a codec are called between the two. Of H.264 only what may be cut anywhere.
fn payload(peer: &mut Peer, mid: Mid, codec: VideoCodec) -> Option<Pt> {
    let writer = peer.rtc.writer(mid)?;
    let mut payloads = writer.payload_params();
    let found = payloads.find(|it| {
        let spec = it.spec();
        match codec {
            VideoCodec::H264 => {
                spec.codec == Codec::H264 && spec.format.packetization_mode == Some(1)
            }
            VideoCodec::Av1 => spec.codec == Codec::Av1,
            VideoCodec::Vp9 => spec.codec == Codec::Vp9 && spec.format.profile_id.unwrap_or(0) == 0,
        }
    });
    found.map(|it| it.pt())
}

fn ticks(time: Duration, rate: u128) -> u64 {
    u64::try_from(time.as_micros() * rate / 1_000_000).unwrap_or(u64::MAX / 2)
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
