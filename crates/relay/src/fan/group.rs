//! A group as it goes over the wire, written once for all who are sent it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

/// Up to this size a group is kept whole, so that who comes later can be sent all of it: a keyframe
/// and seconds of pictures. Beyond, nobody would catch up with it.
const WHOLE_MAX: usize = 4 << 20;

/// What is kept of a larger group (a game's, which may be one for as long as it is played): seconds
/// of it, for lines that are slow at the moment.
const TAIL_MAX: usize = 1 << 20;

/// How a group ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    /// It broke off; with the reason's code.
    Broken(u32),
}

/// What comes after the pieces that somebody has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Piece(Bytes),
    /// It is not written yet.
    Later,
    /// It is no longer kept.
    Missed,
    Nothing(End),
}

/// One group. Its pieces are cut anywhere: together they are its frames.
pub(super) struct Group {
    pub sequence: u64,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    pieces: VecDeque<Bytes>,
    /// Pieces that are no longer kept.
    gone: u64,
    bytes: usize,
    end: Option<End>,
    /// Times of its first and of its newest frame.
    times: Option<(Duration, Duration)>,
}

impl Group {
    pub(super) fn new(sequence: u64) -> Self {
        Self {
            sequence,
            log: Mutex::default(),
        }
    }

    /// Adds a piece; with the time of the frame that it begins.
    pub(super) fn append(&self, piece: Bytes, time: Option<Duration>) {
        let mut log = self.log();
        if let Some(time) = time {
            log.times = Some(match log.times {
                Some((first, newest)) => (first, newest.max(time)),
                None => (time, time),
            });
        }
        log.bytes += piece.len();
        log.pieces.push_back(piece);
        if log.gone == 0 && log.bytes <= WHOLE_MAX {
            return;
        }
        // The newest stays whatever its size.
        while log.bytes > TAIL_MAX && log.pieces.len() > 1 {
            let oldest = log.pieces.pop_front();
            log.bytes -= oldest.map_or(0, |it| it.len());
            log.gone += 1;
        }
    }

    pub(super) fn end(&self, end: End) {
        self.log().end = Some(end);
    }

    /// What comes after the first `had` pieces.
    pub(super) fn next(&self, had: u64) -> Next {
        let log = self.log();
        let Some(index) = had.checked_sub(log.gone) else {
            return Next::Missed;
        };
        let piece = usize::try_from(index).ok().and_then(|i| log.pieces.get(i));
        match (piece, log.end) {
            (Some(piece), _) => Next::Piece(piece.clone()),
            (None, Some(end)) => Next::Nothing(end),
            (None, None) => Next::Later,
        }
    }

    /// Whether somebody who has nothing of it can be sent all of it.
    pub(super) fn is_whole(&self) -> bool {
        let log = self.log();
        log.gone == 0 && !matches!(log.end, Some(End::Broken(_)))
    }

    /// When its first frame is shown.
    pub(super) fn begins(&self) -> Option<Duration> {
        Some(self.log().times?.0)
    }

    /// When its newest frame is shown.
    pub(super) fn reaches(&self) -> Option<Duration> {
        Some(self.log().times?.1)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // Nothing panics while it is held.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a group is of no use: the next one began `max_age` or more before the newest frame. Of
/// what has no time, that is not known.
pub(super) fn is_stale(
    next_begins: Option<Duration>,
    newest: Option<Duration>,
    max_age: Duration,
) -> bool {
    match (next_begins, newest) {
        (Some(begins), Some(newest)) => newest.saturating_sub(begins) >= max_age,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = TAIL_MAX / 4;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pieces_come_in_order_until_the_end() {
        let group = Group::new(7);
        assert_eq!(group.next(0), Next::Later);
        group.append(Bytes::from_static(b"a"), Some(ms(40)));
        group.append(Bytes::from_static(b"b"), None);
        group.append(Bytes::from_static(b"c"), Some(ms(20)));
        assert_eq!(group.next(1), Next::Piece(Bytes::from_static(b"b")));
        assert_eq!(group.next(3), Next::Later);
        group.end(End::Complete);
        assert_eq!(group.next(3), Next::Nothing(End::Complete));
        assert_eq!(
            (group.begins(), group.reaches()),
            (Some(ms(40)), Some(ms(40)))
        );
        assert!(group.is_whole());
    }

    #[test]
    fn what_is_too_large_to_catch_up_with_keeps_its_tail() {
        let group = Group::new(0);
        let pieces = WHOLE_MAX / LARGE;
        for _ in 0..pieces {
            group.append(Bytes::from(vec![0; LARGE]), None);
        }
        assert!(group.is_whole());
        group.append(Bytes::from(vec![0; LARGE]), None);
        assert!(!group.is_whole());
        let kept = (TAIL_MAX / LARGE) as u64;
        let all = pieces as u64 + 1;
        assert_eq!(group.next(all - kept - 1), Next::Missed);
        assert!(matches!(group.next(all - kept), Next::Piece(_)));
    }

    #[test]
    fn a_piece_that_is_too_large_alone_is_kept() {
        let group = Group::new(0);
        group.append(Bytes::from(vec![0; 2 * WHOLE_MAX]), None);
        assert!(matches!(group.next(0), Next::Piece(_)));
    }

    #[test]
    fn what_broke_off_is_for_nobody_who_comes() {
        let group = Group::new(0);
        group.append(Bytes::from_static(b"a"), None);
        group.end(End::Broken(3));
        assert!(!group.is_whole());
        assert_eq!(group.next(1), Next::Nothing(End::Broken(3)));
    }

    #[test]
    fn a_group_is_stale_by_where_the_next_one_begins() {
        let is = |next, newest| is_stale(Some(ms(next)), Some(ms(newest)), ms(100));
        assert!(!is(501, 600));
        assert!(is(500, 600));
        // The next group is from a publisher whose clock was set.
        assert!(!is(500, 100));
        assert!(!is_stale(None, Some(ms(900)), ms(100)));
    }
}
