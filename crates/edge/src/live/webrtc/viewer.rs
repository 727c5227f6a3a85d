//! One viewer by WHEP: one view at one bitrate, changed at keyframes.
//!
//! A player by WebRTC has one decoder and shows what it is sent, so nothing is decoded hidden here. A
//! change waits for a keyframe of what is to come; from then on what was seen pauses, and the new
//! view is sent when it has caught up: pictures never go back in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::live::{self, CameraInfo, rendition_track};
use logic::oneview::{Feed, Form, OneView};
use model::manifest::Live as Event;
use model::media::{AudioCodec, VideoCodec};
use model::picture::Header;
use model::{Bitrate, CameraName};
use relay::camera::{AUDIO_TRACK, VIDEO_TRACK};
use relay::priority;
use relay::subscribe::Frame;
use relay::webrtc::{Player, ROOM, Told};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep_until;
use tracing::debug;

use super::super::board::{Board, OnAir};
use super::Refused;
use super::line::{self, Line};
use crate::shared::Shared;

/// What does not begin within this does not come: longer than groups are that are taken by default,
/// and as long again to make a rendition.
const PATIENCE: Duration = Duration::from_secs(4);

/// A view may be so far behind what was seen and still take over: it catches up while what was seen
/// pauses. Further, and the next keyframe is waited for.
const BEHIND_MAX: Duration = Duration::from_millis(250);

/// Pictures that are held back for that at most: as many at 60 a second.
const HELD_MAX: usize = 16;

/// Pictures of an open group that are caught up with, spread over so little that no eye sees it.
const CATCH_UP: Duration = Duration::from_micros(100);

/// Viewers' decoders ask for keyframes as long as they wait for one: a burst of a group is on its
/// way for about so long.
const JUMP_EVERY: Duration = Duration::from_millis(700);

/// A viewer who turns faster sees nothing: each turn costs a rendition somewhere.
const CHOOSE_EVERY: Duration = Duration::from_millis(100);

/// Sound begins where the picture is, or its player would carry what is older along: in its first
/// moments no sound is sent that is older than the picture by this.
const SOUND_BEHIND: Duration = Duration::from_millis(60);

/// How long these moments are: until the open group is over and done with.
const SOUND_BEGINS: Duration = Duration::from_millis(500);

/// The bitrate of a camera that has not told it yet.
const UNTOLD: Bitrate = Bitrate::kbps(2_000);

/// One viewer.
pub(super) struct Viewer {
    shared: Arc<Shared>,
    event: Arc<Event>,
    on_air: watch::Receiver<OnAir>,
    /// Kept, so that it goes on reading.
    _board: Arc<Board>,
    player: Player,
    view: OneView,
    shown: Option<Shown>,
    coming: Option<Coming>,
    sound: Option<Line>,
    connected: bool,
    choice: Option<CameraName>,
    chose_at: Option<Instant>,
    jumped_at: Option<Instant>,
    reached_for: Option<Bitrate>,
    /// What it was told last.
    told: String,
}

/// What is sent.
struct Shown {
    feed: Feed,
    codec: VideoCodec,
    line: Line,
}

/// What is about to be.
struct Coming {
    shown: Shown,
    /// From its keyframe on.
    held: Vec<Frame>,
    /// It begins at once, wherever it is: nothing is seen, or nothing that can be decoded.
    at_once: bool,
}

/// What a viewer may say on the data channel.
#[derive(Deserialize)]
struct Choice {
    camera: String,
}

/// What it is told there.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "t")]
enum Word<'a> {
    /// Whenever something of it changes.
    Shown {
        camera: Option<&'a CameraName>,
        /// `null` is the camera's own.
        rendition: Option<&'a model::RenditionName>,
        on_air: Vec<&'a CameraName>,
        /// Why there is none, if there is none.
        sound: Option<&'static str>,
    },
    /// What it said makes no sense.
    Error { text: String },
}

/// What happens to a viewer.
enum Next {
    Told(Option<Told>),
    OnAir,
    Shown(Option<Frame>),
    Coming(Option<Frame>),
    Sound(Option<Frame>),
    Due,
}

impl Viewer {
    pub(super) fn new(
        shared: Arc<Shared>,
        event: Arc<Event>,
        board: Arc<Board>,
        player: Player,
        camera: Option<CameraName>,
    ) -> Self {
        let now = Instant::now();
        let order = event.cameras.iter().map(|it| it.name.clone()).collect();
        let mut view = OneView::new(order, ROOM, now);
        if let Some(camera) = &camera {
            view.handle_choice(camera, now);
        }
        let mut on_air = board.on_air.clone();
        on_air.mark_changed();
        Self {
            shared,
            event,
            on_air,
            _board: board,
            player,
            view,
            shown: None,
            coming: None,
            sound: None,
            connected: false,
            choice: None,
            chose_at: None,
            jumped_at: None,
            reached_for: None,
            told: String::new(),
        }
    }

    /// Waits until there is something that it can play, or says why it cannot.
    pub(super) async fn on_air(mut self) -> Result<Self, Refused> {
        loop {
            // Its owner holds the other end for as long as this lives.
            let _ = self.on_air.changed().await;
            self.look();
            if self.view.on_air().next().is_some() {
                return Ok(self);
            }
            let codecs = self.on_air.borrow();
            let codec = codecs
                .values()
                .find_map(|it| it.video.as_ref())
                .map(|it| it.codec);
            if let Some(codec) = codec {
                let name = codec.as_str().to_uppercase();
                let words = format!("the cameras send {name}, which you do not offer to receive");
                let status = axum::http::StatusCode::NOT_ACCEPTABLE;
                return Err(Refused(status, api::ErrorCode::BadRequest, words));
            }
        }
    }

    /// Sends until its side ends, or the node does.
    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            match self.next().await {
                Next::Told(None) => break,
                Next::Told(Some(told)) => self.handle_told(told),
                Next::OnAir => self.look(),
                Next::Shown(frame) => self.handle_shown(frame),
                Next::Coming(frame) => self.handle_coming(frame),
                Next::Sound(Some(frame)) => self.handle_sound(&frame),
                // It is asked for again with the next picture of another view.
                Next::Sound(None) => self.sound = None,
                Next::Due => self.view.handle_timeout(now),
            }
            self.follow();
        }
        self.player.close();
    }

    async fn next(&mut self) -> Next {
        let patience = self
            .coming
            .as_ref()
            .map(|it| it.shown.line.since + PATIENCE);
        let choice = self
            .choice
            .as_ref()
            .and(self.chose_at)
            .map(|it| it + CHOOSE_EVERY);
        let times = [patience, choice, self.view.poll_timeout()];
        let due = times.into_iter().flatten().min();
        let due = async {
            match due {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let coming = self.coming.as_mut().map(|it| &mut it.shown.line);
        tokio::select! {
            biased;
            told = self.player.next() => Next::Told(told),
            frame = line::next(self.sound.as_mut()) => Next::Sound(frame),
            frame = line::next(coming) => Next::Coming(frame),
            frame = line::next(self.shown.as_mut().map(|it| &mut it.line)) => Next::Shown(frame),
            Ok(()) = self.on_air.changed() => Next::OnAir,
            () = due => Next::Due,
        }
    }

    fn handle_told(&mut self, told: Told) {
        let now = Instant::now();
        match told {
            Told::Connected => self.connected = true,
            Told::Room(room) => self.view.handle_room(room, now),
            Told::KeyframeWanted => self.jump(now),
            // It has heard nothing yet.
            Told::Opened => self.told.clear(),
            Told::Said(words) => match self.choice_of(&words) {
                Ok(camera) => self.choice = Some(camera),
                Err(text) => self.say(&Word::Error { text }),
            },
        }
    }

    fn choice_of(&self, words: &str) -> Result<CameraName, String> {
        let choice: Choice =
            serde_json::from_str(words).map_err(|_| "say {\"camera\": \"<name>\"}".to_owned())?;
        let camera = choice.camera.parse::<CameraName>().ok();
        camera
            .filter(|it| self.event.camera(it).is_some())
            .ok_or_else(|| no_camera(&self.event, &choice.camera))
    }

    /// Looks at what is on air.
    fn look(&mut self) {
        let now = Instant::now();
        let on_air = self.on_air.borrow_and_update().clone();
        for camera in &self.event.cameras {
            let info = on_air.get(&camera.name);
            let forms = info.map_or_else(Vec::new, |it| self.forms(it));
            self.view.handle_camera(&camera.name, forms, now);
        }
    }

    /// The forms of a camera that this viewer can play, the best first.
    fn forms(&self, info: &CameraInfo) -> Vec<Form> {
        let Some(own) = &info.video else {
            return Vec::new();
        };
        let bitrate = match kilobits(info.kilobits_per_second) {
            0 => UNTOLD,
            kbps => Bitrate::kbps(kbps),
        };
        let mut forms = Vec::new();
        if self.player.plays(own.codec) {
            forms.push(Form {
                rendition: None,
                bitrate,
            });
        }
        if self.player.plays(VideoCodec::H264) {
            let made = self.event.renditions.iter();
            let made = made.filter(|it| info.renditions.contains(&it.name) && it.bitrate < bitrate);
            forms.extend(made.map(|it| Form {
                rendition: Some(it.name.clone()),
                bitrate: it.bitrate,
            }));
        }
        forms
    }

    /// Makes it so, whatever has happened.
    fn follow(&mut self) {
        let now = Instant::now();
        let may = self.chose_at.is_none_or(|it| now >= it + CHOOSE_EVERY);
        if may && let Some(camera) = self.choice.take() {
            self.chose_at = Some(now);
            self.view.handle_choice(&camera, now);
        }
        let coming = self.coming.as_ref().map(|it| &it.shown);
        if let Some(late) = coming.filter(|it| now >= it.line.since + PATIENCE) {
            let feed = late.feed.clone();
            debug!(?feed, "a view did not come");
            self.coming = None;
            self.view.handle_failure(&feed, now);
        }
        if !self.connected {
            return;
        }
        if let Some(feed) = self.view.poll_feed() {
            let seen = self.shown.as_ref().is_some_and(|it| it.feed == feed);
            self.coming = if seen { None } else { Some(self.ask(feed)) };
        }
        let most = self.view.most();
        if most != self.reached_for
            && let Some(most) = most
        {
            // Room for the sound, and for what is sent again.
            self.player
                .reach_for(Bitrate::bps(most.as_bps() / 4 * 5 + 200_000));
            self.reached_for = Some(most);
        }
        self.tell();
    }

    fn ask(&self, feed: Feed) -> Coming {
        let path = live::broadcast(&self.event.name, &feed.camera);
        let (track, codec) = match &feed.rendition {
            Some(rendition) => (rendition_track(rendition), VideoCodec::H264),
            None => {
                let on_air = self.on_air.borrow();
                let video = on_air.get(&feed.camera).and_then(|it| it.video.as_ref());
                let codec = video.map_or(VideoCodec::H264, |it| it.codec);
                (VIDEO_TRACK.to_owned(), codec)
            }
        };
        Coming {
            at_once: self.shown.is_none(),
            held: Vec::new(),
            shown: Shown {
                feed,
                codec,
                line: Line::new(&self.shared, path, track, priority::VIDEO),
            },
        }
    }

    /// Begins what is seen again: its viewer's decoder has lost the thread.
    fn jump(&mut self, now: Instant) {
        let too_soon = self.jumped_at.is_some_and(|it| now < it + JUMP_EVERY);
        let Some(shown) = self.shown.as_ref().filter(|_| !too_soon) else {
            return;
        };
        if self.coming.is_none() {
            self.jumped_at = Some(now);
            let mut coming = self.ask(shown.feed.clone());
            coming.at_once = true;
            self.coming = Some(coming);
        }
    }

    fn handle_shown(&mut self, frame: Option<Frame>) {
        let Some(shown) = &self.shown else {
            return;
        };
        let Some(frame) = frame else {
            let feed = shown.feed.clone();
            self.shown = None;
            self.view.handle_failure(&feed, Instant::now());
            return;
        };
        // What comes has its keyframe: it pauses until that has caught up.
        if self.coming.as_ref().is_none_or(|it| it.held.is_empty()) {
            send(&mut self.player, shown.codec, frame.timestamp, &frame);
        }
    }

    fn handle_coming(&mut self, frame: Option<Frame>) {
        let Some(coming) = &mut self.coming else {
            return;
        };
        let Some(frame) = frame else {
            let feed = coming.shown.feed.clone();
            self.coming = None;
            self.view.handle_failure(&feed, Instant::now());
            return;
        };
        let header = Header::split(&frame.payload).map(|(header, _)| header);
        let keyframe = header.is_some_and(|it| it.keyframe);
        let newest = self.player.newest_picture().filter(|_| !coming.at_once);
        let behind = newest.map_or(Duration::ZERO, |it| it.saturating_sub(frame.timestamp));
        if keyframe && behind <= BEHIND_MAX {
            coming.held.clear();
        } else if coming.held.is_empty() {
            return;
        }
        coming.held.push(frame);
        if coming.at_once {
            while coming.held.len() < usize::from(u8::MAX)
                && let Some(frame) = coming.shown.line.ready()
            {
                coming.held.push(frame);
            }
        }
        if behind.is_zero() || coming.held.len() >= HELD_MAX {
            self.swap();
        }
    }

    /// What came is sent from now on.
    fn swap(&mut self) {
        let Some(Coming { shown, held, .. }) = self.coming.take() else {
            return;
        };
        let last = held.last().map_or(Duration::ZERO, |it| it.timestamp);
        for (after, frame) in (0_u32..held.len() as u32).rev().zip(&held) {
            // A group that began long ago is caught up with, not played.
            let timestamp = last.saturating_sub(CATCH_UP * after);
            send(&mut self.player, shown.codec, timestamp, frame);
        }
        let before = self.shown.replace(shown);
        let Some(shown) = &self.shown else {
            return;
        };
        if before.is_none_or(|it| it.feed != shown.feed) {
            self.view.handle_shown(&shown.feed, Instant::now());
        }
        if self.sound.is_none() && self.player.hears() && self.silence().is_none() {
            let path = live::broadcast(&self.event.name, &self.event.sound);
            let track = AUDIO_TRACK.to_owned();
            self.sound = Some(Line::new(&self.shared, path, track, priority::AUDIO));
        }
    }

    fn handle_sound(&mut self, frame: &Frame) {
        let begins = self
            .sound
            .as_ref()
            .is_some_and(|it| it.since.elapsed() < SOUND_BEGINS);
        let newest = self.player.newest_picture();
        if begins && newest.is_none_or(|it| frame.timestamp + SOUND_BEHIND < it) {
            return;
        }
        self.player.sound(frame.timestamp, &frame.payload);
    }

    /// Why there is no sound.
    fn silence(&self) -> Option<&'static str> {
        let on_air = self.on_air.borrow();
        let sound = on_air
            .get(&self.event.sound)
            .and_then(|it| it.audio.as_ref());
        match sound.map(|it| it.codec) {
            Some(AudioCodec::Opus) => None,
            Some(AudioCodec::Aac) => Some("it is AAC, which WebRTC does not carry: publish Opus"),
            None => Some("the camera that is heard sends none"),
        }
    }

    fn tell(&mut self) {
        let shown = self.shown.as_ref().map(|it| &it.feed);
        let word = Word::Shown {
            camera: shown.map(|it| &it.camera),
            rendition: shown.and_then(|it| it.rendition.as_ref()),
            on_air: self.view.on_air().collect(),
            sound: self.silence(),
        };
        let words = words(&word);
        if words != self.told {
            self.player.say(&words);
            self.told = words;
        }
    }

    fn say(&mut self, word: &Word<'_>) {
        self.player.say(&words(word));
    }
}

/// What is said of a camera that is none of the event's.
pub(super) fn no_camera(event: &Event, name: &str) -> String {
    let known: Vec<_> = event.cameras.iter().map(|it| it.name.as_str()).collect();
    let name: String = name.chars().take(64).collect();
    format!(
        "{} has no camera {name}: it has {}",
        event.name,
        known.join(", ")
    )
}

fn words(word: &Word<'_>) -> String {
    serde_json::to_string(word).expect("it has text keys and no numbers")
}

fn send(player: &mut Player, codec: VideoCodec, timestamp: Duration, frame: &Frame) {
    // Anything else would be a mistake of ours, and is passed over.
    if let Some((_, data)) = Header::split(&frame.payload) {
        player.show(codec, timestamp, data);
    }
}

fn kilobits(kilobits: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped before"
    )]
    let whole = kilobits.clamp(0.0, 1e6) as u64;
    whole
}
