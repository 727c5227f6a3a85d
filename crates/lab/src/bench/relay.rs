//! What a relay costs: processor time for what it carries, time that it adds, memory; ours and
//! upstream's `moq-relay`, which the bench installs, side by side.
//!
//! One publisher sends 30 pictures a second into the first relay of a chain, everybody watches at the
//! last. Publisher and watchers are the same native code for both, in this process; only the relays'
//! processes differ. Ours is the relay crate alone, set up as an edge sets it up
//! (`crates/relay/examples/alone.rs`); upstream's runs with its defaults.

mod chain;
mod load;

use anyhow::Context as _;

use self::chain::{Chain, Kind};
use self::load::{Load, Measured};
use super::{Flags, Line, Progress};

/// What is carried how far.
#[derive(Clone, Copy, Debug)]
struct Cell {
    watchers: usize,
    hops: usize,
    /// Of a picture, in bytes.
    picture: usize,
    /// Pictures a second.
    rate: u32,
}

const fn cell(watchers: usize, hops: usize, picture: usize, rate: u32) -> Cell {
    Cell {
        watchers,
        hops,
        picture,
        rate,
    }
}

/// About 240 Mbit/s in all where there are many, so that every cell fits two cores with its watchers.
const CELLS: &[Cell] = &[
    cell(1, 1, 100_000, 30),
    cell(50, 1, 20_000, 30),
    cell(200, 1, 5_000, 30),
    cell(1_000, 1, 3_000, 10),
    cell(1, 2, 100_000, 30),
    cell(200, 2, 5_000, 30),
    cell(1, 3, 100_000, 30),
    cell(200, 3, 5_000, 30),
];

/// Each cell is measured so often, in turns: what else the machine does meets both.
const ROUNDS: usize = 2;

/// Ours should carry so much more with the same processor time.
const THROUGHPUT_GOAL: f64 = 1.2;

/// Measures.
///
/// # Errors
/// When a relay is missing and cannot be installed, or does not carry what it should.
pub fn run(flags: &Flags, progress: Progress<'_>) -> anyhow::Result<Vec<Line>> {
    let ours_only = flags.get("only").is_some_and(|it| it == "ours");
    let watchers = flags.get("watchers").map(|it| it.parse());
    let watchers: Option<usize> = watchers.transpose().context("--watchers takes a number")?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(measure(ours_only, watchers, progress))
}

async fn measure(
    ours_only: bool,
    only: Option<usize>,
    progress: Progress<'_>,
) -> anyhow::Result<Vec<Line>> {
    let kinds: &[Kind] = if ours_only {
        &[Kind::Ours]
    } else {
        chain::install(progress)?;
        &[Kind::Ours, Kind::Upstream]
    };
    let mut lines = Vec::new();
    for cell in CELLS {
        let Cell { watchers, hops, .. } = *cell;
        if only.is_some_and(|it| it != watchers) {
            continue;
        }
        let mut of_kinds = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (kind, all) in kinds.iter().zip(&mut of_kinds) {
                let round = round + 1;
                progress(&format!(
                    "{kind}: {watchers} watchers, {hops} hops, round {round}"
                ));
                match carry(*kind, cell).await {
                    Ok(one) => all.push(one),
                    // What one cell cannot tell, others can.
                    Err(error) => progress(&format!("not measured: {error:#}")),
                }
            }
        }
        let plural = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        let name = format!("{}, {}", plural(watchers, "watcher"), plural(hops, "hop"));
        let of_kinds = of_kinds.map(|all| Measured::sum(&all));
        tell(&name, &of_kinds, ours_only, &mut lines);
    }
    Ok(lines)
}

async fn carry(kind: Kind, cell: &Cell) -> anyhow::Result<Measured> {
    let chain = Chain::start(kind, cell.hops).await?;
    let load = Load::start(&chain, cell.watchers, cell.picture, cell.rate).await?;
    let measured = load.measure(&chain).await;
    load.stop().await;
    measured
}

fn tell(name: &str, of_kinds: &[Option<Measured>; 2], ours_only: bool, lines: &mut Vec<Line>) {
    let costs: Vec<f64> = of_kinds.iter().flatten().map(Measured::cost).collect();
    for (kind, measured) in [Kind::Ours, Kind::Upstream].into_iter().zip(of_kinds) {
        let Some(measured) = measured else { continue };
        lines.push(
            Line::lower(format!("{name}: {kind}"), "s a Gbit", measured.cost()).note(format!(
                "{:.0} Mbit/s; {:.2} / {:.2} ms p50 / p99; {:.0} MB{}",
                measured.megabits(),
                measured.latency_ms(0.5),
                measured.latency_ms(0.99),
                measured.resident_mb,
                match measured.missing_percent() {
                    it if it < 0.05 => String::new(),
                    it => format!("; {it:.1} % of pictures not delivered"),
                }
            )),
        );
    }
    if !ours_only {
        let ratio = match costs[..] {
            [ours, upstream] => upstream / ours,
            _ => f64::NAN,
        };
        lines.push(
            Line::higher(format!("{name}: throughput a core"), "x", ratio)
                .goal(THROUGHPUT_GOAL)
                .note("ours against upstream's"),
        );
    }
}
