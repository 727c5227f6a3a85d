//! The people in the stands: no two alike, and the supporters of a team together.

use std::f32::consts::TAU;

use super::picture::Colour;
use super::vector::{chance, mix};

/// Seats around the arena, in every row.
const SEATS: f32 = 512.0;
const ROWS: f32 = 20.0;
/// Seats between two stairs, and how many of them the stairs take.
const BLOCK: f32 = 32.0;
const STAIRS: f32 = 1.6;
/// The gangway half way up.
const GANGWAY: (f32, f32) = (9.3, 10.1);
/// How far into the row behind somebody's head reaches, in rows.
const HEAD_TOP: f32 = 1.35;

const SKINS: [Colour; 5] = [
    [0.93, 0.76, 0.64],
    [0.84, 0.64, 0.50],
    [0.70, 0.49, 0.35],
    [0.50, 0.33, 0.23],
    [0.90, 0.70, 0.56],
];
const COATS: [Colour; 8] = [
    [0.22, 0.24, 0.30],
    [0.55, 0.56, 0.58],
    [0.36, 0.30, 0.26],
    [0.20, 0.30, 0.46],
    [0.60, 0.54, 0.42],
    [0.30, 0.36, 0.30],
    [0.70, 0.70, 0.72],
    [0.45, 0.22, 0.24],
];

/// What one sees there: the angle around the arena, and the share of the way up.
pub(super) fn colour(around: f32, share: f32) -> Colour {
    let along = around.rem_euclid(TAU) / TAU * SEATS;
    let up = share * ROWS;
    let row = up.floor();
    let in_block = along.rem_euclid(BLOCK);
    if in_block < STAIRS {
        let step = (up * 2.0).fract();
        return [0.44, 0.45, 0.47].map(|it| it * if step < 0.3 { 0.7 } else { 1.0 });
    }
    // Who sits in front hides the feet of who sits behind.
    let front = person(along, row - 1.0, up - row + 1.0);
    if up > GANGWAY.0 && up < GANGWAY.1 {
        let rail = up > GANGWAY.1 - 0.12;
        return front.unwrap_or(if rail {
            [0.62, 0.64, 0.67]
        } else {
            [0.29, 0.30, 0.33]
        });
    }
    front
        .or_else(|| person(along, row, up - row))
        .unwrap_or_else(|| seat(along, up - row))
}

/// Somebody of that row, `height` rows above their feet.
fn person(along: f32, row: f32, height: f32) -> Option<Colour> {
    let behind_rail = row < 0.0 || (row + 0.5 > GANGWAY.0 && row + 0.5 < GANGWAY.1);
    if behind_rail || height > HEAD_TOP + 0.1 {
        return None;
    }
    let seat = along.floor();
    let (column, line) = (seat as i32, row as i32);
    let draw = |what: i32| chance(column * 31 + what, line * 17 + 5);
    let in_block = along.rem_euclid(BLOCK);
    if draw(0) < 0.10 || in_block.floor() < STAIRS {
        return None;
    }
    let across = along - seat - 0.5 + (draw(1) - 0.5) * 0.22;
    let height = height - (draw(2) - 0.5) * 0.2;
    let head = (across / 0.19).hypot((height - 1.08) / 0.24);
    if head < 1.0 {
        let skin = SKINS[(draw(3) * 4.99) as usize];
        let hair = height > 1.14 + draw(4) * 0.12;
        return Some(if hair {
            [0.16, 0.12, 0.10].map(|it| it + draw(5) * 0.22)
        } else {
            skin
        });
    }
    let coat = coat(column, draw(6), draw(7));
    let raised = draw(8) < 0.10 && height > 0.6 && (across.abs() - 0.34).abs() < 0.09;
    let shoulders = 0.40 - (height - 0.55).max(0.0) * 0.6;
    if raised || (height < 0.90 && across.abs() < shoulders) {
        return Some(coat.map(|it| it * mix(0.45, 1.0, (height / 0.8).clamp(0.0, 1.0))));
    }
    None
}

/// Red sits in the west, blue in the east, everybody between.
fn coat(column: i32, which: f32, shade: f32) -> Colour {
    let around = column as f32 / SEATS * TAU;
    let red = (-around.cos()).max(0.0);
    let blue = around.cos().max(0.0);
    let tone = 0.75 + 0.35 * shade;
    if which < 0.85 * red * red {
        return [0.78, 0.12, 0.14].map(|it| it * tone);
    }
    if which < 0.85 * blue * blue {
        let white = shade > 0.7;
        return if white {
            [0.85, 0.87, 0.92]
        } else {
            [0.15, 0.32, 0.74].map(|it| it * tone)
        };
    }
    COATS[(shade * 7.99) as usize].map(|it| it * (0.8 + 0.3 * which))
}

fn seat(along: f32, height: f32) -> Colour {
    let across = along.fract();
    let chair = height < 0.62 && (0.12..0.88).contains(&across);
    match chair {
        true => [0.13, 0.19, 0.33].map(|it| it * mix(0.6, 1.1, height)),
        false => [0.13, 0.14, 0.17],
    }
}
