//! Viewers whose lines carry far less than what they asked for.

use std::net::SocketAddr;

use lab::wan::{Link, Proxy, Wan};
use model::Bitrate;

use super::*;

/// Half of them receive a tenth of what the camera sends, the others next to nothing.
const SLOW: usize = 200;
const TENTH: Bitrate = Bitrate::kbps(80);
const NOTHING: Bitrate = Bitrate::kbps(4);

/// Pictures of ten seconds: by then all is as full as it gets.
const WATCH: usize = 300;

/// What the edge may hold for one of them, in bytes: its connection (230 kB), and what the camera makes
/// in the three seconds after which a stalled group is given up. Measured: 700 kB.
const EACH: usize = 900 << 10;

/// What the edge may grow by in ten seconds while nobody comes, in bytes: the noise of an allocator.
/// Measured: 1 MiB. Where nothing is given up it is 22 MiB.
const GROWS: usize = 5 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn slow_viewers_take_bounded_memory_and_nothing_from_others() {
    let cloud = Cloud::start(&["frankfurt"], &["--no-emulation"]).await;
    let (event, rtmp, key) = event(&cloud).await;
    let _north = Camera::start(&format!("{rtmp}/north/{key}"));
    on_air(&cloud, &event, 1).await;
    let ticket = ticket(&cloud, &event, "berlin").await;
    let edge = cloud.site("frankfurt");
    let entry: SocketAddr = edge.address.parse().unwrap();
    let north = camera("north");

    let good = Viewer::connect(&ticket, None);
    let good = soon("a good viewer", good).await.unwrap();
    let view = good.watch(&north, "video", MAX_AGE);
    let mut view = soon("its view", view).await.unwrap();
    arrivals(&mut view, 30).await;

    let empty = resident(edge.pid);
    let wan = Wan::start(1).unwrap();
    let mut slow = Vec::new();
    for index in 0..SLOW {
        slow.push(Slow::enter(&wan, entry, &ticket, index).await);
        // Who is there keeps reading; nobody measures yet.
        arrivals(&mut view, 1).await;
    }
    arrivals(&mut view, 2 * WATCH).await;
    let before = resident(edge.pid);
    let times = arrivals(&mut view, WATCH).await;
    let after = resident(edge.pid);

    let (joined, grown) = (before - empty, after.saturating_sub(before));
    println!(
        "{SLOW} slow viewers: {} MiB, after ten seconds {} KiB more",
        joined >> 20,
        grown >> 10
    );
    assert!(joined < SLOW * EACH, "they take {} MiB", joined >> 20);
    assert!(grown < GROWS, "the edge grew by {} MiB", grown >> 20);
    let steps = times.windows(2).map(|it| it[1].saturating_sub(it[0]));
    let longest = steps.max().unwrap();
    assert!(
        longest < Duration::from_millis(50),
        "pictures are missing: {longest:?}"
    );
    drop(slow);
    cloud.end().await;
}

/// A viewer who got a first picture, and then a bad line.
struct Slow {
    _view: View,
    _viewer: Viewer,
    _line: Proxy,
}

impl Slow {
    async fn enter(wan: &Wan, entry: SocketAddr, ticket: &WatchTicket, index: usize) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let line = wan.proxy(any, Some(entry), Link::default()).unwrap();
        let address = line.address().to_string();
        let viewer = Viewer::connect(ticket, Some(&address));
        let viewer = soon("a slow viewer", viewer).await.unwrap();
        let name = camera("north");
        let view = viewer.watch(&name, "video", MAX_AGE);
        let mut view = soon("its view", view).await.unwrap();
        arrivals(&mut view, 1).await;
        let narrow = Link {
            rate: Some([TENTH, NOTHING][index % 2]),
            ..Link::default()
        };
        line.set_links(Link::default(), narrow);
        Self {
            _view: view,
            _viewer: viewer,
            _line: line,
        }
    }
}

/// When so many pictures were made.
async fn arrivals(view: &mut View, count: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    while times.len() < count {
        let arrived = soon("a picture", view.next()).await.expect("it goes on");
        times.push(arrived.timestamp);
    }
    times
}

/// Memory of a process in bytes, without what it shares with files.
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|it| it.starts_with("RssAnon:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        << 10
}
