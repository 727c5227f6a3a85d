//! The latest changes, for those who watch.
//!
//! Watchers have no queues of their own: each remembers how far it has read. One that falls
//! behind the oldest change we keep is told so and lists again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::{Record, Revision, StoreError};

/// Transactions that are remembered: at the store's 200 writes a second, twenty seconds for a
/// watcher to catch up. Kept in memory alone: watchers do not outlive the process.
pub(crate) const COMMITS_MAX: usize = 4096;

/// Bytes of values that are remembered, whatever the number of transactions.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// One change of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The transaction that made it; several events may share it.
    pub revision: Revision,
    /// The record's key.
    pub key: Arc<str>,
    /// The new record, or `None` if it was removed.
    pub record: Option<Record>,
}

/// Why watching ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Changes after this revision are no longer remembered: list again and watch from there.
    #[error(
        "changes after revision {after} are no longer known, the oldest known is {oldest}; list again"
    )]
    Compacted {
        /// The last revision that the watcher has seen.
        after: Revision,
        /// The oldest revision that one may watch after.
        oldest: Revision,
    },
    /// The store has not come to this revision: it is another store, or an older backup.
    #[error("revision {after} lies in the future, the latest is {latest}; list again")]
    Future {
        /// The revision that was asked for.
        after: Revision,
        /// The latest one.
        latest: Revision,
    },
    /// The store is gone.
    #[error("watch the store")]
    Store(#[source] StoreError),
}

/// Changes, one after the other. Made by [`Store::watch`](crate::Store::watch).
#[derive(Debug)]
pub struct Watch {
    history: Arc<History>,
    latest: watch::Receiver<Revision>,
    prefix: String,
    /// Everything up to here has been read from the history.
    after: Revision,
    /// Invariant: only events of one transaction, so never more than `OPERATIONS_MAX`.
    ready: VecDeque<Event>,
}

impl Watch {
    /// Waits for the next change. Loses nothing when it is cancelled.
    pub async fn next(&mut self) -> Result<Event, WatchError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            // Seen first, read then: a change in between only wakes us once too often.
            self.latest.borrow_and_update();
            if self.read_one_commit()? {
                continue;
            }
            self.latest
                .changed()
                .await
                .map_err(|_| WatchError::Store(StoreError::Closed))?;
        }
    }

    /// Returns whether there was a transaction to read.
    fn read_one_commit(&mut self) -> Result<bool, WatchError> {
        let log = self.history.log();
        log.check(self.after)?;
        let first = log
            .commits
            .partition_point(|commit| commit.revision <= self.after);
        let Some(commit) = log.commits.get(first) else {
            return Ok(false);
        };
        self.after = commit.revision;
        let wanted = |event: &&Event| event.key.starts_with(&self.prefix);
        self.ready
            .extend(commit.events.iter().filter(wanted).cloned());
        Ok(true)
    }
}

/// The shared memory of changes.
#[derive(Debug)]
pub(crate) struct History {
    log: Mutex<Log>,
    latest: watch::Receiver<Revision>,
}

/// The only one who adds to a [`History`]; watching ends when it is gone.
#[derive(Debug)]
pub(crate) struct Publisher {
    history: Arc<History>,
    latest: watch::Sender<Revision>,
}

#[derive(Debug)]
struct Log {
    /// One may watch after this revision or a later one.
    oldest: Revision,
    commits: VecDeque<Commit>,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) revision: Revision,
    pub(crate) events: Vec<Event>,
}

impl History {
    /// An empty history of a store at `revision`.
    pub(crate) fn new(revision: Revision) -> (Arc<Self>, Publisher) {
        let log = Log {
            oldest: revision,
            commits: VecDeque::new(),
            bytes: 0,
        };
        let (tx, rx) = watch::channel(revision);
        let history = Arc::new(Self {
            log: Mutex::new(log),
            latest: rx,
        });
        let publisher = Publisher {
            history: Arc::clone(&history),
            latest: tx,
        };
        (history, publisher)
    }

    /// The caller has made sure that the store has come to `after`.
    pub(crate) fn watch(
        self: &Arc<Self>,
        prefix: &str,
        after: Revision,
    ) -> Result<Watch, WatchError> {
        self.log().check(after)?;
        Ok(Watch {
            history: Arc::clone(self),
            latest: self.latest.clone(),
            prefix: prefix.to_owned(),
            after,
            ready: VecDeque::new(),
        })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // Nothing in here panics half way.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher {
    /// Remembers what has become durable, oldest first.
    pub(crate) fn publish(&self, commits: Vec<Commit>) {
        let Some(last) = commits.last().map(|commit| commit.revision) else {
            return;
        };
        {
            let mut log = self.history.log();
            for commit in commits {
                log.push(commit);
            }
        }
        self.latest.send_replace(last);
    }
}

impl Log {
    fn check(&self, after: Revision) -> Result<(), WatchError> {
        let oldest = self.oldest;
        if after < oldest {
            return Err(WatchError::Compacted { after, oldest });
        }
        Ok(())
    }

    fn push(&mut self, commit: Commit) {
        self.bytes += commit.size();
        self.commits.push_back(commit);
        while self.commits.len() > COMMITS_MAX || self.bytes > BYTES_MAX {
            let Some(forgotten) = self.commits.pop_front() else {
                break;
            };
            self.bytes -= forgotten.size();
            self.oldest = forgotten.revision;
        }
    }
}

impl Commit {
    fn size(&self) -> usize {
        let size = |event: &Event| {
            let value = event.record.as_ref().map_or(0, |it| it.value.len());
            event.key.len() + value
        };
        self.events.iter().map(size).sum()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_watcher_that_falls_behind_is_told_so() {
        let (history, publisher) = History::new(Revision(0));
        let mut watch = history.watch("", Revision(0)).unwrap();
        let commits = u64::try_from(COMMITS_MAX).unwrap() + 1;
        for revision in 1..=commits {
            publisher.publish(vec![commit(revision, 10)]);
        }
        let error = watch.next().await.unwrap_err();
        assert!(matches!(
            error,
            WatchError::Compacted {
                after: Revision(0),
                oldest: Revision(1)
            }
        ));
        let mut watch = history.watch("", Revision(1)).unwrap();
        assert_eq!(watch.next().await.unwrap().revision, Revision(2));
    }

    #[tokio::test]
    async fn large_values_are_forgotten_sooner() {
        let (history, publisher) = History::new(Revision(0));
        for revision in 1..=100 {
            publisher.publish(vec![commit(revision, 1024 * 1024)]);
        }
        assert!(history.log().bytes <= BYTES_MAX);
        assert!(history.watch("", Revision(50)).is_err());
        assert!(history.watch("", Revision(99)).is_ok());
    }

    fn commit(revision: u64, size: usize) -> Commit {
        let revision = Revision(revision);
        let record = Record {
            value: Bytes::from(vec![0; size]),
            created: revision,
            modified: revision,
        };
        let event = Event {
            revision,
            key: "key".into(),
            record: Some(record),
        };
        Commit {
            revision,
            events: vec![event],
        }
    }
}
