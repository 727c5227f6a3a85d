//! Where people say that they are.

use anyhow::bail;
use api::client::Client;
use api::place::Place;
use model::{Terminal, document};

use crate::exit::{Ending, Told};

/// A terminal in one of the center's places, by name or access network.
pub(super) async fn terminal_in(client: &Client, wanted: &str) -> anyhow::Result<Terminal> {
    let places = client.places().await?.items;
    let is = |place: &&Place| {
        let network = place.network.as_str();
        place.name.to_lowercase() == wanted.to_lowercase()
            || network == wanted
            || network.rsplit(':').next() == Some(wanted)
    };
    let Some(place) = places.iter().find(is) else {
        let names = places.iter().map(|it| it.name.as_str());
        let told = Told::new(Ending::Usage, format!("no place is called `{wanted}`"));
        match document::nearest(wanted, names) {
            Some(near) => bail!(told.hint(format!("did you mean {near}?"))),
            None => bail!(told),
        }
    };
    Ok(Terminal {
        position: Some(place.position),
        network: Some(place.network.clone()),
        round_trips: Vec::new(),
    })
}
