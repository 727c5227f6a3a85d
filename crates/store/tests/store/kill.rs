//! Killed at any moment, the store still has everything that it acknowledged.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use store::{EmbeddedStore, Expect, Operation, Revision, Store};

const FILE_VARIABLE: &str = "STORE_KILL_TEST_FILE";

/// Enough for the kill to hit the writer in all its steps, few enough for a slow disk.
const ROUNDS: usize = 12;

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let mut acknowledged: Vec<(String, Revision)> = Vec::new();
    for round in 0..ROUNDS {
        let told = run_victim(&path, 1 + round * 7);
        assert!(!told.is_empty());
        acknowledged.extend(told);

        let store = EmbeddedStore::open(&path).unwrap();
        let latest = store.revision().await.unwrap();
        for (name, revision) in &acknowledged {
            assert!(*revision <= latest);
            for half in ["left", "right"] {
                let key = format!("{half}/{name}");
                let record = store.get(&key).await.unwrap();
                let record = record.unwrap_or_else(|| panic!("{key} of round {round} is gone"));
                assert_eq!(record.modified, *revision, "{key}");
                assert_eq!(record.value, name.as_bytes(), "{key}");
            }
        }
        // What was not acknowledged may be there as well, but never in part.
        let [left, right] = ["left/", "right/"].map(|it| store.list(it));
        let names = |listing: store::Listing| -> Vec<String> {
            let name = |key: &str| key.split_once('/').unwrap().1.to_owned();
            listing.entries.iter().map(|it| name(&it.0)).collect()
        };
        assert_eq!(names(left.await.unwrap()), names(right.await.unwrap()));
    }
}

/// Starts a writer, kills it once it has told of `count` writes, and returns all it has told.
fn run_victim(path: &Path, count: usize) -> Vec<(String, Revision)> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::victim", "--ignored", "--nocapture"])
        .env(FILE_VARIABLE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    let read = |told: &mut Vec<(String, Revision)>, line: &str| {
        // Beside ours there are the lines of the test harness.
        if let Some(("wrote", rest)) = line.split_once(' ') {
            let (name, revision) = rest.split_once(' ').unwrap();
            told.push((name.to_owned(), Revision(revision.parse().unwrap())));
        }
    };
    while told.len() < count {
        let line = lines.next().expect("the writer ended by itself").unwrap();
        read(&mut told, &line);
    }
    victim.kill().unwrap(); // SIGKILL
    victim.wait().unwrap();
    // What it told before it died, but the last line, which may be cut.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    for line in rest.iter().take(rest.len().saturating_sub(1)) {
        read(&mut told, line);
    }
    told
}

/// Writes until it is killed, and tells of each write that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test: what_was_acknowledged_survives_a_kill starts and kills it"]
async fn victim() {
    let path = std::env::var_os(FILE_VARIABLE).expect("started by the test");
    let store = Arc::new(EmbeddedStore::open(Path::new(&path)).unwrap());
    let round = store.revision().await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for number in 0.. {
                let name = format!("{round}-{writer}-{number}");
                let operations = ["left", "right"].map(|half| {
                    Operation::put(format!("{half}/{name}"), name.clone(), Expect::Absent)
                });
                let revision = store.transact(operations.into()).await.unwrap();
                let mut stdout = std::io::stdout().lock();
                writeln!(stdout, "wrote {name} {revision}").unwrap();
                stdout.flush().unwrap();
            }
        });
    }
    writers.join_all().await;
}
