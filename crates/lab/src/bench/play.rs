//! How it is to use an app over Selvedge: the time from a key to its picture, the first picture, and
//! what the platform takes for itself.
//!
//! One real center and one real edge, started by the real binary; real X programs; a headless
//! terminal behind one emulated line. Terminal, app and platform share the machine, so the figures
//! are an upper bound of what the platform alone would show.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use api::session::{CreateSession, CreatedSession};
use hdrhistogram::Histogram;
use tokio::time::timeout;

use super::cloud::{Cloud, Emulation};
use super::{Flags, Line, Progress};
use crate::terminal::{Manner, Terminal, Transport, WayIn};
use crate::wan::{Link, Proxy, Wan};

/// Keys for each figure, after some that only warm up.
const KEYS: u32 = 120;
const WARM_UP_KEYS: u32 = 15;

/// Keys are this far apart, and then some: a fast typist, not in step with any clock.
const KEY_INTERVAL: Duration = Duration::from_millis(70);

/// How long load is watched.
const WATCH: Duration = Duration::from_secs(10);

/// How long an app may take to come up, or a picture to come.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Sessions at once for the figure of memory: one alone would carry all that is shared.
const CROWD: usize = 4;

/// One site: the network is emulated by the bench itself, at one place.
const SITES: &str = "[[site]]\nname = 'frankfurt'\n";
const SITE: &str = "frankfurt";

/// The game, as the demo cloud offers it, and the name of a larger one.
const DOOM: &str = include_str!("../../../../apps/doom/selvedge.toml");
const LARGE_DOOM: &str = "bench-doom";

/// What the bench runs beside the demo apps.
const XTERM: &str = "
name = 'bench-xterm'
kind = 'stream'
command = ['xterm', '-fullscreen', '-fa', 'Monospace', '-fs', '12', '-e', 'cat']
requires = ['xterm']
[screen]
content = 'text'
[resources]
cpu = 0.1
memory = '128MB'
";

/// Measures.
///
/// # Errors
/// When the binary is missing, or the cloud does not do what it should.
pub fn run(_: &Flags, progress: Progress<'_>) -> anyhow::Result<Vec<Line>> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(measure(progress))
}

async fn measure(progress: Progress<'_>) -> anyhow::Result<Vec<Line>> {
    progress("starting a center and an edge");
    let mut cloud = Cloud::start(SITES, Emulation::Off).await?;
    let wan = Wan::start(1)?;
    let mut lines = Vec::new();

    cloud.publish(XTERM).await?;
    for round_trip in [0, 20, 80].map(Duration::from_millis) {
        progress(&format!("keys into xterm at {} ms", round_trip.as_millis()));
        keys(&cloud, &wan, round_trip, &mut lines).await?;
    }
    progress("first pictures");
    first_pictures(&cloud, &wan, &mut lines).await?;
    progress("sessions that rest");
    rest(&cloud, &wan, &mut lines).await?;
    if cloud.has("doom") {
        progress("doom");
        doom(&cloud, &wan, &mut lines).await?;
    } else {
        progress("doom is not installed; its figures are left out");
    }
    cloud.stop().await?;
    Ok(lines)
}

/// Types into xterm and waits for each letter.
async fn keys(
    cloud: &Cloud,
    wan: &Wan,
    round_trip: Duration,
    lines: &mut Vec<Line>,
) -> anyhow::Result<()> {
    let seat = Seat::open(cloud, wan, "bench-xterm", round_trip).await?;
    let (mut arrived, mut decoded) = (histogram()?, histogram()?);
    for key in 0..WARM_UP_KEYS + KEYS {
        let jitter = Duration::from_millis(u64::from(key * 7 % 17));
        tokio::time::sleep(KEY_INTERVAL + jitter).await;
        let sent = seat.terminal.key("KeyA", true)?;
        let answer = timeout(WAIT_MAX, sent.answered()).await??;
        seat.terminal.key("KeyA", false)?;
        if key >= WARM_UP_KEYS {
            arrived.record(micros(answer.arrived))?;
            decoded.record(micros(answer.decoded))?;
        }
    }
    let ms = round_trip.as_secs_f64() * 1e3;
    let at = format!("at {ms} ms");
    if round_trip.is_zero() {
        lines.push(
            quantile("key to encoded, p50", &arrived, 0.5)
                .goal(8.0)
                .note("as seen by a terminal on the same machine: two crossings of loopback more"),
        );
        lines.push(quantile("key to encoded, p95", &arrived, 0.95));
        lines.push(quantile("key to encoded, p99", &arrived, 0.99));
    }
    lines.push(quantile(&format!("key to decoded {at}, p50"), &decoded, 0.5).goal(ms + 12.0));
    lines.push(quantile(
        &format!("key to decoded {at}, p95"),
        &decoded,
        0.95,
    ));
    lines.push(quantile(&format!("key to decoded {at}, p99"), &decoded, 0.99).goal(ms + 25.0));
    seat.close(cloud).await
}

/// From the request for a session to its first picture, cold and warm.
async fn first_pictures(cloud: &Cloud, wan: &Wan, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let round_trip = Duration::from_millis(20);
    let ms = round_trip.as_secs_f64() * 1e3;
    let started = Instant::now();
    let seat = Seat::open(cloud, wan, "probe", round_trip).await?;
    let cold = started.elapsed();
    seat.close(cloud).await?;
    lines.push(
        Line::lower("first picture, cold", "ms", cold.as_secs_f64() * 1e3)
            .note(format!("at {ms} ms; from the request for a session")),
    );

    cloud.warm_probe().await?;
    let started = Instant::now();
    let seat = Seat::open(cloud, wan, "probe", round_trip).await?;
    let warm = started.elapsed();
    seat.close(cloud).await?;
    cloud.cool_probe().await?;
    lines.push(
        Line::lower("first picture, warm", "ms", warm.as_secs_f64() * 1e3)
            .goal(3.0 * ms + 100.0)
            .note(format!("at {ms} ms; three round trips and 100 ms")),
    );
    Ok(())
}

/// What the platform takes while nothing moves, and for each session.
async fn rest(cloud: &Cloud, wan: &Wan, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    // What the edge has allocated for good shows with the first session: it is not the next one's.
    let first = Seat::open(cloud, wan, "bench-xterm", Duration::ZERO).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let one = cloud.site(SITE)?.usage()?;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(Seat::open(cloud, wan, "bench-xterm", Duration::ZERO).await?);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = cloud.site(SITE)?.usage()?;
    tokio::time::sleep(WATCH).await;
    let after = cloud.site(SITE)?.usage()?;
    for seat in crowd {
        seat.close(cloud).await?;
    }
    first.close(cloud).await?;

    let sessions = u32::try_from(CROWD).context("a crowd is small")?;
    let each = after.cores_since(&before) / f64::from(sessions + 1);
    lines.push(
        Line::lower("a session that rests", "core", each)
            .goal(0.005)
            .note("the edge's process: pings, reports, summaries and all"),
    );
    let grown = after.resident_mb - one.resident_mb;
    lines.push(
        Line::lower("memory of a session", "MB", grown / f64::from(sessions))
            .goal(40.0)
            .note("the edge's process; X server and app are the app's"),
    );
    Ok(())
}

/// A game that moves all the time: at its own size, and once at the size of the other apps.
async fn doom(cloud: &Cloud, wan: &Wan, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let own = watch(cloud, wan, "doom").await?;
    lines.push(
        Line::lower("doom", "core", own.cores).goal(0.2).note(
            "the edge's process: capture, encode, sound, send; not the game, not its X server",
        ),
    );
    lines.push(
        Line::higher("doom, pictures delivered", "a second", own.pictures)
            .note("the game draws 35 a second"),
    );
    lines.push(Line::lower(
        "doom, bitrate delivered",
        "Mbit/s",
        own.megabits,
    ));

    cloud.publish(&large_doom()?).await?;
    let large = watch(cloud, wan, LARGE_DOOM).await?;
    lines.push(
        Line::lower("doom at 1280x720", "core", large.cores)
            .note("two and a quarter times the pixels; the game draws no more of them"),
    );
    lines.push(Line::lower(
        "doom at 1280x720, bitrate delivered",
        "Mbit/s",
        large.megabits,
    ));
    Ok(())
}

/// The demo app, enlarged.
fn large_doom() -> anyhow::Result<String> {
    let mut manifest = DOOM.to_owned();
    for (from, to) in [
        ("name = \"doom\"", &*format!("name = \"{LARGE_DOOM}\"")),
        ("-geometry 854x480", "-geometry 1280x720"),
        ("width = 854", "width = 1280"),
        ("height = 480", "height = 720"),
    ] {
        if !manifest.contains(from) {
            bail!("the manifest of doom does not say `{from}` any more");
        }
        manifest = manifest.replace(from, to);
    }
    Ok(manifest)
}

/// What an app that moves costs and delivers, per second.
struct Watched {
    cores: f64,
    pictures: f64,
    megabits: f64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "frames and bytes of some seconds fit a double exactly"
)]
async fn watch(cloud: &Cloud, wan: &Wan, app: &str) -> anyhow::Result<Watched> {
    let seat = Seat::open(cloud, wan, app, Duration::from_millis(20)).await?;
    // The title stands for some seconds before the demo runs.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let (before, seen) = (cloud.site(SITE)?.usage()?, seat.terminal.statistics());
    let started = Instant::now();
    tokio::time::sleep(WATCH).await;
    let seconds = started.elapsed().as_secs_f64();
    let (after, now) = (cloud.site(SITE)?.usage()?, seat.terminal.statistics());
    seat.close(cloud).await?;
    Ok(Watched {
        cores: after.cores_since(&before),
        pictures: (now.frames - seen.frames) as f64 / seconds,
        megabits: (now.bytes.get() - seen.bytes.get()) as f64 * 8.0 / seconds / 1e6,
    })
}

/// A session with its terminal behind an emulated line, and its first picture.
struct Seat {
    created: CreatedSession,
    terminal: Terminal,
    /// The line lasts as long.
    _line: Proxy,
}

impl Seat {
    async fn open(
        cloud: &Cloud,
        wan: &Wan,
        app: &str,
        round_trip: Duration,
    ) -> anyhow::Result<Self> {
        let created = cloud
            .client()
            .create_session(&CreateSession {
                app: app.parse()?,
                terminal: model::Terminal::default(),
                screen: None,
            })
            .await
            .with_context(|| format!("a session of {app}"))?;
        let entry: SocketAddr = created.ticket.entry.address.parse()?;
        let line = wan.proxy(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            Some(entry),
            Link::from_round_trip(round_trip),
        )?;
        let mut way = WayIn::new(&created.ticket, Transport::Quic)?;
        way.address = line.address().to_string();
        // The ticket says that the session is there: no need to wait until it is announced.
        way.manner = Manner::Eager;
        let terminal = timeout(WAIT_MAX, Terminal::connect(&way)).await??;
        let first = timeout(WAIT_MAX, terminal.picture_that(|_| true)).await;
        if first.is_err() {
            bail!("no picture of {app} within {} s", WAIT_MAX.as_secs());
        }
        Ok(Self {
            created,
            terminal,
            _line: line,
        })
    }

    async fn close(self, cloud: &Cloud) -> anyhow::Result<()> {
        self.terminal.close().await;
        cloud.client().close_session(self.created.session).await?;
        Ok(())
    }
}

/// Up to a minute, to three digits.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of a minute fit a double exactly"
)]
fn quantile(name: &str, times: &Histogram<u64>, share: f64) -> Line {
    Line::lower(name, "ms", times.value_at_quantile(share) as f64 / 1e3)
}
