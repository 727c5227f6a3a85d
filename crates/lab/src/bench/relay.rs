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

/// How many watch through how many relays, and how large pictures are, in bytes: about as much in all,
/// so that every cell fits two cores.
const CELLS: &[(usize, usize, usize)] = &[
    (1, 1, 100_000),
    (50, 1, 20_000),
    (200, 1, 5_000),
    (1_000, 1, 1_000),
    (1, 2, 100_000),
    (200, 2, 5_000),
    (1, 3, 100_000),
    (200, 3, 5_000),
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
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(measure(ours_only, progress))
}

async fn measure(ours_only: bool, progress: Progress<'_>) -> anyhow::Result<Vec<Line>> {
    let kinds: &[Kind] = if ours_only {
        &[Kind::Ours]
    } else {
        chain::install(progress)?;
        &[Kind::Ours, Kind::Upstream]
    };
    let mut lines = Vec::new();
    for (watchers, hops, picture) in CELLS.iter().copied() {
        let mut of_kinds = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (kind, all) in kinds.iter().zip(&mut of_kinds) {
                progress(&format!(
                    "{kind}: {watchers} watchers, {hops} hops, round {}",
                    round + 1
                ));
                let one = cell(*kind, watchers, hops, picture).await;
                let what = || format!("{kind}, {watchers} watchers, {hops} hops");
                let one = one.with_context(what)?;
                progress(&format!("{:.3} s a Gbit", one.cost()));
                all.push(one);
            }
        }
        let name = match (watchers, hops) {
            (1, 1) => "1 watcher, 1 hop".to_owned(),
            (1, _) => format!("1 watcher, {hops} hops"),
            (_, 1) => format!("{watchers} watchers, 1 hop"),
            _ => format!("{watchers} watchers, {hops} hops"),
        };
        let of_kinds = of_kinds.map(|all| Measured::sum(&all));
        tell(&name, &of_kinds, &mut lines);
    }
    Ok(lines)
}

async fn cell(
    kind: Kind,
    watchers: usize,
    hops: usize,
    picture: usize,
) -> anyhow::Result<Measured> {
    let chain = Chain::start(kind, hops).await?;
    let load = Load::start(&chain, watchers, picture).await?;
    let measured = load.measure(&chain).await;
    load.stop().await;
    measured
}

fn tell(name: &str, of_kinds: &[Option<Measured>; 2], lines: &mut Vec<Line>) {
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
    if let [ours, upstream] = costs[..] {
        lines.push(
            Line::higher(format!("{name}: throughput a core"), "x", upstream / ours)
                .goal(THROUGHPUT_GOAL)
                .note("ours against upstream's"),
        );
    }
}
