//! What a person sees over a link that is not what it was.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use lab::wan::{Link, Wan};
use model::Bitrate;

use crate::support::cloud::{Cloud, manifest};
use crate::support::player::Player;
use crate::support::soon;

/// What the link is, and what is left of it for a while.
const WIDE: Bitrate = Bitrate::kbps(20_000);
const NARROW: Bitrate = Bitrate::kbps(300);
const NARROW_TIME: Duration = Duration::from_secs(2);

/// What such a link takes in before it drops anything.
const BLOAT: Duration = Duration::from_secs(1);

/// How soon nothing more is sent: a picture may be on its way for 600 ms and a round trip, and is seen
/// to be late by the next report.
const CLOSES_WITHIN: Duration = Duration::from_millis(1_000);
/// What may be sent all the same, where some twenty pictures are drawn: the link is narrow, not cut.
const QUEUED_MAX: usize = 10;

/// How soon a picture comes that was made after the link came back. What was lost on the way has to be
/// noticed and sent again first.
const BACK_WITHIN: Duration = Duration::from_secs(3);
/// How old one may be from then on.
const FRESH: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_collapses_leaves_no_queue_behind() {
    let cloud = Cloud::start(&["frankfurt"], &[]).await;
    // Characters at random, ten times a second: far more than the link bears when it is narrow.
    let noise =
        "while head -c 1400 /dev/urandom | base64 -w0; do sleep 0.1; printf '\\033[H'; done";
    let command = ["xterm", "-geometry", "80x24+0+0", "-e", "sh", "-c", noise];
    cloud.deploy(manifest("noise", &command, "")).await;
    let mut player = Player::start(&cloud, "noise", "frankfurt").await;

    let wan = Wan::start(1).unwrap();
    let wide = Link {
        rate: Some(WIDE),
        queue: BLOAT,
        ..Link::from_round_trip(Duration::from_millis(20))
    };
    let narrow = Link {
        rate: Some(NARROW),
        ..wide
    };
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let entry = player.ticket.entry.address.parse().unwrap();
    let proxy = wan.proxy(listen, Some(entry), wide).unwrap();
    soon("the new way", player.go_through(proxy.address()))
        .await
        .unwrap();
    let mut ages = Ages::default();
    ages.watch(&player, Duration::from_secs(5)).await;
    proxy.set_links(wide, narrow);
    let narrowed = Instant::now();
    ages.watch(&player, NARROW_TIME).await;
    proxy.set_link(wide);
    let back = Instant::now();
    ages.watch(&player, Duration::from_secs(5)).await;

    let steady = ages.worst(ages.begun..narrowed);
    let fresh = ages.first_after(back) - back;
    let later = ages.worst(back + BACK_WITHIN..Instant::now());
    let queued = ages.made(narrowed + CLOSES_WITHIN..back);
    println!(
        "{steady:?} old at most before, {queued} queued, fresh {fresh:?} after, {later:?} then"
    );
    assert!(queued <= QUEUED_MAX, "{queued} pictures into a queue");
    assert!(fresh < BACK_WITHIN, "{fresh:?}");
    let fresh = FRESH.max(2 * steady);
    assert!(later < fresh, "{later:?}, {steady:?} before");
    drop(player);
    cloud.end().await;
}

/// When pictures were shown, and how old they were then beyond the least.
struct Ages {
    begun: Instant,
    shown: Vec<(Instant, Duration)>,
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            shown: Vec::new(),
        }
    }
}

impl Ages {
    async fn watch(&mut self, player: &Player, time: Duration) {
        let mut last = self.shown.last().map(|it| it.1);
        let watching = async {
            loop {
                let next = player.terminal.picture_that(|it| Some(it.captured) != last);
                let captured = next.await.unwrap().captured;
                last = Some(captured);
                self.shown.push((Instant::now(), captured));
            }
        };
        let _ = tokio::time::timeout(time, watching).await;
    }

    /// Each picture that was shown, and how old it was beyond the best of them.
    fn aged(&self) -> impl Iterator<Item = (Instant, Duration)> {
        let delay = |(at, captured): &(Instant, Duration)| {
            (*at - self.begun).as_secs_f64() - captured.as_secs_f64()
        };
        let least = self.shown.iter().map(delay).min_by(f64::total_cmp);
        let least = least.unwrap();
        let aged = move |it: &(Instant, Duration)| {
            (it.0, Duration::from_secs_f64((delay(it) - least).max(0.0)))
        };
        self.shown.iter().map(aged)
    }

    /// How old what was shown ever was: the last picture ages until the next one comes.
    fn worst(&self, during: Range<Instant>) -> Duration {
        let aged: Vec<_> = self.aged().collect();
        let aged = aged.windows(2).filter(|it| during.contains(&it[1].0));
        let worst = aged.map(|it| it[0].1 + (it[1].0 - it[0].0)).max();
        worst.expect("pictures all the time")
    }

    /// How many pictures were shown that were captured then.
    fn made(&self, during: Range<Instant>) -> usize {
        let made = self
            .aged()
            .filter(|(at, age)| during.contains(&(*at - *age)));
        made.count()
    }

    /// When a picture was shown that was captured after this moment.
    fn first_after(&self, moment: Instant) -> Instant {
        let mut aged = self.aged();
        let first = aged.find(|(at, age)| *at - *age >= moment);
        first.expect("a picture of later").0
    }
}
