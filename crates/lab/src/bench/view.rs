//! How it is to walk around a live event: how long a change of view takes, whether the picture stands
//! still, how soon it is there, what is carried, and what a crowd costs an edge.
//!
//! Real edges started by the real binary, cameras that publish by RTMP through ffmpeg, viewers without a
//! window that decide with `logic::view` as the viewer page does. Decoding is taken to need no time: what
//! it needs depends on the viewer's machine and comes on top.

mod crowd;
mod hand;
mod playout;
mod stage;
mod tally;
mod watcher;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::hand::Hand;
use self::stage::{Road, Stage};
use self::tally::{Place, Tally};
use self::watcher::{Common, Watcher};
use super::{Flags, Line, Progress};
use crate::arena::Settings;
use crate::wan::Link;

/// Between a viewer and its entry, there and back.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// Of the lossy line, each way.
const LOSS: f64 = 0.01;

/// First pictures that are waited for, one after the other.
const FIRSTS: usize = 40;

/// Between two jumps to a view that is not made ready; one comes back after twelve of them, when the
/// entry has long let it go.
const JUMP_EVERY: Duration = Duration::from_millis(1_500);
const JUMPS_LAST: Duration = Duration::from_secs(75);

/// Viewers at once: more of 3 Mbit/s would be more than two cores carry beside cameras and network.
const AT_ONCE: usize = 10;

/// Switches of a kind of which a goal can be asked.
const ENOUGH: u32 = 20;

/// Fast hands among them.
const FAST: usize = 4;

/// Measures.
///
/// # Errors
/// When the binary or ffmpeg is missing, or the cloud does not do what it should.
pub fn run(flags: &Flags, progress: Progress<'_>) -> anyhow::Result<Vec<Line>> {
    let trace = flags.get("trace").map(Path::new);
    let only = flags.get("only").map(String::as_str);
    let viewers = flags.get("viewers").map(|it| it.parse());
    let viewers = viewers.transpose().context("--viewers takes a number")?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(measure(
            trace,
            only,
            viewers.unwrap_or(crowd::VIEWERS),
            progress,
        ))
}

async fn measure(
    trace: Option<&Path>,
    only: Option<&str>,
    viewers: usize,
    progress: Progress<'_>,
) -> anyhow::Result<Vec<Line>> {
    let wanted = |part: &str| only.is_none_or(|it| it == part);
    let mut lines = Vec::new();
    if ["firsts", "jumps", "hands"].into_iter().any(wanted) {
        let stage = Stage::open(&Settings::default(), progress).await?;
        if wanted("firsts") {
            firsts(&stage, progress, &mut lines).await?;
        }
        if wanted("jumps") {
            jumps(&stage, progress, &mut lines).await?;
        }
        if wanted("hands") {
            hands(&stage, trace, progress, &mut lines).await?;
        }
        stage.close().await?;
    }
    if wanted("crowd") {
        let stage = Stage::open(&crowd::cameras(), progress).await?;
        if let Err(error) = crowd::measure(&stage, viewers, progress, &mut lines).await {
            // A crowd that cannot come in is a result, and must not cost the others.
            let name = format!("crowd of {viewers}: viewers that saw a stall");
            let line = Line::lower(name, "", f64::NAN).goal(0.0);
            lines.push(line.note(format!("{error:#}")));
        }
        stage.close().await?;
    }
    Ok(lines)
}

/// From the wish to watch to the first picture.
async fn firsts(
    stage: &Stage,
    progress: Progress<'_>,
    lines: &mut Vec<Line>,
) -> anyhow::Result<()> {
    progress("first pictures");
    let road = stage.line(Link::from_round_trip(ROUND_TRIP))?;
    let common = stage.common(ROUND_TRIP).await?;
    let mut times = histogram()?;
    for first in 0..FIRSTS {
        let hand = hand::jumps(&common.seats, first, WAIT_MAX, WAIT_MAX);
        let opened = Instant::now();
        let viewer = stage.enter(&road).await?;
        let watcher = Watcher::new(common.clone(), viewer, &hand, opened);
        let tally = watcher.watch(hand, tally::Notes::began).await;
        times.record(micros(tally.first.unwrap_or(WAIT_MAX)))?;
    }
    lines.push(
        quantile("first picture, p50", &times, 0.5)
            .goal(300.0)
            .note("from the wish to watch: ticket, handshake, picture; nobody else watches"),
    );
    lines.push(quantile("first picture, p95", &times, 0.95).goal(1_000.0));
    Ok(())
}

const WAIT_MAX: Duration = Duration::from_secs(10);

/// Hands that jump to views that nobody has made ready: such as the entry has, and such as it has not.
async fn jumps(stage: &Stage, progress: Progress<'_>, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let road = stage.line(Link::from_round_trip(ROUND_TRIP))?;
    progress("switches to views that the entry has not");
    let common = stage.common(ROUND_TRIP).await?;
    let cold = jump_alone(stage, &road, &common, 0).await?;
    switches("switch, cold", &[cold], Place::Cold, 140.0, lines)?;

    progress("switches to views that the entry has");
    let common = stage.common(ROUND_TRIP).await?;
    let held = Held::start(stage, &common).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (a, b) = tokio::join!(
        jump_alone(stage, &road, &common, 3),
        jump_alone(stage, &road, &common, 8)
    );
    held.stop().await;
    switches("switch, warm", &[a?, b?], Place::Warm, 55.0, lines)
}

/// All cameras, received at the edge's door so that it has them.
struct Held {
    bytes: Arc<AtomicU64>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Held {
    async fn start(stage: &Stage, common: &Common) -> anyhow::Result<Self> {
        let held = Self {
            bytes: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let door = stage.door().await?;
        let viewer = door.enter(&super::endpoint()?).await?;
        let hold = watcher::hold(viewer, common.clone(), Arc::clone(&held.bytes));
        let stop = held.stop.clone();
        held.tasks
            .spawn(async move { stop.run_until_cancelled(hold).await });
        Ok(held)
    }

    /// What comes of all of them, in bits a second.
    async fn rate(&self) -> f64 {
        // What was kept comes in a burst.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (started, before) = (Instant::now(), self.bytes.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_secs(8)).await;
        let bytes = self.bytes.load(Ordering::Relaxed) - before;
        bytes as f64 * 8.0 / started.elapsed().as_secs_f64()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn jump_alone(
    stage: &Stage,
    road: &Road,
    common: &Common,
    first: usize,
) -> anyhow::Result<Tally> {
    let hand = hand::jumps(&common.seats, first, JUMP_EVERY, JUMPS_LAST);
    let opened = Instant::now();
    let viewer = stage.enter(road).await?;
    let watcher = Watcher::new(common.clone(), viewer, &hand, opened);
    Ok(watcher.watch(hand, |_| false).await)
}

/// Hands that turn, recorded and made up, on a good line and on a lossy one.
async fn hands(
    stage: &Stage,
    trace: Option<&Path>,
    progress: Progress<'_>,
    lines: &mut Vec<Line>,
) -> anyhow::Result<()> {
    let common = stage.common(ROUND_TRIP).await?;
    let recorded = match trace {
        Some(dir) => hand::recorded(dir, &common.seats)?,
        None => Vec::new(),
    };
    progress("all views at once");
    let held = Held::start(stage, &common).await?;
    let all_views = held.rate().await;
    held.stop().await;
    let fast: Vec<Hand> = (0..FAST as u64).map(|it| hand::fast(it + 1)).collect();
    for (loss, rounds) in [(0.0, 1), (LOSS, 2)] {
        let link = Link {
            loss,
            ..Link::from_round_trip(ROUND_TRIP)
        };
        let percent = loss * 100.0;
        let mut of_recorded = Vec::new();
        let mut of_fast = Vec::new();
        for round in 0..rounds {
            progress(&format!("hands at {percent} % loss, round {}", round + 1));
            of_fast.extend(together(stage, link, &fast, &common).await?);
            for some in recorded.chunks(AT_ONCE) {
                of_recorded.extend(together(stage, link, some, &common).await?);
            }
        }
        let all: Vec<Tally> = of_recorded.iter().chain(&of_fast).cloned().collect();
        let at = format!("at {percent} % loss");
        if loss == 0.0 {
            for (kind, tallies) in [("recorded hands", &of_recorded), ("fast hands", &of_fast)] {
                if !tallies.is_empty() {
                    moves(kind, tallies, lines)?;
                    bytes(kind, tallies, (stage.cameras, all_views), lines);
                }
            }
            let stalls: u32 = all.iter().map(|it| it.stalls).sum();
            lines.push(
                Line::lower(format!("stalls {at}"), "", f64::from(stalls))
                    .goal(0.0)
                    .note(format!("in {} views of a minute", all.len())),
            );
        } else {
            let without = all.iter().filter(|it| it.stalls == 0).count();
            let share = 100.0 * without as f64 / all.len() as f64;
            lines.push(
                Line::higher(format!("views without a stall {at}"), "%", share)
                    .goal(98.0)
                    .note(format!("of {} views of a minute", all.len())),
            );
        }
        let mut longest = histogram()?;
        for tally in &all {
            longest.record(micros(tally.longest_gap))?;
        }
        lines.push(quantile(
            &format!("longest gap of a view {at}, p50"),
            &longest,
            0.5,
        ));
    }
    Ok(())
}

async fn together(
    stage: &Stage,
    link: Link,
    hands: &[Hand],
    common: &Common,
) -> anyhow::Result<Vec<Tally>> {
    let tasks = TaskTracker::new();
    let mut views = Vec::new();
    let mut roads = Vec::new();
    for hand in hands {
        let road = stage.line(link)?;
        let opened = Instant::now();
        let viewer = stage.enter(&road).await?;
        let watcher = Watcher::new(common.clone(), viewer, hand, opened);
        let hand = hand.clone();
        views.push(tasks.spawn(watcher.watch(hand, |_| false)));
        roads.push(road);
    }
    let mut tallies = Vec::new();
    for view in views {
        tallies.push(view.await.context("a viewer broke")?);
    }
    Ok(tallies)
}

/// How long switches of one kind took.
fn switches(
    name: &str,
    tallies: &[Tally],
    place: Place,
    goal: f64,
    lines: &mut Vec<Line>,
) -> anyhow::Result<()> {
    let (mut seen, mut live, mut gaps) = (histogram()?, histogram()?, histogram()?);
    let mut came = histogram()?;
    let mut fading = 0;
    for switch in tallies.iter().flat_map(|it| &it.switches) {
        fading += u32::from(switch.place == Place::Fading);
        if switch.place == place {
            seen.record(micros(switch.seen))?;
            live.record(micros(switch.live))?;
            gaps.record(micros(switch.gap))?;
            came.record(switch.came.map_or(0, micros))?;
        }
    }
    let failed: u32 = tallies.iter().map(|it| it.failed).sum();
    let count = live.len();
    lines.push(quantile(&format!("{name}: first data, p50"), &came, 0.5));
    lines.push(quantile(&format!("{name}: seen, p50"), &seen, 0.5));
    lines.push(quantile(&format!("{name}: seen, p95"), &seen, 0.95));
    lines.push(quantile(&format!("{name}: live edge, p50"), &live, 0.5));
    let line = quantile(&format!("{name}: live edge, p95"), &live, 0.95);
    let line = if goal.is_finite() {
        line.goal(goal)
    } else {
        line
    };
    lines.push(line.note(format!(
        "{count} switches, {failed} given up, {fading} of unsure kind left out"
    )));
    let line = quantile(&format!("{name}: gap, p95"), &gaps, 0.95);
    lines.push(if goal.is_finite() {
        line.goal(50.0)
    } else {
        line
    });
    Ok(())
}

/// How the switches of turning hands went.
fn moves(kind: &str, tallies: &[Tally], lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let mut gaps = histogram()?;
    let mut counts = [0_u32; 4];
    let mut live = [histogram()?, histogram()?, histogram()?, histogram()?];
    for switch in tallies.iter().flat_map(|it| &it.switches) {
        gaps.record(micros(switch.gap))?;
        live[switch.place as usize].record(micros(switch.live))?;
        counts[switch.place as usize] += 1;
    }
    let total = counts.iter().sum::<u32>();
    let ready = 100.0 * f64::from(counts[0]) / f64::from(total.max(1));
    lines.push(
        Line::higher(format!("{kind}: views that were ready"), "%", ready).note(format!(
            "of {total} switches: {} ready, {} warm, {} cold, {} fading",
            counts[0], counts[1], counts[2], counts[3]
        )),
    );
    for (place, name, goal) in [(0, "ready", 55.0), (1, "warm", 55.0), (2, "cold", 140.0)] {
        if counts[place] > 0 {
            let line = quantile(
                &format!("{kind}: live edge, {name}, p95"),
                &live[place],
                0.95,
            );
            // Of a few switches the slowest twentieth is one.
            lines.push(if counts[place] < ENOUGH {
                line
            } else {
                line.goal(goal)
            });
        }
    }
    lines.push(quantile(&format!("{kind}: gap at a switch, p95"), &gaps, 0.95).goal(50.0));
    let pictures: u64 = tallies.iter().map(|it| it.pictures).sum();
    let uneven: u64 = tallies.iter().map(|it| it.uneven).sum();
    let share = 100.0 * uneven as f64 / pictures.max(1) as f64;
    lines.push(Line::lower(format!("{kind}: pictures after a gap of 50 ms"), "%", share).goal(5.0));
    Ok(())
}

/// What a viewer received, against what all views would have been.
fn bytes(kind: &str, tallies: &[Tally], (cameras, all_views): (usize, f64), lines: &mut Vec<Line>) {
    let received: f64 = tallies.iter().map(|it| it.bytes as f64 * 8.0).sum();
    let seconds: f64 = tallies.iter().map(|it| it.watched.as_secs_f64()).sum();
    let received = received / seconds;
    let saved = 1.0 - received / all_views;
    let ideal = 1.0 - 1.0 / cameras as f64;
    let share = 100.0 * saved / ideal;
    lines.push(
        Line::higher(format!("{kind}: bytes saved, of the ideal"), "%", share)
            .goal(95.0)
            .note(format!(
                "{:.2} Mbit/s received; all {cameras} views are {:.1}",
                received / 1e6,
                all_views / 1e6
            )),
    );
}

/// Up to a minute, to three digits.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn quantile(name: &str, times: &Histogram<u64>, share: f64) -> Line {
    Line::lower(name, "ms", times.value_at_quantile(share) as f64 / 1e3)
}
