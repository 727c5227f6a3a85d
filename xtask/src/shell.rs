//! Running other programs, so that one sees which and how long.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// The top of the repository: of this checkout, though another one may have built us.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = here.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    here.parent().expect("xtask lies in the root").to_owned()
}

/// Says what comes next.
pub(crate) fn say(text: &str) {
    eprintln!("\n==> {text}");
}

/// The cargo that runs us.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(root());
    if is_ci() {
        let cache = cache();
        if std::env::var_os("CARGO_TARGET_DIR").is_none() {
            command.env("CARGO_TARGET_DIR", cache.join("target"));
        }
        // Each checkout is another; what is kept for the next edit is never used.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Where the programs lie that cargo built.
pub(crate) fn built(profile: &str) -> PathBuf {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => PathBuf::from(target),
        None if is_ci() => cache().join("target"),
        None => root().join("target"),
    };
    root().join(target).join(profile)
}

/// npm, with a cache that outlives the checkout.
pub(crate) fn npm(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(dir);
    if is_ci() {
        command.env("npm_config_cache", cache().join("npm"));
    }
    command
}

/// Whether this is a machine on which each checkout is thrown away.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|it| !it.is_empty() && it != "false" && it != "0")
}

/// What outlives a checkout.
fn cache() -> PathBuf {
    let home = || {
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into());
        PathBuf::from(home).join(".cache")
    };
    std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(home, PathBuf::from)
        .join("selvedge-ci")
}

/// Runs a program with our input and output, and says whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    let status = command
        .status()
        .with_context(|| format!("run {}", words(command)))?;
    Ok(status.success())
}

/// Runs a program, shows what it says, and hands each line to `read`. Whether it succeeded.
pub(crate) fn succeeds_and_reads(
    command: &mut Command,
    read: impl FnMut(&str) + Send,
) -> anyhow::Result<bool> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {}", words(command)))?;
    let stdout = child.stdout.take().expect("it is piped");
    let stderr = child.stderr.take().expect("it is piped");
    let read = std::sync::Mutex::new(read);
    let pass_on = |stream: Box<dyn Read + Send>| {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line);
            eprintln!("{line}");
            read.lock().expect("the reader does not panic")(&line);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| pass_on(Box::new(stdout)));
        scope.spawn(|| pass_on(Box::new(stderr)));
    });
    Ok(child.wait().context("wait for a child")?.success())
}

/// What a program prints, if it runs and succeeds.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Finds a program in `PATH`, and where games lie.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/games", "/usr/sbin", "/usr/local/games"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|it| it.is_file())
}

/// A command as one would type it.
fn words(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|it| it.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
