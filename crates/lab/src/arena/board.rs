//! The boards of lamps around the pitch: their letters run.

use super::font;
use super::picture::{Colour, Picture, bytes};
use super::stadium::{HALF_LENGTH, HALF_WIDTH};
use super::vector::Vector;

/// How far outside the lines they stand, in metres.
const BEYOND: f32 = 3.4;
const HEIGHT: f32 = 0.95;
/// From lamp to lamp, in metres.
const DOT: f32 = 0.106;
/// Lamps above each other.
const ROWS: usize = 9;
/// How often everything on them has run past when the loop ends.
const TURNS: f32 = 1.0;

/// What runs past, on what colour, in what colour.
const WORDS: &[(&str, Colour, Colour)] = &[
    ("SELVEDGE", [0.03, 0.10, 0.32], [0.95, 0.97, 1.0]),
    ("ONE COPY TO AN EDGE", [0.02, 0.05, 0.07], [1.0, 0.72, 0.16]),
    ("TURN IT AROUND", [0.62, 0.07, 0.12], [1.0, 0.98, 0.95]),
    (
        "12 CAMERAS, 1 STREAM",
        [0.02, 0.20, 0.17],
        [0.55, 1.0, 0.75],
    ),
];

/// A pixel that shows a part of a board.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) pixel: (usize, usize),
    /// How much of the pixel.
    pub(super) share: f32,
    /// Metres along the boards, metres above the ground.
    pub(super) along: f32,
    pub(super) above: f32,
    /// What the rest of the pixel shows.
    pub(super) behind: [u8; 3],
}

/// Where a line of sight meets a board.
pub(super) struct Hit {
    pub(super) way: f32,
    pub(super) along: f32,
    pub(super) above: f32,
    pub(super) front: bool,
}

/// The first board that a line of sight meets.
pub(super) fn hit(from: Vector, ray: Vector) -> Option<Hit> {
    let (long, wide) = (HALF_LENGTH + BEYOND, HALF_WIDTH + BEYOND);
    // From within, one reads from left to right: along grows clockwise as seen from above.
    let sides = [
        (
            Vector::new(1.0, 0.0, 0.0),
            Vector::new(0.0, -1.0, 0.0),
            long,
            wide - 1.0,
        ),
        (
            Vector::new(0.0, -1.0, 0.0),
            Vector::new(-1.0, 0.0, 0.0),
            wide,
            long - 1.0,
        ),
        (
            Vector::new(-1.0, 0.0, 0.0),
            Vector::new(0.0, 1.0, 0.0),
            long,
            wide - 1.0,
        ),
        (
            Vector::new(0.0, 1.0, 0.0),
            Vector::new(1.0, 0.0, 0.0),
            wide,
            long - 1.0,
        ),
    ];
    let mut nearest: Option<Hit> = None;
    for (index, (out, right, distance, half)) in sides.into_iter().enumerate() {
        let speed = ray.dot(out);
        let way = (distance - from.dot(out)) / speed;
        let at = from + ray * way;
        let along = at.dot(right);
        let is_hit = way > 0.0 && (0.0..HEIGHT).contains(&at.z) && along.abs() < half;
        if is_hit && nearest.as_ref().is_none_or(|it| way < it.way) {
            nearest = Some(Hit {
                way,
                along: along + index as f32 * 45.0,
                above: at.z,
                front: speed > 0.0,
            });
        }
    }
    nearest
}

/// What one sees of a board from behind.
pub(super) fn back(along: f32, above: f32) -> Colour {
    let strut = along.rem_euclid(1.5) < 0.09 || !(0.06..HEIGHT - 0.06).contains(&above);
    if strut {
        [0.26, 0.28, 0.31]
    } else {
        [0.09, 0.10, 0.12]
    }
}

/// What runs along the boards: columns of lamps.
#[derive(Debug)]
pub(super) struct Boards {
    columns: Vec<[Colour; ROWS]>,
}

impl Boards {
    pub(super) fn new() -> Self {
        let mut columns = Vec::new();
        for (words, ground, ink) in WORDS {
            columns.extend(std::iter::repeat_n([*ground; ROWS], 8));
            for letter in words.chars() {
                for column in 0..font::ADVANCE {
                    columns.push(std::array::from_fn(|row| {
                        let is_ink = row > 0 && font::ink(letter, column, row - 1);
                        if is_ink { *ink } else { *ground }
                    }));
                }
            }
            columns.extend(std::iter::repeat_n([*ground; ROWS], 7));
        }
        Self { columns }
    }

    /// Draws what is on the boards at a share of the loop.
    pub(super) fn draw(&self, spots: &[Spot], share: f32, picture: &mut Picture) {
        let shift = share * TURNS * self.columns.len() as f32;
        for spot in spots {
            let column = spot.along / DOT + shift;
            let row = (HEIGHT - spot.above) / HEIGHT * ROWS as f32;
            let (left, right) = (self.lamp(column - 0.2, row), self.lamp(column + 0.2, row));
            let lit = bytes([0, 1, 2].map(|it| (left[it] + right[it]) * 0.5));
            let share = (spot.share * 256.0) as u16;
            let blend = |it: usize| {
                let (lit, behind) = (u16::from(lit[it]), u16::from(spot.behind[it]));
                ((lit * share + behind * (256 - share)) >> 8) as u8
            };
            picture.set(spot.pixel, [0, 1, 2].map(blend));
        }
    }

    fn lamp(&self, column: f32, row: f32) -> Colour {
        let column = column.rem_euclid(self.columns.len() as f32) as usize;
        self.columns[column.min(self.columns.len() - 1)][(row as usize).min(ROWS - 1)]
    }
}
