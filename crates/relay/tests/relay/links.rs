//! Links between nodes: one flow for many, and no frame lost when a link goes or changes its price.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use relay::publish::{Broadcast, Place, Track, TrackOptions};
use relay::subscribe::Preferences;
use relay::{Hop, priority};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::harness::{Client, Node, World, soon, until};
use crate::media::{VIDEO, at};
use crate::road::{Quality, Road};

/// Frames in a group. A reader that keeps up loses none when it is moved; one that a busy machine holds
/// up at that moment may lose a group or two.
const GROUP: u32 = 10;

/// Everything that is kept long enough to be read later.
const KEEP: TrackOptions = TrackOptions {
    priority: priority::VIDEO,
    keep: Duration::from_secs(20),
};

#[tokio::test(flavor = "multi_thread")]
async fn two_watchers_of_a_remote_screen_make_one_flow() {
    const FRAMES: u32 = 100;
    let world = World::default();
    let (a, b) = (world.node(1), world.node(2));
    let (_cost, one) = watch::channel(1);
    b.dial(&a, one);
    b.linked(&a).await;
    let (screen, mut video) = publish(&a, VIDEO);

    let mut watchers = Vec::new();
    for _ in 0..2 {
        let client = Client::raw(b.address, "/?token=7").await;
        let frames = client
            .subscribe("s/7/1/screen", "video", Duration::from_secs(2))
            .await;
        watchers.push((client, frames));
    }
    for n in 0..FRAMES {
        let place = [Place::SameGroup, Place::NewGroup][usize::from(n % GROUP == 0)];
        video.write(place, at(n), numbered(n, 10_000)).unwrap();
        for (_, frames) in &mut watchers {
            assert_eq!(number(&soon("frame", frames.next()).await.unwrap().1), n);
        }
    }
    let link = a
        .relay
        .connections()
        .into_iter()
        .find(|c| c.peer.is_some())
        .unwrap();
    let sent = link.sent.unwrap().get();
    let once = u64::from(FRAMES) * 10_000;
    assert!(
        sent > once && sent < once * 3 / 2,
        "{sent} B over the link for {once} B of frames"
    );

    // And input goes the other way.
    let input = watchers[0]
        .0
        .mine
        .create_broadcast("s/7/1/input/x")
        .unwrap();
    let events = input.create_track("events", None).unwrap();
    input.announce(Default::default()).unwrap();
    let preferences = Preferences {
        priority: priority::INPUT,
        max_age: Duration::from_secs(5),
    };
    let subscribed = a.relay.subscribe("s/7/1/input/x", "events", preferences);
    let mut received = soon("input", subscribed).await.unwrap();
    let group = events.append_group().unwrap();
    let stamp = moq_net::Timestamp::from_millis(1).unwrap();
    group.clone().write_frame(stamp, "key").unwrap();
    let frame = soon("event", received.next()).await.unwrap().unwrap();
    assert_eq!(frame.payload, "key");
    drop(screen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_link_is_replaced_by_the_way_around() {
    let world = World::default();
    let [a, b, c] = [1, 2, 3].map(|hop| world.node(hop));
    let (_near, near) = watch::channel(1);
    let (_far, far) = watch::channel(10);
    let direct = b.dial(&a, near);
    b.dial(&c, far.clone());
    c.dial(&a, far);
    for (from, to) in [(&b, &a), (&b, &c), (&c, &a)] {
        from.linked(to).await;
    }
    let publisher = Publisher::start(&a);
    let watch = Watch::start(&b).await;
    let before = direct_is_used(&watch, &c, &b).await;
    direct.cancel();
    until("cut", || {
        b.relay.connections().iter().all(|l| l.peer != Some(a.hop))
    })
    .await;
    watch.read(60).await;
    assert!(watch.lost() <= 2 * GROUP, "{} frames lost", watch.lost());
    assert!(
        watching_over(&c, &b) > before,
        "nothing came over the third node"
    );
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_ahead_comes_a_round_trip_sooner() {
    const THERE_AND_BACK: Duration = Duration::from_millis(400);
    let world = World::default();
    let (a, b) = (world.node(1), world.node(2));
    let far = Quality {
        delay: THERE_AND_BACK / 2,
        bytes_per_ms: None,
    };
    let to_a = Road::to(a.address, far).await;
    let (_cost, one) = watch::channel(1);
    b.dial_at(to_a.address, &a, one);
    b.linked(&a).await;
    let screen = a.relay.publish("s/7/1/screen").unwrap();
    let mut tracks = ["asked", "new"].map(|it| screen.track(it, VIDEO).unwrap());
    screen.announce().unwrap();
    for track in &mut tracks {
        track
            .write(Place::NewGroup, at(0), numbered(0, 100))
            .unwrap();
    }
    let first = async |track: &str| {
        let preferences = Preferences {
            priority: priority::VIDEO,
            max_age: Duration::ZERO,
        };
        let began = Instant::now();
        let subscribed = b.relay.subscribe("s/7/1/screen", track, preferences);
        let mut frames = soon("subscription", subscribed).await.unwrap();
        soon("frame", frames.next()).await.unwrap().unwrap();
        began.elapsed()
    };
    let known = soon("an answer", b.relay.ask_ahead("s/7/1/screen", "asked")).await;
    // Nobody subscribes for a while, and it is known all the same.
    tokio::time::sleep(2 * THERE_AND_BACK).await;
    let (asked, new) = (first("asked").await, first("new").await);
    assert!(
        asked + THERE_AND_BACK / 2 < new,
        "{asked:?} asked ahead, {new:?} not"
    );
    drop(known.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_loses_its_power_is_gone_around_as_soon_as_it_is_noticed() {
    let world = World::default();
    let [a, b, c] = [1, 2, 3].map(|hop| world.node(hop));
    let (_near, near) = watch::channel(1);
    let (_far, far) = watch::channel(10);
    let calm = Quality {
        delay: Duration::from_millis(5),
        bytes_per_ms: None,
    };
    let (to_c, to_a) = (
        Road::to(c.address, calm).await,
        Road::to(a.address, calm).await,
    );
    b.dial_at(to_c.address, &c, near.clone());
    c.dial_at(to_a.address, &a, near);
    b.dial(&a, far);
    for (from, to) in [(&b, &a), (&b, &c), (&c, &a)] {
        from.linked(to).await;
    }
    let publisher = Publisher::start(&a);
    let watch = Watch::start(&b).await;
    let over_c = async {
        let before = watching_over(&c, &b);
        while watching_over(&c, &b) < before + 20 {
            watch.read(5).await;
        }
    };
    soon("the way over the relay", over_c).await;

    // Nobody says goodbye.
    to_c.go_dark();
    to_a.go_dark();
    until("noticed", || {
        b.relay
            .connections()
            .iter()
            .all(|it| it.peer != Some(c.hop))
    })
    .await;
    let noticed = Instant::now();
    watch.read(1).await;
    // A tenth of this on a machine that does nothing else.
    assert!(
        noticed.elapsed() < Duration::from_secs(1),
        "{:?} without a frame",
        noticed.elapsed()
    );
    watch.read(60).await;
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_moves_those_who_watch_without_a_gap() {
    let world = World::default();
    let [a, b, c] = [1, 2, 3].map(|hop| world.node(hop));
    let (price, near) = watch::channel(1);
    let (_far, far) = watch::channel(10);
    b.dial(&a, near);
    b.dial(&c, far.clone());
    c.dial(&a, far);
    for (from, to) in [(&b, &a), (&b, &c), (&c, &a)] {
        from.linked(to).await;
    }
    let publisher = Publisher::start(&a);
    let watch = Watch::start(&b).await;
    let before = direct_is_used(&watch, &c, &b).await;

    price.send(100).unwrap();
    until("re-priced", || costs(&b, a.hop) == [Some(100)]).await;
    let moved = async {
        while watching_over(&c, &b) <= before {
            watch.read(1).await;
        }
    };
    soon("moved", moved).await;
    watch.read(60).await;
    assert!(watch.lost() <= 2 * GROUP, "{} frames lost", watch.lost());

    price.send(1).unwrap();
    until("re-priced back", || costs(&b, a.hop) == [Some(1)]).await;
    watch.read(60).await;
    assert!(watch.lost() <= 2 * GROUP, "{} frames lost", watch.lost());
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_breaks_no_group_however_long_it_lasts() {
    let world = World::default();
    let (a, b) = (world.node(1), world.node(2));
    let (price, near) = watch::channel(1);
    b.dial(&a, near);
    b.linked(&a).await;
    let publisher = Publisher::with_groups(&a, u32::MAX);
    let watch = Watch::start(&b).await;
    watch.read(20).await;

    price.send(100).unwrap();
    until("re-priced", || costs(&b, a.hop).contains(&Some(100))).await;
    watch.read(150).await;
    assert_eq!(costs(&b, a.hop), [Some(1), Some(100)]);
    assert_eq!(watch.lost(), 0);
    publisher.stop().await;
    until("closed", || costs(&b, a.hop) == [Some(100)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_restarts_is_dialled_again() {
    let world = World::default();
    let (a, b) = (world.node(1), world.node(2));
    let (_cost, one) = watch::channel(1);
    b.dial(&a, one);
    b.linked(&a).await;
    a.linked(&b).await;
    let before = b.relay.connections()[0].id;
    for link in a.relay.connections() {
        a.relay.close(link.id);
    }
    until("again", || {
        let link = b.relay.connections().into_iter().next();
        link.is_some_and(|link| link.id != before)
    })
    .await;
}

fn costs(node: &Node, peer: Hop) -> Vec<Option<u64>> {
    let links = node.relay.connections().into_iter();
    links
        .filter(|c| c.peer == Some(peer))
        .map(|c| c.cost)
        .collect()
}

/// What `from` has sent to `to` beyond announcements, in frames.
fn watching_over(from: &Node, to: &Node) -> u64 {
    let links = from.relay.connections().into_iter();
    let sent = links
        .filter(|l| l.peer == Some(to.hop))
        .filter_map(|l| l.sent);
    sent.map(|bytes| bytes.get().saturating_sub(30_000) / 5_000)
        .sum()
}

/// Waits until nothing more comes over the third node, which may have been heard first, and says how
/// much did.
async fn direct_is_used(watch: &Watch, third: &Node, to: &Node) -> u64 {
    loop {
        let before = watching_over(third, to);
        watch.read(20).await;
        if watching_over(third, to) == before {
            return before;
        }
    }
}

fn publish(node: &Node, options: TrackOptions) -> (Broadcast, Track) {
    let screen = node.relay.publish("s/7/1/screen").unwrap();
    let video = screen.track("video", options).unwrap();
    screen.announce().unwrap();
    (screen, video)
}

/// Publishes a numbered frame every 10 ms.
struct Publisher {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Publisher {
    fn start(node: &Node) -> Self {
        Self::with_groups(node, GROUP)
    }

    /// In groups of so many frames.
    fn with_groups(node: &Node, group: u32) -> Self {
        let (screen, mut video) = publish(node, KEEP);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let stopped = stop.clone();
        tasks.spawn(async move {
            let _kept = screen;
            for n in 0.. {
                let place = [Place::SameGroup, Place::NewGroup][usize::from(n % group == 0)];
                video.write(place, at(n), numbered(n, 5_000)).unwrap();
                tokio::select! {
                    () = stopped.cancelled() => break,
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                }
            }
        });
        Self { stop, tasks }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Reads the numbered frames at a node as they come, and counts those that never came. As everybody does,
/// it subscribes again when the track breaks off: no other way may be known yet.
struct Watch {
    read: Arc<AtomicU32>,
    lost: Arc<AtomicU32>,
}

impl Watch {
    async fn start(node: &Node) -> Self {
        let preferences = Preferences {
            priority: priority::VIDEO,
            max_age: Duration::from_secs(20),
        };
        let relay = node.relay.clone();
        let subscribed = relay.subscribe("s/7/1/screen", "video", preferences);
        let mut frames = soon("subscription", subscribed).await.unwrap();
        let watch = Self {
            read: Arc::default(),
            lost: Arc::default(),
        };
        let (read, lost) = (watch.read.clone(), watch.lost.clone());
        TaskTracker::new().spawn(async move {
            let mut last = None;
            let mut again = false;
            loop {
                while let Ok(Some(frame)) = frames.next().await {
                    let n = number(&frame.payload);
                    let expected = last.map_or(n, |last| last + 1);
                    if n < expected {
                        assert!(again, "frame {n} for {expected}");
                        continue;
                    }
                    lost.fetch_add(n - expected, Ordering::Relaxed);
                    last = Some(n);
                    read.fetch_add(1, Ordering::Relaxed);
                }
                again = true;
                let subscribed = relay.subscribe("s/7/1/screen", "video", preferences);
                let Ok(next) = subscribed.await else { return };
                frames = next;
            }
        });
        watch
    }

    /// Waits for so many frames more.
    async fn read(&self, frames: u32) {
        let enough = self.read.load(Ordering::Relaxed) + frames;
        until("frames", || self.read.load(Ordering::Relaxed) >= enough).await;
    }

    fn lost(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn numbered(n: u32, size: usize) -> Bytes {
    let mut payload = vec![0; size];
    payload[..4].copy_from_slice(&n.to_le_bytes());
    payload.into()
}

fn number(payload: &[u8]) -> u32 {
    u32::from_le_bytes(payload[..4].try_into().unwrap())
}
