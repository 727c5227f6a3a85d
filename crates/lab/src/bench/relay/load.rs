//! A publisher and its watchers, and what comes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use hdrhistogram::Histogram;
use moq_net::{Client, Timescale, Timestamp, broadcast, origin, track};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chain::{Chain, Relay};
use crate::terminal::connect::{Line, VERSIONS, dial_from, run};
use crate::terminal::table;

const BROADCAST: &str = "bench/picture";
const TRACK: &str = "video";

/// Pictures in a group.
const GROUP: u64 = 15;

/// Sockets of the watchers: what a few hundred share is not what is measured.
const SOCKETS: usize = 4;

/// How old a group may be and still be delivered.
const MAX_AGE: Duration = Duration::from_millis(500);

/// How long everybody may take to see a picture.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Until all runs evenly.
const SETTLE: Duration = Duration::from_secs(2);

/// How long is measured.
const WATCH: Duration = Duration::from_secs(6);

/// How often we look.
const LOOK: Duration = Duration::from_millis(20);

/// What watchers count together.
struct Counts {
    begun: Instant,
    /// Whether what arrives counts.
    counting: AtomicBool,
    there: AtomicU64,
    bytes: AtomicU64,
    pictures: AtomicU64,
    /// From publisher to watcher, in microseconds, by watcher modulo its length.
    latencies: [std::sync::Mutex<Histogram<u64>>; 8],
}

/// Everybody, while they are there.
pub(super) struct Load {
    watchers: usize,
    /// Pictures a second.
    rate: u32,
    counts: Arc<Counts>,
    lines: Vec<Line>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Of all relays together.
    cpu_secs: f64,
    bytes: u64,
    seconds: f64,
    pictures: u64,
    /// That should have been delivered.
    expected: f64,
    latency: Histogram<u64>,
    /// Of the last relay.
    pub(super) resident_mb: f64,
}

impl Load {
    pub(super) async fn start(
        chain: &Chain,
        watchers: usize,
        picture: usize,
        rate: u32,
    ) -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3);
        let latencies: Vec<_> = (0..8).map(|_| histogram()).collect::<Result<_, _>>()?;
        let mut latencies = latencies.into_iter().map(std::sync::Mutex::new);
        let counts = Counts {
            begun: Instant::now(),
            counting: AtomicBool::new(false),
            there: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            pictures: AtomicU64::new(0),
            latencies: std::array::from_fn(|_| latencies.next().expect("eight were made")),
        };
        let mut load = Self {
            watchers,
            rate,
            counts: Arc::new(counts),
            lines: Vec::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let endpoint = crate::bench::endpoint()?;
        let (mine, _found) = load.enter(&endpoint, chain.first()).await?;
        load.publish(&mine, picture)?;
        let endpoints = (0..SOCKETS).map(|_| crate::bench::endpoint());
        let endpoints: Vec<_> = endpoints.collect::<Result<_, _>>()?;
        for watcher in 0..watchers {
            let endpoint = &endpoints[watcher % SOCKETS];
            let (_mine, found) = load.enter(endpoint, chain.last()).await?;
            load.watch(found, watcher);
        }
        let all = async {
            while load.counts.there.load(Ordering::Relaxed) < watchers as u64 {
                tokio::time::sleep(LOOK).await;
            }
        };
        timeout(WAIT_MAX, all)
            .await
            .context("not everybody sees something")?;
        Ok(load)
    }

    /// Opens a session.
    async fn enter(
        &mut self,
        endpoint: &quinn::Endpoint,
        relay: &Relay,
    ) -> anyhow::Result<(origin::Producer, origin::Producer)> {
        let (tasks, stop) = (self.tasks.clone(), self.stop.child_token());
        let (mine, found) = (table(&tasks, &stop), table(&tasks, &stop));
        let name = format!("localhost:{}", relay.address.port());
        let quic = dial_from(endpoint, &name, relay.address, relay.pin, VERSIONS[0]);
        let quic = timeout(WAIT_MAX, quic)
            .await
            .context("the relay does not answer")??;
        let client = Client::new()
            .with_cost(1)
            .with_publisher(&mine)
            .with_subscriber(found.clone())
            .with_path("/");
        let session = web_transport_quinn::Session::raw(quic);
        let connect = client.connect_lite(Instant::now(), session);
        let (session, driver) = timeout(WAIT_MAX, connect).await.context("no session")??;
        run(&tasks, &stop, driver);
        self.lines.push(Line::new(session, stop, tasks));
        Ok((mine, found))
    }

    fn publish(&self, mine: &origin::Producer, picture: usize) -> anyhow::Result<()> {
        let broadcast = mine.create_broadcast(BROADCAST)?;
        let info = track::Info::default()
            .with_timescale(Timescale::MICRO)
            .with_max_age(Duration::from_secs(2));
        let track = broadcast.create_track(TRACK, info)?;
        broadcast.announce(origin::Route::default())?;
        let publish = send(broadcast, track, (picture, self.rate), self.counts.begun);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if let Some(Err(error)) = stop.run_until_cancelled(publish).await {
                tracing::warn!(%error, "the publisher broke");
            }
        });
        Ok(())
    }

    fn watch(&self, found: origin::Producer, watcher: usize) {
        let (counts, stop) = (Arc::clone(&self.counts), self.stop.clone());
        self.tasks.spawn(async move {
            let receive = receive(&found, &counts, watcher);
            if let Some(Err(error)) = stop.run_until_cancelled(receive).await {
                tracing::warn!(%error, "a watcher broke");
            }
        });
    }

    pub(super) async fn measure(&self, chain: &Chain) -> anyhow::Result<Measured> {
        tokio::time::sleep(SETTLE).await;
        let (started, before) = (Instant::now(), chain.usage()?);
        self.counts.counting.store(true, Ordering::Relaxed);
        tokio::time::sleep(WATCH).await;
        self.counts.counting.store(false, Ordering::Relaxed);
        let (seconds, after) = (started.elapsed().as_secs_f64(), chain.usage()?);
        let cpu = after.iter().zip(&before).map(|(a, b)| a.cpu_secs_since(b));
        let mut latency = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        for some in &self.counts.latencies {
            latency.add(
                &*some
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            )?;
        }
        Ok(Measured {
            cpu_secs: cpu.sum(),
            bytes: self.counts.bytes.load(Ordering::Relaxed),
            seconds,
            pictures: self.counts.pictures.load(Ordering::Relaxed),
            expected: seconds * f64::from(self.rate) * self.watchers as f64,
            latency,
            resident_mb: after.last().map_or(0.0, |it| it.resident_mb),
        })
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        // Said by all at once: one after the other would take a round trip each.
        drop(self.lines);
        self.tasks.close();
        // Who does not come to an end by then is cut off with the relays.
        let _ = timeout(SETTLE, self.tasks.wait()).await;
    }
}

impl Measured {
    /// Several together; `None` of none.
    pub(super) fn sum(all: &[Self]) -> Option<Self> {
        let mut all = all.iter().cloned();
        let mut sum = all.next()?;
        for one in all {
            sum.cpu_secs += one.cpu_secs;
            sum.bytes += one.bytes;
            sum.seconds += one.seconds;
            sum.pictures += one.pictures;
            sum.expected += one.expected;
            sum.resident_mb = sum.resident_mb.max(one.resident_mb);
            // Both have the same bounds.
            let _ = sum.latency.add(&one.latency);
        }
        Some(sum)
    }

    /// Seconds of processor time for a gigabit that was delivered.
    pub(super) fn cost(&self) -> f64 {
        self.cpu_secs / (self.bytes as f64 * 8.0 / 1e9)
    }

    pub(super) fn megabits(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e6 / self.seconds
    }

    pub(super) fn latency_ms(&self, share: f64) -> f64 {
        self.latency.value_at_quantile(share) as f64 / 1e3
    }

    pub(super) fn missing_percent(&self) -> f64 {
        (100.0 * (1.0 - self.pictures as f64 / self.expected)).max(0.0)
    }
}

/// Sends pictures that say when they were made.
async fn send(
    broadcast: broadcast::Producer,
    track: track::Producer,
    (picture, rate): (usize, u32),
    begun: Instant,
) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut group = track.append_group()?;
    for number in 0_u64.. {
        tick.tick().await;
        if number % GROUP == 0 && number > 0 {
            group.finish()?;
            group = track.append_group()?;
        }
        let made = begun.elapsed();
        let mut payload = vec![0x5a; picture];
        payload[..8].copy_from_slice(&micros(made).to_le_bytes());
        group.write_frame(Timestamp::try_from(made)?, Bytes::from(payload))?;
    }
    drop(broadcast);
    Ok(())
}

async fn receive(found: &origin::Producer, counts: &Counts, watcher: usize) -> anyhow::Result<()> {
    let broadcast = found.consume().routed_broadcast(BROADCAST).await?;
    let wanted = track::Subscription::default().with_max_age(MAX_AGE);
    let mut groups = broadcast.track(TRACK)?.subscribe(wanted).await?.ordered();
    let mut is_first = true;
    while let Some(mut group) = groups.next_group().await? {
        // A group that broke off has been overtaken.
        while let Ok(Some(frame)) = group.read_frame().await {
            if std::mem::take(&mut is_first) {
                counts.there.fetch_add(1, Ordering::Relaxed);
            }
            if counts.counting.load(Ordering::Relaxed) {
                counts.take(&frame.payload, watcher);
            }
        }
    }
    Ok(())
}

impl Counts {
    fn take(&self, payload: &[u8], watcher: usize) {
        let Some(made) = payload.first_chunk::<8>().copied().map(u64::from_le_bytes) else {
            return;
        };
        let took = micros(self.begun.elapsed()).saturating_sub(made);
        self.bytes
            .fetch_add(payload.len() as u64, Ordering::Relaxed);
        self.pictures.fetch_add(1, Ordering::Relaxed);
        let latencies = &self.latencies[watcher % self.latencies.len()];
        let mut latencies = latencies
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        latencies.saturating_record(took);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
