//! A publisher's way in, for those who come as media sessions. Other tools have their addresses.

use api::ErrorCode;
use api::live::{self, PublishCamera, PublishWay};
use model::AppName;

use super::event;
use crate::admin::secret_hash;
use crate::clock::millis;
use crate::dispatch::Ways;
use crate::error::Refusal;
use crate::sessions::{choose_entry, entry_of, no_entry};
use crate::shared::Shared;

/// Tells whoever has the key where to publish.
pub(crate) fn publish(
    shared: &Shared,
    name: &AppName,
    key: &str,
    request: &PublishCamera,
) -> Result<PublishWay, Refusal> {
    let (world, hash) = (shared.world(), secret_hash(key));
    let mut keys = world.stream_keys.values().map(|it| &it.0);
    // Hashes of secrets: their comparison's time tells nothing of use.
    let good = keys.any(|it| {
        let camera = it.camera.as_ref();
        it.event == *name && it.hash == hash && camera.is_none_or(|it| *it == request.camera)
    });
    if !good {
        // The same words whether event or key is wrong: which events there are is nobody's business.
        let message = format!("the stream key is not good for {name}/{}", request.camera);
        return Err(Refusal::new(ErrorCode::Unauthorized, message)
            .hint(format!("`selvedge live key create {name}` makes one")));
    }
    let event = event(&world, name)?;
    if event.camera(&request.camera).is_none() {
        let known: Vec<_> = event.cameras.iter().map(|it| it.name.as_str()).collect();
        let message = format!("{name} has no camera called {}", request.camera);
        return Err(Refusal::not_found(message).hint(format!("it has {}", known.join(", "))));
    }
    let terminal = &request.terminal;
    let entry = choose_entry(
        &world,
        terminal,
        None,
        request.lost_entry,
        request.site.as_ref(),
    )
    .and_then(|node| entry_of(&world, node, terminal))
    .ok_or_else(|| match &request.site {
        Some(site) => Refusal::new(
            ErrorCode::NoPlace,
            format!("no node of {site} can be published to"),
        )
        .hint("`selvedge site list` shows what there is"),
        None => no_entry(),
    })?;
    Ok(PublishWay {
        round_trip_ms: millis(Ways::new(&world, terminal).to(entry.node)),
        broadcast: live::broadcast(name, &request.camera),
        entry,
    })
}
