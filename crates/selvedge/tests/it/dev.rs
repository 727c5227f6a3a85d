//! `selvedge dev` with real children. The one thing it must never do is leave one behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::run::{run_in, selvedge};

/// For what takes a second on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a clean end may take.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How often a state is looked at that nothing tells about.
const TICK: Duration = Duration::from_millis(20);

#[test]
fn it_is_ready_answers_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(home.path(), "");
    assert_eq!(dev.ready["event"], "ready");
    let center = dev.text("center");
    let token = dev.text("token");
    assert_eq!(dev.text("console"), format!("{center}/#token={token}"));
    let sites: Vec<&str> = dev.ready["sites"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(sites, ["shanghai", "frankfurt", "sao-paulo"]);
    let apps = dev.ready["apps"].as_array().unwrap();
    assert!(apps.len() >= 4, "{apps:?}");
    for app in apps {
        let told = if app["deployed"] == true {
            "play"
        } else {
            "why"
        };
        assert!(app[told].is_string(), "{app}");
    }

    // A second terminal finds it by itself.
    let status = run_in(home.path(), "status --json", &[]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["nodes_ready"], 3);
    let nodes = run_in(home.path(), "node list", &[]);
    assert_eq!(
        nodes.stdout.matches(" ready ").count(),
        3,
        "{}",
        nodes.stdout
    );

    let family = dev.family();
    assert!(family.len() >= 5, "{family:?}");
    let begun = Instant::now();
    let ended = dev.end(Signal::TERM);
    assert!(ended.success(), "{ended}");
    assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());
    assert_eq!(alive(&family), [0; 0]);
    assert!(!Path::new(&dev.text("data_dir")).exists());
    assert!(!home.path().join("state/selvedge/current.json").exists());
}

#[test]
fn killed_it_takes_its_children_along() {
    let home = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(home.path(), "");
    start_an_app(home.path(), &dev);
    let family = dev.family();
    let ended = dev.end(Signal::KILL);
    assert!(!ended.success());
    let deadline = Instant::now() + STOP_MAX + STOP_MAX;
    while !alive(&family).is_empty() {
        assert!(Instant::now() < deadline, "{:?} still run", alive(&family));
        std::thread::sleep(TICK);
    }
    // What it could not remove the next one does.
    let left = dev.text("data_dir");
    assert!(Path::new(&left).exists());
    drop(dev);
    let mut next = Dev::start(home.path(), "--no-emulation");
    assert!(!Path::new(&left).exists());
    assert!(next.end(Signal::INT).success());
}

#[test]
fn an_edge_and_a_center_that_die_come_back() {
    let home = tempfile::tempdir().unwrap();
    let sites = home.path().join("sites.toml");
    fs::write(&sites, "[[site]]\nname = 'berlin'\n").unwrap();
    let data = home.path().join("data");
    let args = format!("--sites {} --data-dir {}", sites.display(), data.display());
    let mut dev = Dev::start(home.path(), &args);
    let edge = dev.ready["pids"]["edges"][0].as_i64().unwrap();
    let center = dev.ready["pids"]["center"].as_i64().unwrap();
    for (name, pid) in [("edge-berlin", edge), ("center", center)] {
        kill(pid, Signal::KILL);
        let exited = dev.next_event();
        assert_eq!(exited["event"], "exited");
        assert_eq!(exited["name"], name);
        assert_eq!(exited["pid"], pid);
        let restarted = dev.next_event();
        assert_eq!(restarted["event"], "restarted");
        assert_eq!(restarted["name"], name);
        wait_for("the node to be ready", || {
            let status = run_in(home.path(), "status --json", &[]);
            let status: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
            status["nodes_ready"] == 1
        });
    }
    let node = dev.ready["sites"][0]["node"].clone();
    assert!(dev.end(Signal::TERM).success());
    assert!(data.exists());

    // The same directory is the same cloud.
    let mut again = Dev::start(home.path(), &args);
    assert_eq!(again.ready["sites"][0]["node"], node);
    assert!(again.end(Signal::TERM).success());
}

/// An edge that is killed cannot end its apps.
#[test]
fn what_may_not_come_back_stays_dead_and_its_apps_end() {
    let home = tempfile::tempdir().unwrap();
    let sites = home.path().join("sites.toml");
    fs::write(&sites, "[[site]]\nname = 'x'\nlat = 1.5\nlon = -2\n").unwrap();
    let args = format!("--no-restart --sites {}", sites.display());
    let mut dev = Dev::start(home.path(), &args);
    let apps = start_an_app(home.path(), &dev);
    let edge = dev.ready["pids"]["edges"][0].as_i64().unwrap();
    kill(edge, Signal::KILL);
    let exited = dev.next_event();
    assert_eq!(exited["name"], "edge-x");
    assert_eq!(exited.get("restart_in_ms"), None);
    wait_for("the apps to end", || alive(&apps).is_empty());
    assert!(dev.end(Signal::TERM).success());
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let args = format!("dev --json --listen {}", taken.local_addr().unwrap());
    let ran = run_in(home.path(), &args, &[]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.contains("center did not start"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("in use"), "{}", ran.stderr);
    let ran = run_in(home.path(), "dev --listen 0.0.0.0:0", &[]);
    assert_eq!(ran.code, 2);
}

/// Starts the first program that this machine has, and returns the processes that came with it.
fn start_an_app(home: &Path, dev: &Dev) -> Vec<u32> {
    let apps = dev.ready["apps"].as_array().unwrap();
    let is_program = |it: &&Value| {
        let page = it["play"].as_str();
        page.is_some_and(|it| it.contains("/play/"))
    };
    let app = apps.iter().find(is_program);
    let Some(app) = app else {
        return Vec::new();
    };
    let before = dev.family();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = api::client::Client::new(&dev.text("center"), Some(dev.text("token"))).unwrap();
    let create = api::session::CreateSession {
        app: app["name"].as_str().unwrap().parse().unwrap(),
        terminal: model::Terminal::default(),
        screen: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(client.create_session(&create)).unwrap();
    let news = || -> Vec<u32> {
        let family = dev.family();
        family
            .into_iter()
            .filter(|it| !before.contains(it))
            .collect()
    };
    // Its screen and itself.
    wait_for("the app to run", || news().len() >= 2);
    let list = run_in(home, "session list", &[]);
    assert!(
        list.stdout.contains(app["name"].as_str().unwrap()),
        "{}",
        list.stdout
    );
    news()
}

/// A `selvedge dev` that is ready.
struct Dev {
    process: Child,
    stdout: BufReader<ChildStdout>,
    ready: Value,
}

impl Dev {
    fn start(home: &Path, args: &str) -> Self {
        let mut command = selvedge(home);
        command
            .args(["dev", "--json", "--no-event"])
            .args(args.split_whitespace());
        // A directory of its own: other tests throw away what the dead left in theirs.
        let temporary = home.join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        command.env("TMPDIR", temporary);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut dev = Self {
            process,
            stdout,
            ready: Value::Null,
        };
        dev.ready = dev.next_event();
        dev
    }

    /// The next line it says. Its own deadlines end it if nothing comes.
    fn next_event(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("it said {line:?}"))
    }

    fn text(&self, key: &str) -> String {
        self.ready[key].as_str().unwrap().to_owned()
    }

    /// It and everything that it started, and what these started.
    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.process.id()];
        let mut at = 0;
        while at < family.len() {
            let tasks = format!("/proc/{}/task", family[at]);
            for task in fs::read_dir(tasks).unwrap() {
                let children = fs::read_to_string(task.unwrap().path().join("children"));
                let children = children.unwrap_or_default();
                family.extend(
                    children
                        .split_whitespace()
                        .map(|it| it.parse::<u32>().unwrap()),
                );
            }
            at += 1;
        }
        family
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        kill(self.process.id().into(), signal);
        let mut ended = None;
        wait_for("the end", || {
            ended = self.process.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // A test that failed half way: the children follow by themselves.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Those of them that still run; zombies do not.
fn alive(pids: &[u32]) -> Vec<u32> {
    let runs = |pid: &&u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
        !matches!(state, None | Some(Some('Z' | 'X')))
    };
    pids.iter().filter(runs).copied().collect()
}

fn kill(pid: i64, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[track_caller]
fn wait_for(what: &str, mut state: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !state() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(TICK);
    }
}
