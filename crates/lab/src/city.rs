//! Cities of the world, for emulated sites and terminals.

use model::geo::Position;

/// A city that `selvedge dev` and the benches know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct City {
    /// What it is called in addresses and on the command line.
    pub slug: &'static str,
    /// What it is called on a map.
    pub name: &'static str,
    /// The country's ISO 3166-1 code of two letters.
    pub country: &'static str,
    lat: f64,
    lon: f64,
}

impl City {
    /// Where its centre is.
    pub fn position(&self) -> Position {
        Position::new(self.lat, self.lon).expect("the table is checked by a test")
    }

    /// The city with this slug.
    pub fn find(slug: &str) -> Option<&'static Self> {
        CITIES.iter().find(|it| it.slug == slug)
    }

    /// The city closest to a position.
    pub fn nearest(position: Position) -> &'static Self {
        let distance = |it: &Self| it.position().distance_km(position);
        CITIES
            .iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .expect("the table is not empty")
    }
}

const fn city(
    slug: &'static str,
    name: &'static str,
    country: &'static str,
    lat: f64,
    lon: f64,
) -> City {
    City {
        slug,
        name,
        country,
        lat,
        lon,
    }
}

/// All cities, from east to west within each part of the world.
pub const CITIES: &[City] = &[
    // Oceania
    city("auckland", "Auckland", "NZ", -36.85, 174.76),
    city("sydney", "Sydney", "AU", -33.87, 151.21),
    city("melbourne", "Melbourne", "AU", -37.81, 144.96),
    city("perth", "Perth", "AU", -31.95, 115.86),
    // Asia
    city("tokyo", "Tokyo", "JP", 35.68, 139.69),
    city("osaka", "Osaka", "JP", 34.69, 135.50),
    city("seoul", "Seoul", "KR", 37.57, 126.98),
    city("shanghai", "Shanghai", "CN", 31.23, 121.47),
    city("manila", "Manila", "PH", 14.60, 120.98),
    city("beijing", "Beijing", "CN", 39.90, 116.41),
    city("hong-kong", "Hong Kong", "HK", 22.32, 114.17),
    city("jakarta", "Jakarta", "ID", -6.21, 106.85),
    city("singapore", "Singapore", "SG", 1.35, 103.82),
    city("bangkok", "Bangkok", "TH", 13.76, 100.50),
    city("delhi", "Delhi", "IN", 28.61, 77.21),
    city("mumbai", "Mumbai", "IN", 19.08, 72.88),
    city("dubai", "Dubai", "AE", 25.20, 55.27),
    city("istanbul", "Istanbul", "TR", 41.01, 28.98),
    // Africa
    city("nairobi", "Nairobi", "KE", -1.29, 36.82),
    city("cairo", "Cairo", "EG", 30.04, 31.24),
    city("johannesburg", "Johannesburg", "ZA", -26.20, 28.05),
    city("lagos", "Lagos", "NG", 6.52, 3.38),
    // Europe
    city("moscow", "Moscow", "RU", 55.76, 37.62),
    city("warsaw", "Warsaw", "PL", 52.23, 21.01),
    city("stockholm", "Stockholm", "SE", 59.33, 18.07),
    city("berlin", "Berlin", "DE", 52.52, 13.41),
    city("milan", "Milan", "IT", 45.46, 9.19),
    city("frankfurt", "Frankfurt", "DE", 50.11, 8.68),
    city("amsterdam", "Amsterdam", "NL", 52.37, 4.90),
    city("paris", "Paris", "FR", 48.86, 2.35),
    city("london", "London", "GB", 51.51, -0.13),
    city("madrid", "Madrid", "ES", 40.42, -3.70),
    // South America
    city("rio-de-janeiro", "Rio de Janeiro", "BR", -22.91, -43.17),
    city("sao-paulo", "São Paulo", "BR", -23.55, -46.63),
    city("buenos-aires", "Buenos Aires", "AR", -34.60, -58.38),
    city("santiago", "Santiago", "CL", -33.45, -70.67),
    city("bogota", "Bogotá", "CO", 4.71, -74.07),
    city("lima", "Lima", "PE", -12.05, -77.04),
    // North America
    city("new-york", "New York", "US", 40.71, -74.01),
    city("toronto", "Toronto", "CA", 43.65, -79.38),
    city("miami", "Miami", "US", 25.76, -80.19),
    city("chicago", "Chicago", "US", 41.88, -87.63),
    city("dallas", "Dallas", "US", 32.78, -96.80),
    city("mexico-city", "Mexico City", "MX", 19.43, -99.13),
    city("los-angeles", "Los Angeles", "US", 34.05, -118.24),
    city("seattle", "Seattle", "US", 47.61, -122.33),
    city("san-francisco", "San Francisco", "US", 37.77, -122.42),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_city_is_somewhere_and_once() {
        let mut slugs = BTreeSet::new();
        for city in CITIES {
            assert!(slugs.insert(city.slug), "{} is there twice", city.slug);
            assert!(
                city.slug
                    .chars()
                    .all(|it| it.is_ascii_lowercase() || it == '-'),
                "{}",
                city.slug
            );
            assert!(city.country.len() == 2 && city.country.is_ascii());
            assert_eq!(City::find(city.slug), Some(city));
            assert_eq!(City::nearest(city.position()), city);
        }
    }

    /// A slip of the pen puts a city far away from where its neighbours are.
    #[test]
    fn known_distances_hold() {
        for (a, b, km) in [
            ("berlin", "frankfurt", 424.0),
            ("shanghai", "frankfurt", 8_840.0),
            ("sao-paulo", "rio-de-janeiro", 360.0),
            ("tokyo", "osaka", 397.0),
            ("london", "new-york", 5_570.0),
            ("sydney", "auckland", 2_155.0),
            ("cairo", "johannesburg", 6_260.0),
            ("san-francisco", "seattle", 1_094.0),
            ("lima", "bogota", 1_880.0),
            ("moscow", "istanbul", 1_755.0),
            ("singapore", "mumbai", 3_910.0),
        ] {
            let at = |slug| City::find(slug).unwrap().position();
            let found = at(a).distance_km(at(b));
            assert!(
                (found / km - 1.0).abs() < 0.02,
                "{a} to {b}: {found:.0} km, not {km}"
            );
        }
    }

    #[test]
    fn a_position_has_a_nearest_city() {
        let potsdam = Position::new(52.39, 13.06).unwrap();
        assert_eq!(City::nearest(potsdam).slug, "berlin");
        assert_eq!(City::find("atlantis"), None);
    }
}
