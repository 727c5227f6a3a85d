//! One child process: started with a pipe to its stdin, so that it notices when we are gone.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use crate::environment;

/// How long a child may take to stop. One second is left of the five that we may take ourselves.
const STOP_WAIT: Duration = Duration::from_secs(4);

/// A child's log begins anew at a start when it is larger: about a day of a busy node.
const LOG_MAX: u64 = 16 << 20;

/// How much of the end of a log is shown when a child dies.
const TAIL_LINES: usize = 12;
const TAIL_BYTES: u64 = 8 << 10;

/// How to start a child.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    /// Arguments of this very program.
    pub(super) args: Vec<OsString>,
    /// Secrets: arguments can be read by everyone on the machine.
    pub(super) env: Vec<(&'static str, String)>,
    /// Its stderr.
    pub(super) log: PathBuf,
}

/// A child that runs. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    stdout: BufReader<ChildStdout>,
    /// Held, never written: that it is closed tells the child that we are gone.
    _stdin: ChildStdin,
    pid: u32,
}

impl Child {
    pub(super) fn start(launch: &Launch) -> anyhow::Result<Self> {
        let log = open_log(&launch.log)
            .with_context(|| format!("write the log {}", launch.log.display()))?;
        let program = ourselves();
        let mut command = Command::new(&program);
        command
            .arg0("selvedge")
            .args(&launch.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C at a terminal is for us; a child is told by us, once.
            .process_group(0)
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            // Meant for us: the children have their own.
            if name.to_string_lossy().starts_with(environment::PREFIX) {
                command.env_remove(name);
            }
        }
        command.envs(launch.env.iter().map(|(name, value)| (name, value)));
        let mut process = command
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let pid = process.id().context("it ended at once")?;
        let stdout = process.stdout.take().context("it has no stdout")?;
        let stdin = process.stdin.take().context("it has no stdin")?;
        Ok(Self {
            process,
            stdout: BufReader::new(stdout),
            _stdin: stdin,
            pid,
        })
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// The line by which it says that it is ready.
    pub(super) async fn ready_line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).await;
        match read.context("read what it says")? {
            0 => match self.process.wait().await {
                Ok(status) => bail!("it ended before it was ready: {}", describe(status)),
                Err(error) => Err(error).context("wait for its end"),
            },
            _ => Ok(line),
        }
    }

    /// Waits until it ends by itself, and says how.
    pub(super) async fn ended(&mut self) -> String {
        // Nobody reads what else it says, but a full pipe would stop it.
        let mut nowhere = tokio::io::sink();
        let drained = tokio::io::copy_buf(&mut self.stdout, &mut nowhere);
        tokio::select! {
            status = self.process.wait() => return told(status),
            _ = drained => {}
        }
        told(self.process.wait().await)
    }

    /// Asks it to stop and waits for its end; makes it end when it takes too long or `now` says so.
    pub(super) async fn stop(&mut self, now: &CancellationToken) {
        self.signal(Signal::TERM);
        tokio::select! {
            _ = self.ended() => return,
            () = tokio::time::sleep(STOP_WAIT) => {}
            () = now.cancelled() => {}
        }
        self.signal(Signal::KILL);
        let _ = self.process.wait().await;
    }

    fn signal(&self, signal: Signal) {
        // Only while it has not been waited for: afterwards the number may be another's.
        let pid = self.process.id().and_then(|it| i32::try_from(it).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // It may have ended just now.
            let _ = kill_process(pid, signal);
        }
    }
}

/// This very program, also when a build has replaced its file since: that must not keep children
/// from coming back.
fn ourselves() -> PathBuf {
    let file = std::env::current_exe().ok().filter(|it| it.exists());
    file.unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn open_log(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    if fs::metadata(path).is_ok_and(|it| it.len() > LOG_MAX) {
        fs::remove_file(path)?;
    }
    File::options().create(true).append(true).open(path)
}

fn told(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => describe(status),
        Err(error) => error.to_string(),
    }
}

/// "exit status: 1", "signal: 9 (SIGKILL)".
fn describe(status: ExitStatus) -> String {
    status.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("x.log");
        assert_eq!(tail(&log), "");
        let text: String = (0..10_000).map(|it| format!("line {it}\n")).collect();
        fs::write(&log, text).unwrap();
        let tail = tail(&log);
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 9999"));
    }
}
