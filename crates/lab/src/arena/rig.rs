//! Where the cameras stand, and where things come to lie in their pictures.

use std::f32::consts::{FRAC_PI_2, TAU};

use super::vector::Vector;

/// How far the cameras stand from the middle of the pitch, along it and across, in metres.
const RADII: (f32, f32) = (37.0, 29.0);
/// How high they stand, in metres.
const HEIGHT: f32 = 6.2;
/// What all of them look at: a little over the middle spot, so that the stands are in the picture.
pub(super) const CENTRE: Vector = Vector::new(0.0, 0.0, 2.0);
/// How much they see from left to right.
const FIELD_OF_VIEW_DEGREES: f32 = 54.0;

/// Where each of twelve cameras stands, in their order.
const TITLES: [&str; 12] = [
    "Main stand",
    "Main stand, right",
    "South-east corner",
    "East goal",
    "North-east corner",
    "Far stand, right",
    "Far stand",
    "Far stand, left",
    "North-west corner",
    "West goal",
    "South-west corner",
    "Main stand, left",
];

/// What is known of one camera.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) position: Vector,
    /// Length 1.
    pub(super) direction: Vector,
    pub(super) field_of_view_degrees: f32,
}

/// As many cameras, evenly on a ring: the first at the main stand, then counterclockwise as seen
/// from above.
pub(super) fn ring(cameras: u32) -> Vec<Mount> {
    (0..cameras)
        .map(|index| {
            let angle = TAU * index as f32 / cameras as f32 - FRAC_PI_2;
            // To the centimetre, so that a manifest says exactly where they stand.
            let metres = |it: f32| (it * 100.0).round() / 100.0 + 0.0;
            let position = Vector::new(
                metres(angle.cos() * RADII.0),
                metres(angle.sin() * RADII.1),
                HEIGHT,
            );
            let title = match cameras {
                12 => TITLES[index as usize].to_owned(),
                _ => format!("Camera {}", index + 1),
            };
            Mount {
                name: format!("cam{:02}", index + 1),
                title,
                position,
                direction: (CENTRE - position).unit(),
                field_of_view_degrees: FIELD_OF_VIEW_DEGREES,
            }
        })
        .collect()
}

/// A camera with a picture of a certain size.
#[derive(Clone, Debug)]
pub(super) struct Lens {
    pub(super) position: Vector,
    pub(super) forward: Vector,
    pub(super) right: Vector,
    pub(super) up: Vector,
    /// Pixels for a thing as wide as it is far away.
    pub(super) focus: f32,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Lens {
    pub(super) fn new(mount: &Mount, width: usize, height: usize) -> Self {
        let right = mount.direction.cross(Vector::UP).unit();
        let half = mount.field_of_view_degrees.to_radians() / 2.0;
        Self {
            position: mount.position,
            forward: mount.direction,
            right,
            up: right.cross(mount.direction),
            focus: width as f32 / 2.0 / half.tan(),
            width,
            height,
        }
    }

    /// How far it is before the camera, along the line of sight.
    pub(super) fn depth(&self, place: Vector) -> f32 {
        (place - self.position).dot(self.forward)
    }

    /// Its column, row and depth; the row counts from the top. Nonsense behind the camera.
    pub(super) fn project(&self, place: Vector) -> (f32, f32, f32) {
        let relative = place - self.position;
        let depth = relative.dot(self.forward).max(0.01);
        let scale = self.focus / depth;
        (
            self.width as f32 / 2.0 + relative.dot(self.right) * scale,
            self.height as f32 / 2.0 - relative.dot(self.up) * scale,
            depth,
        )
    }

    /// Where a point of the picture looks to; as long as makes one metre forward.
    pub(super) fn ray(&self, column: f32, row: f32) -> Vector {
        let across = (column - self.width as f32 / 2.0) / self.focus;
        let above = (self.height as f32 / 2.0 - row) / self.focus;
        self.forward + self.right * across + self.up * above
    }
}
