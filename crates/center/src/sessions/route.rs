//! The way of a terminal to its app: the entry, the ticket, and whether another place would be
//! better.

use std::collections::BTreeSet;
use std::time::Duration;

use api::ErrorCode;
use api::node::{Certificate, Endpoint};
use api::session::{Entry, Offer, Ticket};
use mesh::token::SessionClaims;
use model::manifest::Stream;
use model::{NodeId, SiteName, Terminal};

use crate::clock::{self, millis};
use crate::dispatch::{self, Want, Ways};
use crate::error::Refusal;
use crate::records::SessionRecord;
use crate::shared::Shared;
use crate::world::World;

/// How long a ticket opens new connections. A terminal that comes later asks for a new one.
const TICKET_LIFE: Duration = Duration::from_secs(600);

/// A restart costs the person their place in the app: it is offered only for a clear gain, of
/// this much and of this share.
const OFFER_GAIN: Duration = Duration::from_millis(30);
const OFFER_SHARE: f64 = 0.3;

/// A node as an entry for this terminal; `None` if it has no address there.
pub(crate) fn entry_of(world: &World, node: NodeId, terminal: &Terminal) -> Option<Entry> {
    let record = &world.nodes.get(&node)?.record;
    let address = Endpoint::choose(&record.endpoints, terminal.network.as_ref())?;
    let (scheme, certificate_sha256) = match &record.certificate {
        Certificate::Trusted => ("wss", None),
        Certificate::Pinned { sha256 } => ("ws", Some(sha256.clone())),
    };
    Some(Entry {
        site: record.site.name.clone(),
        node,
        address: address.to_owned(),
        certificate_sha256,
        websocket: format!("{scheme}://{address}/moq"),
    })
}

/// Where the terminal should enter. `avoid` is left out unless nothing else is there.
pub(crate) fn choose_entry(
    world: &World,
    terminal: &Terminal,
    host: Option<NodeId>,
    avoid: Option<NodeId>,
    site: Option<&SiteName>,
) -> Option<NodeId> {
    let avoided: BTreeSet<_> = avoid.into_iter().collect();
    dispatch::entry(world, terminal, host, &avoided, site)
        .or_else(|| dispatch::entry(world, terminal, host, &BTreeSet::new(), site))
}

/// The way in for the session's terminal; `None` if its entry has no address for it.
pub(crate) fn ticket(
    shared: &Shared,
    world: &World,
    record: &SessionRecord,
    terminal: &Terminal,
) -> Option<Ticket> {
    let entry = entry_of(world, record.entry, terminal)?;
    let host_site = world.nodes.get(&record.node).map(|it| it.site().clone());
    let claims = SessionClaims {
        session: record.id,
        epoch: record.epoch,
        app: Some(record.app.clone()),
        expires_unix_ms: clock::unix_ms_in(TICKET_LIFE),
    };
    Some(Ticket {
        session: record.id,
        epoch: record.epoch,
        app: record.app.clone(),
        host_site: host_site.unwrap_or_else(|| record.explanation.site.clone()),
        entry,
        token: shared.authority.signer().sign(&claims),
        expires_unix_ms: claims.expires_unix_ms,
        round_trip_ms: millis(whole_way(world, terminal, record.entry, record.node)),
    })
}

/// The round trip from the terminal by its entry to the app.
pub(crate) fn whole_way(
    world: &World,
    terminal: &Terminal,
    entry: NodeId,
    host: NodeId,
) -> Duration {
    Ways::new(world, terminal).to(entry) + dispatch::between(world, entry, host)
}

/// A site where the app would be clearly nearer, if it ran there.
pub(crate) fn offer(
    world: &World,
    record: &SessionRecord,
    manifest: &Stream,
    terminal: &Terminal,
) -> Option<Offer> {
    let want = Want {
        session: record.id,
        manifest,
        terminal,
        avoid: &[],
        site: None,
    };
    let host_site = world.nodes.get(&record.node)?.site();
    let here = whole_way(world, terminal, record.entry, record.node);
    let ranked = dispatch::rank(world, &want).ranked;
    let others = ranked.iter().filter(|it| it.site != *host_site);
    let there = others.min_by_key(|it| it.round_trip)?;
    let gain = here.checked_sub(there.round_trip)?;
    let clear = gain >= OFFER_GAIN && gain.as_secs_f64() >= here.as_secs_f64() * OFFER_SHARE;
    clear.then(|| Offer {
        site: there.site.clone(),
        here_ms: millis(here),
        there_ms: millis(there.round_trip),
    })
}

/// What people call a node's site.
pub(crate) fn site_title(world: &World, node: NodeId) -> String {
    let node = world.nodes.get(&node);
    node.map_or_else(|| "its site".into(), |it| it.record.site.title.clone())
}

/// There is an entry, but none that this terminal can reach.
pub(crate) fn no_entry() -> Refusal {
    let message = "no node has an address in the terminal's network";
    Refusal::new(ErrorCode::NoPlace, message)
        .hint("give a node an endpoint without a network, or one with this network")
}
