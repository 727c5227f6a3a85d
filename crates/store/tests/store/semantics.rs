//! Expectations, transactions, watching.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::{
    EmbeddedStore, Event, Expect, KEY_MAX, OPERATIONS_MAX, Operation, Revision, Store, StoreError,
    VALUE_MAX, WatchError,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn expectations_decide() {
    check("put a=1 any -> 1; put a=2 any -> 2", "a=2@1..2").await;
    check(
        "put a=1 absent -> 1; put a=2 absent -> a is at 1",
        "a=1@1..1",
    )
    .await;
    check("put a=1 @7 -> a does not exist", "").await;
    check(
        "put a=1 any -> 1; put a=2 @1 -> 2; put a=3 @1 -> a is at 2",
        "a=2@1..2",
    )
    .await;
    check("put a=1 any -> 1; del a @1 -> 2", "").await;
    check("put a=1 any -> 1; del a @9 -> a is at 1", "a=1@1..1").await;
    check("del a any -> 0; put a=1 any -> 1", "a=1@1..1").await;
    check(
        "put a=1 any -> 1; del a any -> 2; put a=3 absent -> 3",
        "a=3@3..3",
    )
    .await;
}

#[tokio::test]
async fn a_transaction_is_done_whole_or_not_at_all() {
    check(
        "put a=1 any -> 1; put a=2 any, put b=2 absent, del c any -> 2",
        "a=2@1..2 b=2@2..2",
    )
    .await;
    check(
        "put a=1 any -> 1; put b=2 any, put a=2 absent -> a is at 1",
        "a=1@1..1",
    )
    .await;
    check(
        "put a=1 any -> 1; chk a @1, put b=2 any -> 2",
        "a=1@1..1 b=2@2..2",
    )
    .await;
    check(
        "put a=1 any -> 1; chk a absent, put b=2 any -> a is at 1",
        "a=1@1..1",
    )
    .await;
    check("chk a absent -> 0", "").await;
}

#[tokio::test]
async fn requests_that_are_wrong_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let put = |key: &str, size: usize| Operation::put(key, vec![0; size], Expect::Any);
    let many = (0..=OPERATIONS_MAX).map(|it| put(&it.to_string(), 1));
    for operations in [
        vec![put("", 1)],
        vec![put(&"k".repeat(KEY_MAX + 1), 1)],
        vec![put("a", VALUE_MAX + 1)],
        vec![put("a", 1), put("a", 2)],
        many.collect(),
    ] {
        let result = store.transact(operations).await;
        assert!(matches!(result, Err(StoreError::Invalid(_))), "{result:?}");
    }
    let largest = put(&"k".repeat(KEY_MAX), VALUE_MAX);
    assert_eq!(store.transact(vec![largest]).await.unwrap(), Revision(1));
}

#[tokio::test]
async fn a_list_holds_what_starts_with_its_prefix() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    for key in ["nodes/b", "node", "nodes/a", "nodes0", "sites/a"] {
        store.put(key, "x".into(), Expect::Any).await.unwrap();
    }
    let listing = store.list("nodes/").await.unwrap();
    let keys: Vec<&str> = listing.entries.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(keys, ["nodes/a", "nodes/b"]);
    assert_eq!(listing.revision, Revision(5));
    assert_eq!(store.list("").await.unwrap().entries.len(), 5);
    assert_eq!(store.revision().await.unwrap(), Revision(5));
}

#[tokio::test]
async fn of_many_who_want_the_same_one_gets_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&directory));
    let tasks: Vec<_> = (0..100)
        .map(|number: u32| {
            let store = Arc::clone(&store);
            async move {
                let value = Bytes::from(number.to_string());
                store.put("owner", value, Expect::Absent).await
            }
        })
        .collect();
    let mut set = tokio::task::JoinSet::new();
    for task in tasks {
        set.spawn(task);
    }
    let results = set.join_all().await;
    let won = results.iter().filter(|it| it.is_ok()).count();
    assert_eq!(won, 1);
    assert_eq!(store.revision().await.unwrap(), Revision(1));
}

#[tokio::test]
async fn a_watcher_sees_every_change_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&directory));
    store.put("a/0", "x".into(), Expect::Any).await.unwrap();
    let start = store.list("a/").await.unwrap().revision;
    let mut watch = store.watch("a/", start).await.unwrap();

    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for number in 0..50 {
                let operations = ["a", "b"].map(|prefix| {
                    let key = format!("{prefix}/{writer}/{number}");
                    Operation::put(key, "x", Expect::Absent)
                });
                store.transact(operations.into()).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    store.delete("a/0", Expect::Any).await.unwrap();

    for revision in 2..=201 {
        let event = next(&mut watch).await;
        assert_eq!(event.revision, Revision(revision));
        assert!(event.key.starts_with("a/"));
        assert_eq!(event.record.unwrap().modified, Revision(revision));
    }
    let last = next(&mut watch).await;
    assert_eq!((last.revision, &*last.key), (Revision(202), "a/0"));
    assert_eq!(last.record, None);
    let more = timeout(Duration::from_millis(50), watch.next()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn one_can_watch_from_the_past_but_not_from_the_future() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    for number in 1..=3 {
        let value = Bytes::from(number.to_string());
        store.put("a", value, Expect::Any).await.unwrap();
    }
    let mut watch = store.watch("", Revision(1)).await.unwrap();
    assert_eq!(next(&mut watch).await.revision, Revision(2));
    let future = store.watch("", Revision(4)).await;
    assert!(
        matches!(future, Err(WatchError::Future { .. })),
        "{future:?}"
    );

    drop(store);
    let closed = loop {
        match timeout(PATIENCE, watch.next()).await.unwrap() {
            Ok(event) => assert_eq!(event.revision, Revision(3)),
            Err(error) => break error,
        }
    };
    assert!(matches!(closed, WatchError::Store(StoreError::Closed)));

    let store = open(&directory);
    let past = store.watch("", Revision(2)).await;
    assert!(
        matches!(past, Err(WatchError::Compacted { .. })),
        "{past:?}"
    );
    assert!(store.watch("", Revision(3)).await.is_ok());
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    store.put("a", "1".into(), Expect::Any).await.unwrap();
    store.put("b", "2".into(), Expect::Any).await.unwrap();
    store.delete("a", Expect::Any).await.unwrap();
    let before = store.list("").await.unwrap();
    drop(store);
    let store = open(&directory);
    assert_eq!(store.list("").await.unwrap(), before);
    let next = store.put("c", "3".into(), Expect::Any).await.unwrap();
    assert_eq!(next, Revision(4));
}

#[tokio::test]
async fn it_can_be_used_behind_its_trait() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(open(&directory));
    let revision = store.put("a", "1".into(), Expect::Absent).await.unwrap();
    let record = store.get("a").await.unwrap().unwrap();
    assert_eq!((record.created, record.modified), (revision, revision));
    assert_eq!(record.value, "1");
    assert_eq!(store.get("b").await.unwrap(), None);
}

/// Runs transactions, each with its expected result, then compares all records, written as
/// `key=value@created..modified`.
async fn check(transactions: &str, expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    for transaction in transactions.split("; ") {
        let (operations, result) = transaction.split_once(" -> ").unwrap();
        let operations = operations.split(", ").map(parse).collect();
        let told = match store.transact(operations).await {
            Ok(revision) => revision.to_string(),
            Err(StoreError::Conflict {
                key,
                found: Some(found),
                ..
            }) => format!("{key} is at {found}"),
            Err(StoreError::Conflict { key, .. }) => format!("{key} does not exist"),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(told, result, "{transaction}");
    }
    let entries = store.list("").await.unwrap().entries;
    let show = entries.iter().map(|(key, record)| {
        let value = str::from_utf8(&record.value).unwrap();
        format!("{key}={value}@{}..{}", record.created, record.modified)
    });
    assert_eq!(show.collect::<Vec<_>>().join(" "), expected);
}

fn parse(text: &str) -> Operation {
    let [verb, what, expect] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let expect = match expect {
        "any" => Expect::Any,
        "absent" => Expect::Absent,
        revision => Expect::Revision(Revision(revision[1..].parse().unwrap())),
    };
    match verb {
        "put" => {
            let (key, value) = what.split_once('=').unwrap();
            Operation::put(key, value.to_owned(), expect)
        }
        "del" => Operation::delete(what, expect),
        _ => Operation::check(what, expect),
    }
}

async fn next(watch: &mut store::Watch) -> Event {
    timeout(PATIENCE, watch.next()).await.unwrap().unwrap()
}

fn open(directory: &tempfile::TempDir) -> EmbeddedStore {
    EmbeddedStore::open(&directory.path().join("store.redb")).unwrap()
}
