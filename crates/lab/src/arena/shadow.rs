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
        for row in own.rows.0.max(area.rows.0)..own.rows.1.min(area.rows.1) {
            for column in own.columns.0.max(area.columns.0)..own.columns.1.min(area.columns.1) {
                let ray = lens.ray(column as f32 + 0.5, row as f32 + 0.5);
                let place = lens.position + ray * (-lens.position.z / ray.z.min(-1e-3));
                let index = (row - area.rows.0) * area.width() + column - area.columns.0;
                self.shares[index] = self.shares[index].max(fallen.share(place));
            }
        }
    }
}

/// A caster's shadow on the ground.
struct Fallen {
    from: Vector,
    to: Vector,
    radius: f32,
    /// How wide its edge is: the higher what casts it, the softer.
    blur: f32,
}

impl Fallen {
    fn new(caster: &Caster, light: Vector) -> Self {
        let fall = |it: Vector| (it - light * it.z).flat();
        let height = f32::midpoint(caster.from.z, caster.to.z);
        Self {
            from: fall(caster.from),
            to: fall(caster.to),
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
        let along = self.to - self.from;
        let offset = place - self.from;
        let share = (offset.dot(along) / along.dot(along).max(1e-6)).clamp(0.0, 1.0);
        let distance = (offset - along * share).length() - self.radius;
        1.0 - smooth(-self.blur, self.blur, distance)
    }
}
