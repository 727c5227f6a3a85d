//! A thousand viewers at one edge, all from here: how the edge bears it, and what they see.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stage::Stage;
use super::tally::{Place, Tally};
use super::watcher::Watcher;
use super::{WAIT_MAX, hand, histogram, micros, quantile, switches};
use crate::arena::Settings;
use crate::bench::usage::Usage;
use crate::bench::{Line, Progress, endpoint};

/// How many there are, unless one says otherwise.
pub(super) const VIEWERS: usize = 1_000;

/// The sockets that they share.
const SOCKETS: usize = 4;

/// Four switches a minute.
const JUMPS_EVERY: Duration = Duration::from_secs(15);

/// How long all of them watch together, once the last is in. The processes are measured meanwhile.
const TOGETHER: Duration = Duration::from_secs(60);

/// Nobody leaves before that: a crowd that takes longer to come in than this is none.
const LASTS: Duration = Duration::from_secs(600);

/// Cameras that send half a megabit a second.
pub(super) fn cameras() -> Settings {
    Settings {
        width: 640,
        height: 360,
        seconds: 8,
        video_kbps: 500,
        ..Settings::default()
    }
}

/// What was seen of them.
struct Seen {
    tallies: Vec<Tally>,
    /// How long it took until all were in.
    came_in: Duration,
    /// What all received together, a second, once they were.
    megabits: f64,
    /// Of the edge and of all viewers, in cores.
    edge: f64,
    own: f64,
    /// Of the edge, before anybody came and with all of them, in megabytes.
    empty: f64,
    full: f64,
}

/// Lets them in and tells how it went.
pub(super) async fn measure(
    stage: &Stage,
    viewers: usize,
    progress: Progress<'_>,
    lines: &mut Vec<Line>,
) -> anyhow::Result<()> {
    let seen = watch(stage, viewers, progress).await?;
    let tallies = &seen.tallies;
    let name = format!("crowd of {viewers}");
    let stalled = tallies.iter().filter(|it| it.stalls > 0).count();
    lines.push(
        Line::lower(
            format!("{name}: viewers that saw a stall"),
            "",
            stalled as f64,
        )
        .goal(0.0)
        .note(format!(
            "{:.2} Mbit/s each, 4 switches a minute, no line before the edge; all in after {:.1} s",
            seen.megabits / viewers as f64,
            seen.came_in.as_secs_f64()
        )),
    );
    let (mut longest, mut firsts) = (histogram()?, histogram()?);
    for tally in tallies {
        longest.record(micros(tally.longest_gap))?;
        firsts.record(micros(tally.first.unwrap_or(WAIT_MAX)))?;
    }
    lines.push(quantile(
        &format!("{name}: first picture, p95"),
        &firsts,
        0.95,
    ));
    lines.push(quantile(
        &format!("{name}: longest gap of a view, p95"),
        &longest,
        0.95,
    ));
    switches(&name, tallies, Place::Warm, f64::INFINITY, lines)?;
    lines.push(
        Line::lower(format!("{name}: the edge"), "core", seen.edge).note(format!(
            "the viewers take {:.2} of the same two cores",
            seen.own
        )),
    );
    lines.push(
        Line::lower(format!("{name}: memory of the edge"), "MB", seen.full)
            .note(format!("{:.0} MB before anybody came", seen.empty)),
    );
    Ok(())
}

async fn watch(stage: &Stage, viewers: usize, progress: Progress<'_>) -> anyhow::Result<Seen> {
    progress("a crowd comes in");
    let common = stage.common(Duration::from_millis(1)).await?;
    let door = stage.door().await?;
    let empty = stage.usage()?;
    let tasks = TaskTracker::new();
    let endpoints = (0..SOCKETS).map(|_| endpoint());
    let endpoints: Vec<_> = endpoints.collect::<Result<_, _>>()?;
    let over = CancellationToken::new();
    let came = Instant::now();
    let mut views = Vec::with_capacity(viewers);
    for index in 0..viewers {
        let hand = hand::jumps(&common.seats, index, JUMPS_EVERY, LASTS);
        let opened = Instant::now();
        let viewer = door.enter(&endpoints[index % SOCKETS]).await;
        let viewer = viewer.with_context(|| format!("viewer {index}"))?;
        let watcher = Watcher::new(common.clone(), viewer, &hand, opened);
        let over = over.clone();
        views.push(tasks.spawn(watcher.watch(hand, move |_| over.is_cancelled())));
    }
    let came_in = came.elapsed();
    progress("the crowd watches");
    let (own, edge) = (Usage::of(std::process::id())?, stage.usage()?);
    let bytes = common.bytes();
    tokio::time::sleep(TOGETHER).await;
    let (own_after, edge_after) = (Usage::of(std::process::id())?, stage.usage()?);
    let megabits = (common.bytes() - bytes) as f64 * 8.0 / 1e6 / TOGETHER.as_secs_f64();
    let left = views.iter().filter(|it| it.is_finished()).count();
    over.cancel();
    let mut tallies = Vec::with_capacity(viewers);
    for view in views {
        tallies.push(view.await.context("a viewer broke")?);
    }
    if left > 0 {
        bail!("{left} viewers left before all were in");
    }
    Ok(Seen {
        tallies,
        came_in,
        megabits,
        edge: edge_after.cores_since(&edge),
        own: own_after.cores_since(&own),
        empty: empty.resident_mb,
        full: edge_after.resident_mb,
    })
}
