//! A child process with all that comes of it: started, limited, heard, measured and ended as one.
//!
//! **Memory** is limited by a watchdog rather than by a cgroup: cgroups with the memory controller
//! can be written only by root or where an administrator delegated them, and a limit that holds on
//! some machines only is worse than a soft one that holds on all. The watchdog looks every
//! [`LOOK_INTERVAL`], so an app may exceed its limit for that long; should memory run out before
//! that, the kernel is told to take apps first and never the node itself.
//!
//! **Processor time** is not limited, only shared by [`Limits::nice`]: `dispatch` decides how many
//! apps fit a node.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::Bytes;
use rustix::process::{Pid, Signal};
use tokio::process::{Child, ChildStdout};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::log::{Log, Source};
use crate::mark::{Mark, VARIABLE};
use crate::spawn;
use crate::table::{self, Entry};

/// How often the watchdog looks at an app's memory. A look at a small app costs 0.1 ms, so this
/// stays below 0.0002 core.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How many looks at the tree of children until all processes of the machine are searched for
/// those that left the tree. That search costs 10 us for every process of the machine.
const LOOKS_PER_SEARCH: u32 = 30;

/// What descendants may take to end by themselves after the command itself has ended.
const STRAYS_GRACE: Duration = Duration::from_millis(300);

/// What we wait at most for killed processes to be gone. The kernel needs microseconds unless one
/// hangs in a driver or a dead network disk; then it is left to the next sweep.
const KILL_WAIT: Duration = Duration::from_millis(700);

/// How often killed or ended processes are looked for.
const GONE_INTERVAL: Duration = Duration::from_millis(20);

/// What the last lines of output may take to arrive after a command has ended.
const OUTPUT_WAIT: Duration = Duration::from_millis(200);

/// How much rather the kernel should end our children than others when memory runs out, -1000 to
/// 1000. Half way: an app goes before the node's own programs and before the user's.
const OOM_SCORE: &str = "500";

/// What to start.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// By what it is found again.
    pub mark: Mark,
    /// Program and arguments. A program without a path is looked for in [`crate::PROGRAM_PATH`].
    pub command: Vec<String>,
    /// Added to the little that every child gets: `PATH`, `HOME`, `LANG` and our mark. Nothing of
    /// our own environment is handed on.
    pub env: BTreeMap<String, String>,
    /// Its home and working directory. Must exist.
    pub dir: PathBuf,
    /// What it may take.
    pub limits: Limits,
    /// Where its output goes.
    pub log: Log,
}

/// What a process and its descendants may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all together; default: none.
    pub memory: Option<Bytes>,
    /// Open files of each; default 8192, and never more than we may have ourselves.
    pub open_files: u64,
    /// Niceness, -20 to 19; default 0. Negative values need rights.
    pub nice: i32,
}

/// What a process and its descendants took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since the start. Never falls.
    pub cpu: Duration,
    /// Resident memory now. What processes share is counted for each.
    pub resident: Bytes,
    /// How many processes there are now.
    pub processes: usize,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Why.
    pub cause: Cause,
    /// What the system says of it.
    pub status: Option<ExitStatus>,
}

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It ended by itself or crashed.
    Itself,
    /// We were asked to end it.
    Terminated,
    /// It took more memory than it may have.
    Memory {
        /// What it had when we looked.
        used: Bytes,
        /// What it may have.
        limit: Bytes,
    },
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
#[error("start {program}")]
pub struct SpawnError {
    program: String,
    #[source]
    source: io::Error,
}

/// A running command. Dropping it kills its process group.
#[derive(Debug)]
pub struct Process {
    shared: Arc<Shared>,
    exit: watch::Receiver<Option<Exit>>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    pid: Pid,
    mark: Mark,
    /// Why it ends, once that is our doing.
    cause: Mutex<Option<Cause>>,
    census: Mutex<Census>,
}

/// What is known of the processes without searching for them.
#[derive(Debug, Default)]
struct Census {
    /// Ours, but no longer below our command, as of the last search.
    strays: Vec<Entry>,
    cpu: Duration,
}

impl Process {
    /// Starts a command in a session of its own.
    ///
    /// # Errors
    /// When there is no such program, or the system refuses.
    pub fn spawn(config: ProcessConfig) -> Result<Self, SpawnError> {
        let log = config.log.clone();
        let (process, stdout) = Self::spawn_piped(config)?;
        process.tasks.spawn(log.copy(Source::Stdout, stdout));
        Ok(process)
    }

    /// Like [`Process::spawn`], for a program that talks to us through its standard output.
    pub(crate) fn spawn_piped(config: ProcessConfig) -> Result<(Self, ChildStdout), SpawnError> {
        let program = config.command.first().cloned().unwrap_or_default();
        let refused = |source| SpawnError { program, source };
        let mut child = spawn::spawn(&spawn::Plan {
            command: &config.command,
            env: &environment(&config),
            dir: &config.dir,
            open_files: config.limits.open_files,
            nice: config.limits.nice,
        })
        .map_err(refused)?;
        let pid = child
            .id()
            .and_then(|it| Pid::from_raw(i32::try_from(it).ok()?))
            .expect("a child that was not waited for has a pid");
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        // Refused only if somebody set a higher score for ourselves.
        let _ = fs::write(
            format!("/proc/{}/oom_score_adj", pid.as_raw_pid()),
            OOM_SCORE,
        );

        let shared = Arc::new(Shared {
            pid,
            mark: config.mark,
            cause: Mutex::default(),
            census: Mutex::default(),
        });
        let tasks = TaskTracker::new();
        let (exit_tx, exit) = watch::channel(None);
        let output = tasks.spawn(config.log.copy(Source::Stderr, stderr));
        let supervised = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut exit = supervised.supervise(child, config.limits.memory).await;
            supervised.end_strays().await;
            let _ = tokio::time::timeout(OUTPUT_WAIT, output).await;
            if let Some(cause) = *supervised.lock_cause() {
                exit.cause = cause;
            }
            exit_tx.send_replace(Some(exit));
        });
        let process = Self {
            shared,
            exit,
            tasks,
        };
        Ok((process, stdout))
    }

    /// The number of the command's own process, which is also that of its group and session.
    pub fn pid(&self) -> u32 {
        self.shared.pid.as_raw_pid().unsigned_abs()
    }

    /// Waits for the end of the command and of everything that came of it. Cancel safe.
    pub async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().expect("it was just seen"),
            // The task was dropped with its executor, and took the process with it.
            Err(_) => Exit {
                cause: Cause::Terminated,
                status: None,
            },
        }
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        self.exit.borrow().clone()
    }

    /// Ends it: asks, waits for at most `grace`, then kills what is left.
    pub async fn terminate(&self, grace: Duration) -> Exit {
        self.shared.lock_cause().get_or_insert(Cause::Terminated);
        if self.exit().is_none() {
            for signal in [Signal::TERM, Signal::CONT] {
                self.shared.signal_all(signal).await;
            }
            if tokio::time::timeout(grace, self.exited()).await.is_err() {
                self.shared.signal_all(Signal::KILL).await;
            }
        }
        self.tasks.close();
        self.exited().await
    }

    /// Stops it where it is, so that it costs memory only.
    pub async fn freeze(&self) {
        self.shared.signal_all(Signal::STOP).await;
    }

    /// Lets it run on.
    pub async fn thaw(&self) {
        self.shared.signal_all(Signal::CONT).await;
    }

    /// What it and its descendants take. Costs about 0.05 ms for each process. Those that left the
    /// tree of descendants are counted where memory is limited, for only then are they looked for.
    pub fn usage(&self) -> Usage {
        if self.exit().is_some() {
            let cpu = self.shared.lock_census().cpu;
            return Usage {
                cpu,
                ..Usage::default()
            };
        }
        self.shared.usage()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit().is_none() {
            // The supervising task reaps it and ends its strays, if the executor still lives.
            let _ = rustix::process::kill_process_group(self.shared.pid, Signal::KILL);
        }
        self.tasks.close();
    }
}

impl Shared {
    /// Waits for the command's end, and ends it when it takes too much memory.
    async fn supervise(&self, mut child: Child, memory: Option<Bytes>) -> Exit {
        let mut looks = 0;
        let status = loop {
            let Some(limit) = memory else {
                break child.wait().await.ok();
            };
            tokio::select! {
                status = child.wait() => break status.ok(),
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            if looks % LOOKS_PER_SEARCH == 0 {
                self.search().await;
            }
            looks += 1;
            if self.usage().resident > limit
                && let used = self.proportional()
                && used > limit
            {
                *self.lock_cause() = Some(Cause::Memory { used, limit });
                self.signal_all(Signal::KILL).await;
            }
        };
        Exit {
            cause: Cause::Itself,
            status,
        }
    }

    /// Ends what is left of the command when its own process is gone.
    async fn end_strays(&self) {
        let started = Instant::now();
        let mut asked = false;
        loop {
            let left = self.marked().await;
            if left.is_empty() {
                return;
            }
            let waited = started.elapsed();
            if waited > STRAYS_GRACE + KILL_WAIT {
                tracing::warn!(mark = %self.mark, left = left.len(), "processes do not end");
                return;
            }
            if waited > STRAYS_GRACE {
                send(&left, Signal::KILL);
            } else if !asked {
                send(&left, Signal::TERM);
                send(&left, Signal::CONT);
                asked = true;
            }
            tokio::time::sleep(GONE_INTERVAL).await;
        }
    }

    async fn signal_all(&self, signal: Signal) {
        // To the group at once, so that none can fork in between, then to those outside of it.
        // Asking twice is left out: programs take a second request as impatience.
        let asks = signal == Signal::TERM;
        if !asks {
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
        send(&self.marked().await, signal);
    }

    async fn marked(&self) -> Vec<Entry> {
        let mark = self.mark.clone();
        search(move |it| mark.is_in(it)).await
    }

    /// Looks for those who left the tree of children.
    async fn search(&self) {
        let tree = table::tree(self.pid);
        let mut strays = self.marked().await;
        strays.retain(|it| tree.iter().all(|known| known.pid != it.pid));
        self.lock_census().strays = strays;
    }

    fn members(&self) -> Vec<Entry> {
        let mut members = table::tree(self.pid);
        let census = self.lock_census();
        members.extend(census.strays.iter().filter_map(|it| table::again(*it)));
        members
    }

    fn usage(&self) -> Usage {
        let members = self.members();
        let resident = members
            .iter()
            .fold(Bytes::new(0), |sum, it| sum.saturating_add(it.resident));
        let mut census = self.lock_census();
        // What a stray used is lost to us when it ends; the sum must not fall for that.
        census.cpu = census.cpu.max(members.iter().map(|it| it.cpu).sum());
        Usage {
            cpu: census.cpu,
            resident,
            processes: members.len(),
        }
    }

    fn proportional(&self) -> Bytes {
        self.members()
            .iter()
            .filter_map(|it| table::proportional(it.pid))
            .fold(Bytes::new(0), Bytes::saturating_add)
    }

    fn lock_cause(&self) -> std::sync::MutexGuard<'_, Option<Cause>> {
        self.cause.lock().expect("nothing panics while it holds it")
    }

    fn lock_census(&self) -> std::sync::MutexGuard<'_, Census> {
        self.census
            .lock()
            .expect("nothing panics while it holds it")
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: None,
            open_files: 8_192,
            nice: 0,
        }
    }
}

impl Exit {
    /// Whether it ended by itself and says that all is well.
    pub fn is_clean(&self) -> bool {
        self.cause == Cause::Itself && self.status.is_some_and(|it| it.success())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cause, self.status) {
            (Cause::Memory { used, limit }, _) => {
                write!(
                    f,
                    "ended because it took {used} of memory and may have {limit}"
                )
            }
            (Cause::Terminated, _) => write!(f, "was ended"),
            (Cause::Itself, Some(status)) if status.success() => write!(f, "ended by itself"),
            (Cause::Itself, Some(status)) => write!(f, "crashed ({status})"),
            (Cause::Itself, None) => write!(f, "ended"),
        }
    }
}

/// Searches the machine on a thread that may take its time.
pub(crate) async fn search(is_ours: impl Fn(&[u8]) -> bool + Send + 'static) -> Vec<Entry> {
    let tasks = TaskTracker::new();
    tasks
        .spawn_blocking(move || table::marked(is_ours))
        .await
        .unwrap_or_default()
}

pub(crate) fn send(to: &[Entry], signal: Signal) {
    for entry in to {
        table::signal(*entry, signal);
    }
}

fn environment(config: &ProcessConfig) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("HOME".to_owned(), config.dir.display().to_string()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("PATH".to_owned(), crate::PROGRAM_PATH.to_owned()),
    ]);
    env.extend(config.env.clone());
    // Last: nobody takes our mark away.
    env.insert(VARIABLE.to_owned(), config.mark.to_string());
    env
}
