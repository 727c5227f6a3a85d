//! Real children: heard, limited, frozen, ended; and found again after their parent is gone.
#![expect(clippy::unwrap_used, reason = "a test helper fails its test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use model::Bytes;
use runtime::log::{Log, Source};
use runtime::mark::{Mark, Owner, VARIABLE};
use runtime::process::{Cause, Limits, Process, ProcessConfig};
use runtime::sweep::sweep;

/// For a state to come about on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn it_is_heard_and_sees_nothing_of_our_environment() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = shell(
        dir.path(),
        "env; pwd; ulimit -c; ulimit -n; echo late >&2; exit 3",
    );
    config.env = BTreeMap::from([("COLOUR".to_owned(), "green".to_owned())]);
    config.limits.open_files = 333;
    let log = config.log.clone();
    let mark = config.mark.to_string();
    let process = Process::spawn(config).unwrap();

    let exit = process.exited().await;
    assert_eq!(exit.cause, Cause::Itself);
    assert_eq!(exit.status.unwrap().code(), Some(3));
    assert_eq!(exit.to_string(), "crashed (exit status: 3)");

    let lines = log.tail(100);
    let said: Vec<&str> = lines.iter().map(|it| it.text.as_str()).collect();
    let home = dir.path().display().to_string();
    for wanted in [
        "COLOUR=green",
        "LANG=C.UTF-8",
        &format!("HOME={home}"),
        &format!("{VARIABLE}={mark}"),
        &home,
        "0",
        "333",
    ] {
        assert!(said.contains(&wanted), "{wanted} is not in {said:#?}");
    }
    assert!(!said.iter().any(|it| it.starts_with("CARGO")), "{said:#?}");
    let late = lines.iter().find(|it| it.text == "late").unwrap();
    assert_eq!(late.source, Source::Stderr);
}

#[tokio::test]
async fn who_ignores_a_request_is_killed_with_all_descendants() {
    let dir = tempfile::tempdir().unwrap();
    let config = shell(
        dir.path(),
        "trap '' TERM; sleep 1000 & setsid sleep 1001 & echo ready; wait; wait; wait; sleep 1000",
    );
    let mark = config.mark.to_string();
    let log = config.log.clone();
    let process = Process::spawn(config).unwrap();
    said(&log, "ready").await;
    until("both sleep", || marked(&mark).len() >= 3).await;

    let started = Instant::now();
    let exit = process.terminate(Duration::from_millis(200)).await;
    assert_eq!(exit.cause, Cause::Terminated);
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(marked(&mark), Vec::<u32>::new());
}

#[tokio::test]
async fn what_outlives_its_command_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let config = shell(dir.path(), "setsid sleep 1000 & sleep 1001 & exit 0");
    let mark = config.mark.to_string();
    let process = Process::spawn(config).unwrap();
    assert!(process.exited().await.is_clean());
    assert_eq!(marked(&mark), Vec::<u32>::new());
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = shell(dir.path(), "sleep 1000 & echo ready; wait");
    let (mark, log) = (config.mark.to_string(), config.log.clone());
    let process = Process::spawn(config).unwrap();
    said(&log, "ready").await;
    drop(process);
    until("all are gone", || marked(&mark).is_empty()).await;
}

#[tokio::test]
async fn too_much_memory_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = shell(dir.path(), "tail -c 200000000 /dev/zero | sleep 1000");
    config.command[2] = "tail /dev/zero".to_owned(); // keeps one endless line
    let limit = Bytes::mb(100);
    config.limits.memory = Some(limit);
    let process = Process::spawn(config).unwrap();
    let exit = tokio::time::timeout(PATIENCE, process.exited())
        .await
        .unwrap();
    let Cause::Memory { used, limit: told } = exit.cause else {
        panic!("{exit:?}");
    };
    assert!(used > limit && told == limit, "{exit}");
}

#[tokio::test]
async fn frozen_it_takes_no_time_and_thawed_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let config = shell(dir.path(), "while :; do :; done");
    let process = Process::spawn(config).unwrap();
    until("it takes time", || {
        process.usage().cpu > Duration::from_millis(50)
    })
    .await;

    process.freeze().await;
    until("it stands still", || state(process.pid()) == Some('T')).await;
    let before = process.usage();
    assert!(before.resident > Bytes::new(0) && before.processes == 1);
    // What it took until the signal reached it is counted; from here on nothing more may be.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(process.usage().cpu, before.cpu);

    process.thaw().await;
    until("it goes on", || process.usage().cpu > before.cpu).await;
    process.freeze().await;
    let exit = process.terminate(Duration::from_secs(5)).await;
    assert_eq!(exit.cause, Cause::Terminated, "a frozen one can be ended");
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = shell(dir.path(), "");
    config.command = vec!["no-such-program".to_owned()];
    let error = Process::spawn(config).unwrap_err();
    assert_eq!(error.to_string(), "start no-such-program");
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("/usr/games"), "{reason}");
}

/// A helper leaves its group and session and overwrites what can be seen of its environment; its
/// parent, our stand-in for a node, is killed. The sweep must find both and spare others.
#[tokio::test]
async fn a_sweep_finds_what_a_killed_node_left() {
    let owner = Owner::new(format!("crashed-{}", std::process::id())).unwrap();
    let mark = owner.unit("instance").unwrap();
    let other = Owner::new(format!("living-{}", std::process::id())).unwrap();
    let dir = tempfile::tempdir().unwrap();

    let mut config = shell(dir.path(), "sleep 1000");
    config.mark = other.unit("instance").unwrap();
    let spared = Process::spawn(config).unwrap();

    // `env -i` drops the mark, as a program that rewrites its environment does; the session that
    // it is in was opened by one that had it.
    let script =
        "setsid sh -c 'env -i sleep 1000 & sleep 1001' & trap '' TERM; sleep 1002; sleep 1003";
    let mut node = std::process::Command::new("setsid")
        .args(["sh", "-c", &format!("{script} & wait")])
        .env(VARIABLE, mark.to_string())
        .spawn()
        .unwrap();
    until("all run", || named("sleep", "1000 1001 1002", &mark) >= 2).await;
    node.kill().unwrap();
    node.wait().unwrap();

    let swept = sweep(&owner).await;
    assert!(swept.processes >= 3, "{swept:?}");
    assert_eq!(swept.survivors, 0, "{swept:?}");
    assert_eq!(marked(&mark.to_string()), Vec::<u32>::new());
    assert_eq!(spared.exit(), None);
    assert_eq!(sweep(&owner).await.processes, 0);
    spared.terminate(Duration::from_secs(1)).await;
}

fn shell(dir: &Path, script: &str) -> ProcessConfig {
    ProcessConfig {
        mark: unique(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: BTreeMap::new(),
        dir: dir.to_owned(),
        limits: Limits::default(),
        log: Log::new(),
    }
}

fn unique() -> Mark {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let owner = Owner::new(format!("test-{}", std::process::id())).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    owner.unit(number.to_string()).unwrap()
}

/// The processes that carry a mark, read in the plainest way.
fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{VARIABLE}={mark}");
    processes()
        .filter(|pid| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ
                .split(|it| *it == 0)
                .any(|it| it == wanted.as_bytes())
        })
        .collect()
}

/// How many processes of this name with one of these arguments carry a mark.
fn named(program: &str, arguments: &str, mark: &Mark) -> usize {
    let of_mark = marked(&mark.to_string());
    of_mark
        .into_iter()
        .filter(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split('\0');
            words.next() == Some(program)
                && words.any(|it| !it.is_empty() && arguments.split(' ').any(|arg| arg == it))
        })
        .count()
}

fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok())
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}

async fn said(log: &Log, wanted: &str) {
    let mut follower = log.follow(0);
    let found = async {
        while !follower
            .next_lines()
            .await
            .iter()
            .any(|it| it.text == wanted)
        {}
    };
    tokio::time::timeout(PATIENCE, found).await.expect(wanted);
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
