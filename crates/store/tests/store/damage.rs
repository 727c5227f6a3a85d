//! Files that are not what they should be.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use store::{EmbeddedStore, Expect, OpenError, Store};

#[tokio::test]
async fn two_cannot_open_the_same_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let first = EmbeddedStore::open(&path).unwrap();
    let second = EmbeddedStore::open(&path).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second:?}");
    assert!(second.to_string().contains("another process"), "{second}");
    drop(first);
    assert!(EmbeddedStore::open(&path).is_ok());
}

#[tokio::test]
async fn a_store_is_private_and_makes_its_directories() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b/store.redb");
    drop(EmbeddedStore::open(&path).unwrap());
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn something_else_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    for content in [
        &b"short"[..],
        &[0; 100_000],
        "text\n".repeat(5_000).as_bytes(),
    ] {
        fs::write(&path, content).unwrap();
        let error = EmbeddedStore::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("left as it is"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let error = EmbeddedStore::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

/// A store with flipped bytes either says that it is damaged or still holds what was put.
#[tokio::test]
async fn a_damaged_store_never_tells_something_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let value = vec![0xab; 1000];
    let store = EmbeddedStore::open(&path).unwrap();
    for number in 0..100 {
        let key = format!("key/{number:03}");
        let put = store.put(&key, value.clone().into(), Expect::Any);
        put.await.unwrap();
    }
    drop(store);
    let good = fs::read(&path).unwrap();
    let used = good.iter().rposition(|&byte| byte != 0).unwrap();

    let mut noticed = 0;
    for at in (0..used).step_by(used / 60) {
        let mut bad = good.clone();
        for byte in &mut bad[at..(at + 32).min(used)] {
            *byte ^= 0x5a;
        }
        fs::write(&path, &bad).unwrap();
        match EmbeddedStore::open(&path) {
            Err(OpenError::Damaged { .. }) => {
                noticed += 1;
                assert_eq!(fs::read(&path).unwrap().len(), bad.len(), "byte {at}");
            }
            Err(error) => panic!("byte {at}: {error:?}"),
            Ok(store) => {
                // The bytes were not in use, or belonged to the spare copy of the root.
                let entries = store.list("").await.unwrap().entries;
                assert_eq!(entries.len(), 100, "byte {at}");
                assert!(entries.iter().all(|it| it.1.value == value), "byte {at}");
            }
        }
    }
    assert!(noticed > 0, "no damage was noticed");
}
