//! Moments that every camera of an event saw or heard, and what brings the cameras together by them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::CameraName;

use super::{Offset, micros};

/// By so much a picture is brighter in a flash, of 255. Goals, cuts and cheering change the mean of
/// a picture by less.
const FLASH: f64 = 12.0;

/// Pictures whose brightness is the usual one: a third of a second.
const PICTURES: usize = 10;

/// Sound is looked at in so many pieces a second: 5 ms bound how well two cameras can be brought
/// together.
const PIECES_PER_SEC: u32 = 200;

/// Pieces whose loudness is the usual one: half a second.
const PIECES: usize = 100;

/// A click is so much louder than the usual, as amplitude: 16 dB. Speech rises more slowly.
const LOUDER: f64 = 6.0;

/// Less than this is silence, whatever it stands out from; full scale is 1, so -34 dB.
const LOUD: f64 = 0.02;

/// What follows sooner is the echo of the same moment: the shortest time between flashes or claps
/// that a person makes by hand.
const APART: Duration = Duration::from_millis(800);

/// Moments that are kept. More in one look would be stroboscopes.
const MOMENTS_MAX: usize = 64;

/// Finds flashes in what a camera shows.
#[derive(Debug, Default)]
pub struct Flashes {
    usual: Usual<PICTURES>,
    moments: Moments,
}

impl Flashes {
    /// Takes in the mean brightness of the next picture, 0 to 255.
    pub fn handle_picture(&mut self, timestamp: Duration, brightness: f64) {
        let usual = self.usual.get();
        self.usual.push(brightness);
        if usual.is_some_and(|it| brightness >= it + FLASH) {
            self.moments.add(timestamp);
        }
    }

    /// When they were.
    pub fn into_moments(self) -> Vec<Duration> {
        self.moments.found
    }
}

/// Finds clicks, such as of hands or a clapperboard, in what a camera hears.
#[derive(Debug, Default)]
pub struct Clicks {
    usual: Usual<PIECES>,
    moments: Moments,
    /// The open piece: when it began, what is in it.
    open: Option<(Duration, f64, u32)>,
}

impl Clicks {
    /// Takes in the next samples of one channel, full scale from -1 to 1, `rate` of them a second.
    pub fn handle_sound(&mut self, timestamp: Duration, samples: &[f32], rate: u32) {
        let full = rate / PIECES_PER_SEC;
        for (sample, at) in samples.iter().zip(0..) {
            let (_, power, count) = self.open.get_or_insert_with(|| {
                let into = Duration::from_secs(1) * at / rate.max(1);
                (timestamp + into, 0.0, 0)
            });
            *power += f64::from(*sample) * f64::from(*sample);
            *count += 1;
            if *count >= full {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        let Some((began, power, count)) = self.open.take() else {
            return;
        };
        // No roots here: powers are compared.
        let power = power / f64::from(count.max(1));
        let usual = self.usual.get();
        self.usual.push(power);
        let stands_out = usual.is_some_and(|it| power >= it * LOUDER * LOUDER);
        if stands_out && power >= LOUD * LOUD {
            self.moments.add(began);
        }
    }

    /// When they were.
    pub fn into_moments(self) -> Vec<Duration> {
        self.moments.found
    }
}

/// The median of the last `N` values, once half of them are there.
#[derive(Debug, Default)]
struct Usual<const N: usize>(VecDeque<f64>);

impl<const N: usize> Usual<N> {
    fn push(&mut self, value: f64) {
        if self.0.len() == N {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    fn get(&self) -> Option<f64> {
        if self.0.len() < N / 2 {
            return None;
        }
        let mut sorted: Vec<f64> = self.0.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// Moments that lie apart.
#[derive(Debug, Default)]
struct Moments {
    found: Vec<Duration>,
}

impl Moments {
    fn add(&mut self, at: Duration) {
        let echo = self.found.last().is_some_and(|it| at < *it + APART);
        if !echo && self.found.len() < MOMENTS_MAX {
            self.found.push(at);
        }
    }
}

/// What is added to a camera's timestamps so that it agrees with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Positive if the camera was early.
    pub add: Offset,
    /// How many moments it was found from.
    pub moments: usize,
    /// The furthest that one of them is off after it.
    pub spread: Duration,
}

/// Moments further apart than this are not the same one: half of [`APART`], in microseconds.
const SAME_MOMENT: i64 = 400_000;

/// What brings cameras together that saw the same flashes or heard the same clicks, given when each
/// saw them on the node's wall clock. Everything is moved toward `reference`; a camera that saw
/// nothing of it is left out.
pub fn corrections(
    reference: &CameraName,
    seen: &BTreeMap<CameraName, Vec<Duration>>,
) -> BTreeMap<CameraName, Correction> {
    let Some(moments) = seen.get(reference) else {
        return BTreeMap::new();
    };
    let found = seen.iter().filter_map(|(camera, theirs)| {
        let mut differences: Vec<i64> = moments
            .iter()
            .filter_map(|moment| {
                let differences = theirs.iter().map(|it| micros(*moment) - micros(*it));
                differences
                    .min_by_key(|it| it.abs())
                    .filter(|it| it.abs() <= SAME_MOMENT)
            })
            .collect();
        differences.sort_unstable();
        let add_micros = *differences.get(differences.len() / 2)?;
        let spread = differences.iter().map(|it| it.abs_diff(add_micros)).max()?;
        Some((
            camera.clone(),
            Correction {
                add: Offset::micros(add_micros),
                moments: differences.len(),
                spread: Duration::from_micros(spread),
            },
        ))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn cameras_agree_after_correction() {
        let seen = |name: &str, ms: &[u64]| {
            let moments = ms.iter().map(|it| Duration::from_millis(*it)).collect();
            (name.parse().unwrap(), moments)
        };
        let seen = BTreeMap::from([
            seen("north", &[1_000, 2_000, 3_000]),
            seen("east", &[1_040, 2_042, 3_038]),
            seen("west", &[970, 1_968]),
            seen("south", &[5_000]),
        ]);
        let got: Vec<String> = corrections(&"north".parse().unwrap(), &seen)
            .into_iter()
            .map(|(camera, it)| {
                let (add, spread) = (it.add.as_micros() / 1_000, it.spread.as_millis());
                format!("{camera} {add}±{spread} of {}", it.moments)
            })
            .collect();
        assert_eq!(got, ["east -40±2 of 3", "north 0±0 of 3", "west 32±2 of 2"]);
        assert!(corrections(&"nobody".parse().unwrap(), &seen).is_empty());
    }

    #[test]
    fn flashes_are_found_at_the_picture_that_shows_them() {
        let mut flashes = Flashes::default();
        for picture in 0..300_u32 {
            let at = MS * 33 * picture;
            // A scene that gets lighter and flickers, with flashes of three pictures.
            let mut brightness = 60.0 + f64::from(picture) / 10.0 + f64::from(picture % 3);
            if picture % 90 < 3 {
                brightness += 40.0;
            }
            flashes.handle_picture(at, brightness);
        }
        let found = flashes.into_moments();
        // The first one is too early to know what is usual.
        assert_eq!(found, [MS * 33 * 90, MS * 33 * 180, MS * 33 * 270]);
    }

    #[test]
    fn clicks_are_found_to_some_milliseconds_in_noise() {
        let mut clicks = Clicks::default();
        let mut noise = 1_u32;
        let packet: u32 = 960;
        for number in 0..300_u32 {
            let samples: Vec<f32> = (0..packet)
                .map(|it| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let quiet = f32::from(u16::try_from(noise >> 16).unwrap()) / 65_536.0 - 0.5;
                    // A click each 1.5 s that rings for 20 ms.
                    let into = (number * packet + it) % 72_000;
                    let loud = if into < 960 { 0.5 } else { 0.02 };
                    quiet * loud
                })
                .collect();
            clicks.handle_sound(MS * 20 * number, &samples, 48_000);
        }
        let found = clicks.into_moments();
        assert_eq!(found, [MS * 1_500, MS * 3_000, MS * 4_500]);
    }

    #[test]
    fn silence_and_floods_are_harmless() {
        let mut clicks = Clicks::default();
        for number in 0..200 {
            clicks.handle_sound(MS * 20 * number, &[0.0; 960], 48_000);
            clicks.handle_sound(MS * 20 * number, &[f32::NAN, 1e-6], 0);
        }
        assert!(clicks.into_moments().is_empty());
        let mut flashes = Flashes::default();
        for number in 0..100_000 {
            let brightness = if number % 40 == 0 { 250.0 } else { 10.0 };
            flashes.handle_picture(MS * 33 * number, brightness);
        }
        assert_eq!(flashes.into_moments().len(), MOMENTS_MAX);
    }
}
