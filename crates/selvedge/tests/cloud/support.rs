//! What all tests here need.

pub(crate) mod cloud;
pub(crate) mod player;
pub(crate) mod processes;
pub(crate) mod stranger;

use std::time::Duration;

/// Far beyond what any step takes, even beside other load. What a figure is promised for is asserted
/// apart from this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// How often a state is looked at that nothing tells about.
const TICK: Duration = Duration::from_millis(20);

/// Waits for something that must come.
#[track_caller]
pub(crate) fn soon<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let waited = tokio::time::timeout(PATIENCE, future).await;
        waited.unwrap_or_else(|_| panic!("{caller}: {what}: nothing within {PATIENCE:?}"))
    }
}

/// Waits until a state holds, and returns what was found then.
#[track_caller]
pub(crate) fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    soon(what, async move {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(TICK).await;
        }
    })
}
