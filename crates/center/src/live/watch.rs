//! A viewer's way in.

use std::collections::BTreeMap;
use std::time::Duration;

use api::ErrorCode;
use api::live::{WatchEvent, WatchTicket};
use mesh::token::WatchClaims;
use model::{AppName, NodeId};

use super::event;
use super::view::publisher;
use crate::clock::{self, millis};
use crate::dispatch::Ways;
use crate::error::Refusal;
use crate::sessions::{choose_entry, entry_of, no_entry};
use crate::shared::Shared;

/// How long a ticket opens new connections. A viewer that comes later asks for a new one.
const TICKET_LIFE: Duration = Duration::from_secs(3_600);

/// Tells a player that speaks WebRTC where to enter: the beginning of the edge's address, and a
/// ticket.
pub(crate) fn watch_by_webrtc(
    shared: &Shared,
    name: &AppName,
    request: &WatchEvent,
) -> Result<(String, WatchTicket), Refusal> {
    let ticket = watch(shared, name, request)?;
    let world = shared.world();
    let base = |node: &NodeId| world.nodes.get(node)?.record.ingest.webrtc.clone();
    let nearest = base(&ticket.entry.node).map(|it| {
        // By the way in that this very player has.
        let scheme = it.split_once("://").map_or("https", |(scheme, _)| scheme);
        format!("{scheme}://{}", ticket.entry.address)
    });
    let any = || world.ready().find_map(|(node, _)| base(&node.record.id));
    let base = nearest.or_else(any).ok_or_else(|| {
        let message = "no edge plays by WebRTC now";
        Refusal::new(ErrorCode::Unavailable, message).hint("start one with `--webrtc`")
    })?;
    Ok((base, ticket))
}

/// Tells a viewer where to enter.
pub(crate) fn watch(
    shared: &Shared,
    name: &AppName,
    request: &WatchEvent,
) -> Result<WatchTicket, Refusal> {
    let world = shared.world();
    let event = event(&world, name)?;
    let mut on_air = Vec::new();
    let mut sources: BTreeMap<NodeId, usize> = BTreeMap::new();
    for camera in &event.cameras {
        if let Some((node, _)) = publisher(&world, name, &camera.name) {
            on_air.push(camera.name.clone());
            *sources.entry(node.record.id).or_default() += 1;
        }
    }
    let terminal = &request.terminal;
    // Straight to where most cameras come in, if that is as near as any.
    let source = sources.into_iter().max_by_key(|(_, cameras)| *cameras);
    let source = source.map(|(node, _)| node);
    let entry = choose_entry(&world, terminal, source, request.lost_entry, None)
        .and_then(|node| entry_of(&world, node, terminal))
        .ok_or_else(no_entry)?;
    let claims = WatchClaims {
        event: name.clone(),
        expires_unix_ms: clock::unix_ms_in(TICKET_LIFE),
    };
    Ok(WatchTicket {
        event: event.clone(),
        token: shared.authority.signer().sign(&claims),
        expires_unix_ms: claims.expires_unix_ms,
        round_trip_ms: millis(Ways::new(&world, terminal).to(entry.node)),
        entry,
        on_air,
    })
}
