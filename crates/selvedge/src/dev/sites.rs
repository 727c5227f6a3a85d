//! Which sites `selvedge dev` starts, and from where people can look at them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use api::place::Place;
use lab::city::{CITIES, City};
use model::document::{self, DocumentError};
use model::{AccessNetwork, Position, SiteName};
use serde::Deserialize;

use crate::config;
use crate::exit::{Ending, Told};

/// The sites without a file.
const DEFAULT: [&str; 3] = ["shanghai", "frankfurt", "sao-paulo"];

/// The most sites on one machine: each is a process, and a proxy for every place.
const SITES_MAX: usize = 16;

/// A site to start.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Site {
    pub(super) name: SiteName,
    pub(super) title: String,
    pub(super) position: Position,
}

impl Site {
    /// The network by which it reaches others: the one of people at the same place.
    pub(super) fn network(&self) -> AccessNetwork {
        network(self.name.as_str())
    }
}

/// The sites in a file, or the usual three.
pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Vec<Site>> {
    let Some(path) = file else {
        return Ok(DEFAULT
            .iter()
            .map(|slug| {
                from_city(City::find(slug).expect("the usual three are cities of the table"))
            })
            .collect());
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(parse(&text).map_err(|error| config::in_file(path, error))?)
}

/// Every place that people can be in: the cities of the table, and the sites wherever they are.
pub(super) fn places(sites: &[Site]) -> Vec<Place> {
    let cities = CITIES
        .iter()
        .map(|city| (city.slug, city.name, city.position()));
    let sites = sites
        .iter()
        .map(|site| (site.name.as_str(), site.title.as_str(), site.position));
    // A site that is called like a city and is elsewhere takes the city's place.
    let places: BTreeMap<&str, (&str, Position)> = cities
        .chain(sites)
        .map(|(slug, name, position)| (slug, (name, position)))
        .collect();
    places
        .into_iter()
        .map(|(slug, (name, position))| Place {
            name: name.to_owned(),
            network: network(slug),
            position,
        })
        .collect()
}

/// The file: `[[site]]` tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sites {
    site: Vec<SiteTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteTable {
    name: SiteName,
    title: Option<String>,
    lat: Option<f64>,
    lon: Option<f64>,
}

fn parse(text: &str) -> Result<Vec<Site>, DocumentError> {
    let tables = document::read::<Sites>(text)?.site;
    if tables.is_empty() || tables.len() > SITES_MAX {
        let count = tables.len();
        return Err(wrong(
            format!("{count} sites"),
            format!("1 to {SITES_MAX} sites fit on one machine"),
        ));
    }
    let sites: Vec<Site> = tables.into_iter().map(site).collect::<Result<_, _>>()?;
    for (index, site) in sites.iter().enumerate() {
        if sites[..index].iter().any(|it| it.name == site.name) {
            return Err(wrong(
                format!("the site `{}` is there twice", site.name),
                "each site needs a name of its own",
            ));
        }
    }
    Ok(sites)
}

fn site(table: SiteTable) -> Result<Site, DocumentError> {
    let city = City::find(table.name.as_str());
    let position = match (table.lat, table.lon, city) {
        (Some(lat), Some(lon), _) => Position::new(lat, lon)
            .map_err(|error| wrong(error.to_string(), format!("mend the site `{}`", table.name)))?,
        (None, None, Some(city)) => city.position(),
        _ => {
            let near = document::nearest(table.name.as_str(), CITIES.iter().map(|it| it.slug));
            let hint = near.map_or_else(String::new, |it| format!(", or did you mean `{it}`?"));
            return Err(wrong(
                format!("where is the site `{}`?", table.name),
                format!("give `lat` and `lon` in degrees{hint}"),
            ));
        }
    };
    let title = table.title.or_else(|| city.map(|it| it.name.to_owned()));
    Ok(Site {
        title: title.unwrap_or_else(|| table.name.to_string()),
        name: table.name,
        position,
    })
}

fn from_city(city: &City) -> Site {
    Site {
        name: city
            .slug
            .parse()
            .expect("slugs are names: a test tries all"),
        title: city.name.to_owned(),
        position: city.position(),
    }
}

/// The access network of people in a place.
fn network(slug: &str) -> AccessNetwork {
    format!("dev:{slug}")
        .parse()
        .expect("a name of 40 letters, digits and hyphens at most")
}

fn wrong(message: String, hint: impl Into<String>) -> DocumentError {
    DocumentError {
        line: None,
        column: None,
        message,
        hint: Some(hint.into()),
    }
}

/// Refuses to listen where nobody could be told to go.
pub(super) fn reachable(listen: std::net::SocketAddr) -> Result<std::net::IpAddr, Told> {
    if listen.ip().is_unspecified() {
        let told = Told::new(
            Ending::Usage,
            format!(
                "{} is every address and none: terminals must be told one",
                listen.ip()
            ),
        );
        return Err(told.hint("name the one that others reach, such as 192.168.1.5:7400"));
    }
    Ok(listen.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_three() {
        let sites = read(None).unwrap();
        let titles: Vec<&str> = sites.iter().map(|it| it.title.as_str()).collect();
        assert_eq!(titles, ["Shanghai", "Frankfurt", "São Paulo"]);
        let places = places(&sites);
        assert_eq!(places.len(), CITIES.len());
        assert!(places.iter().any(|it| it.network == sites[1].network()));
    }

    #[test]
    fn every_city_can_be_a_site() {
        for city in CITIES {
            assert_eq!(from_city(city).title, city.name);
        }
    }

    #[test]
    fn a_file_may_name_cities_and_any_other_place() {
        let text = "[[site]]\nname = 'tokyo'\n[[site]]\nname = 'ship'\nlat = 0\nlon = -30.5";
        let sites = parse(text).unwrap();
        assert_eq!(sites[0].title, "Tokyo");
        assert_eq!(sites[1].title, "ship");
        let places = places(&sites);
        assert_eq!(places.len(), CITIES.len() + 1);
        let ship = places.iter().find(|it| it.name == "ship").unwrap();
        assert_eq!(ship.network.as_str(), "dev:ship");
        assert_eq!(ship.position, sites[1].position);
    }

    #[test]
    fn a_wrong_file_is_refused_with_words() {
        check("[[site]]\nnmae = 'x'", "did you mean `name`?");
        check("[[site]]\nname = 'atlantis'", "`lat` and `lon`");
        check("[[site]]\nname = 'berlim'", "did you mean `berlin`?");
        check("[[site]]\nname = 'x'\nlat = 91\nlon = 0", "not a position");
        check(
            "[[site]]\nname='rio-de-janeiro'\n[[site]]\nname='rio-de-janeiro'",
            "twice",
        );
        check("site = []", "1 to 16");
        check("", "missing field `site`");
    }

    #[track_caller]
    fn check(text: &str, words: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
