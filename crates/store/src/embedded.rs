//! The store in one file, by redb. One process at a time.
//!
//! Reads go to the file's cache directly. Writes go through one thread, which puts as many waiting
//! transactions as there are into one commit, so that a disk which syncs a hundred times a second
//! still takes thousands of writes.

mod writer;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    StorageError, TableDefinition, backends::FileBackend,
};
use tokio::sync::{mpsc, oneshot};

use self::writer::{Job, Writer};
use crate::history::{History, WatchError};
use crate::{
    BoxFuture, KEY_MAX, Listing, OPERATIONS_MAX, Operation, Record, RecordError, Revision, Store,
    StoreError, VALUE_MAX, Watch,
};

/// Keys and [`Record`]s in their stored form.
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

/// The store's own numbers.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
const REVISION_KEY: &str = "revision";

/// The arrangement of the tables. A later one is refused, an earlier one would be converted.
const FORMAT: u64 = 1;

/// Pages of the file held in memory: all of a small cloud, the upper levels of a large one.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Transactions that wait for the disk. Their callers wait beyond it: the disk is the limit.
const QUEUE_MAX: usize = 1024;

/// A store in one file.
#[derive(Debug)]
pub struct EmbeddedStore {
    database: Arc<Database>,
    history: Arc<History>,
    /// `None` only while dropping.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

/// Why a store could not be opened. The file is never removed or started anew.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two processes would overwrite each other's changes.
    #[error("{} is in use by another process; stop it, or choose another data directory", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Not a store, or one that was changed from outside.
    #[error("{} is damaged and was left as it is; restore it from a backup, or move it away to start empty", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Written by a later release.
    #[error("{} has format {found}, this release knows up to {FORMAT}; use a newer release", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The system said no.
    #[error("open {}", path.display())]
    Io {
        /// The file or its directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl EmbeddedStore {
    /// Opens the store in the file at `path`, making it (readable by its owner alone) and its
    /// directories if there is none. Checks the whole file: about a second for each gigabyte.
    /// Blocks.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let database = open_file(path)?;
        let revision = prepare(&database, path)?;
        let database = Arc::new(database);
        let (history, publisher) = History::new(revision);
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let writer = Writer::new(Arc::clone(&database), publisher, revision);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|source| OpenError::Io {
                path: path.to_owned(),
                source: source.into(),
            })?;
        Ok(Self {
            database,
            history,
            jobs: Some(jobs),
            writer: Some(writer),
        })
    }

    fn read_one(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let transaction = self.database.begin_read().map_err(disk)?;
        let table = transaction.open_table(RECORDS).map_err(disk)?;
        let stored = table.get(key).map_err(disk)?;
        stored.map(|stored| decode(key, stored.value())).transpose()
    }

    fn read_all(database: &Database, prefix: &str) -> Result<Listing, StoreError> {
        let transaction = database.begin_read().map_err(disk)?;
        let table = transaction.open_table(RECORDS).map_err(disk)?;
        let mut entries = Vec::new();
        for entry in table.range(prefix..).map_err(disk)? {
            let (key, stored) = entry.map_err(disk)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            let record = decode(key.value(), stored.value())?;
            entries.push((key.value().to_owned(), record));
        }
        Ok(Listing {
            revision: read_revision(&transaction)?,
            entries,
        })
    }

    fn latest(&self) -> Result<Revision, StoreError> {
        read_revision(&self.database.begin_read().map_err(disk)?)
    }

    async fn submit(&self, operations: Vec<Operation>) -> Result<Revision, StoreError> {
        validate(&operations)?;
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(Job { operations, reply })
            .await
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Store for EmbeddedStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        // A few pages, nearly always in the cache: shorter than handing it to another thread.
        Box::pin(async move { self.read_one(key) })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, StoreError>> {
        let database = Arc::clone(&self.database);
        let prefix = prefix.to_owned();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || Self::read_all(&database, &prefix))
                .await
                .map_err(disk)?
        })
    }

    fn transact(&self, operations: Vec<Operation>) -> BoxFuture<'_, Result<Revision, StoreError>> {
        Box::pin(self.submit(operations))
    }

    fn revision(&self) -> BoxFuture<'_, Result<Revision, StoreError>> {
        Box::pin(async move { self.latest() })
    }

    fn watch<'a>(
        &'a self,
        prefix: &'a str,
        after: Revision,
    ) -> BoxFuture<'a, Result<Watch, WatchError>> {
        Box::pin(async move {
            // The file knows of a commit a moment before the history does.
            let latest = self.latest().map_err(WatchError::Store)?;
            if after > latest {
                return Err(WatchError::Future { after, latest });
            }
            self.history.watch(prefix, after)
        })
    }
}

/// Waits for what is being written, so that the file can be opened again at once.
impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

fn open_file(path: &Path) -> Result<Database, OpenError> {
    let io = |source: std::io::Error| OpenError::Io {
        path: path.to_owned(),
        source: source.into(),
    };
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(io)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    let is_new = file.metadata().map_err(io)?.len() == 0;
    let open = || {
        Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(FileBackend::new(file)?)
    };
    // A file that was not written by redb may lead it into a panic.
    let database = match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => opened.map_err(|error| explain(path, error))?,
        Err(_) => return Err(damaged(path, "reading it led to a panic")),
    };
    if is_new && !directory.as_os_str().is_empty() {
        // A new name is only durable once its directory is.
        File::open(directory)
            .and_then(|it| it.sync_all())
            .map_err(io)?;
    }
    Ok(database)
}

fn explain(path: &Path, error: DatabaseError) -> OpenError {
    let path_buf = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::InUse { path: path_buf }
        }
        DatabaseError::Storage(StorageError::Io(source))
            if !matches!(
                source.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            OpenError::Io {
                path: path_buf,
                source: source.into(),
            }
        }
        other => damaged(path, other),
    }
}

/// Makes the tables of a new store, checks those of an old one, and returns its revision.
fn prepare(database: &Database, path: &Path) -> Result<Revision, OpenError> {
    let prepare = || -> Result<(u64, u64), redb::Error> {
        let transaction = database.begin_write()?;
        let (format, revision) = {
            transaction.open_table(RECORDS)?;
            let mut meta = transaction.open_table(META)?;
            let known = meta.get(FORMAT_KEY)?.map(|it| it.value());
            let format = match known {
                Some(format) => format,
                None => {
                    meta.insert(FORMAT_KEY, FORMAT)?;
                    FORMAT
                }
            };
            let revision = meta.get(REVISION_KEY)?.map_or(0, |it| it.value());
            (format, revision)
        };
        transaction.commit()?;
        Ok((format, revision))
    };
    match prepare() {
        Ok((format, _)) if format > FORMAT => Err(OpenError::Newer {
            path: path.to_owned(),
            found: format,
        }),
        Ok((_, revision)) => Ok(Revision(revision)),
        Err(error) => Err(damaged(path, error)),
    }
}

fn damaged(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        source: source.into(),
    }
}

fn read_revision(transaction: &ReadTransaction) -> Result<Revision, StoreError> {
    let meta = transaction.open_table(META).map_err(disk)?;
    let revision = meta.get(REVISION_KEY).map_err(disk)?;
    Ok(Revision(revision.map_or(0, |it| it.value())))
}

fn validate(operations: &[Operation]) -> Result<(), StoreError> {
    let invalid = |text: String| Err(StoreError::Invalid(text));
    if operations.len() > OPERATIONS_MAX {
        let count = operations.len();
        return invalid(format!("{count} operations, at most {OPERATIONS_MAX}"));
    }
    for (index, operation) in operations.iter().enumerate() {
        let key = operation.key();
        if key.is_empty() || key.len() > KEY_MAX {
            let length = key.len();
            return invalid(format!(
                "a key of {length} bytes, 1 to {KEY_MAX} are allowed"
            ));
        }
        if let Operation::Put { value, .. } = operation
            && value.len() > VALUE_MAX
        {
            let length = value.len();
            return invalid(format!("{key} has {length} bytes, at most {VALUE_MAX}"));
        }
        if operations[..index].iter().any(|other| other.key() == key) {
            return invalid(format!("{key} appears twice in one transaction"));
        }
    }
    Ok(())
}

fn decode(key: &str, stored: &[u8]) -> Result<Record, StoreError> {
    Record::decode(stored).map_err(|source: RecordError| StoreError::Damaged {
        key: key.to_owned(),
        source,
    })
}

fn disk(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Disk(Box::new(error))
}
