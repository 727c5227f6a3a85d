//! `selvedge dev`, started for one test and gone with it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use api::app::DeployApp;
use api::client::Client;
use lab::city::City;
use model::{AppName, SiteName, Terminal};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::processes::{self, Marked};
use super::{PATIENCE, soon, until};

/// Lines that nobody has read yet. A cloud says a few a minute.
const LINES_MAX: usize = 64;

/// A clean end may take five seconds; the machine may be busy.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What a failed test needs to be understood.
const LOG: &str =
    "info,center=debug,edge=debug,relay=debug,render=debug,runtime=debug,moq_net=warn";

/// How much of each log a failed test shows.
const LOG_LINES: usize = 80;

/// Two places far from each other: enough for most of what can happen.
pub(crate) const TWO_SITES: &[&str] = &["frankfurt", "shanghai"];

/// The line by which it says that it is ready.
#[derive(Debug, Deserialize)]
pub(crate) struct Ready {
    pub(crate) center: String,
    pub(crate) token: String,
    pub(crate) sites: Vec<ReadySite>,
    pub(crate) pids: Pids,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ReadySite {
    pub(crate) name: SiteName,
    pub(crate) node: String,
    pub(crate) pid: u32,
    /// Without the emulated network.
    pub(crate) address: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Pids {
    pub(crate) center: u32,
}

/// A cloud that is ready.
pub(crate) struct Cloud {
    pub(crate) ready: Ready,
    /// With the operator's token.
    pub(crate) client: Client,
    process: Child,
    lines: mpsc::Receiver<String>,
    home: TempDir,
}

impl Cloud {
    /// Starts a cloud with these cities as sites.
    pub(crate) async fn start(sites: &[&str], args: &[&str]) -> Self {
        build_probe();
        // The client of the API takes what the process has; another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Short: nodes keep sockets below it.
        let home = tempfile::Builder::new().prefix("sv").tempdir().unwrap();
        let file = sites.iter().fold(String::new(), |mut file, name| {
            writeln!(file, "[[site]]\nname = '{name}'").unwrap();
            file
        });
        fs::write(home.path().join("sites.toml"), file).unwrap();
        let mut command = selvedge(home.path());
        command
            .args([
                "dev",
                "--json",
                "--no-event",
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(home.path().join("data"))
            .arg("--sites")
            .arg(home.path().join("sites.toml"))
            .args(["--log", LOG])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(home.path().join("dev.log")).unwrap());
        let mut process = command.spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (tx, lines) = mpsc::channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tx.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        // From here on a failure shows the logs.
        let mut cloud = Self {
            ready: Ready {
                center: String::new(),
                token: String::new(),
                sites: Vec::new(),
                pids: Pids { center: 0 },
            },
            client: Client::new("http://127.0.0.1:1", None).unwrap(),
            process,
            lines,
            home,
        };
        let ready = cloud.event("ready").await;
        cloud.ready = serde_json::from_value(ready).unwrap();
        let token = cloud.ready.token.clone();
        cloud.client = Client::new(&cloud.ready.center, Some(token)).unwrap();
        cloud
    }

    /// Waits until it says that this has happened, and returns the line.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        soon(kind, async {
            loop {
                let line = self.lines.recv().await;
                let line = line.unwrap_or_else(|| panic!("it ended before it said {kind:?}"));
                let event: Value = serde_json::from_str(&line).unwrap();
                if event["event"] == kind {
                    return event;
                }
            }
        })
        .await
    }

    pub(crate) fn site(&self, name: &str) -> &ReadySite {
        let mut sites = self.ready.sites.iter();
        sites.find(|it| it.name.as_str() == name).unwrap()
    }

    /// The running children of a site's node that are this part: `app`, `screen` …
    pub(crate) fn parts(&self, site: &str, part: &str) -> Vec<u32> {
        let all = processes::of_node(&self.site(site).node);
        let mine = all.into_iter().filter(|it| it.part == part);
        mine.map(|it| it.pid).collect()
    }

    /// Waits until a site's node has one such child, another than `before`.
    pub(crate) async fn part(&self, site: &str, part: &str, before: Option<u32>) -> u32 {
        let what = format!("one {part} in {site}, not {before:?}");
        until(&what, async || match self.parts(site, part)[..] {
            [pid] if Some(pid) != before => Some(pid),
            _ => None,
        })
        .await
    }

    /// Publishes an app and waits until every site offers it.
    pub(crate) async fn deploy(&self, manifest: String) -> AppName {
        let deployed = self.client.deploy(&DeployApp { manifest }).await.unwrap();
        let name = deployed.name;
        until("every site offers the app", async || {
            let app = self.client.app(&name).await.ok()?;
            (app.sites.len() == self.ready.sites.len()).then_some(())
        })
        .await;
        name
    }

    /// Runs a command against this cloud.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// A command that knows this cloud and no other.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = selvedge(self.home.path());
        command.args(args);
        command
    }

    /// A directory for whatever a test needs.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where a child keeps its data: `center`, `edge-<site>`.
    pub(crate) fn data_of(&self, child: &str) -> PathBuf {
        self.home.path().join("data").join(child).join("data")
    }

    /// Ends it as a person would, and sees that nothing is left.
    pub(crate) async fn end(mut self) {
        let begun = Instant::now();
        let sites = self.ready.sites.iter();
        let clean = sites.filter(|it| processes::runs(it.pid));
        let run_dirs: Vec<PathBuf> = clean
            .map(|it| self.home.path().join(format!("selvedge-{}", it.node)))
            .collect();
        processes::signal(self.process.id(), Signal::TERM);
        let ended = until("its end", async || self.process.try_wait().unwrap()).await;
        assert!(ended.success(), "it ended with {ended}");
        assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());
        assert_eq!(self.leftovers(), [], "some children are left");
        let left = run_dirs.iter().filter(|it| it.exists());
        let left: Vec<String> = left.map(|it| it.display().to_string()).collect();
        assert_eq!(left, [""; 0], "some directories are left");
    }

    /// Children of its nodes that run.
    pub(crate) fn leftovers(&self) -> Vec<Marked> {
        let sites = self.ready.sites.iter();
        sites.flat_map(|it| processes::of_node(&it.node)).collect()
    }

    fn show_logs(&self) {
        let logs = fs::read_dir(self.home.path().join("data/log"));
        let logs = logs.into_iter().flatten().filter_map(Result::ok);
        let own = self.home.path().join("dev.log");
        for path in logs.map(|it| it.path()).chain([own]) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            println!("--- {}\n{}", path.display(), tail.join("\n"));
        }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        // Not if it has been waited for: its number may be another's by now.
        if matches!(self.process.try_wait(), Ok(None)) {
            processes::signal(self.process.id(), Signal::TERM);
        }
        let deadline = Instant::now() + STOP_MAX;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        // What a test has orphaned on purpose.
        for left in self.leftovers() {
            processes::signal(left.pid, Signal::KILL);
        }
    }
}

/// A terminal in this city.
pub(crate) fn at(city: &str) -> Terminal {
    Terminal {
        position: Some(City::find(city).unwrap().position()),
        network: Some(format!("dev:{city}").parse().unwrap()),
        round_trips: Vec::new(),
    }
}

/// A manifest of the probe under another name. `session` is what stands in that table.
pub(crate) fn probe(name: &str, args: &[&str], session: &str) -> String {
    let command: Vec<&str> = ["selvedge-probe"].iter().chain(args).copied().collect();
    manifest(name, &command, session)
}

/// A manifest of any program.
pub(crate) fn manifest(name: &str, command: &[&str], session: &str) -> String {
    format!(
        "name = '{name}'\nkind = 'stream'\ncommand = {command:?}\n\
         [screen]\ncontent = 'text'\n\
         [resources]\ncpu = 0.1\nmemory = '64MB'\n\
         [session]\n{session}\n\
         [access]\npublic = true\n"
    )
}

/// Where the probe lies.
pub(crate) fn probe_path() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_selvedge")).with_file_name("selvedge-probe")
}

fn selvedge(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SELVEDGE_") {
            command.env_remove(name);
        }
    }
    // Its own, so that no other cloud of this person is found or swept.
    command
        .env("HOME", home)
        .env("XDG_STATE_HOME", home)
        .env("TMPDIR", home)
        .env_remove("NO_COLOR");
    command
}

/// The test app belongs to another package: a run of this one's tests alone does not build it.
fn build_probe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let path = probe_path();
        if path.exists() {
            return;
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "-p", "lab", "--bin", "selvedge-probe"]);
        if path.parent().is_some_and(|it| it.ends_with("release")) {
            cargo.arg("--release");
        }
        let built = cargo.status();
        assert!(built.unwrap().success() && path.exists(), "build the probe");
    });
}

const _: () = assert!(
    PATIENCE.as_secs() > STOP_MAX.as_secs(),
    "an end is waited for"
);
