//! What a terminal gets: from the keyframe on, at once, and only while it watches.

use std::time::{Duration, Instant};

use bytes::Bytes;
use relay::publish::{Place, PublishError, TrackOptions};
use relay::subscribe::{Announcement, Preferences};
use relay::{ConnectionKind, priority};

use crate::harness::{Client, World, soon, until};
use crate::road::{Quality, Road};

pub(crate) const VIDEO: TrackOptions = TrackOptions {
    priority: priority::VIDEO,
    keep: Duration::from_secs(2),
};

pub(crate) fn at(frame: u32) -> Duration {
    Duration::from_millis(16) * frame
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_starts_with_the_keyframe_of_the_open_group() {
    let node = World::default().node(1);
    let screen = node.relay.publish("s/7/1/screen").unwrap();
    let mut video = screen.track("video", VIDEO).unwrap();
    screen.announce().unwrap();
    for n in 0..12_u32 {
        let place = [Place::SameGroup, Place::NewGroup][usize::from(n % 5 == 0)];
        video
            .write(place, at(n), Bytes::from(format!("{n}")))
            .unwrap();
    }

    let client = Client::raw(node.address, "/?token=7").await;
    let mut frames = client
        .subscribe("s/7/1/screen", "video", Duration::ZERO)
        .await;
    for n in 10..12 {
        let (group, payload) = soon("cached frame", frames.next()).await.unwrap();
        assert_eq!((group, payload), (2, Bytes::from(format!("{n}"))));
    }
    video
        .write(Place::SameGroup, at(12), Bytes::from("12"))
        .unwrap();
    video
        .write(Place::NewGroup, at(13), Bytes::from("13"))
        .unwrap();
    assert_eq!(soon("live", frames.next()).await, Some((2, "12".into())));
    assert_eq!(
        soon("next group", frames.next()).await,
        Some((3, "13".into()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn demand_follows_the_watchers() {
    let node = World::default().node(1);
    let screen = node.relay.publish("s/7/1/screen").unwrap();
    let mut video = screen.track("video", VIDEO).unwrap();
    screen.announce().unwrap();
    video.write(Place::NewGroup, at(0), "old".into()).unwrap();
    let demand = video.demand();
    assert!(!demand.is_wanted());

    let client = Client::raw(node.address, "/?token=7").await;
    let mut frames = client
        .subscribe("s/7/1/screen", "video", Duration::ZERO)
        .await;
    assert_eq!(soon("frame", frames.next()).await, Some((0, "old".into())));
    assert!(soon("demand", demand.wanted()).await);
    let shown = node.relay.connections();
    assert_eq!(shown[0].kind, ConnectionKind::Quic);
    assert_eq!(shown[0].label, "session 7");
    assert!(shown[0].round_trip.is_some() && shown[0].sent.is_some());

    client.quic.as_ref().unwrap().close(0_u32.into(), b"");
    assert!(soon("no demand", demand.unwanted()).await);
    until("gone", || node.relay.connections().is_empty()).await;

    // The next one wakes the publisher again.
    let client = Client::raw(node.address, "/?token=7").await;
    let mut frames = client
        .subscribe("s/7/1/screen", "video", Duration::ZERO)
        .await;
    let publisher = async {
        assert!(demand.wanted().await);
        video.write(Place::NewGroup, at(1), "new".into()).unwrap();
    };
    let watcher = async { while frames.next().await != Some((1, "new".into())) {} };
    soon("fresh keyframe", async { tokio::join!(publisher, watcher) }).await;
    drop(video);
    assert!(!soon("track ends", demand.wanted()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn input_arrives_whole_and_in_order_over_many_groups() {
    let node = World::default().node(1);
    let mut announced = node.relay.announcements("s/7/1/input").unwrap();
    let client = Client::web(node.address, "/?token=7").await.unwrap();
    let broadcast = client.mine.create_broadcast("s/7/1/input/c0ffee").unwrap();
    let events = broadcast.create_track("events", None).unwrap();
    broadcast.announce(Default::default()).unwrap();
    let path = "s/7/1/input/c0ffee".to_owned();
    let started = soon("announcement", announced.next()).await;
    assert_eq!(started, Some(Announcement::Started(path.clone())));

    let preferences = Preferences {
        priority: priority::INPUT,
        max_age: Duration::from_secs(5),
    };
    let subscribed = node.relay.subscribe(&path, "events", preferences);
    let mut input = soon("subscription", subscribed).await.unwrap();
    let started = tokio::sync::Notify::new();
    let writer = async {
        // A browser's version starts a subscription at the newest group: it must be the first one.
        for group in 0..5_u64 {
            let group = (group, events.append_group().unwrap());
            for n in 0..40 {
                let n = group.0 * 40 + n;
                let at = moq_net::Timestamp::from_millis(n).unwrap();
                group.1.clone().write_frame(at, n.to_string()).unwrap();
                if n == 0 {
                    started.notified().await;
                }
                tokio::task::yield_now().await;
            }
            group.1.finish().unwrap();
        }
    };
    let reader = async {
        for n in 0..200_u64 {
            let frame = input.next().await.unwrap().unwrap();
            started.notify_one();
            assert_eq!((frame.group, frame.index), (n / 40, n % 40));
            assert_eq!(frame.payload, n.to_string());
        }
    };
    soon("input", async { tokio::join!(writer, reader) }).await;
    assert_eq!(input.skipped_groups(), 0);

    client.session.abort(moq_net::Error::Cancel);
    let ended = soon("retraction", announced.next()).await;
    assert_eq!(ended, Some(Announcement::Ended(path)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_group_is_said_not_lost() {
    let node = World::default().node(1);
    let screen = node.relay.publish("s/7/1/screen").unwrap();
    let mut video = screen.track("video", VIDEO).unwrap();
    let early = video.write(Place::SameGroup, at(0), "x".into());
    assert!(matches!(early, Err(PublishError::NoGroup)));
    let picture = Bytes::from(vec![7; 1 << 20]);
    video
        .write(Place::NewGroup, at(0), picture.clone())
        .unwrap();
    let mut written = 1;
    let full = loop {
        match video.write(Place::SameGroup, at(written), picture.clone()) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, PublishError::GroupFull), "{full}");
    assert_eq!(written, 24);
    video.write(Place::NewGroup, at(written), picture).unwrap();
}

/// Prints; asserts nothing about time but that every frame came.
#[tokio::test(flavor = "multi_thread")]
async fn frames_leave_at_once() {
    let node = World::default().node(1);
    let screen = node.relay.publish("s/7/1/screen").unwrap();
    let mut video = screen.track("video", VIDEO).unwrap();
    screen.announce().unwrap();
    let client = Client::raw(node.address, "/?token=7").await;
    let mut frames = client
        .subscribe("s/7/1/screen", "video", Duration::ZERO)
        .await;
    let start = Instant::now();
    let mut late = Vec::new();
    for n in 0..300_u32 {
        let mut payload = vec![0; if n % 60 == 0 { 95_000 } else { 6_000 }];
        payload[..4].copy_from_slice(&n.to_le_bytes());
        let place = [Place::SameGroup, Place::NewGroup][usize::from(n % 60 == 0)];
        let written = start.elapsed();
        video.write(place, written, payload.into()).unwrap();
        let (_, payload) = soon("frame", frames.next()).await.unwrap();
        assert_eq!(payload[..4], n.to_le_bytes());
        late.push(start.elapsed() - written);
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    late.sort();
    println!("write to read: p50 {:?}, p99 {:?}", late[150], late[297]);
}

/// Round trips from nothing to a first picture of 95 kB, and how late input is while it comes.
/// Prints; asserts only that nothing takes absurdly long.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_keyframe_neither_takes_long_nor_holds_up_input() {
    const ROUND_TRIP: Duration = Duration::from_millis(60);
    // 20 Mbit/s.
    let quality = Quality {
        delay: ROUND_TRIP / 2,
        bytes_per_ms: Some(2_500),
    };
    let node = World::default().node(1);
    let screen = node.relay.publish("s/7/1/screen").unwrap();
    let mut video = screen.track("video", VIDEO).unwrap();
    let mut cursor = screen.track("cursor", VIDEO).unwrap();
    screen.announce().unwrap();
    video
        .write(Place::NewGroup, at(0), vec![0; 95_000].into())
        .unwrap();
    cursor
        .write(Place::NewGroup, at(0), "pointer".into())
        .unwrap();
    for web in [false, true] {
        let road = Road::to(node.address, quality).await;
        let start = Instant::now();
        let client = if web {
            Client::web(road.address, "/?token=7").await.unwrap()
        } else {
            Client::raw(road.address, "/?token=7").await
        };
        let connected = start.elapsed();
        let mut frames = client
            .subscribe("s/7/1/screen", "video", Duration::ZERO)
            .await;
        let subscribing = start.elapsed();
        soon("picture", frames.next()).await.unwrap();
        let trips = |time: Duration| time.as_secs_f64() / ROUND_TRIP.as_secs_f64();
        println!(
            "web {web}: connected {:.1}, asked {:.1}, 95 kB after {:.1} round trips of {ROUND_TRIP:?}",
            trips(connected),
            trips(subscribing),
            trips(start.elapsed()),
        );

        // The hand goes on while keyframes come down.
        let input = client.mine.create_broadcast("s/7/1/input/x").unwrap();
        let events = input.create_track("events", None).unwrap();
        input.announce(Default::default()).unwrap();
        let preferences = Preferences {
            priority: priority::INPUT,
            max_age: Duration::from_secs(5),
        };
        let subscribed = node.relay.subscribe("s/7/1/input/x", "events", preferences);
        let mut received = soon("input", subscribed).await.unwrap();
        let group = events.append_group().unwrap();
        let mut late = Vec::new();
        for n in 0..60_u32 {
            if n % 10 == 0 {
                video
                    .write(Place::NewGroup, at(n + 1), vec![1; 95_000].into())
                    .unwrap();
            }
            let sent = Instant::now();
            let stamp = moq_net::Timestamp::from_millis(u64::from(n)).unwrap();
            group.clone().write_frame(stamp, "event").unwrap();
            soon("event", received.next()).await.unwrap().unwrap();
            late.push(sent.elapsed());
        }
        late.sort();
        println!("web {web}: input p50 {:?}, p98 {:?}", late[30], late[58]);
        assert!(late[58] < Duration::from_millis(500), "{:?}", late[58]);
        soon("leaving", async {
            client.session.abort(moq_net::Error::Cancel)
        })
        .await;
    }
}
