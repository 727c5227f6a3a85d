//! Where things are on the globe.

use serde::{Deserialize, Serialize};

/// The mean radius of the Earth in kilometres (IUGG, R1).
const EARTH_RADIUS_KM: f64 = 6_371.009;

/// A point on the globe in degrees. Always valid: latitude within ±90, longitude within ±180.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "RawPosition")]
pub struct Position {
    lat: f64,
    lon: f64,
}

/// Why two numbers are not a position.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{lat}, {lon} is not a position: latitude is -90 to 90 degrees, longitude -180 to 180 degrees"
)]
pub struct PositionError {
    lat: f64,
    lon: f64,
}

impl Position {
    /// A position from degrees north and degrees east.
    ///
    /// # Errors
    /// When a number is out of range or not a number.
    pub fn new(lat: f64, lon: f64) -> Result<Self, PositionError> {
        if (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon) {
            Ok(Self { lat, lon })
        } else {
            Err(PositionError { lat, lon })
        }
    }

    /// Degrees north of the equator.
    pub const fn lat(self) -> f64 {
        self.lat
    }

    /// Degrees east of Greenwich.
    pub const fn lon(self) -> f64 {
        self.lon
    }

    /// The great-circle distance in kilometres, by the haversine formula on a sphere: within 0.6 %
    /// of the ellipsoid.
    pub fn distance_km(self, other: Self) -> f64 {
        let (lat1, lat2) = (self.lat.to_radians(), other.lat.to_radians());
        let half_lat = (lat2 - lat1) / 2.0;
        let half_lon = (other.lon - self.lon).to_radians() / 2.0;
        let a = half_lat.sin().powi(2) + lat1.cos() * lat2.cos() * half_lon.sin().powi(2);
        2.0 * EARTH_RADIUS_KM * a.sqrt().min(1.0).asin()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPosition {
    lat: f64,
    lon: f64,
}

impl TryFrom<RawPosition> for Position {
    type Error = PositionError;

    fn try_from(raw: RawPosition) -> Result<Self, PositionError> {
        Self::new(raw.lat, raw.lon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_from_london_to_sydney() {
        let london = Position::new(51.5074, -0.1278).unwrap();
        let sydney = Position::new(-33.8688, 151.2093).unwrap();
        let km = london.distance_km(sydney);
        assert!((16_980.0..17_010.0).contains(&km), "{km}");
        assert!(london.distance_km(london) < 1e-6);
    }

    #[test]
    fn the_date_line_is_no_obstacle() {
        let west = Position::new(0.0, 179.9).unwrap();
        let east = Position::new(0.0, -179.9).unwrap();
        assert!(west.distance_km(east) < 23.0);
    }

    #[test]
    fn nowhere_is_refused() {
        assert!(Position::new(91.0, 0.0).is_err());
        assert!(Position::new(0.0, f64::NAN).is_err());
    }
}
