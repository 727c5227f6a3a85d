//! What is published: releases come, never change, and go with their app.

use api::ErrorCode;
use api::app::Release;
use model::{AppName, Manifest, ReleaseNumber};

use crate::clock;
use crate::error::Refusal;
use crate::live;
use crate::records::{RecordError, ReleaseRecord};
use crate::sessions::unknown_app;
use crate::shared::Shared;

/// Releases kept of each app; sessions of an older one go on with what their node was told.
const RELEASES_MAX: usize = 20;

/// Apps of one cloud.
const APPS_MAX: usize = 1_000;

/// All present manifests together, in bytes: every node is told of them in one message, which may
/// have [`mesh::link::MESSAGE_MAX`] and names the peers as well.
const MANIFESTS_MAX: usize = mesh::link::MESSAGE_MAX * 3 / 4;

/// Publishers that meet at the same number try again.
const TRIES: usize = 5;

/// Publishes a release, unless it is the present one already.
pub(crate) async fn deploy(shared: &Shared, manifest: Manifest) -> Result<(), Refusal> {
    for _ in 0..TRIES {
        let Some(release) = next_release(shared, &manifest)? else {
            return Ok(());
        };
        match shared
            .records
            .write(&ReleaseRecord(release.clone()), None)
            .await
        {
            Ok(revision) => {
                tracing::info!(app = %manifest.name(), release = %release.number, "a release was published");
                shared.world().put_release(release, revision);
                forget_old(shared, manifest.name()).await;
                shared.changed();
                shared.wake.plan.notify_one();
                return Ok(());
            }
            Err(RecordError::Conflict) => {} // the other one follows in memory in a moment
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refusal::conflict())
}

fn next_release(shared: &Shared, manifest: &Manifest) -> Result<Option<Release>, Refusal> {
    let world = shared.world();
    let present = world.apps.get(manifest.name()).and_then(|it| it.present());
    if present.is_some_and(|it| it.manifest == *manifest) {
        return Ok(None);
    }
    if present.is_none() && world.apps.len() >= APPS_MAX {
        let message = format!("there are {APPS_MAX} apps already");
        return Err(Refusal::new(ErrorCode::Unavailable, message).hint("remove one first"));
    }
    let apps = world
        .apps
        .iter()
        .filter(|(name, _)| *name != manifest.name());
    let others = apps.filter_map(|(_, app)| app.present());
    let together: usize = others.map(|it| size(&it.manifest)).sum();
    if together + size(manifest) > MANIFESTS_MAX {
        let message = format!("all manifests together are longer than {MANIFESTS_MAX} bytes");
        return Err(Refusal::new(ErrorCode::TooLarge, message)
            .hint("shorten one, or remove an app that nobody uses"));
    }
    let number = present.map_or(1, |it| it.number.0.saturating_add(1));
    Ok(Some(Release {
        number: ReleaseNumber(number),
        manifest: manifest.clone(),
        created_unix_ms: clock::unix_ms(),
    }))
}

/// The manifest's length on the wire.
fn size(manifest: &Manifest) -> usize {
    serde_json::to_vec(manifest).map_or(0, |it| it.len())
}

/// Removes an app with all its releases.
pub(crate) async fn remove(shared: &Shared, name: &AppName) -> Result<(), Refusal> {
    let numbers: Vec<u32> = {
        let world = shared.world();
        let app = world.apps.get(name).ok_or_else(|| unknown_app(name))?;
        app.releases.keys().copied().collect()
    };
    let keys = numbers.iter().map(|it| key(name, *it)).collect();
    shared.records.remove_all(keys).await?;
    live::forget_keys(shared, name).await;
    live::forget_offsets(shared, name).await;
    tracing::info!(app = %name, "an app was removed");
    let mut world = shared.world();
    for number in numbers {
        world.drop_release(name, number);
    }
    drop(world);
    shared.changed();
    shared.wake.plan.notify_one();
    Ok(())
}

/// Old releases are a courtesy to those who look back; if they cannot be removed now, they will
/// be after the next publication.
async fn forget_old(shared: &Shared, name: &AppName) {
    let old: Vec<u32> = {
        let world = shared.world();
        let Some(app) = world.apps.get(name) else {
            return;
        };
        let newest_first = app.releases.keys().rev();
        newest_first.skip(RELEASES_MAX).copied().collect()
    };
    if old.is_empty() {
        return;
    }
    let keys = old.iter().map(|it| key(name, *it)).collect();
    if shared.records.remove_all(keys).await.is_ok() {
        let mut world = shared.world();
        for number in old {
            world.drop_release(name, number);
        }
    }
}

fn key(name: &AppName, number: u32) -> String {
    ReleaseRecord::key_of(name, ReleaseNumber(number))
}
