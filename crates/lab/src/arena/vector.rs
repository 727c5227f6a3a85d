//! Three numbers, and what one does with them. Metres: x along the pitch, y across, z up.

use std::ops::{Add, Mul, Neg, Sub};

/// A place or a direction in the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Vector {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) z: f32,
}

impl Vector {
    pub(super) const ZERO: Self = Self::new(0.0, 0.0, 0.0);
    pub(super) const UP: Self = Self::new(0.0, 0.0, 1.0);

    pub(super) const fn new(x: f32, y: f32, z: f32) -> Self {
        Self { x, y, z }
    }

    pub(super) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    pub(super) fn cross(self, other: Self) -> Self {
        Self::new(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )
    }

    pub(super) fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// The same direction with length 1; nothing stays nothing.
    pub(super) fn unit(self) -> Self {
        self * (1.0 / self.length().max(1e-9))
    }

    /// `self` at 0, `other` at 1.
    pub(super) fn toward(self, other: Self, share: f32) -> Self {
        self + (other - self) * share
    }

    /// On the ground below.
    pub(super) fn flat(self) -> Self {
        Self::new(self.x, self.y, 0.0)
    }
}

impl Add for Vector {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl Sub for Vector {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Neg for Vector {
    type Output = Self;

    fn neg(self) -> Self {
        self * -1.0
    }
}

impl Mul<f32> for Vector {
    type Output = Self;

    fn mul(self, factor: f32) -> Self {
        Self::new(self.x * factor, self.y * factor, self.z * factor)
    }
}

/// 0 up to `from`, 1 from `to` on, smooth between.
pub(super) fn smooth(from: f32, to: f32, at: f32) -> f32 {
    let share = ((at - from) / (to - from)).clamp(0.0, 1.0);
    share * share * (3.0 - 2.0 * share)
}

/// `from` at 0, `to` at 1.
pub(super) fn mix(from: f32, to: f32, share: f32) -> f32 {
    from + (to - from) * share
}

/// A number in `0.0..1.0` for every pair of whole numbers, always the same.
pub(super) fn chance(x: i32, y: i32) -> f32 {
    let mut word = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
    word = (word ^ (word >> 15)).wrapping_mul(0x2c1b_3c6d);
    word = (word ^ (word >> 12)).wrapping_mul(0x297a_2d39);
    word ^= word >> 15;
    (word >> 8) as f32 / 16_777_216.0
}

/// Hills between 0 and 1, about one to a unit.
pub(super) fn hills(x: f32, y: f32) -> f32 {
    let (left, low) = (x.floor(), y.floor());
    let (right, up) = (smooth(0.0, 1.0, x - left), smooth(0.0, 1.0, y - low));
    let (column, row) = (left as i32, low as i32);
    let below = mix(chance(column, row), chance(column + 1, row), right);
    let above = mix(chance(column, row + 1), chance(column + 1, row + 1), right);
    mix(below, above, up)
}
