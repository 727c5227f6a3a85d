//! What the terminal receives: pictures to a decoder on a thread of its own, and the small tracks.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::terminal::Status;
use model::Bytes;
use model::input::Pong;
use model::picture::Header;
use moq_net::{group, origin, track};
use render::decoder::Decoder;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::hand::{Hand, Seen};
use super::report::Window;
use super::{Picture, Statistics, TerminalError};

/// Pictures that wait for the decoder. Beyond it everything waits for the next keyframe: one second at
/// 60 pictures is more than anybody wants to look at late.
const QUEUE_MAX: usize = 60;

/// Statuses that are remembered for whoever asks later.
const STATUSES_MAX: usize = 64;

/// A keyframe is asked for at most this often, as often as one is made.
const KEYFRAME_EVERY: Duration = Duration::from_millis(200);

/// How a track is wanted: its priority over one connection (higher first; the same as the relay gives
/// its own), and how old a group may be beside the newest.
const VIDEO: (u8, Duration) = (100, Duration::from_millis(100));
const AUDIO: (u8, Duration) = (240, Duration::from_millis(200));
const CURSOR: (u8, Duration) = (200, Duration::ZERO);
const STATUS: (u8, Duration) = (200, Duration::from_secs(10));
const PONG: (u8, Duration) = (200, Duration::from_millis(200));

/// Everything that comes in.
pub(super) struct Screen {
    started: Instant,
    hand: Arc<Hand>,
    state: Mutex<State>,
    picture: watch::Sender<Option<Arc<Picture>>>,
    statuses: watch::Sender<VecDeque<Status>>,
    /// Turns true when nothing comes any more.
    over: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    statistics: Statistics,
    window: Window,
    last_frame: Option<Instant>,
    last_group: Option<u64>,
    /// The newest group that told how things are.
    told: u64,
    queued: usize,
    /// Everything up to the next keyframe is of no use.
    waits_for_keyframe: bool,
    asked_keyframe: Option<Instant>,
}

/// A picture on its way to the decoder.
struct Frame {
    header: Header,
    arrived: Instant,
    captured: Duration,
    payload: bytes::Bytes,
}

impl Screen {
    pub(super) fn new(started: Instant, hand: Arc<Hand>) -> Self {
        Self {
            started,
            hand,
            state: Mutex::default(),
            picture: watch::Sender::new(None),
            statuses: watch::Sender::new(VecDeque::new()),
            over: watch::Sender::new(false),
        }
    }

    /// Subscribes to everything, and receives until `stop`.
    pub(super) fn watch(
        self: &Arc<Self>,
        table: &origin::Producer,
        path: String,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let (tx, rx) = sync_channel(QUEUE_MAX);
        let screen = Arc::clone(self);
        let decoding = tasks.spawn_blocking(move || screen.decode(&rx));
        drop(decoding);
        let (screen, table, stopped) = (Arc::clone(self), table.consume(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = screen.receive(table, &path, tx) => {}
                () = stopped.cancelled() => {}
            }
            screen.over.send_replace(true);
            screen.hand.over();
        });
    }

    async fn receive(&self, table: origin::Consumer, path: &str, decoder: SyncSender<Frame>) {
        let broadcast = match table.routed_broadcast(path).await {
            Ok(broadcast) => broadcast,
            Err(error) => {
                debug!(path, %error, "no such broadcast");
                return;
            }
        };
        let open = |name: &str, (priority, max_age): (u8, Duration)| {
            let wanted = track::Subscription::default()
                .with_priority(priority)
                .with_max_age(max_age);
            broadcast.track(name).map(|track| track.subscribe(wanted))
        };
        let each = async |name: &str, how, mut take: Box<dyn FnMut(u64, Incoming) + Send>| {
            let Ok(subscribing) = open(name, how) else {
                return;
            };
            match subscribing.await {
                // What is said once comes in a group of its own, which may be overtaken.
                Ok(groups) if matches!(name, "status" | "pong") => {
                    read_each(groups, &mut *take).await;
                }
                Ok(groups) => read(groups.ordered(), &mut *take).await,
                Err(error) => debug!(name, %error, "no such track"),
            }
        };
        tokio::join!(
            each(
                "video",
                VIDEO,
                Box::new(|group, it| self.video(&decoder, group, it))
            ),
            each("audio", AUDIO, Box::new(|_, it| self.sound(&it))),
            each("cursor", CURSOR, Box::new(|_, it| self.cursor(&it))),
            each(
                "status",
                STATUS,
                Box::new(|group, it| self.status(group, &it))
            ),
            each("pong", PONG, Box::new(|_, it| self.pong(&it))),
        );
    }

    fn video(&self, decoder: &SyncSender<Frame>, group: u64, incoming: Incoming) {
        let now = Instant::now();
        let mut state = self.lock();
        let Incoming::Frame { timestamp, payload } = incoming else {
            state.lose(1);
            return;
        };
        let Some((header, _)) = Header::split(&payload) else {
            state.statistics.broken += 1;
            return;
        };
        state.arrived(now, self.started, group, &header, timestamp, payload.len());
        if state.waits_for_keyframe && !header.keyframe {
            state.statistics.overrun += 1;
            return;
        }
        state.waits_for_keyframe = false;
        let frame = Frame {
            header,
            arrived: now,
            captured: timestamp,
            payload,
        };
        match decoder.try_send(frame) {
            Ok(()) => state.queued += 1,
            Err(TrySendError::Full(_)) => {
                state.statistics.overrun += 1;
                state.waits_for_keyframe = true;
                drop(state);
                self.need_keyframe();
            }
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Decodes until the sender is gone.
    fn decode(&self, frames: &Receiver<Frame>) {
        let Some(mut decoder) = Decoder::open() else {
            debug!("no decoder");
            return;
        };
        while let Ok(frame) = frames.recv() {
            self.lock().queued -= 1;
            let Some((header, data)) = Header::split(&frame.payload) else {
                continue;
            };
            let decoded = decoder.decode(data);
            let now = Instant::now();
            match decoded {
                Ok(Some(picture)) => {
                    let size = picture.size();
                    let [y, u, v] = picture.into_planes();
                    let picture = Picture {
                        width: size.width().into(),
                        height: size.height().into(),
                        input_seq: header.input_seq,
                        captured: frame.captured,
                        y,
                        u,
                        v,
                    };
                    let mut state = self.lock();
                    state.statistics.decoded += 1;
                    let first = &mut state.statistics.first_picture_after;
                    first.get_or_insert(now.saturating_duration_since(self.started));
                    drop(state);
                    self.picture.send_replace(Some(Arc::new(picture)));
                    self.hand.seen(&Seen {
                        input_seq: header.input_seq,
                        arrived: frame.arrived,
                        decoded: now,
                        encode_time: frame.header.encode_time,
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    debug!(%error, "a picture is broken");
                    self.lock().statistics.broken += 1;
                    self.need_keyframe();
                }
            }
        }
    }

    fn sound(&self, incoming: &Incoming) {
        if matches!(incoming, Incoming::Frame { .. }) {
            self.lock().statistics.sound_packets += 1;
        }
    }

    fn cursor(&self, incoming: &Incoming) {
        if matches!(incoming, Incoming::Frame { .. }) {
            self.lock().statistics.cursors += 1;
        }
    }

    fn status(&self, group: u64, incoming: &Incoming) {
        let Incoming::Frame { payload, .. } = incoming else {
            return;
        };
        match serde_json::from_slice::<Status>(payload) {
            Ok(Status::Hello(_) | Status::App { .. }) if self.lock().is_overtaken(group) => {}
            Ok(status) => self.statuses.send_modify(|statuses| {
                if statuses.len() == STATUSES_MAX {
                    statuses.pop_front();
                }
                statuses.push_back(status);
            }),
            Err(error) => debug!(%error, "a status that we do not know"),
        }
    }

    fn pong(&self, incoming: &Incoming) {
        if let Incoming::Frame { payload, .. } = incoming
            && let Ok(pong) = serde_json::from_slice::<Pong>(payload)
        {
            self.hand.pong(pong);
        }
    }

    fn need_keyframe(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let soon = |asked: Instant| now.saturating_duration_since(asked) < KEYFRAME_EVERY;
        if !state.asked_keyframe.is_some_and(soon) {
            state.asked_keyframe = Some(now);
            drop(state);
            self.hand.ask_keyframe();
        }
    }

    pub(super) fn hand(&self) -> &Hand {
        &self.hand
    }

    pub(super) fn take_window(&self) -> Window {
        std::mem::take(&mut self.lock().window)
    }

    pub(super) fn decode_queue(&self) -> usize {
        self.lock().queued
    }

    pub(super) fn statistics(&self) -> Statistics {
        self.lock().statistics
    }

    pub(super) fn picture(&self) -> Option<Arc<Picture>> {
        self.picture.borrow().clone()
    }

    pub(super) async fn picture_that(
        &self,
        mut wanted: impl FnMut(&Picture) -> bool,
    ) -> Result<Arc<Picture>, TerminalError> {
        let mut pictures = self.picture.subscribe();
        let mut over = self.over.subscribe();
        let found = async {
            let found = pictures
                .wait_for(|it| it.as_deref().is_some_and(&mut wanted))
                .await;
            found.ok().and_then(|it| it.clone())
        };
        tokio::select! {
            biased;
            found = found => found.ok_or(TerminalError::Over),
            _ = over.wait_for(|over| *over) => Err(TerminalError::Over),
        }
    }

    pub(super) async fn status_that<T>(
        &self,
        mut wanted: impl FnMut(&Status) -> Option<T>,
    ) -> Result<T, TerminalError> {
        let mut statuses = self.statuses.subscribe();
        let mut over = self.over.subscribe();
        let mut found = None;
        let waiting = statuses.wait_for(|all| {
            found = all.iter().rev().find_map(&mut wanted);
            found.is_some()
        });
        tokio::select! {
            biased;
            _ = waiting => {}
            _ = over.wait_for(|over| *over) => {}
        }
        found.ok_or(TerminalError::Over)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn arrived(
        &mut self,
        now: Instant,
        started: Instant,
        group: u64,
        header: &Header,
        captured: Duration,
        bytes: usize,
    ) {
        let after = now.saturating_duration_since(started);
        let skipped = self
            .last_group
            .map_or(0, |last| group.saturating_sub(last + 1));
        self.last_group = Some(group);
        if skipped > 0 {
            self.lose(skipped);
        }
        let statistics = &mut self.statistics;
        statistics.first_frame_after.get_or_insert(after);
        statistics.frames += 1;
        statistics.keyframes += u64::from(header.keyframe);
        let total = statistics.bytes.get() + u64::try_from(bytes).unwrap_or(u64::MAX);
        statistics.bytes = Bytes::new(total);
        if let Some(last) = self.last_frame.replace(now) {
            let gap = now.saturating_duration_since(last);
            statistics.longest_gap = statistics.longest_gap.max(gap);
        }
        self.window.arrived(after, captured, bytes);
    }

    /// Whether something newer has told how things are.
    fn is_overtaken(&mut self, group: u64) -> bool {
        self.told = self.told.max(group);
        group < self.told
    }

    /// Groups that never came or broke off: at least one picture each.
    fn lose(&mut self, groups: u64) {
        self.statistics.lost_groups += groups;
        self.window.lost(u32::try_from(groups).unwrap_or(u32::MAX));
    }
}

/// What a track brings.
enum Incoming {
    Frame {
        timestamp: Duration,
        payload: bytes::Bytes,
    },
    /// A group ended before its end.
    Broken,
}

/// Reads a track to its end, the newest group before all.
async fn read(mut groups: track::Ordered, take: &mut (dyn FnMut(u64, Incoming) + Send)) {
    while let Ok(Some(group)) = groups.next_group().await {
        read_group(group, take).await;
    }
}

/// Reads a track to its end, every group as it comes.
async fn read_each(mut groups: track::Subscriber, take: &mut (dyn FnMut(u64, Incoming) + Send)) {
    while let Ok(Some(group)) = groups.recv_group().await {
        read_group(group, take).await;
    }
}

async fn read_group(mut group: group::Consumer, take: &mut (dyn FnMut(u64, Incoming) + Send)) {
    loop {
        match group.read_frame().await {
            Ok(Some(frame)) => take(
                group.sequence,
                Incoming::Frame {
                    timestamp: frame.timestamp.into(),
                    payload: frame.payload,
                },
            ),
            Ok(None) => return,
            Err(_) => return take(group.sequence, Incoming::Broken),
        }
    }
}
