//! The center's own certificate is good for a day; half way it gets a new one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::shared::Shared;

/// How often it is looked at. The wall clock may jump, so the time is not slept through at once.
const INTERVAL: Duration = Duration::from_secs(600);

/// Renews the center's own certificate until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let sleep = || tokio::time::sleep(INTERVAL);
    while stop.run_until_cancelled(sleep()).await.is_some() {
        let now = SystemTime::now();
        let due = shared.authority.credentials().renew_at();
        if due.is_some_and(|it| it > now) {
            continue;
        }
        match shared.authority.renew_own(now) {
            Ok(()) => tracing::info!("the center's own certificate was renewed"),
            Err(error) => {
                tracing::error!(error = %chain(&error), "the center's own certificate could not be renewed");
            }
        }
    }
}
