//! `cargo xtask demo`: from a fresh machine to the console in a browser.

use std::io::BufRead as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail, ensure};

use crate::packages::{self, Install, Use};
use crate::shell;

/// The hidden task that reads what `selvedge dev` prints.
pub(crate) const OPENER: &str = "open-when-ready";

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (ours, theirs) = match arguments.iter().position(|it| it == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    let mut install = Install::Yes;
    for argument in ours {
        match argument.as_str() {
            "--no-install" => install = Install::No,
            other => bail!("demo knows no {other}; what is for `selvedge dev` comes after --"),
        }
    }

    shell::say("looking for what the demo needs");
    packages::provide(&[Use::Build, Use::Run, Use::Demo], install)?;

    shell::say("building selvedge (the first time this takes some minutes)");
    // The test app is small and comes along, so that it can be deployed.
    let mut build = shell::cargo(["build", "--release"]);
    build.args(["-p", "selvedge", "--bin", "selvedge"]);
    build.args(["-p", "lab", "--bin", "selvedge-probe"]);
    ensure!(shell::succeeds(&mut build)?, "the build failed; see above");

    shell::say("starting a center and three edges; end them with Ctrl-C");
    start(theirs)
}

/// Becomes `selvedge dev`, so that signals and the exit code are its own. What it prints goes to a
/// copy of ourselves that opens the console.
fn start(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let mut opener = Command::new(std::env::current_exe().context("find ourselves")?)
        .arg(OPENER)
        .stdin(Stdio::piped())
        .spawn()
        .context("run ourselves")?;
    let to_opener = opener.stdin.take().expect("it is piped");
    let program = shell::built("release").join("selvedge");
    let error = Command::new(&program)
        .args(["dev", "--json"])
        .args(arguments)
        .stdout(Stdio::from(to_opener))
        .current_dir(shell::root())
        .exec();
    Err(error).with_context(|| format!("run {}", program.display()))
}

/// Reads JSON lines until the one that says that all is ready.
pub(crate) fn open_when_ready() -> anyhow::Result<ExitCode> {
    for line in std::io::stdin().lock().lines() {
        let line = line.context("read what selvedge dev prints")?;
        let Ok(event) = serde_json::from_str::<serde_json::Value>(&line) else {
            println!("{line}");
            continue;
        };
        if event["event"] == "ready"
            && let Some(console) = event["console"].as_str()
        {
            println!("\n    The console: {console}\n");
            open(console);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows an address in the user's browser, where there is a desktop.
fn open(address: &str) {
    let has_desktop = ["WAYLAND_DISPLAY", "DISPLAY"]
        .iter()
        .any(|it| std::env::var_os(it).is_some_and(|it| !it.is_empty()));
    if !has_desktop || shell::which("xdg-open").is_none() {
        return;
    }
    // The browser's chatter is not ours.
    let opened = Command::new("xdg-open")
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = opened {
        eprintln!("could not open a browser: {error}");
    }
}
