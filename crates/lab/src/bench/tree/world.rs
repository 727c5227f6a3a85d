//! Cities and the round trips between them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use model::Position;

use crate::city::CITIES;

/// Where measured round trips are looked for if nobody says where.
const DIR: &str = "../shared/data/wonder-rtt";

/// Light in glass goes so far and back in a ms. A shorter round trip is an error in the data.
const FIBRE_KM: f64 = 100.0;

/// Round trips between cities are so much longer than light in glass would need, in the middle.
const INFLATION: f64 = 2.07;

/// What can be read into memory without thought: the whole world's cities have 4 MB.
const FILE_MAX: u64 = 64 * 1_000_000;

/// All cities with all round trips.
pub(super) struct World {
    positions: Vec<Position>,
    /// By pairs, the lower city first, in ms.
    round_trips: BTreeMap<(usize, usize), f64>,
}

impl World {
    /// Reads measured round trips, or takes the distances of our own cities. Says which.
    pub(super) fn load(dir: Option<&str>) -> anyhow::Result<(Self, String)> {
        let dir = match dir {
            Some(dir) => Path::new(dir),
            None if Path::new(DIR).is_dir() => Path::new(DIR),
            None => return Ok((Self::by_distance(), by_distance_note())),
        };
        let world = Self::read(dir).with_context(|| format!("read {}", dir.display()))?;
        let note = format!("round trips of {} cities, measured", world.len());
        Ok((world, note))
    }

    fn by_distance() -> Self {
        Self {
            positions: CITIES.iter().map(|it| it.position()).collect(),
            round_trips: BTreeMap::new(),
        }
    }

    /// `cities.csv` with name, latitude, longitude; `rtt_pairs.csv` with both names, km and ms.
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let text = read_file(&dir.join("cities.csv"))?;
        let mut names = BTreeMap::new();
        let mut positions = Vec::new();
        for (at, line) in text.lines().enumerate().skip(1) {
            let city = city(line).with_context(|| format!("cities.csv, line {}", at + 1))?;
            names.insert(city.0.to_owned(), positions.len());
            positions.push(city.1);
        }
        let text = read_file(&dir.join("rtt_pairs.csv"))?;
        // Both directions of a pair are measured; their mean counts.
        let mut sums: BTreeMap<(usize, usize), (f64, f64)> = BTreeMap::new();
        for (at, line) in text.lines().enumerate().skip(1) {
            let pair = pair(line).with_context(|| format!("rtt_pairs.csv, line {}", at + 1))?;
            let (Some(a), Some(b)) = (names.get(pair.from), names.get(pair.to)) else {
                continue;
            };
            let possible = pair.round_trip >= positions[*a].distance_km(positions[*b]) / FIBRE_KM;
            if a != b && possible {
                let sum = sums.entry((*a.min(b), *a.max(b))).or_default();
                *sum = (sum.0 + pair.round_trip, sum.1 + 1.0);
            }
        }
        let round_trips = sums.into_iter().map(|(pair, sum)| (pair, sum.0 / sum.1));
        Ok(Self {
            positions,
            round_trips: round_trips.collect(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// In ms. What was not measured is guessed by the distance.
    pub(super) fn round_trip(&self, a: usize, b: usize) -> f64 {
        let measured = self.round_trips.get(&(a.min(b), a.max(b)));
        measured.copied().unwrap_or_else(|| match a == b {
            true => 0.0,
            false => 1.0 + self.km(a, b) / FIBRE_KM * INFLATION,
        })
    }

    pub(super) fn km(&self, a: usize, b: usize) -> f64 {
        self.positions[a].distance_km(self.positions[b])
    }

    /// The nearest of some cities.
    pub(super) fn nearest(&self, city: usize, of: &[usize]) -> usize {
        let far = |it: &&usize| self.round_trip(city, **it);
        let nearest = of.iter().min_by(|a, b| far(a).total_cmp(&far(b)));
        nearest.copied().unwrap_or(city)
    }

    /// So many hubs, one after the other where it helps most: the first is the center.
    pub(super) fn hubs(&self, count: usize) -> Vec<usize> {
        let mut hubs: Vec<usize> = Vec::new();
        let mut nearest = vec![f64::INFINITY; self.len()];
        for _ in 0..count {
            let sum = |hub: &usize| -> f64 {
                let cities = nearest.iter().enumerate();
                cities
                    .map(|(it, best)| best.min(self.round_trip(it, *hub)))
                    .sum()
            };
            let best = (0..self.len()).min_by(|a, b| sum(a).total_cmp(&sum(b)));
            let Some(best) = best else {
                break;
            };
            for (it, near) in nearest.iter_mut().enumerate() {
                *near = near.min(self.round_trip(it, best));
            }
            hubs.push(best);
        }
        hubs
    }

    #[cfg(test)]
    pub(super) fn first(mut self, count: usize) -> Self {
        self.positions.truncate(count);
        self.round_trips.retain(|it, _| it.1 < count);
        self
    }
}

fn by_distance_note() -> String {
    format!(
        "no measured round trips at {DIR}: {} cities by their distance instead; --dir says where they are",
        CITIES.len()
    )
}

fn read_file(path: &Path) -> anyhow::Result<String> {
    let size = fs::metadata(path)
        .with_context(|| path.display().to_string())?
        .len();
    ensure!(size <= FILE_MAX, "{} is too large", path.display());
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn city(line: &str) -> anyhow::Result<(&str, Position)> {
    let mut columns = line.split(',');
    let name = columns.next().context("no name")?;
    let lat: f64 = columns.next().context("no latitude")?.parse()?;
    let lon: f64 = columns.next().context("no longitude")?.parse()?;
    Ok((name, Position::new(lat, lon)?))
}

struct Pair<'a> {
    from: &'a str,
    to: &'a str,
    /// In ms.
    round_trip: f64,
}

fn pair(line: &str) -> anyhow::Result<Pair<'_>> {
    let mut columns = line.split(',');
    let from = columns.next().context("no city")?;
    let to = columns.next().context("no second city")?;
    let round_trip: f64 = columns.nth(1).context("no round trip")?.parse()?;
    ensure!((0.0..60_000.0).contains(&round_trip), "{round_trip} ms");
    Ok(Pair {
        from,
        to,
        round_trip,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_round_trips_are_read_and_impossible_ones_are_not() {
        let dir = std::env::temp_dir().join(format!("selvedge-world-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let cities = "city,Lat,Long,Population\nA,0,0,1\nB,0,10,1\nC,0,20,1\n";
        fs::write(dir.join("cities.csv"), cities).unwrap();
        let pairs =
            "src,dst,km,avg_ms,min_ms\nA,B,1113,30,29\nB,A,1113,32,29\nA,C,2226,3,2\nA,X,1,1,1\n";
        fs::write(dir.join("rtt_pairs.csv"), pairs).unwrap();
        let (world, note) = World::load(dir.to_str()).unwrap();
        assert_eq!(note, "round trips of 3 cities, measured");
        assert_eq!(world.round_trip(1, 0), 31.0);
        assert!((world.round_trip(0, 2) - 47.0).abs() < 1.0, "guessed");
        fs::write(dir.join("rtt_pairs.csv"), "head\nA,B,1113\n").unwrap();
        let error = format!("{:#}", World::load(dir.to_str()).err().unwrap());
        assert!(error.contains("rtt_pairs.csv, line 2"), "{error}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn hubs_are_where_they_help() {
        let (world, _) = (World::by_distance(), ());
        let hubs = world.hubs(3);
        assert_eq!(hubs.len(), 3);
        assert!(hubs[0] != hubs[1] && hubs[1] != hubs[2]);
        assert_eq!(world.nearest(hubs[2], &hubs), hubs[2]);
    }
}
