//! The cameras around an event.

use std::time::Instant;

use model::manifest::Live;
use model::{Angle, CameraName};

/// A view changes when the hand is so far beyond the border, in degrees.
const BORDER: f64 = 3.0;

/// Where cameras stand close, this share of the gap between them is enough.
const BORDER_SHARE: f64 = 0.2;

/// Seats that are looked ahead at most.
const AHEAD_MAX: usize = super::WARM_MAX;

/// Where a camera stands around the center.
#[derive(Clone, Debug, PartialEq)]
pub struct Seat {
    /// Whose.
    pub camera: CameraName,
    /// As seen from the center.
    pub bearing: Angle,
}

/// In the order of the manifest.
pub(super) fn seats(live: &Live) -> Vec<Seat> {
    let cameras = live.cameras.iter();
    cameras
        .map(|it| Seat {
            camera: it.name.clone(),
            bearing: if it.position.ground_distance(live.center) > 0.0 {
                let towards = live.center.towards(it.position);
                towards.map(|it| it.yaw).unwrap_or_default()
            } else {
                // Right above the center: as if it had stepped back from what it looks at.
                it.direction.yaw.turned(180.0)
            },
        })
        .collect()
}

#[derive(Debug)]
struct Place {
    seat: Seat,
    live: bool,
    left_out_until: Option<Instant>,
}

/// Seats by bearing; they are known by their place in this order.
#[derive(Debug)]
pub(super) struct Ring(Vec<Place>);

impl Ring {
    pub(super) fn new(seats: &[Seat]) -> Self {
        let mut seats = seats.to_vec();
        seats.sort_by(|a, b| {
            let bearings = a.bearing.as_degrees().total_cmp(&b.bearing.as_degrees());
            bearings.then_with(|| a.camera.cmp(&b.camera))
        });
        let places = seats.into_iter().map(|seat| Place {
            seat,
            live: false,
            left_out_until: None,
        });
        Self(places.collect())
    }

    pub(super) fn find(&self, camera: &CameraName) -> Option<usize> {
        self.0.iter().position(|it| it.seat.camera == *camera)
    }

    pub(super) fn camera(&self, seat: usize) -> &CameraName {
        &self.0[seat].seat.camera
    }

    pub(super) fn bearing(&self, seat: usize) -> Angle {
        self.0[seat].seat.bearing
    }

    pub(super) fn set_live(&mut self, cameras: &[CameraName]) {
        for place in &mut self.0 {
            place.live = cameras.contains(&place.seat.camera);
        }
    }

    pub(super) fn leave_out(&mut self, seat: usize, until: Instant) {
        self.0[seat].left_out_until = Some(until);
    }

    /// When the next camera that is left out may be tried again.
    pub(super) fn back_at(&self, now: Instant) -> Option<Instant> {
        let left_out = self.0.iter().filter_map(|it| it.left_out_until);
        left_out.filter(|it| *it > now).min()
    }

    pub(super) fn usable(&self, seat: usize, now: Instant) -> bool {
        let place = &self.0[seat];
        place.live && place.left_out_until.is_none_or(|it| it <= now)
    }

    /// The seat nearest to an angle. The present one is kept until the border is clearly crossed.
    pub(super) fn nearest(
        &self,
        angle: Angle,
        present: Option<usize>,
        now: Instant,
    ) -> Option<usize> {
        let away = |seat: usize| angle.from(self.bearing(seat)).as_degrees().abs();
        let usable = (0..self.0.len()).filter(|it| self.usable(*it, now));
        // Of equals the first: `min_by` keeps it.
        let nearest = usable.min_by(|a, b| away(*a).total_cmp(&away(*b)))?;
        let Some(present) = present else {
            return Some(nearest);
        };
        let gap = self.bearing(nearest).from(self.bearing(present));
        let margin = BORDER.min(gap.as_degrees().abs() * BORDER_SHARE);
        let gain = away(present) - away(nearest);
        let crossed = gain > 0.0 && gain >= 2.0 * margin;
        Some(if crossed { nearest } else { present })
    }

    /// Seats whose borders the hand reaches within so many degrees, the next one first.
    pub(super) fn ahead(
        &self,
        from: usize,
        angle: Angle,
        counterclockwise: bool,
        reach: f64,
        now: Instant,
    ) -> Vec<usize> {
        let sign = if counterclockwise { 1.0 } else { -1.0 };
        let offset = |seat: usize| sign * self.bearing(seat).from(angle).as_degrees();
        let mut ahead = Vec::new();
        let mut before = offset(from);
        let mut seat = from;
        while ahead.len() < AHEAD_MAX {
            let Some(next) = self.next(seat, counterclockwise, now) else {
                break;
            };
            if next == from {
                break;
            }
            let mut there = offset(next);
            while there < before {
                there += 360.0;
            }
            if f64::midpoint(before, there) > reach {
                break;
            }
            ahead.push(next);
            (seat, before) = (next, there);
        }
        ahead
    }

    /// The usable seats beside this one.
    pub(super) fn neighbours(&self, seat: usize, now: Instant) -> Vec<usize> {
        let mut both: Vec<usize> = [true, false]
            .into_iter()
            .filter_map(|it| self.next(seat, it, now))
            .filter(|it| *it != seat)
            .collect();
        both.dedup();
        both
    }

    fn next(&self, seat: usize, counterclockwise: bool, now: Instant) -> Option<usize> {
        let count = self.0.len();
        let step = if counterclockwise { 1 } else { count - 1 };
        (1..=count)
            .map(|it| (seat + it * step) % count)
            .find(|it| self.usable(*it, now))
    }
}
