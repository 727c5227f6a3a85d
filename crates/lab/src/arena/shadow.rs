//! Soft shadows on the ground, one for each bank of floodlights.

use super::picture::Picture;
use super::rig::Lens;
use super::solid::Area;
use super::vector::{Vector, smooth};

/// What a light takes with it where its shadow falls, and where the ground lies as seen from a
/// metre above it.
const LIGHTS: [(f32, Vector); 5] = [
    (0.20, Vector::new(1.1, 1.1, 1.0)),
    (0.20, Vector::new(-1.1, 1.1, 1.0)),
    (0.20, Vector::new(-1.1, -1.1, 1.0)),
    (0.20, Vector::new(1.1, -1.1, 1.0)),
    (0.26, Vector::UP), // no lamp: the open sky, that is hidden right below
];

/// Something that stands in the light: a line with a thickness.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caster {
    pub(super) from: Vector,
    pub(super) to: Vector,
    pub(super) radius: f32,
}

/// Darkens the ground below things that stand together.
#[derive(Debug, Default)]
pub(super) struct Shadows {
    shares: Vec<f32>,
}

impl Shadows {
    pub(super) fn draw(&mut self, casters: &[Caster], lens: &Lens, picture: &mut Picture) {
        for (strength, light) in LIGHTS {
            let fallen: Vec<Fallen> = casters.iter().map(|it| Fallen::new(it, light)).collect();
            let area = Area::around(fallen.iter().flat_map(|it| it.spots(lens)), lens);
            if area.is_empty() {
                continue;
            }
            self.shares.clear();
            let rows = area.rows.1 - area.rows.0;
            self.shares.resize(area.width() * rows, 0.0);
            for one in &fallen {
                self.add(one, area, lens);
            }
            for (index, share) in self.shares.iter().enumerate().filter(|(_, it)| **it > 0.01) {
                let column = area.columns.0 + index % area.width();
                let row = area.rows.0 + index / area.width();
                picture.darken((column, row), share * strength);
            }
        }
    }

    fn add(&mut self, fallen: &Fallen, area: Area, lens: &Lens) {
        let own = Area::around(fallen.spots(lens).into_iter(), lens);
        let step = lens.ray(1.0, 0.0) - lens.ray(0.0, 0.0);
        for row in own.rows.0.max(area.rows.0)..own.rows.1.min(area.rows.1) {
            let (from, to) = (
                own.columns.0.max(area.columns.0),
                own.columns.1.min(area.columns.1),
            );
            if from >= to {
                return;
            }
            let line = (row - area.rows.0) * area.width();
            let shares = &mut self.shares[line + from - area.columns.0..line + to - area.columns.0];
            // Cameras don't roll: along a row of pixels, the ground is equally far before them.
            let ray = lens.ray(from as f32 + 0.5, row as f32 + 0.5);
            let way = -lens.position.z / ray.z.min(-1e-3);
            let (mut place, step) = (lens.position + ray * way, step * way);
            for share in shares {
                *share = share.max(fallen.share(place));
                place = place + step;
            }
        }
    }
}

/// A caster's shadow on the ground.
struct Fallen {
    from: Vector,
    to: Vector,
    along: Vector,
    /// 1 / its length²; 0 if it has none.
    shrink: f32,
    radius: f32,
    /// How wide its edge is: the higher what casts it, the softer.
    blur: f32,
}

impl Fallen {
    fn new(caster: &Caster, light: Vector) -> Self {
        let fall = |it: Vector| (it - light * it.z).flat();
        let height = f32::midpoint(caster.from.z, caster.to.z);
        let (from, to) = (fall(caster.from), fall(caster.to));
        let length = (to - from).dot(to - from);
        Self {
            from,
            to,
            along: to - from,
            shrink: if length > 1e-6 { 1.0 / length } else { 0.0 },
            radius: caster.radius,
            blur: 0.035 + 0.05 * height,
        }
    }

    fn spots(&self, lens: &Lens) -> [(f32, f32, f32); 2] {
        [self.from, self.to].map(|it| {
            let (column, row, depth) = lens.project(it);
            let reach = (self.radius + self.blur) * lens.focus / depth;
            (column, row, reach + 1.0)
        })
    }

    fn share(&self, place: Vector) -> f32 {
        let (x, y) = (place.x - self.from.x, place.y - self.from.y);
        let share = (x * self.along.x + y * self.along.y) * self.shrink;
        let share = share.clamp(0.0, 1.0);
        let (x, y) = (x - self.along.x * share, y - self.along.y * share);
        let edge = self.radius + self.blur;
        let square = x * x + y * y;
        if square >= edge * edge {
            return 0.0;
        }
        1.0 - smooth(-self.blur, self.blur, square.sqrt() - self.radius)
    }
}
