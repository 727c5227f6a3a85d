//! Join tokens that nobody has used are forgotten when they run out.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::error::chain;
use crate::records::{JoinRecord, Record as _, RecordError};
use crate::shared::Shared;

/// Tokens live for an hour; a few minutes more in the store harm nobody.
const INTERVAL: Duration = Duration::from_secs(300);

/// Forgets old join tokens until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        if let Err(error) = sweep(&shared).await {
            tracing::warn!(error = %chain(&error), "old join tokens could not be removed");
        }
        let sleep = tokio::time::sleep(INTERVAL);
        if stop.run_until_cancelled(sleep).await.is_none() {
            return;
        }
    }
}

async fn sweep(shared: &Shared) -> Result<(), RecordError> {
    let now = clock::unix_ms();
    for (record, revision) in shared.records.all::<JoinRecord>().await? {
        if record.expires_unix_ms >= now {
            continue;
        }
        match shared.records.remove(&record.key(), revision).await {
            Ok(()) | Err(RecordError::Conflict) => {} // used at this very moment
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
