//! Keys that let cameras publish. Only their hashes are kept, and every edge has those.

use api::ErrorCode;
use api::live::{CreateStreamKey, CreatedStreamKey, StreamKeyView};
use model::AppName;

use super::event;
use crate::admin::{random_text, secret_hash};
use crate::clock;
use crate::error::{Refusal, chain};
use crate::records::{Record as _, StreamKeyRecord};
use crate::shared::Shared;

/// Keys of one event: one for each camera, and as many again while they are replaced.
const KEYS_MAX: usize = 128;

/// Keys of all events together: every edge is told of them in one message.
const ALL_KEYS_MAX: usize = 1_024;

const LABEL_MAX: usize = 64;

/// Makes a key.
pub(crate) async fn create_key(
    shared: &Shared,
    name: &AppName,
    request: CreateStreamKey,
) -> Result<CreatedStreamKey, Refusal> {
    {
        let world = shared.world();
        let event = event(&world, name)?;
        if let Some(camera) = request
            .camera
            .as_ref()
            .filter(|it| event.camera(it).is_none())
        {
            let known: Vec<_> = event.cameras.iter().map(|it| it.name.as_str()).collect();
            let message = format!("{name} has no camera called {camera}");
            return Err(Refusal::not_found(message).hint(format!("it has {}", known.join(", "))));
        }
        let here = world.stream_keys.values().filter(|it| it.0.event == *name);
        if here.count() >= KEYS_MAX || world.stream_keys.len() >= ALL_KEYS_MAX {
            return Err(
                Refusal::new(ErrorCode::Unavailable, "there are too many keys already")
                    .hint("revoke those that nobody uses: `selvedge live key list`"),
            );
        }
    }
    if request.label.chars().count() > LABEL_MAX {
        let message = format!("the label is longer than {LABEL_MAX} characters");
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    let random = |error: getrandom::Error| Refusal::internal(&error);
    let key = random_text().map_err(random)?;
    let record = StreamKeyRecord {
        id: format!("{:016x}", getrandom::u64().map_err(random)?),
        event: name.clone(),
        label: request.label,
        camera: request.camera,
        hash: secret_hash(&key),
        created_unix_ms: clock::unix_ms(),
    };
    let view = record.view();
    let revision = shared.records.write(&record, None).await?;
    shared.world().put_stream_key(record, revision);
    tracing::info!(event = %name, key = view.id, "a stream key was made");
    shared.wake.plan.notify_one();
    Ok(CreatedStreamKey { view, key })
}

/// The keys of an event, oldest first.
pub(crate) fn keys(shared: &Shared, name: &AppName) -> Result<Vec<StreamKeyView>, Refusal> {
    let world = shared.world();
    event(&world, name)?;
    let records = world.stream_keys.values().map(|it| &it.0);
    let mut views: Vec<_> = records
        .filter(|it| it.event == *name)
        .map(StreamKeyRecord::view)
        .collect();
    views.sort_by_key(|it| it.created_unix_ms);
    Ok(views)
}

/// Takes a key back. Cameras that publish with it are cut off when the edges hear of it.
pub(crate) async fn revoke_key(shared: &Shared, name: &AppName, id: &str) -> Result<(), Refusal> {
    let (key, revision) = {
        let world = shared.world();
        let known = world.stream_keys.get(id).filter(|it| it.0.event == *name);
        let (record, revision) = known.ok_or_else(|| {
            Refusal::not_found(format!("{name} has no key {id}"))
                .hint(format!("`selvedge live key list {name}` shows all"))
        })?;
        (record.key(), *revision)
    };
    shared.records.remove(&key, revision).await?;
    shared.world().stream_keys.remove(id);
    tracing::info!(event = %name, key = id, "a stream key was revoked");
    shared.wake.plan.notify_one();
    Ok(())
}

/// An event is gone: so are its keys, lest they open the next one of that name.
pub(crate) async fn forget_keys(shared: &Shared, name: &AppName) {
    let ids: Vec<(String, String)> = {
        let world = shared.world();
        let keys = world.stream_keys.values().map(|it| &it.0);
        let gone = keys.filter(|it| it.event == *name);
        gone.map(|it| (it.id.clone(), it.key())).collect()
    };
    if ids.is_empty() {
        return;
    }
    let keys = ids.iter().map(|(_, key)| key.clone()).collect();
    if let Err(error) = shared.records.remove_all(keys).await {
        tracing::error!(event = %name, error = %chain(&error), "its stream keys could not be removed");
        return;
    }
    let mut world = shared.world();
    for (id, _) in ids {
        world.stream_keys.remove(&id);
    }
}
