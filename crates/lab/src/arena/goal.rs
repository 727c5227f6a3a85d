//! The goals: round posts and nets that one sees through.

use super::picture::{Colour, Picture};
use super::rig::Lens;
use super::shadow::{Caster, Shadows};
use super::solid::{Area, Brush, Paint, Solid};
use super::stadium::HALF_LENGTH;
use super::vector::Vector;

/// Half the width and the height inside the posts, in metres.
const HALF_WIDTH: f32 = 2.5;
const HEIGHT: f32 = 2.05;
const POST: f32 = 0.06;
/// How far back the net goes, at the top and on the ground.
const DEEP: (f32, f32) = (0.7, 1.7);
/// From knot to knot, and how thick the cords are, in metres.
const MESH: f32 = 0.16;
const CORD: f32 = 0.020;
const LOOKS: usize = 4;
const WHITE: Colour = [0.90, 0.91, 0.93];

/// A part of a goal in a pixel: what is behind it shows through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    pub(super) pixel: (usize, usize),
    pub(super) share: f32,
    pub(super) depth: f32,
    pub(super) colour: Colour,
}

/// Both goals as a camera sees them, farthest first.
pub(super) fn fragments(lens: &Lens) -> Vec<Fragment> {
    let mut fragments = Vec::new();
    let mut brush = Brush::default();
    for side in [-1.0, 1.0] {
        for panel in panels(side) {
            net(&panel, lens, &mut fragments);
        }
        brush.fragments(&frame(side), lens, |pixel, share, depth, colour| {
            fragments.push(Fragment {
                pixel,
                share,
                depth,
                colour,
            });
        });
    }
    fragments.sort_by(|one, other| other.depth.total_cmp(&one.depth));
    fragments
}

/// What the posts do to the ground.
pub(super) fn shade(lens: &Lens, picture: &mut Picture) {
    let mut shadows = Shadows::default();
    for side in [-1.0, 1.0] {
        let casters: Vec<Caster> = posts(side)
            .into_iter()
            .map(|(from, to, radius)| Caster { from, to, radius })
            .collect();
        shadows.draw(&casters, lens, picture);
    }
}

fn corner(side: f32, across: f32, back: f32, height: f32) -> Vector {
    Vector::new(
        side * (HALF_LENGTH + POST + back),
        across * HALF_WIDTH,
        height,
    )
}

/// Ends and radii of everything stiff.
fn posts(side: f32) -> Vec<(Vector, Vector, f32)> {
    let mut posts = vec![(
        corner(side, -1.0, 0.0, HEIGHT),
        corner(side, 1.0, 0.0, HEIGHT),
        POST,
    )];
    for across in [-1.0, 1.0] {
        let top = corner(side, across, 0.0, HEIGHT);
        let back = corner(side, across, DEEP.0, HEIGHT);
        let heel = corner(side, across, DEEP.1, 0.0);
        posts.push((corner(side, across, 0.0, 0.0), top, POST));
        posts.push((top, back, 0.025));
        posts.push((back, heel, 0.025));
    }
    posts
}

fn frame(side: f32) -> Vec<Solid> {
    let mut solids = Vec::new();
    for (from, to, radius) in posts(side) {
        let level = if radius < POST { 0.72 } else { 1.0 };
        let paint = Paint::Plain([1.0, 1.0, 1.0].map(|it| it * level));
        solids.push(Solid::tube(from, to, (radius, radius), paint));
        solids.push(Solid::ball(from, radius, paint));
        solids.push(Solid::ball(to, radius, paint));
    }
    solids
}

/// A flat piece of net: a corner and the way to its neighbours.
struct Panel {
    corners: [Vector; 4],
}

fn panels(side: f32) -> [Panel; 4] {
    let at = |across, back, height| corner(side, across, back, height);
    let side_panel = |across| Panel {
        corners: [
            at(across, 0.0, 0.0),
            at(across, DEEP.1, 0.0),
            at(across, DEEP.0, HEIGHT),
            at(across, 0.0, HEIGHT),
        ],
    };
    [
        Panel {
            corners: [
                at(-1.0, DEEP.1, 0.0),
                at(1.0, DEEP.1, 0.0),
                at(1.0, DEEP.0, HEIGHT),
                at(-1.0, DEEP.0, HEIGHT),
            ],
        },
        Panel {
            corners: [
                at(-1.0, 0.0, HEIGHT),
                at(1.0, 0.0, HEIGHT),
                at(1.0, DEEP.0, HEIGHT),
                at(-1.0, DEEP.0, HEIGHT),
            ],
        },
        side_panel(-1.0),
        side_panel(1.0),
    ]
}

/// Looks at every pixel that a panel may cover.
fn net(panel: &Panel, lens: &Lens, fragments: &mut Vec<Fragment>) {
    let [first, second, _, last] = panel.corners;
    let along = (second - first).unit();
    let normal = along.cross(last - first).unit();
    let up = normal.cross(along);
    let flat = panel
        .corners
        .map(|it| ((it - first).dot(along), (it - first).dot(up)));
    let spots = panel.corners.map(|it| {
        let (column, row, _) = lens.project(it);
        (column, row, 1.0)
    });
    let area = Area::around(spots.into_iter(), lens);
    for row in area.rows.0..area.rows.1 {
        for column in area.columns.0..area.columns.1 {
            let (mut hits, mut depth) = (0.0, 0.0);
            for look in 0..LOOKS * LOOKS {
                let within = |it: usize| (it as f32 + 0.5) / LOOKS as f32;
                let (right, down) = (within(look % LOOKS), within(look / LOOKS));
                let ray = lens.ray(column as f32 + right, row as f32 + down);
                let way = (first - lens.position).dot(normal) / ray.dot(normal);
                let offset = lens.position + ray * way - first;
                let (x, y) = (offset.dot(along), offset.dot(up));
                if is_inside(&flat, x, y) && is_cord(x, y) {
                    hits += 1.0;
                    depth = way;
                }
            }
            if hits > 0.0 {
                fragments.push(Fragment {
                    pixel: (column, row),
                    share: hits / (LOOKS * LOOKS) as f32 * 0.8,
                    depth,
                    colour: WHITE,
                });
            }
        }
    }
}

/// Whether it is on the same side of all four edges.
fn is_inside(corners: &[(f32, f32); 4], x: f32, y: f32) -> bool {
    let side = |index: usize| {
        let (from, to) = (corners[index], corners[(index + 1) % 4]);
        (to.0 - from.0) * (y - from.1) - (to.1 - from.1) * (x - from.0)
    };
    let sides = [side(0), side(1), side(2), side(3)];
    sides.iter().all(|it| *it >= 0.0) || sides.iter().all(|it| *it <= 0.0)
}

fn is_cord(x: f32, y: f32) -> bool {
    x.rem_euclid(MESH) < CORD || y.rem_euclid(MESH) < CORD
}
