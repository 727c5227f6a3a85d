//! One viewer without a window: the decisions are `logic::view`'s, as in the viewer page; what they
//! ask for is received and, as if decoding took no time, shown.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use api::live::rendition_track;
use logic::view::{Action, Feed, Form, Gesture, Report, Seat, Swap, Viewer as Chooser};
use model::{Bitrate, CameraName};

use super::hand::{Hand, To};
use super::playout::Playout;
use super::tally::{Notes, Place, Tally};
use crate::follower::{self, Follower};
use crate::viewer::Arrived;

/// As the viewer page: a group that is not the newest is given up after this long.
const MAX_AGE: Duration = Duration::from_millis(250);

/// As the viewer page: how often the decisions hear of the link.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// As the viewer page: who joins receives a group in a burst that says nothing of the link.
const BURST: Duration = Duration::from_millis(400);

/// As the viewer page: what is so much older than the newest picture is not live.
const HISTORY: Duration = Duration::from_secs(2);

/// As the viewer page: what is seen goes before what shall be seen next, and that before what is made
/// ready.
const SEEN: u8 = 200;
const NEXT: u8 = 160;
const HIDDEN: u8 = 120;

/// Lines of the window.
const LINES: u16 = 720;

/// What a track that nobody receives any more may still be kept for at an entry.
const FADES: Duration = Duration::from_secs(12);

/// What viewers of one entry know of each other: which views the entry has.
#[derive(Debug, Default)]
pub(super) struct Carried {
    feeds: Mutex<BTreeMap<Feed, Held>>,
    /// What all have received.
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Held {
    viewers: u32,
    left: Option<Instant>,
}

impl Carried {
    fn enter(&self, feed: &Feed) {
        self.lock().entry(feed.clone()).or_default().viewers += 1;
    }

    fn leave(&self, feed: &Feed) {
        let mut feeds = self.lock();
        let held = feeds.entry(feed.clone()).or_default();
        held.viewers = held.viewers.saturating_sub(1);
        held.left = Some(Instant::now());
    }

    fn place(&self, feed: &Feed) -> Place {
        let feeds = self.lock();
        match feeds.get(feed) {
            Some(held) if held.viewers > 0 => Place::Warm,
            Some(held) if held.left.is_some_and(|it| it.elapsed() < FADES) => Place::Fading,
            _ => Place::Cold,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Feed, Held>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all viewers of a run have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) seats: Arc<[Seat]>,
    pub(super) forms: Arc<[Form]>,
    pub(super) round_trip: Duration,
    pub(super) carried: Arc<Carried>,
}

impl Common {
    /// What all viewers have received so far.
    pub(super) fn bytes(&self) -> u64 {
        self.carried.bytes.load(Ordering::Relaxed)
    }
}

/// A feed that is received.
struct Receiving {
    id: follower::Feed,
    feed: Arc<Feed>,
    /// Since its first picture.
    kept: Option<Kept>,
    first: Option<Instant>,
    /// How late the last picture was that came while it was hidden, and when it came: it is drawn when
    /// the view is shown.
    held: Option<(Duration, Instant)>,
}

/// A viewer at work.
pub(super) struct Watcher {
    common: Common,
    viewer: Follower,
    chooser: Chooser,
    swap: Swap,
    feeds: Vec<Receiving>,
    notes: Notes,
    playout: Playout,
    link: LinkNotes,
    camera: Option<CameraName>,
    newest: Duration,
}

impl Watcher {
    /// A viewer who stands where `hand` starts. `opened` is when it was wished.
    pub(super) fn new(common: Common, viewer: Follower, hand: &Hand, opened: Instant) -> Self {
        let now = Instant::now();
        let mut chooser = Chooser::new(&common.seats, &common.forms, hand.start, LINES, now);
        let all: Vec<_> = common.seats.iter().map(|it| it.camera.clone()).collect();
        chooser.handle_live(&all, now);
        Self {
            common,
            viewer,
            chooser,
            swap: Swap::new(now),
            feeds: Vec::new(),
            notes: Notes::new(opened),
            playout: Playout::new(now),
            link: LinkNotes::new(now),
            camera: None,
            newest: Duration::ZERO,
        }
    }

    /// Watches until the hand is done, or `enough` says so.
    pub(super) async fn watch(mut self, hand: Hand, enough: impl Fn(&Notes) -> bool) -> Tally {
        let begin = Instant::now();
        let mut moves = hand.moves.into_iter().peekable();
        let mut report_at = begin + REPORT_EVERY;
        self.settle(begin);
        loop {
            let now = Instant::now();
            if now >= begin + hand.lasts || enough(&self.notes) {
                break;
            }
            while let Some(it) = moves.next_if(|it| begin + it.at <= now) {
                match it.to {
                    To::Angle(angle) => {
                        let gesture = Gesture { angle, zoom: 1.0 };
                        self.chooser.handle_gesture(gesture, now);
                    }
                    To::Camera(camera) => self.chooser.handle_choice(&camera, now),
                }
                self.settle(now);
            }
            if now >= report_at {
                report_at = now + REPORT_EVERY;
                let report = self.link.report(self.common.round_trip, now);
                self.chooser.handle_report(&report, now);
            }
            self.chooser.handle_timeout(now);
            self.swap.handle_timeout(now);
            self.settle(now);
            let times = [
                moves.peek().map(|it| begin + it.at),
                self.chooser.poll_timeout(),
                self.swap.poll_timeout(),
                Some(report_at),
                Some(begin + hand.lasts),
            ];
            let wake = times.into_iter().flatten().min().unwrap_or(report_at);
            self.receive(wake).await;
        }
        self.notes.finish(Instant::now())
    }

    /// Takes what comes, until there is something to decide, or the time has come.
    async fn receive(&mut self, until: Instant) {
        let mut sleep = pin!(tokio::time::sleep_until(until.into()));
        loop {
            let decided = tokio::select! {
                biased;
                Some((id, arrived)) = self.viewer.next() => self.handle_arrived(id, &arrived),
                () = &mut sleep => return,
            };
            if decided {
                return;
            }
        }
    }

    /// Says whether it led to a decision.
    fn handle_arrived(&mut self, id: follower::Feed, arrived: &Arrived) -> bool {
        let now = Instant::now();
        let Some(feed) = self.feeds.iter_mut().find(|it| it.id == id) else {
            return false;
        };
        let timestamp = arrived.timestamp;
        let size = arrived.payload.len();
        feed.kept
            .get_or_insert_with(|| Kept::new(&self.common.carried, Feed::clone(&feed.feed)));
        let carried = &self.common.carried;
        carried.bytes.fetch_add(size as u64, Ordering::Relaxed);
        self.notes.handle_bytes(size);
        self.link.handle_bytes(size);
        if feed.first.is_none() && self.camera.as_ref() == Some(&feed.feed.camera) {
            self.notes.handle_first(now);
        }
        let first = *feed.first.get_or_insert(now);
        if timestamp + HISTORY < self.newest {
            return false;
        }
        self.newest = self.newest.max(timestamp);
        let late = lateness(timestamp);
        let name = Arc::clone(&feed.feed);
        if self.swap.shown() == Some(&*name) {
            if now > first + BURST {
                self.link.handle_frame(late, now);
            }
            self.draw(late, now);
        } else {
            feed.held = Some((late, now));
        }
        self.swap.handle_frame(&name, timestamp, now);
        self.settle(now)
    }

    /// Carries out what was decided, until nothing is left to do. Says whether anything was.
    fn settle(&mut self, now: Instant) -> bool {
        let mut settled = false;
        loop {
            let wish = self.chooser.poll_wish();
            if let Some(wish) = &wish {
                if let Some(view) = &wish.view {
                    self.measure_from(view, now);
                }
                self.swap.handle_wish(wish, now);
            }
            let mut acted = false;
            while let Some(action) = self.swap.poll_action() {
                acted = true;
                self.act(action, now);
            }
            if wish.is_none() && !acted {
                return settled;
            }
            settled = true;
        }
    }

    fn measure_from(&mut self, view: &Feed, now: Instant) {
        let camera = self.camera.replace(view.camera.clone());
        if camera.is_none() || camera.as_ref() == Some(&view.camera) {
            return;
        }
        let ready = self
            .feeds
            .iter()
            .any(|it| *it.feed == *view && it.first.is_some());
        let place = if ready {
            Place::Ready
        } else {
            self.common.carried.place(view)
        };
        self.notes.handle_asked(place, now);
    }

    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::Subscribe(feed) => self.open(feed),
            Action::Unsubscribe(feed) => self.drop_feed(&feed),
            Action::GaveUp(feed) => {
                self.drop_feed(&feed);
                self.notes.handle_failed();
                self.chooser.handle_failure(&feed, now);
            }
            Action::Show { feed, .. } => {
                self.chooser.handle_shown(&feed, now);
                if self.camera.as_ref() == Some(&feed.camera) {
                    self.notes.handle_shown(now);
                }
                let shown = self.feeds.iter_mut().find(|it| *it.feed == feed);
                let held = shown.and_then(|it| {
                    self.viewer.set_priority(it.id, SEEN);
                    it.held.take()
                });
                self.playout.handle_view(now);
                if let Some((late, came)) = held {
                    self.draw(late + (now - came), now);
                }
            }
        }
    }

    /// A picture of what is seen, made so long ago, is drawn when its time has come.
    fn draw(&mut self, late: Duration, now: Instant) {
        let at = self.playout.handle_picture(late, now);
        self.notes.handle_picture(late + (at - now), at);
    }

    fn open(&mut self, feed: Feed) {
        let track = if feed.rendition.is_source() {
            "video".to_owned()
        } else {
            rendition_track(&feed.rendition)
        };
        let next = self.camera.as_ref() == Some(&feed.camera);
        let rank = if next { NEXT } else { HIDDEN };
        let id = self.viewer.follow(&feed.camera, &track, MAX_AGE, rank);
        self.feeds.push(Receiving {
            id,
            feed: Arc::new(feed),
            kept: None,
            first: None,
            held: None,
        });
    }

    fn drop_feed(&mut self, feed: &Feed) {
        let (viewer, feeds) = (&mut self.viewer, &mut self.feeds);
        feeds.retain(|it| {
            let keep = *it.feed != *feed;
            if !keep {
                viewer.leave(it.id);
            }
            keep
        });
    }
}

/// Says that the entry has a feed for as long as it lives.
struct Kept {
    carried: Arc<Carried>,
    feed: Feed,
}

impl Kept {
    fn new(carried: &Arc<Carried>, feed: Feed) -> Self {
        carried.enter(&feed);
        let carried = Arc::clone(carried);
        Self { carried, feed }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.carried.leave(&self.feed);
    }
}

/// How long ago a picture was taken in, by this machine's clock, which stamped it.
fn lateness(timestamp: Duration) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().saturating_sub(timestamp)
}

/// What a viewer tells its decisions of its link.
#[derive(Debug)]
struct LinkNotes {
    since: Instant,
    bytes: u64,
    /// Of this window.
    late: Vec<Duration>,
    /// The least of ten seconds, by second.
    bases: BTreeMap<u64, Duration>,
    began: Instant,
}

impl LinkNotes {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            bytes: 0,
            late: Vec::new(),
            bases: BTreeMap::new(),
            began: now,
        }
    }

    fn handle_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    fn handle_frame(&mut self, late: Duration, now: Instant) {
        /// More are not worth a better percentile.
        const SAMPLES_MAX: usize = 256;
        if self.late.len() < SAMPLES_MAX {
            self.late.push(late);
        }
        let second = (now - self.began).as_secs();
        if !self.bases.contains_key(&second) {
            self.bases.retain(|it, _| *it + 10 > second);
        }
        let base = self.bases.entry(second).or_insert(late);
        *base = late.min(*base);
    }

    fn report(&mut self, round_trip: Duration, now: Instant) -> Report {
        self.late.sort_unstable();
        let base = self.bases.values().min().copied().unwrap_or_default();
        let worst = self
            .late
            .get((self.late.len() * 95).div_ceil(100).saturating_sub(1));
        let late = worst.map_or(Duration::ZERO, |it| it.saturating_sub(base));
        let span = (now - self.since).as_secs_f64().max(1e-3);
        let report = Report {
            throughput: Bitrate::bps((self.bytes as f64 * 8.0 / span) as u64),
            late,
            decode_queue: 0,
            round_trip,
        };
        self.since = now;
        self.bytes = 0;
        self.late.clear();
        report
    }
}

/// Receives all cameras, so that the entry has them; counts what comes.
pub(super) async fn hold(mut viewer: Follower, common: Common, bytes: Arc<AtomicU64>) {
    let mut kept = Vec::new();
    for seat in &*common.seats {
        viewer.follow(&seat.camera, "video", MAX_AGE, HIDDEN);
        let feed = Feed {
            camera: seat.camera.clone(),
            rendition: model::RenditionName::source(),
        };
        kept.push(Kept::new(&common.carried, feed));
    }
    while let Some((_, arrived)) = viewer.next().await {
        bytes.fetch_add(arrived.payload.len() as u64, Ordering::Relaxed);
    }
}
