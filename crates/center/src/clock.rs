//! The present moment as the wire knows it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::UnixMillis;

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> UnixMillis {
    unix_ms_of(SystemTime::now())
}

/// Milliseconds since 1970 after `time` from now.
pub(crate) fn unix_ms_in(time: Duration) -> UnixMillis {
    unix_ms_of(SystemTime::now() + time)
}

fn unix_ms_of(moment: SystemTime) -> UnixMillis {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::try_from(since.as_millis()).unwrap_or(UnixMillis::MAX)
}

/// A duration as the wire knows it: milliseconds, to a hundredth.
pub(crate) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 1e2
}
