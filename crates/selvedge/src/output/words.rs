//! Numbers as people write them.

use std::time::{SystemTime, UNIX_EPOCH};

use api::UnixMillis;
use model::Bytes;

/// How long ago something was: `12 s ago`, `3 min ago`.
pub(crate) fn ago(then: UnixMillis) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
    since(now.saturating_sub(then) / 1_000)
}

fn since(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// A share of 0 to 1: `42 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `12.3 ms`.
pub(crate) fn milliseconds(ms: f64) -> String {
    format!("{ms:.1} ms")
}

/// Thousandths of a core: `1.5`.
pub(crate) fn millis_of_core(millis: u32) -> String {
    format!("{:.1}", f64::from(millis) / 1_000.0)
}

/// An amount of data: `256 MB`.
pub(crate) fn megabytes(bytes: Bytes) -> String {
    bytes.to_string()
}

/// A list in one cell: `a, b`.
pub(crate) fn joined<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_unit() {
        assert_eq!(since(3), "3 s ago");
        assert_eq!(since(150), "2 min ago");
        assert_eq!(since(10_000), "2 h ago");
        assert_eq!(since(200_000), "2 days ago");
    }
}
