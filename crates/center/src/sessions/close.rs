//! The end of a session.

use std::sync::Arc;
use std::time::Duration;

use api::link::ReleaseWhy;
use model::{AppName, Epoch, NodeId, SessionId};

use super::place::release;
use super::{Turn, unknown};
use crate::error::{Refusal, chain};
use crate::records::{RecordError, SessionRecord};
use crate::shared::Shared;

/// How long a node's word that an instance is gone waits for a change of the same session.
const ENDED_WAIT: Duration = Duration::from_secs(5);

/// Closes a session because somebody said so.
pub(crate) async fn close(shared: Arc<Shared>, id: SessionId) -> Result<(), Refusal> {
    let turn = Turn::take(&shared, id).await?;
    remove(&shared, &turn).await?;
    let SessionRecord { node, epoch, .. } = turn.record;
    tracing::info!(session = %id, "a session was closed");
    release(&shared, node, id, epoch, ReleaseWhy::Closed).await;
    Ok(())
}

/// Closes all sessions of an app that is gone.
pub(crate) async fn close_app(shared: Arc<Shared>, app: AppName) {
    let sessions: Vec<_> = {
        let world = shared.world();
        let all = world.sessions.values();
        let mine = all.filter(|it| it.record.app == app);
        mine.map(|it| it.record.id).collect()
    };
    for id in sessions {
        if let Err(error) = close(Arc::clone(&shared), id).await {
            tracing::warn!(session = %id, error = error.message, "a session of a removed app could not be closed");
        }
    }
}

/// A node says that an instance is gone for good. Only its owner's word counts.
pub(crate) async fn ended(
    shared: &Shared,
    node: NodeId,
    id: SessionId,
    epoch: Epoch,
    why: &str,
) -> Result<(), String> {
    let owns = |record: &SessionRecord| record.node == node && record.epoch == epoch;
    let session = shared.world().sessions.get(&id).map(|it| owns(&it.record));
    if session != Some(true) {
        return Ok(());
    }
    let turn = match tokio::time::timeout(ENDED_WAIT, Turn::take(shared, id)).await {
        Ok(Ok(turn)) => turn,
        Ok(Err(_)) => return Ok(()), // it is gone already
        Err(_) => return Err("the session is being changed; say it again".into()),
    };
    if !owns(&turn.record) {
        return Ok(());
    }
    if shared.world().is_draining(node) {
        // The node goes, the session does not: its terminal will ask for another place.
        tracing::info!(session = %id, %node, "a session has lost its node");
        return Ok(());
    }
    tracing::info!(session = %id, %node, why, "a session has ended");
    remove(shared, &turn).await.map_err(|error| {
        tracing::error!(session = %id, error = error.message, "an ended session could not be removed");
        "the center failed to note it; say it again".to_owned()
    })
}

/// Removes a session that nobody holds, if it is still as `epoch` left it.
pub(crate) async fn collect(shared: &Shared, id: SessionId, epoch: Epoch, why: &str) {
    let Ok(turn) = Turn::take(shared, id).await else {
        return;
    };
    if turn.record.epoch != epoch {
        return;
    }
    tracing::info!(session = %id, why, "a session was collected");
    shared.metrics.sessions.collected.add(1);
    if remove(shared, &turn).await.is_ok() {
        let SessionRecord { node, epoch, .. } = turn.record;
        release(shared, node, id, epoch, ReleaseWhy::Closed).await;
    }
}

/// Removes the record; from then on whoever holds the session is told to stop.
async fn remove(shared: &Shared, turn: &Turn) -> Result<(), Refusal> {
    let id = turn.record.id;
    let key = SessionRecord::key_of(id);
    match shared.records.remove(&key, turn.revision).await {
        Ok(()) => {}
        Err(error @ RecordError::Conflict) => {
            tracing::warn!(session = %id, error = %chain(&error), "a session was changed from elsewhere");
            return Err(unknown(id));
        }
        Err(error) => return Err(error.into()),
    }
    shared.world().drop_session(id);
    shared.changed();
    Ok(())
}
