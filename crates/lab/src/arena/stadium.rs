//! What never moves: pitch, stands with their people, sky and floodlights. Traced once for each
//! camera, with as much care as one likes.

use std::f32::consts::{PI, TAU};

use super::board::{self, Spot};
use super::crowd;
use super::picture::{Colour, bytes};
use super::rig::Lens;
use super::vector::{Vector, chance, hills, mix, smooth};

/// Half the length of the pitch, in metres: a small one, for six against six.
pub(super) const HALF_LENGTH: f32 = 21.0;
/// Half its width.
pub(super) const HALF_WIDTH: f32 = 13.5;
/// Grass goes so much further than the lines.
const APRON: f32 = 2.4;
const LINE: f32 = 0.11;
const CIRCLE: f32 = 3.6;
/// The penalty area: how far from the goal line, and half its width.
const AREA: (f32, f32) = (6.2, 7.0);
const GOAL_AREA: (f32, f32) = (2.4, 3.6);
const SPOT: f32 = 4.6;

/// The foot of the stands: how far from the middle, and how high its wall.
const WALL: (f32, f32) = (41.0, 1.4);
/// Where the stands end, and how high that is.
const RIM: (f32, f32) = (57.0, 13.0);
const PARAPET: f32 = 14.3;
const RISE: f32 = (RIM.1 - WALL.1) / (RIM.0 - WALL.0);
const MASTS: u32 = 8;
const MAST_RADIUS: f32 = 62.0;

/// Looks into each pixel from this many by this many places.
const LOOKS: usize = 3;

/// What a camera sees when nobody plays.
#[derive(Debug)]
pub(super) struct Background {
    pub(super) pixels: Vec<[u8; 3]>,
    /// The pixels that show a part of the boards, whose picture moves.
    pub(super) spots: Vec<Spot>,
}

enum Seen {
    Still(Colour),
    Board { along: f32, above: f32 },
}

/// Traces a camera's background.
pub(super) fn trace(lens: &Lens) -> Background {
    let mut background = Background {
        pixels: Vec::with_capacity(lens.width * lens.height),
        spots: Vec::new(),
    };
    for row in 0..lens.height {
        for column in 0..lens.width {
            let pixel = background.pixels.len();
            let (colour, spot) = pixel_at(lens, column, row);
            background.pixels.push(bytes(colour));
            background
                .spots
                .extend(spot.map(|(share, along, above)| Spot {
                    pixel: (column, row),
                    share,
                    along,
                    above,
                    behind: background.pixels[pixel],
                }));
        }
    }
    background
}

/// The still part of a pixel, and the share of it that is board with the place on that.
fn pixel_at(lens: &Lens, column: usize, row: usize) -> (Colour, Option<(f32, f32, f32)>) {
    let (mut still, mut sum) = (0.0_f32, [0.0; 3]);
    let (mut boards, mut place) = (0.0, (0.0, 0.0));
    for look in 0..LOOKS * LOOKS {
        let within = |it: usize| (it as f32 + 0.5) / LOOKS as f32;
        let across = column as f32 + within(look % LOOKS);
        let down = row as f32 + within(look / LOOKS);
        match look_at(lens.position, lens.ray(across, down)) {
            Seen::Still(colour) => {
                still += 1.0;
                for (sum, one) in sum.iter_mut().zip(colour) {
                    *sum += one.min(1.2); // lamps don't drown their neighbours
                }
            }
            Seen::Board { along, above } => {
                boards += 1.0;
                place = (place.0 + along, place.1 + above);
            }
        }
    }
    let colour = sum.map(|it| it / still.max(1.0));
    let share = boards / (LOOKS * LOOKS) as f32;
    let spot = (boards > 0.0).then(|| (share, place.0 / boards, place.1 / boards));
    (colour, spot)
}

fn look_at(from: Vector, ray: Vector) -> Seen {
    let ground = (ray.z < 0.0).then(|| -from.z / ray.z);
    let wall = exit(from, ray, WALL.0);
    let floor = ground.filter(|it| *it < wall);
    if let Some(hit) = board::hit(from, ray)
        && floor.is_none_or(|it| hit.way < it)
    {
        return match hit.front {
            true => Seen::Board {
                along: hit.along,
                above: hit.above,
            },
            false => Seen::Still(board::back(hit.along, hit.above)),
        };
    }
    let colour = match floor {
        Some(way) => ground_colour(from + ray * way),
        None => stands(from, ray, wall),
    };
    let glare = glare(from, ray);
    Seen::Still([
        colour[0] + glare * 0.95,
        colour[1] + glare,
        colour[2] + glare * 1.1,
    ])
}

/// How far it is to an upright cylinder around the middle, from within.
fn exit(from: Vector, ray: Vector, radius: f32) -> f32 {
    let a = ray.flat().dot(ray);
    let b = from.flat().dot(ray.flat());
    let c = from.flat().dot(from.flat()) - radius * radius;
    (-b + (b * b - a * c).max(0.0).sqrt()) / a.max(1e-6)
}

fn ground_colour(at: Vector) -> Colour {
    let (x, y) = (at.x.abs(), at.y.abs());
    let light = mix(1.0, 0.80, smooth(8.0, 34.0, at.length()));
    if x > HALF_LENGTH + APRON || y > HALF_WIDTH + APRON {
        let grain = hills(at.x * 6.0, at.y * 6.0) * 0.03 + hills(at.x * 0.6, at.y * 0.6) * 0.05;
        let border = x < HALF_LENGTH + APRON + 0.3 && y < HALF_WIDTH + APRON + 0.3;
        let base = if border {
            [0.55, 0.57, 0.6]
        } else {
            [0.15, 0.19, 0.27]
        };
        return base.map(|it| (it + grain) * light);
    }
    if is_line(at.x, at.y) {
        return [0.93, 0.95, 0.92].map(|it| it * light);
    }
    grass(at).map(|it| it * light)
}

fn grass(at: Vector) -> Colour {
    let stripe = (at.x / 3.0).rem_euclid(2.0) < 1.0;
    let check = (at.y / 4.5 + 0.5).rem_euclid(2.0) < 1.0;
    let mut tone = if stripe { 1.0 } else { 0.84 };
    tone *= if check { 1.02 } else { 0.97 };
    tone *= 0.94 + 0.12 * hills(at.x * 0.5, at.y * 0.5);
    tone *= 0.955 + 0.09 * hills(at.x * 5.0, at.y * 5.0);
    // Where the keepers stand, less grass is left.
    let worn = HALF_LENGTH - 1.0 - at.x.abs();
    let wear = (-(worn * worn) / 3.0 - at.y * at.y / 5.0).exp()
        * (0.3 + 0.5 * hills(at.x * 2.0, at.y * 2.0));
    let green = [0.20, 0.50, 0.17];
    let earth = [0.47, 0.44, 0.24];
    [0, 1, 2].map(|it| mix(green[it], earth[it], wear) * tone)
}

/// Whether the white lines go through there.
fn is_line(x: f32, y: f32) -> bool {
    let half = LINE / 2.0;
    let (far, wide) = (x.abs(), y.abs());
    if far > HALF_LENGTH + half || wide > HALF_WIDTH + half {
        return false;
    }
    let outline = far > HALF_LENGTH - half || wide > HALF_WIDTH - half;
    let from_middle = x.hypot(y);
    let middle = far < half || (from_middle - CIRCLE).abs() < half || from_middle < 0.16;
    let depth = HALF_LENGTH - far;
    let on_box = |(deep, half_wide): (f32, f32)| {
        let on_front = (depth - deep).abs() < half && wide < half_wide + half;
        let on_side = (wide - half_wide).abs() < half && depth < deep;
        on_front || on_side
    };
    let from_spot = (depth - SPOT).hypot(y);
    let spot = from_spot < 0.14;
    let arc = (from_spot - 2.6).abs() < half && depth > AREA.0;
    let corner = (depth.hypot(HALF_WIDTH - wide) - 0.8).abs() < half;
    outline || middle || on_box(AREA) || on_box(GOAL_AREA) || spot || arc || corner
}

fn stands(from: Vector, ray: Vector, wall: f32) -> Colour {
    let foot = from + ray * wall;
    if foot.z < WALL.1 {
        return wall_colour(foot);
    }
    // Where is the height that of the slope? That is a cone, met once from inside.
    let start = (from.z - WALL.1) / RISE + WALL.0;
    let growth = ray.z / RISE;
    let a = ray.flat().dot(ray) - growth * growth;
    let b = from.flat().dot(ray.flat()) - start * growth;
    let c = from.flat().dot(from.flat()) - start * start;
    let way = (-b + (b * b - a * c).max(0.0).sqrt()) / a;
    let at = from + ray * way;
    let radius = at.flat().length();
    if a > 1e-4 && radius < RIM.0 {
        let share = (radius - WALL.0) / (RIM.0 - WALL.0);
        let haze = smooth(30.0, 130.0, way) * 0.30;
        let crowd = crowd::colour(at.y.atan2(at.x), share);
        let lit = mix(1.0, 0.62, share);
        let air = [0.16, 0.20, 0.30];
        return [0, 1, 2].map(|it| mix(crowd[it] * lit, air[it], haze));
    }
    let rim = from + ray * exit(from, ray, RIM.0);
    if rim.z < PARAPET {
        let edge = rim.z > PARAPET - 0.25;
        return if edge {
            [0.34, 0.38, 0.46]
        } else {
            [0.10, 0.12, 0.17]
        };
    }
    masts(from, ray).unwrap_or_else(|| sky(ray))
}

fn wall_colour(at: Vector) -> Colour {
    let along = at.y.atan2(at.x) * WALL.0;
    let panel = (along / 6.0).floor() as i32;
    let seam = (along / 6.0).rem_euclid(1.0) < 0.02;
    if at.z > WALL.1 - 0.14 {
        return [0.60, 0.63, 0.68]; // the handrail
    }
    if seam {
        return [0.05, 0.06, 0.10];
    }
    match panel.rem_euclid(3) {
        0 => [0.10, 0.16, 0.34],
        1 => [0.12, 0.13, 0.20],
        _ => [0.26, 0.09, 0.13],
    }
}

fn sky(ray: Vector) -> Colour {
    let level = ray.flat().length();
    let height = ray.z / level;
    let around = ray.y.atan2(ray.x);
    if let Some(colour) = skyline(around, height) {
        return colour;
    }
    let west = (around - PI * 0.9).cos() * 0.5 + 0.5;
    let dusk = (-(height - 0.06).max(0.0) * 11.0).exp();
    let warm = dusk * (0.25 + 0.75 * west * west);
    // Along a circle, not by the angle: that jumps in the west.
    let (x, y) = (ray.x / level * 12.0, ray.y / level * 12.0);
    let cloud = hills(x + height * 30.0, y + height * 17.0) * 0.6
        + hills(x * 2.7 + height * 80.0, y * 2.7) * 0.4;
    let veil = smooth(0.5, 0.9, cloud) * 0.10;
    [
        0.05 + warm * 0.62 + veil,
        0.08 + warm * 0.33 + veil * 0.8,
        0.19 + dusk * 0.17 + veil * 0.8,
    ]
}

/// Houses far away, with some lights on.
fn skyline(around: f32, height: f32) -> Option<Colour> {
    let lot = (around / TAU * 170.0).floor();
    let tower = chance(lot as i32, 7);
    let top = 0.086 + 0.020 * chance(lot as i32, 3) + if tower > 0.88 { 0.028 } else { 0.0 };
    if height > top {
        return None;
    }
    let across = (around / TAU * 170.0 - lot) * 6.0;
    let floor = height / 0.0042;
    let window = across.rem_euclid(1.0) < 0.6 && floor.rem_euclid(1.0) < 0.55;
    let on = chance(lot as i32 * 8 + across as i32, floor as i32) > 0.72;
    Some(match window && on {
        true => [0.62, 0.50, 0.28],
        false => [0.06, 0.07, 0.12],
    })
}

/// Where a mast stands, and how wide and high its lamps are.
fn mast(index: u32) -> Vector {
    let angle = TAU * (index as f32 + 0.5) / MASTS as f32;
    Vector::new(angle.cos(), angle.sin(), 0.0) * MAST_RADIUS
}

const LAMPS_HALF_WIDTH: f32 = 3.6;
const LAMPS: (f32, f32) = (16.6, 19.3);

fn masts(from: Vector, ray: Vector) -> Option<Colour> {
    (0..MASTS).find_map(|index| {
        let foot = mast(index);
        let out = foot.unit();
        let way = (MAST_RADIUS - from.dot(out)) / ray.dot(out);
        if way <= 0.0 {
            return None;
        }
        let at = from + ray * way;
        let across = (at - foot).dot(out.cross(Vector::UP));
        if at.z < LAMPS.0 {
            return (across.abs() < 0.22).then_some([0.20, 0.22, 0.27]);
        }
        if at.z > LAMPS.1 || across.abs() > LAMPS_HALF_WIDTH {
            return None;
        }
        let column = (across + LAMPS_HALF_WIDTH) / 1.2;
        let row = (at.z - LAMPS.0) / 0.9;
        let off = (column.fract() - 0.5).hypot((row.fract() - 0.5) * 0.75);
        Some(match off < 0.34 {
            true => [1.15, 1.15, 1.10],
            false => [0.30, 0.32, 0.36],
        })
    })
}

/// What the lamps throw into the camera.
fn glare(from: Vector, ray: Vector) -> f32 {
    let sight = ray.unit();
    (0..MASTS)
        .map(|index| {
            let lamps = mast(index) + Vector::UP * ((LAMPS.0 + LAMPS.1) / 2.0);
            let toward = lamps - from;
            if toward.dot(sight) < 0.0 {
                return 0.0;
            }
            let off = toward.unit().cross(sight).length();
            if off > 0.5 {
                return 0.0; // less than a thousandth
            }
            0.30 * (-(off * off) / 0.0016).exp() + 0.10 * (-off / 0.07).exp()
        })
        .sum()
}
