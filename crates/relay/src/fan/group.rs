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

/// Whether a group is of no use: the next one began more than `max_age` before the newest frame. Of
/// what has no time, that is not known.
pub(super) fn is_stale(
    next_begins: Option<Duration>,
    newest: Option<Duration>,
    max_age: Duration,
) -> bool {
    match (next_begins, newest) {
        (Some(begins), Some(newest)) => newest.saturating_sub(begins) > max_age,
        _ => false,
    }
}
