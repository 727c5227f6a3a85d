//! What survives a restart: releases, nodes, sessions, tokens and keys. Each is JSON under a key of its
//! kind. Every write names the revision it replaces.

use std::path::Path;
use std::sync::Arc;

use api::UnixMillis;
use api::app::Release;
use api::link::Ingest;
use api::live::{Offsets, StreamKeyView};
use api::node::{Certificate, Endpoint};
use api::session::{Explanation, ScreenSize};
use api::site::SiteSpec;
use model::{AppName, CameraName, Epoch, NodeId, ReleaseNumber, Resources, SessionId, Terminal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::{EmbeddedStore, Expect, OpenError, Operation, Store, StoreError};

pub(crate) use store::Revision;

const FILE: &str = "center.redb";

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The record is not as the writer thought.
    #[error("the record was changed by somebody else")]
    Conflict,
    /// The store cannot be opened.
    #[error(transparent)]
    Open(OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// What is in the store is not understood.
    #[error("the record {key} is not understood")]
    Damaged {
        key: String,
        #[source]
        source: serde_json::Error,
    },
}

/// A kind of record.
pub(crate) trait Record: Serialize + DeserializeOwned + Send {
    /// Keys of this kind start so.
    const PREFIX: &'static str;

    /// The record's key, with the prefix.
    fn key(&self) -> String;
}

/// A release of an app. The release with the highest number is the app's present one; an app
/// exists as long as it has a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ReleaseRecord(pub(crate) Release);

impl ReleaseRecord {
    pub(crate) fn key_of(app: &AppName, number: ReleaseNumber) -> String {
        format!("release/{app}/{:010}", number.0)
    }
}

impl Record for ReleaseRecord {
    const PREFIX: &'static str = "release/";

    fn key(&self) -> String {
        Self::key_of(self.0.manifest.name(), self.0.number)
    }
}

/// What a node said of itself when it last linked up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    pub(crate) id: NodeId,
    pub(crate) site: SiteSpec,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) certificate: Certificate,
    pub(crate) capacity: Resources,
    pub(crate) version: String,
    pub(crate) lacks: Vec<String>,
    #[serde(default)]
    pub(crate) ingest: Ingest,
}

impl Record for NodeRecord {
    const PREFIX: &'static str = "node/";

    fn key(&self) -> String {
        format!("node/{}", self.id)
    }
}

/// A machine that was let in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemberRecord {
    pub(crate) id: NodeId,
    pub(crate) site: model::SiteName,
    pub(crate) joined_unix_ms: UnixMillis,
}

impl MemberRecord {
    pub(crate) fn key_of(id: NodeId) -> String {
        format!("member/{id}")
    }
}

impl Record for MemberRecord {
    const PREFIX: &'static str = "member/";

    fn key(&self) -> String {
        Self::key_of(self.id)
    }
}

/// A session and its owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) id: SessionId,
    pub(crate) app: AppName,
    pub(crate) release: ReleaseNumber,
    /// The owner.
    pub(crate) node: NodeId,
    /// The epoch that the owner holds.
    pub(crate) epoch: Epoch,
    /// The highest epoch that was ever offered to a node. Never offered again.
    pub(crate) last_epoch: Epoch,
    /// Where the terminal was told to enter.
    pub(crate) entry: NodeId,
    /// The hash of the terminal's key.
    pub(crate) key_hash: String,
    pub(crate) terminal: Terminal,
    pub(crate) screen: Option<ScreenSize>,
    pub(crate) created_unix_ms: UnixMillis,
    /// The last decision.
    pub(crate) explanation: Explanation,
}

impl SessionRecord {
    pub(crate) fn key_of(id: SessionId) -> String {
        format!("session/{id}")
    }
}

impl Record for SessionRecord {
    const PREFIX: &'static str = "session/";

    fn key(&self) -> String {
        Self::key_of(self.id)
    }
}

/// A join token that was not used yet. The token itself is not kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JoinRecord {
    /// The hash of its secret.
    pub(crate) hash: String,
    pub(crate) expires_unix_ms: UnixMillis,
}

impl JoinRecord {
    pub(crate) fn key_of(hash: &str) -> String {
        format!("join/{hash}")
    }
}

impl Record for JoinRecord {
    const PREFIX: &'static str = "join/";

    fn key(&self) -> String {
        Self::key_of(&self.hash)
    }
}

/// A key that lets cameras publish to an event. The key itself is not kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamKeyRecord {
    pub(crate) id: String,
    pub(crate) event: AppName,
    pub(crate) label: String,
    /// The only camera it is good for.
    pub(crate) camera: Option<CameraName>,
    /// The hash of its secret.
    pub(crate) hash: String,
    pub(crate) created_unix_ms: UnixMillis,
}

impl StreamKeyRecord {
    pub(crate) fn view(&self) -> StreamKeyView {
        StreamKeyView {
            id: self.id.clone(),
            event: self.event.clone(),
            label: self.label.clone(),
            camera: self.camera.clone(),
            created_unix_ms: self.created_unix_ms,
        }
    }
}

impl Record for StreamKeyRecord {
    const PREFIX: &'static str = "stream-key/";

    fn key(&self) -> String {
        format!("stream-key/{}", self.id)
    }
}

/// What brings the cameras of an event together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AlignmentRecord {
    pub(crate) event: AppName,
    /// Cameras without an entry are as they come.
    pub(crate) offsets: Offsets,
}

impl Record for AlignmentRecord {
    const PREFIX: &'static str = "alignment/";

    fn key(&self) -> String {
        format!("alignment/{}", self.event)
    }
}

/// The store, in terms of records.
pub(crate) struct Records {
    store: Arc<dyn Store>,
}

impl Records {
    /// Opens the store in `directory`.
    pub(crate) async fn open(directory: &Path) -> Result<Self, RecordError> {
        let path = directory.join(FILE);
        let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&path)).await;
        let store = opened
            .expect("opening returns its failures")
            .map_err(RecordError::Open)?;
        Ok(Self {
            store: Arc::new(store),
        })
    }

    /// All records of a kind, by key.
    pub(crate) async fn all<T: Record>(&self) -> Result<Vec<(T, Revision)>, RecordError> {
        let listing = self.store.list(T::PREFIX).await.map_err(refused)?;
        let entries = listing.entries.iter();
        entries.map(|(key, stored)| read(key, stored)).collect()
    }

    /// One record.
    pub(crate) async fn one<T: Record>(
        &self,
        key: &str,
    ) -> Result<Option<(T, Revision)>, RecordError> {
        let stored = self.store.get(key).await.map_err(refused)?;
        stored.map(|stored| read(key, &stored)).transpose()
    }

    /// Writes a record if it still has the revision `expected`; `None` means that there is none.
    pub(crate) async fn write<T: Record>(
        &self,
        record: &T,
        expected: Option<Revision>,
    ) -> Result<Revision, RecordError> {
        let expect = expected.map_or(Expect::Absent, Expect::Revision);
        let value = serde_json::to_vec(record).expect("records are maps with text keys");
        let put = self.store.put(&record.key(), value.into(), expect).await;
        put.map_err(refused)
    }

    /// Removes a record if it still has the revision `expected`.
    pub(crate) async fn remove(&self, key: &str, expected: Revision) -> Result<(), RecordError> {
        let expect = Expect::Revision(expected);
        let deleted = self.store.delete(key, expect).await;
        deleted.map(drop).map_err(refused)
    }

    /// Removes several records at once, whatever their revisions. At most
    /// [`store::OPERATIONS_MAX`].
    pub(crate) async fn remove_all(&self, keys: Vec<String>) -> Result<(), RecordError> {
        let deletes = keys
            .into_iter()
            .map(|it| Operation::delete(it, Expect::Any));
        let done = self.store.transact(deletes.collect()).await;
        done.map(drop).map_err(refused)
    }

    /// The store's revision now.
    pub(crate) async fn revision(&self) -> Result<Revision, RecordError> {
        self.store.revision().await.map_err(refused)
    }
}

fn read<T: Record>(key: &str, stored: &store::Record) -> Result<(T, Revision), RecordError> {
    let record = serde_json::from_slice(&stored.value).map_err(|source| RecordError::Damaged {
        key: key.to_owned(),
        source,
    })?;
    Ok((record, stored.modified))
}

fn refused(error: StoreError) -> RecordError {
    match error {
        StoreError::Conflict { .. } => RecordError::Conflict,
        other => RecordError::Store(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(node: u64, epoch: u32) -> SessionRecord {
        SessionRecord {
            id: SessionId(1),
            app: "test".parse().unwrap(),
            release: ReleaseNumber(1),
            node: NodeId(node),
            epoch: Epoch(epoch),
            last_epoch: Epoch(epoch),
            entry: NodeId(node),
            key_hash: String::new(),
            terminal: Terminal::default(),
            screen: None,
            created_unix_ms: 0,
            explanation: Explanation {
                decided_unix_ms: 0,
                cause: String::new(),
                site: "frankfurt".parse().unwrap(),
                node: NodeId(node),
                why: String::new(),
                passed: Vec::new(),
            },
        }
    }

    /// Two centers over one store would both think that the session is theirs to move.
    #[tokio::test]
    async fn of_two_who_want_to_own_a_session_one_does() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(directory.path()).await.unwrap();
        let first = records.write(&record(1, 1), None).await.unwrap();
        let again = records.write(&record(2, 1), None).await;
        assert!(matches!(again, Err(RecordError::Conflict)));

        let (east, south) = (record(2, 2), record(3, 2));
        let (east, south) = tokio::join!(
            records.write(&east, Some(first)),
            records.write(&south, Some(first)),
        );
        assert!(east.is_ok() != south.is_ok(), "{east:?} {south:?}");
        let key = SessionRecord::key_of(SessionId(1));
        let (owned, revision) = records.one::<SessionRecord>(&key).await.unwrap().unwrap();
        assert_eq!(owned.node, NodeId(if east.is_ok() { 2 } else { 3 }));

        let late = records.remove(&key, first).await;
        assert!(matches!(late, Err(RecordError::Conflict)));
        records.remove(&key, revision).await.unwrap();
    }

    /// What is in the stores of those who run this must stay readable.
    #[test]
    fn golden() {
        let stored = r#"{"id":"1","app":"test","release":1,"node":"2","epoch":2,"last_epoch":3,"entry":"2","key_hash":"ab","terminal":{},"screen":null,"created_unix_ms":5,"explanation":{"decided_unix_ms":6,"cause":"c","site":"frankfurt","node":"2","why":"w","passed":[]}}"#;
        let session: SessionRecord = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&session).unwrap(), stored);
        let stored = r#"{"id":"2","site":"frankfurt","joined_unix_ms":7}"#;
        let member: MemberRecord = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&member).unwrap(), stored);
        let stored = r#"{"hash":"ab","expires_unix_ms":8}"#;
        let join: JoinRecord = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&join).unwrap(), stored);
    }
}
