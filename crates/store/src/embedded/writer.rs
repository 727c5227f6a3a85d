//! The one thread that writes.

use std::sync::Arc;

use redb::{Database, Durability, ReadableTable as _, Table};
use tokio::sync::{mpsc, oneshot};

use super::{META, RECORDS, REVISION_KEY, decode, disk};
use crate::history::{Commit, Event, Publisher};
use crate::{Expect, Operation, Record, Revision, StoreError};

/// Transactions in one commit. More would let the first of them wait long for the last.
const BATCH_MAX: usize = 256;

/// A transaction and where its result goes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) operations: Vec<Operation>,
    pub(super) reply: oneshot::Sender<Result<Revision, StoreError>>,
}

pub(super) struct Writer {
    database: Arc<Database>,
    publisher: Publisher,
    /// The latest durable revision.
    revision: Revision,
}

/// What became of the jobs of a batch, in their order.
struct Batch {
    results: Vec<Result<Revision, StoreError>>,
    commits: Vec<Commit>,
    revision: Revision,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>, publisher: Publisher, revision: Revision) -> Self {
        Self {
            database,
            publisher,
            revision,
        }
    }

    /// Runs until the store is dropped.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(BATCH_MAX);
        while queue.blocking_recv_many(&mut jobs, BATCH_MAX) > 0 {
            let (operations, replies): (Vec<_>, Vec<_>) = jobs
                .drain(..)
                .map(|job| (job.operations, job.reply))
                .unzip();
            match self.write(operations) {
                Ok(batch) => {
                    self.revision = batch.revision;
                    // Before the replies: whoever hears of a revision can watch after it.
                    self.publisher.publish(batch.commits);
                    for (reply, result) in replies.into_iter().zip(batch.results) {
                        let _ = reply.send(result); // who has gone does not care
                    }
                }
                Err(error) => {
                    let error = Arc::new(error);
                    tracing::error!(%error, "the store could not write");
                    for reply in replies {
                        let _ = reply.send(Err(disk(Arc::clone(&error))));
                    }
                }
            }
        }
    }

    /// Durable when it returns.
    fn write(&self, jobs: Vec<Vec<Operation>>) -> Result<Batch, redb::Error> {
        let mut batch = Batch {
            results: Vec::with_capacity(jobs.len()),
            commits: Vec::new(),
            revision: self.revision,
        };
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for operations in jobs {
                let revision = Revision(batch.revision.0 + 1);
                let found = match check(&records, &operations)? {
                    Ok(found) => found,
                    Err(error) => {
                        batch.results.push(Err(error));
                        continue;
                    }
                };
                let events = apply(&mut records, operations, found, revision)?;
                if !events.is_empty() {
                    batch.revision = revision;
                    batch.commits.push(Commit { revision, events });
                }
                batch.results.push(Ok(batch.revision));
            }
            let mut meta = transaction.open_table(META)?;
            meta.insert(REVISION_KEY, batch.revision.0)?;
        }
        if batch.commits.is_empty() {
            transaction.abort()?; // only conflicts: nothing to wait for the disk for
        } else {
            transaction.commit()?;
        }
        Ok(batch)
    }
}

type Records<'a> = Table<'a, &'static str, &'static [u8]>;

/// Looks at every expectation before anything is changed. Returns the present records.
fn check(
    records: &Records<'_>,
    operations: &[Operation],
) -> Result<Result<Vec<Option<Record>>, StoreError>, redb::Error> {
    let mut present = Vec::with_capacity(operations.len());
    for operation in operations {
        let key = operation.key();
        let stored = records.get(key)?;
        let record = match stored.map(|stored| decode(key, stored.value())).transpose() {
            Ok(record) => record,
            Err(error) => return Ok(Err(error)),
        };
        let found = record.as_ref().map(|it| it.modified);
        let expected = operation.expect();
        let holds = match expected {
            Expect::Any => true,
            Expect::Absent => found.is_none(),
            Expect::Revision(revision) => found == Some(revision),
        };
        if !holds {
            let key = key.to_owned();
            return Ok(Err(StoreError::Conflict {
                key,
                expected,
                found,
            }));
        }
        present.push(record);
    }
    Ok(Ok(present))
}

fn apply(
    records: &mut Records<'_>,
    operations: Vec<Operation>,
    present: Vec<Option<Record>>,
    revision: Revision,
) -> Result<Vec<Event>, redb::Error> {
    let mut events = Vec::with_capacity(operations.len());
    for (operation, before) in operations.into_iter().zip(present) {
        let (key, record) = match operation {
            Operation::Put { key, value, .. } => {
                let record = Record {
                    value,
                    created: before.map_or(revision, |it| it.created),
                    modified: revision,
                };
                records.insert(key.as_str(), record.encode().as_slice())?;
                (key, Some(record))
            }
            Operation::Delete { key, .. } if before.is_some() => {
                records.remove(key.as_str())?;
                (key, None)
            }
            Operation::Delete { .. } | Operation::Check { .. } => continue,
        };
        events.push(Event {
            revision,
            key: key.into(),
            record,
        });
    }
    Ok(events)
}
