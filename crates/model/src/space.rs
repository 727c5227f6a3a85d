//! Where things are around an event: points in metres and angles.
//!
//! The frame of an event is right-handed: x and y lie on the ground, z points up. Yaw is counted
//! from the x axis towards the y axis, which is counterclockwise seen from above; pitch is up.

use serde::{Deserialize, Serialize};

/// The furthest from the origin, in metres. An event is a place, not a country.
const REACH_MAX: f64 = 100_000.0;

/// An angle in degrees, always above -180 and at most 180.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = f64)]
pub struct Angle(f64);

impl Angle {
    /// The same direction within a single turn. What is not a number is 0.
    pub fn degrees(degrees: f64) -> Self {
        if !degrees.is_finite() {
            return Self(0.0);
        }
        let turned = degrees.rem_euclid(360.0);
        Self(if turned > 180.0 {
            turned - 360.0
        } else {
            turned
        })
    }

    /// In degrees, above -180 and at most 180.
    pub const fn as_degrees(self) -> f64 {
        self.0
    }

    /// The shorter turn from `other` to here: counterclockwise is positive.
    #[must_use]
    pub fn from(self, other: Self) -> Self {
        Self::degrees(self.0 - other.0)
    }

    /// Turned by so many degrees, counterclockwise if positive.
    #[must_use]
    pub fn turned(self, degrees: f64) -> Self {
        Self::degrees(self.0 + degrees)
    }
}

impl<'de> Deserialize<'de> for Angle {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let degrees = f64::deserialize(deserializer)?;
        if (-360.0..=360.0).contains(&degrees) {
            Ok(Self::degrees(degrees))
        } else {
            Err(serde::de::Error::custom(format!(
                "{degrees} is not an angle: expected -360 to 360 degrees"
            )))
        }
    }
}

/// A point in metres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[f64; 3]", into = "[f64; 3]")]
pub struct Point {
    x: f64,
    y: f64,
    z: f64,
}

/// Why three numbers are not a point.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("[{0}, {1}, {2}] is not a point: expected three numbers of metres, each within 100 km")]
pub struct PointError(f64, f64, f64);

impl Point {
    /// A point from metres along the axes.
    ///
    /// # Errors
    /// When a number is out of reach or not a number.
    pub fn new(x: f64, y: f64, z: f64) -> Result<Self, PointError> {
        let near = |it: f64| it.abs() <= REACH_MAX;
        if near(x) && near(y) && near(z) {
            Ok(Self { x, y, z })
        } else {
            Err(PointError(x, y, z))
        }
    }

    /// Metres along the x axis.
    pub const fn x(self) -> f64 {
        self.x
    }

    /// Metres along the y axis.
    pub const fn y(self) -> f64 {
        self.y
    }

    /// Metres above the ground.
    pub const fn z(self) -> f64 {
        self.z
    }

    /// How one looks from here to there; `None` if that is the same point.
    pub fn towards(self, there: Self) -> Option<Direction> {
        let (dx, dy, dz) = (there.x - self.x, there.y - self.y, there.z - self.z);
        let ground = dx.hypot(dy);
        if ground == 0.0 && dz == 0.0 {
            return None;
        }
        Some(Direction {
            yaw: Angle::degrees(dy.atan2(dx).to_degrees()),
            pitch: Angle::degrees(dz.atan2(ground).to_degrees()),
        })
    }

    /// The distance on the ground, in metres.
    pub fn ground_distance(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

impl TryFrom<[f64; 3]> for Point {
    type Error = PointError;

    fn try_from([x, y, z]: [f64; 3]) -> Result<Self, PointError> {
        Self::new(x, y, z)
    }
}

impl From<Point> for [f64; 3] {
    fn from(point: Point) -> Self {
        [point.x, point.y, point.z]
    }
}

/// Where something looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Direction {
    /// From the x axis, counterclockwise seen from above.
    pub yaw: Angle,
    /// From the ground, up.
    pub pitch: Angle,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_angle_has_one_spelling() {
        for (given, kept) in [
            (0.0, 0.0),
            (180.0, 180.0),
            (-180.0, 180.0),
            (190.0, -170.0),
            (-190.0, 170.0),
            (720.5, 0.5),
            (f64::NAN, 0.0),
        ] {
            assert_eq!(Angle::degrees(given).as_degrees(), kept, "{given}");
        }
    }

    #[test]
    fn the_shorter_turn_crosses_the_seam() {
        let (a, b) = (Angle::degrees(170.0), Angle::degrees(-170.0));
        assert_eq!(b.from(a).as_degrees(), 20.0);
        assert_eq!(a.from(b).as_degrees(), -20.0);
        assert_eq!(a.turned(30.0).as_degrees(), -160.0);
    }

    #[test]
    fn one_looks_from_here_to_there() {
        let at = |x, y, z| Point::new(x, y, z).unwrap();
        let down = at(10.0, 0.0, 10.0).towards(at(0.0, 0.0, 0.0)).unwrap();
        assert_eq!(down.yaw.as_degrees(), 180.0);
        assert_eq!(down.pitch.as_degrees(), -45.0);
        let left = at(0.0, 0.0, 1.0).towards(at(0.0, 5.0, 1.0)).unwrap();
        assert_eq!(
            (left.yaw.as_degrees(), left.pitch.as_degrees()),
            (90.0, 0.0)
        );
        assert_eq!(at(1.0, 2.0, 3.0).towards(at(1.0, 2.0, 3.0)), None);
    }

    #[test]
    fn nowhere_is_refused() {
        assert!(Point::new(f64::NAN, 0.0, 0.0).is_err());
        assert!(Point::new(0.0, 100_001.0, 0.0).is_err());
    }
}
