//! Trees that carry a broadcast to every city: how long a view takes, and how far its bytes travel.
//!
//! The flat routed overlay is [`logic::routing`] as edges run it: each knows some neighbours, hears
//! their offers and decides alone, in virtual time. Its rivals are drawn by who sees everything:
//! the two-level hierarchy of classic delivery networks, where a stream climbs from the edge it
//! enters at by its region's hub to the center and comes down again, and the star, where every
//! edge pulls from the source.

mod flat;
mod world;

use anyhow::ensure;

use self::flat::Overlay;
use self::world::World;
use super::{Flags, Line, Progress};

/// Every so many cities one is the source of a broadcast that all others watch.
const SOURCE_EVERY: usize = 8;

/// Hubs of the hierarchy, where they serve all cities best.
const HUBS: usize = 12;

/// What a relay adds to a frame's way in ms, as measured between two nodes of ours.
const RELAY_MS: f64 = 1.3;

/// A link longer than this, in km, crosses a sea or a continent: those are the bytes that cost.
const LONG_KM: f64 = 2_500.0;

/// Copies of one broadcast that a node of the overlay sends: a gigabit for a dozen broadcasts of
/// 2.5 Mbit/s at once. The rivals send as many as they like.
const FANOUT: usize = 32;

/// The same on a small machine, for comparison.
const FANOUT_SMALL: usize = 8;

/// The path of a broadcast to every city: city by city from the source. Empty without a way.
type Paths = Vec<Vec<usize>>;

/// Compares the three.
///
/// # Errors
/// When the round trips cannot be read.
pub fn run(flags: &Flags, progress: Progress<'_>) -> anyhow::Result<Vec<Line>> {
    let (world, note) = World::load(flags.get("dir").map(String::as_str))?;
    progress(&note);
    let count = world.len();
    ensure!(count > HUBS, "{count} cities are too few for {HUBS} hubs");
    let sources: Vec<usize> = (0..count).step_by(SOURCE_EVERY).collect();
    let hubs = world.hubs(HUBS);

    let mut star = Tally::new("star");
    let mut hierarchy = Tally::new("hierarchy");
    let mut regional = Tally::new("hubs without a center");
    let mut flat = Tally::new("flat");
    let mut small = Tally::new("flat, 8 copies a node");
    let mut failed_over = Failover::default();
    for (at, source) in sources.iter().enumerate() {
        if at % 5 == 0 {
            progress(&format!("broadcast {} of {}", at + 1, sources.len()));
        }
        star.add(&world, &star_paths(&world, *source));
        hierarchy.add(&world, &hub_paths(&world, *source, &hubs, Some(hubs[0])));
        regional.add(&world, &hub_paths(&world, *source, &hubs, None));
        let mut overlay = Overlay::grow(&world, *source, FANOUT);
        flat.add(&world, &overlay.paths());
        failed_over.add(&mut overlay);
        let overlay = Overlay::grow(&world, *source, FANOUT_SMALL);
        small.add(&world, &overlay.paths());
    }

    let mut lines = Vec::new();
    let ratio = flat.delay(0.5) / hierarchy.delay(0.5);
    lines.push(
        Line::lower("delay, flat against hierarchy", "x", ratio)
            .goal(0.5)
            .note(format!("medians over {} views; {note}", flat.views())),
    );
    for tally in [&flat, &small, &hierarchy, &regional, &star] {
        tally.lines(&mut lines);
    }
    lines.extend(failed_over.lines());
    Ok(lines)
}

/// Everybody pulls from the source.
fn star_paths(world: &World, source: usize) -> Paths {
    let path = |it| match it {
        it if it == source => vec![source],
        it => vec![source, it],
    };
    (0..world.len()).map(path).collect()
}

/// Up to the source's hub, to the center if there is one, to the viewer's hub, down.
fn hub_paths(world: &World, source: usize, hubs: &[usize], center: Option<usize>) -> Paths {
    let up = world.nearest(source, hubs);
    let path = |viewer: usize| {
        let down = world.nearest(viewer, hubs);
        let mut path = vec![source, up];
        path.extend(center);
        path.extend([down, viewer]);
        path.dedup();
        if viewer == source { vec![source] } else { path }
    };
    (0..world.len()).map(path).collect()
}

/// What one way of drawing trees comes to, over all broadcasts.
struct Tally {
    name: &'static str,
    delays_ms: Vec<f64>,
    /// Views that got no way at all.
    unserved: usize,
    /// Kilometres that copies travel, each link of a tree once.
    km: f64,
    /// Copies over long links.
    long: usize,
    /// The most copies that one node sends of one broadcast.
    fanout: usize,
    relays: usize,
}

impl Tally {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            delays_ms: Vec::new(),
            unserved: 0,
            km: 0.0,
            long: 0,
            fanout: 0,
            relays: 0,
        }
    }

    fn add(&mut self, world: &World, paths: &Paths) {
        let mut links = std::collections::BTreeSet::new();
        for path in paths.iter().filter(|it| it.len() != 1) {
            if path.is_empty() {
                self.unserved += 1;
                continue;
            }
            let relays = path.len() - 2;
            let legs = path
                .windows(2)
                .map(|it| world.round_trip(it[0], it[1]) / 2.0);
            self.delays_ms
                .push(legs.sum::<f64>() + RELAY_MS * relays as f64);
            self.relays += relays;
            links.extend(path.windows(2).map(|it| (it[0], it[1])));
        }
        let mut children = vec![0; world.len()];
        for (from, to) in links {
            let km = world.km(from, to);
            self.km += km;
            self.long += usize::from(km > LONG_KM);
            children[from] += 1;
        }
        self.fanout = self.fanout.max(children.into_iter().max().unwrap_or(0));
        self.delays_ms.sort_by(f64::total_cmp);
    }

    fn views(&self) -> usize {
        self.delays_ms.len()
    }

    fn delay(&self, quantile: f64) -> f64 {
        let last = self.views().saturating_sub(1);
        let at = quantile * last as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in the list"
        )]
        let at = at.round() as usize;
        self.delays_ms.get(at).copied().unwrap_or(f64::NAN)
    }

    fn lines(&self, lines: &mut Vec<Line>) {
        let name = |what| format!("{}: {what}", self.name);
        let views = self.views() as f64;
        let line = |what, unit, value| Line::lower(name(what), unit, value);
        lines.push(line("delay of a view, p50", "ms", self.delay(0.5)));
        lines.push(line("delay of a view, p95", "ms", self.delay(0.95)));
        let relays = self.relays as f64 / views;
        lines.push(
            line("backbone a view", "km", self.km / views)
                .note(format!("{relays:.2} relays on the way")),
        );
        let long = self.long as f64 / views;
        lines.push(line("bytes over long links, a byte viewed", "", long));
        let note = match self.unserved {
            0 => String::new(),
            unserved => format!("{unserved} views had no way"),
        };
        lines.push(line("most copies from one node", "", self.fanout as f64).note(note));
    }
}

/// What happens when each broadcast's busiest relay dies.
#[derive(Default)]
struct Failover {
    orphans: usize,
    /// Those that had another parent without hearing anything first.
    at_once: usize,
    /// Those that never had one again.
    lost: usize,
}

impl Failover {
    fn add(&mut self, overlay: &mut Overlay) {
        let (orphans, at_once) = overlay.kill_busiest_relay();
        self.orphans += orphans;
        self.at_once += at_once;
        overlay.settle();
        self.lost += overlay.unserved();
    }

    fn lines(&self) -> [Line; 2] {
        let share = self.at_once as f64 / self.orphans.max(1) as f64;
        [
            Line::higher(
                "flat: orphans of a dead relay served at once",
                "%",
                share * 100.0,
            )
            .note(format!(
                "{} orphans; without a message or a wait",
                self.orphans
            )),
            Line::lower("flat: views lost with it", "", self.lost as f64).goal(0.0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_over_our_own_cities() {
        let (world, _) = World::load(None).unwrap();
        let world = world.first(24);
        let hubs = world.hubs(4);
        let mut flat = Tally::new("flat");
        let mut hierarchy = Tally::new("hierarchy");
        let mut overlay = Overlay::grow(&world, 5, 4);
        flat.add(&world, &overlay.paths());
        hierarchy.add(&world, &hub_paths(&world, 5, &hubs, Some(hubs[0])));
        assert_eq!((flat.views(), flat.unserved), (23, 0));
        assert!(flat.delay(0.5) < hierarchy.delay(0.5));
        let (orphans, _) = overlay.kill_busiest_relay();
        overlay.settle();
        assert_eq!(overlay.unserved(), 0, "{orphans} orphans");
    }

    #[test]
    fn a_climb_visits_each_place_once() {
        let (world, _) = World::load(None).unwrap();
        let hubs = [3, 7];
        let paths = hub_paths(&world, 3, &hubs, Some(3));
        assert_eq!(paths[3], [3]);
        assert_eq!(paths[7], [3, 7]);
        let far = paths.iter().map(Vec::len).max().unwrap();
        assert!(far <= 3);
    }
}
