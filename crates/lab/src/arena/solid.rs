//! Round things: ellipsoids and tapered tubes, drawn exactly, with smooth edges.
//!
//! Each is a quadric, so where a line of sight meets it is the root of a quadratic whose
//! coefficients are polynomials of the pixel. Near its middle the lines of sight count as parallel:
//! nothing here is larger than a player, and players are 15 m away or more.

use super::picture::{Colour, Picture};
use super::rig::Lens;
use super::vector::{Vector, mix, smooth};

/// Where within a pixel is looked: no two in a row or a column.
const SAMPLES: [(f32, f32); 4] = [
    (0.125, 0.625),
    (0.375, 0.125),
    (0.625, 0.875),
    (0.875, 0.375),
];

/// Toward the four banks of floodlights that count, from anywhere on the pitch.
const LIGHTS: [Vector; 4] = [
    Vector::new(0.62, 0.62, 0.48),
    Vector::new(-0.62, 0.62, 0.48),
    Vector::new(-0.62, -0.62, 0.48),
    Vector::new(0.62, -0.62, 0.48),
];

/// What a solid is painted with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Paint {
    Plain(Colour),
    /// Cloth with a second colour and a number on the back; front is +y of the part's own space.
    Shirt {
        base: Colour,
        second: Colour,
        pattern: Pattern,
        number: u8,
    },
    /// White with black spots.
    Ball,
}

/// How the second colour of a shirt lies on the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    None,
    Stripes,
    Band,
}

/// One quadric, perhaps cut off along its own z.
#[derive(Clone, Debug)]
pub(super) struct Solid {
    centre: Vector,
    /// From a place relative to the centre into the part's own space, where it has radius 1.
    rows: [Vector; 3],
    /// How z counts in `x² + y² + bend z² + taper z = 1`.
    bend: f32,
    taper: f32,
    /// What there is of it along its own z.
    span: (f32, f32),
    /// Between these, and not further from that line than `reach`, it lies.
    ends: [Vector; 2],
    reach: f32,
    paint: Paint,
}

impl Solid {
    pub(super) fn ball(centre: Vector, radius: f32, paint: Paint) -> Self {
        let axes = [
            Vector::new(1.0, 0.0, 0.0),
            Vector::new(0.0, 1.0, 0.0),
            Vector::UP,
        ];
        Self::ellipsoid(centre, axes, [radius; 3], paint)
    }

    /// The axes stand at right angles and have length 1.
    pub(super) fn ellipsoid(
        centre: Vector,
        axes: [Vector; 3],
        radii: [f32; 3],
        paint: Paint,
    ) -> Self {
        let [x, y, z] = axes;
        Self {
            centre,
            rows: [
                x * (1.0 / radii[0]),
                y * (1.0 / radii[1]),
                z * (1.0 / radii[2]),
            ],
            bend: 1.0,
            taper: 0.0,
            span: (-1.0, 1.0),
            ends: [centre, centre],
            reach: radii[0].max(radii[1]).max(radii[2]),
            paint,
        }
    }

    /// Only what lies between these shares of its own z.
    pub(super) fn cut(mut self, from: f32, to: f32) -> Self {
        self.span = (from, to);
        self
    }

    /// A round tube without lids from one end to the other.
    pub(super) fn tube(from: Vector, to: Vector, radii: (f32, f32), paint: Paint) -> Self {
        let axis = (to - from).unit();
        let aside = match axis.z.abs() < 0.9 {
            true => axis.cross(Vector::UP).unit(),
            false => axis.cross(Vector::new(1.0, 0.0, 0.0)).unit(),
        };
        Self::flat_tube(from, to, aside, radii, 1.0, paint)
    }

    /// A tube whose radius at right angles to `aside` is only `flatness` of that along it.
    pub(super) fn flat_tube(
        from: Vector,
        to: Vector,
        aside: Vector,
        radii: (f32, f32),
        flatness: f32,
        paint: Paint,
    ) -> Self {
        let along = to - from;
        let axis = along.unit();
        let middle = (radii.0 + radii.1) / 2.0;
        let growth = (radii.1 - radii.0) / (radii.0 + radii.1);
        Self {
            centre: from.toward(to, 0.5),
            rows: [
                aside * (1.0 / middle),
                axis.cross(aside) * (1.0 / (middle * flatness)),
                axis * (2.0 / along.length().max(1e-4)),
            ],
            bend: -growth * growth,
            taper: -2.0 * growth,
            span: (-1.0, 1.0),
            ends: [from, to],
            reach: radii.0.max(radii.1),
            paint,
        }
    }

    fn local(&self, offset: Vector) -> Vector {
        let [x, y, z] = self.rows;
        Vector::new(x.dot(offset), y.dot(offset), z.dot(offset))
    }

    /// `left * right` as the quadric counts it.
    fn weigh(&self, left: Vector, right: Vector) -> f32 {
        left.x * right.x + left.y * right.y + self.bend * left.z * right.z
    }
}

/// Draws things that belong together, nearest parts in front, then lays them over a picture.
#[derive(Debug, Default)]
pub(super) struct Brush {
    samples: Vec<Sample>,
    area: Area,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    depth: f32,
    colour: Colour,
}

/// Pixels of a picture: columns and rows from the first to before the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) columns: (usize, usize),
    pub(super) rows: (usize, usize),
}

impl Area {
    pub(super) const fn width(self) -> usize {
        self.columns.1 - self.columns.0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.columns.0 >= self.columns.1 || self.rows.0 >= self.rows.1
    }

    /// What holds all these spots of so many pixels around, as far as the picture goes.
    pub(super) fn around(spots: impl Iterator<Item = (f32, f32, f32)>, lens: &Lens) -> Self {
        let (mut left, mut top, mut right, mut bottom) = (f32::MAX, f32::MAX, f32::MIN, f32::MIN);
        for (column, row, reach) in spots {
            left = left.min(column - reach);
            right = right.max(column + reach);
            top = top.min(row - reach);
            bottom = bottom.max(row + reach);
        }
        let inside = |it: f32, end: usize| (it.max(0.0) as usize).min(end);
        Self {
            columns: (inside(left, lens.width), inside(right + 1.0, lens.width)),
            rows: (inside(top, lens.height), inside(bottom + 1.0, lens.height)),
        }
    }

    fn within(self, other: Self) -> Self {
        Self {
            columns: (
                self.columns.0.max(other.columns.0),
                self.columns.1.min(other.columns.1),
            ),
            rows: (self.rows.0.max(other.rows.0), self.rows.1.min(other.rows.1)),
        }
    }
}

impl Brush {
    /// Draws the solids over the picture.
    pub(super) fn draw(&mut self, solids: &[Solid], lens: &Lens, picture: &mut Picture) {
        if !self.sketch(solids, lens) {
            return;
        }
        self.each_pixel(|pixel, share, depth, colour| {
            picture.cover(pixel, share, depth, colour);
        });
    }

    /// What the solids would cover: pixel as (column, row), share of it, depth, colour.
    pub(super) fn fragments(
        &mut self,
        solids: &[Solid],
        lens: &Lens,
        mut each: impl FnMut((usize, usize), f32, f32, Colour),
    ) {
        if self.sketch(solids, lens) {
            self.each_pixel(&mut each);
        }
    }

    fn sketch(&mut self, solids: &[Solid], lens: &Lens) -> bool {
        self.area = Area::around(solids.iter().flat_map(|it| spots(it, lens)), lens);
        if self.area.is_empty() {
            return false;
        }
        let empty = Sample {
            depth: f32::INFINITY,
            colour: [0.0; 3],
        };
        let rows = self.area.rows.1 - self.area.rows.0;
        self.samples.clear();
        self.samples
            .resize(self.area.width() * rows * SAMPLES.len(), empty);
        for solid in solids {
            self.add(solid, lens);
        }
        true
    }

    fn add(&mut self, solid: &Solid, lens: &Lens) {
        let area = Area::around(spots(solid, lens), lens).within(self.area);
        let Some(seen) = Seen::new(solid, lens) else {
            return;
        };
        for row in area.rows.0..area.rows.1 {
            let line = (row - self.area.rows.0) * self.area.width();
            for column in area.columns.0..area.columns.1 {
                let first = (line + column - self.area.columns.0) * SAMPLES.len();
                let pixel = &mut self.samples[first..first + SAMPLES.len()];
                for (sample, (right, down)) in pixel.iter_mut().zip(SAMPLES) {
                    seen.hit(column as f32 + right, row as f32 + down, sample);
                }
            }
        }
    }

    fn each_pixel(&self, mut each: impl FnMut((usize, usize), f32, f32, Colour)) {
        for (index, samples) in self.samples.chunks_exact(SAMPLES.len()).enumerate() {
            let (mut hits, mut depth, mut colour) = (0.0, f32::INFINITY, [0.0; 3]);
            for sample in samples.iter().filter(|it| it.depth.is_finite()) {
                hits += 1.0;
                depth = depth.min(sample.depth);
                for (sum, one) in colour.iter_mut().zip(sample.colour) {
                    *sum += one;
                }
            }
            if hits > 0.0 {
                let column = self.area.columns.0 + index % self.area.width();
                let row = self.area.rows.0 + index / self.area.width();
                let colour = colour.map(|it| it / hits);
                each((column, row), hits / SAMPLES.len() as f32, depth, colour);
            }
        }
    }
}

/// Column, row and radius of what a solid covers at its ends.
fn spots(solid: &Solid, lens: &Lens) -> impl Iterator<Item = (f32, f32, f32)> {
    solid
        .ends
        .map(|end| {
            let (column, row, depth) = lens.project(end);
            (column, row, solid.reach * lens.focus / depth * 1.1 + 0.5)
        })
        .into_iter()
}

/// A solid as one camera sees it. The pixel's offset from the middle and the way along the line of
/// sight lead into the part's own space by `across`, `down` and `away`.
struct Seen<'a> {
    solid: &'a Solid,
    middle: (f32, f32),
    depth: f32,
    across: Vector,
    down: Vector,
    away: Vector,
    /// The leading coefficient; those of the others follow from the pixel.
    lead: f32,
    half: [f32; 3],
    rest: [f32; 6],
    sight: Vector,
}

impl<'a> Seen<'a> {
    fn new(solid: &'a Solid, lens: &Lens) -> Option<Self> {
        let (column, row, depth) = lens.project(solid.centre);
        let pixel = depth / lens.focus;
        let sight = (solid.centre - lens.position).unit();
        let across = solid.local(lens.right * pixel);
        let down = solid.local(lens.up * -pixel);
        let away = solid.local(sight);
        let lead = solid.weigh(away, away);
        if depth < 0.5 || lead < 1e-5 {
            return None; // behind the camera, or a tube seen along its axis
        }
        let taper = solid.taper;
        Some(Self {
            solid,
            middle: (column, row),
            depth,
            across,
            down,
            away,
            lead,
            half: [
                solid.weigh(across, away),
                solid.weigh(down, away),
                taper / 2.0 * away.z,
            ],
            rest: [
                solid.weigh(across, across),
                2.0 * solid.weigh(across, down),
                solid.weigh(down, down),
                taper * across.z,
                taper * down.z,
                -1.0,
            ],
            sight,
        })
    }

    fn hit(&self, column: f32, row: f32, sample: &mut Sample) {
        let (x, y) = (column - self.middle.0, row - self.middle.1);
        let half = self.half[0] * x + self.half[1] * y + self.half[2];
        let [xx, xy, yy, to_x, to_y, one] = self.rest;
        let rest = x * (xx * x + xy * y + to_x) + y * (yy * y + to_y) + one;
        let root = half * half - self.lead * rest;
        if root < 0.0 {
            return;
        }
        let way = (-half - root.sqrt()) / self.lead;
        let depth = self.depth + way;
        let at = self.across * x + self.down * y + self.away * way;
        let (from, to) = self.solid.span;
        if at.z < from || at.z > to || depth >= sample.depth {
            return;
        }
        *sample = Sample {
            depth,
            colour: self.shade(at),
        };
    }

    fn shade(&self, at: Vector) -> Colour {
        let solid = self.solid;
        let [x, y, z] = solid.rows;
        let normal = (x * at.x + y * at.y + z * (solid.bend * at.z + solid.taper / 2.0)).unit();
        let mut light = mix(0.30, 0.46, normal.z * 0.5 + 0.5);
        for lamp in LIGHTS {
            light += 0.26 * normal.dot(lamp).max(0.0);
        }
        // Edges catch the light of the stands behind: it lifts them off the grass.
        let edge = 1.0 - normal.dot(self.sight).abs();
        let rim = edge * edge * edge * 0.14;
        solid.paint.colour(at).map(|it| it * light + rim)
    }
}

impl Paint {
    /// The colour at a spot of the part's own space.
    fn colour(self, at: Vector) -> Colour {
        match self {
            Self::Plain(colour) => colour,
            Self::Ball => match is_spot(at) {
                true => [0.10, 0.10, 0.13],
                false => [0.97, 0.97, 0.95],
            },
            Self::Shirt {
                base,
                second,
                pattern,
                number,
            } => match on_number(at, number) {
                true => [0.98, 0.98, 0.96],
                false if pattern.is_second(at) => second,
                false => base,
            },
        }
    }
}

impl Pattern {
    fn is_second(self, at: Vector) -> bool {
        match self {
            Self::None => false,
            Self::Stripes => (at.x * 2.6 + 0.5).rem_euclid(2.0) < 1.0,
            Self::Band => at.z > -0.05 && at.z < 0.5,
        }
    }
}

/// A back number: three by five dots for each of its digits.
fn on_number(at: Vector, number: u8) -> bool {
    const DIGITS: [u16; 10] = [
        0b111_101_101_101_111,
        0b010_110_010_010_111,
        0b111_001_111_100_111,
        0b111_001_111_001_111,
        0b101_101_111_001_001,
        0b111_100_111_001_111,
        0b111_100_111_101_111,
        0b111_001_010_010_010,
        0b111_101_111_101_111,
        0b111_101_111_001_111,
    ];
    if at.y > -0.3 || number == 0 || at.x.abs() > 0.42 || at.z.abs() > 0.62 {
        return false;
    }
    // Seen from behind, left is -x.
    let column = ((at.x + 0.42) / 0.28) as u32;
    let row = ((0.62 - at.z) / 0.248) as u32;
    let bit = 14_u32.saturating_sub(row.min(4) * 3 + column.min(2));
    DIGITS[usize::from(number % 10)] >> bit & 1 == 1
}

/// Twelve spots, at the corners of an icosahedron.
fn is_spot(at: Vector) -> bool {
    let (x, y, z) = (at.x.abs(), at.y.abs(), at.z.abs());
    let (long, short) = (0.8507, 0.5257);
    let near = (x * long + y * short)
        .max(y * long + z * short)
        .max(z * long + x * short);
    smooth(0.90, 0.901, near) > 0.5
}
