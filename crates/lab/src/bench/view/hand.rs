//! What hands do: recorded ones, one that is made up and fast, and ones that jump.

use std::f64::consts::TAU;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use logic::view::Seat;
use model::{Angle, CameraName};

/// A recording is cut into views of this length, so that many are watched at once.
pub(super) const VIEW: Duration = Duration::from_secs(60);

/// A rest that is shorter is left out.
const VIEW_MIN: Duration = Duration::from_secs(30);

/// Recordings have so many viewpoints, here as many positions around the event.
const VIEWPOINTS: f64 = 3.0;

/// Gestures a second of a hand that is made up.
const GESTURES: u32 = 60;

/// Speeds of a hand that is in a hurry, in degrees a second: what the fastest twentieth of viewers
/// turn at.
const SPEED: (f64, f64) = (25.0, 112.0);

/// What a hand does at a moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Move {
    pub(super) at: Duration,
    pub(super) to: To,
}

/// Where it goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum To {
    /// It turns.
    Angle(Angle),
    /// It chooses a camera.
    Camera(CameraName),
}

/// What one viewer's hand does, in order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hand {
    pub(super) start: Angle,
    pub(super) moves: Vec<Move>,
    pub(super) lasts: Duration,
}

/// Reads every recording of a directory: text files with the columns `timestamp viewpoint yaw pitch
/// roll`, in seconds and radians. Another viewpoint is a jump by a third of the way around.
pub(super) fn recorded(dir: &Path, seats: &[Seat]) -> anyhow::Result<Vec<Hand>> {
    let files = std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    let mut paths: Vec<_> = files.filter_map(|it| Some(it.ok()?.path())).collect();
    paths.retain(|it| it.extension().is_some_and(|it| it == "txt"));
    paths.sort();
    let mut hands = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)?;
        let samples = text.lines().skip(1).map(sample).collect::<Option<Vec<_>>>();
        let samples = samples.with_context(|| format!("{} is no recording", path.display()))?;
        hands.extend(cut(&samples, seats));
    }
    if hands.is_empty() {
        bail!("{} has no recordings (*.txt)", dir.display());
    }
    Ok(hands)
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    viewpoint: f64,
    angle: Angle,
}

fn sample(line: &str) -> Option<Sample> {
    let columns: Vec<f64> = line.split(' ').filter_map(|it| it.parse().ok()).collect();
    let [at, viewpoint, yaw, ..] = columns[..] else {
        return None;
    };
    Some(Sample {
        at: Duration::try_from_secs_f64(at).ok()?,
        viewpoint,
        angle: Angle::degrees((yaw + viewpoint * TAU / VIEWPOINTS).to_degrees()),
    })
}

/// Cuts a recording into views.
fn cut(samples: &[Sample], seats: &[Seat]) -> Vec<Hand> {
    let mut hands = Vec::new();
    let mut rest = samples;
    while let Some(first) = rest.first() {
        let count = rest.partition_point(|it| it.at < first.at + VIEW);
        let (view, others) = rest.split_at(count);
        rest = others;
        let lasts = view[view.len() - 1].at - first.at;
        if lasts < VIEW_MIN {
            continue;
        }
        let mut moves = Vec::with_capacity(view.len());
        for pair in view.windows(2) {
            let (before, now) = (pair[0], pair[1]);
            let at = now.at - first.at;
            if now.viewpoint != before.viewpoint {
                let to = To::Camera(nearest(now.angle, seats));
                moves.push(Move { at, to });
            }
            let to = To::Angle(now.angle);
            moves.push(Move { at, to });
        }
        hands.push(Hand {
            start: first.angle,
            moves,
            lasts,
        });
    }
    hands
}

fn nearest(angle: Angle, seats: &[Seat]) -> CameraName {
    let away = |it: &Seat| it.bearing.from(angle).as_degrees().abs();
    let nearest = seats.iter().min_by(|a, b| away(a).total_cmp(&away(b)));
    nearest.expect("an event has cameras").camera.clone()
}

/// A hand that turns fast, now this way and now that, and rests a little in between.
pub(super) fn fast(seed: u64) -> Hand {
    let mut dice = Dice(seed);
    let (mut moves, mut speed, mut wanted) = (Vec::new(), 0.0_f64, 0.0_f64);
    let start = Angle::degrees(360.0 * dice.roll());
    let (mut angle, mut until) = (start, 0);
    for gesture in 0..GESTURES * VIEW.as_secs() as u32 {
        if gesture >= until {
            let rests = wanted != 0.0;
            let (least, most) = if rests { (0.4, 2.0) } else { (0.3, 1.2) };
            until = gesture + ((least + (most - least) * dice.roll()) * f64::from(GESTURES)) as u32;
            let turn = SPEED.0 + (SPEED.1 - SPEED.0) * dice.roll();
            let side = if dice.roll() < 0.5 { -1.0 } else { 1.0 };
            wanted = if rests { 0.0 } else { turn * side };
        }
        // A hand has some mass: it is there in a tenth of a second or so.
        speed += (wanted - speed) * 0.25;
        angle = angle.turned(speed / f64::from(GESTURES));
        moves.push(Move {
            at: Duration::from_secs(1) * gesture / GESTURES,
            to: To::Angle(angle),
        });
    }
    Hand {
        start,
        moves,
        lasts: VIEW,
    }
}

/// A hand that chooses a camera every so often. All cameras come before one comes again, none next
/// to the one before.
pub(super) fn jumps(seats: &[Seat], first: usize, every: Duration, lasts: Duration) -> Hand {
    /// Has no factor in common with 12, the usual number of cameras.
    const STRIDE: usize = 5;
    let seat = |it: usize| &seats[(first + it * STRIDE) % seats.len()];
    // Not all at the same moment.
    let begin = every / 16 * (first as u32 % 16);
    let count = lasts.saturating_sub(begin).div_duration_f64(every).ceil() as u32;
    let moves = (1..count).map(|it| Move {
        at: begin + every * it,
        to: To::Camera(seat(it as usize).camera.clone()),
    });
    Hand {
        start: seat(0).bearing,
        moves: moves.collect(),
        lasts,
    }
}

/// SplitMix64, from 0 to 1.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Vec<Seat> {
        (0..12)
            .map(|it| Seat {
                camera: format!("c{it}").parse().unwrap(),
                bearing: Angle::degrees(30.0 * f64::from(it)),
            })
            .collect()
    }

    #[test]
    fn a_recording_becomes_views_of_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let line = |second: u32| {
            let viewpoint = u32::from(second >= 10);
            format!("{second}.0 {viewpoint} 0.0 0.1 0.2\n")
        };
        let lines: String = (0..100).map(line).collect();
        let text = format!("timestamp viewpoint yaw pitch roll\n{lines}");
        std::fs::write(dir.path().join("user1.txt"), text).unwrap();
        std::fs::write(dir.path().join("README.md"), "no recording").unwrap();
        let hands = recorded(dir.path(), &ring()).unwrap();
        let lasts: Vec<u64> = hands.iter().map(|it| it.lasts.as_secs()).collect();
        assert_eq!(lasts, [59, 39]);
        let chosen = hands[0].moves.iter().filter_map(|it| match &it.to {
            To::Camera(camera) => Some((it.at.as_secs(), camera.to_string())),
            To::Angle(_) => None,
        });
        assert_eq!(chosen.collect::<Vec<_>>(), [(10, "c4".to_owned())]);
    }

    #[test]
    fn what_is_no_recording_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(recorded(dir.path(), &ring()).is_err());
        std::fs::write(dir.path().join("a.txt"), "head\n1.0 two 3\n").unwrap();
        let error = recorded(dir.path(), &ring()).unwrap_err().to_string();
        assert!(error.ends_with("a.txt is no recording"), "{error}");
    }

    #[test]
    fn a_fast_hand_is_fast_and_the_same_each_time() {
        let hand = fast(1);
        assert_eq!(hand, fast(1));
        assert_ne!(hand, fast(2));
        let angles = hand.moves.iter().map(|it| match it.to {
            To::Angle(angle) => angle,
            To::Camera(_) => panic!("it only turns"),
        });
        let angles: Vec<Angle> = angles.collect();
        let speeds = angles
            .windows(2)
            .map(|it| it[1].from(it[0]).as_degrees().abs() * f64::from(GESTURES));
        let speeds: Vec<f64> = speeds.collect();
        assert!(speeds.iter().all(|it| *it <= SPEED.1));
        let turning = speeds.iter().filter(|it| **it > SPEED.0).count();
        assert!((600..3_000).contains(&turning), "{turning}");
    }

    #[test]
    fn jumps_visit_every_camera_before_one_again() {
        let every = Duration::from_secs(2);
        let hand = jumps(&ring(), 3, every, every * 13);
        let cameras = hand.moves.iter().map(|it| match &it.to {
            To::Camera(camera) => camera.to_string(),
            To::Angle(_) => panic!("it only jumps"),
        });
        let cameras: Vec<String> = cameras.collect();
        let all: std::collections::BTreeSet<&String> = cameras.iter().collect();
        assert_eq!((cameras.len(), all.len()), (12, 12));
        assert_eq!(cameras[0], "c8");
    }
}
