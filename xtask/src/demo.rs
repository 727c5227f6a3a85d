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
        .arg("dev")
        .args(arguments)
        .stdout(Stdio::from(to_opener))
        .current_dir(shell::root())
        .exec();
    Err(error).with_context(|| format!("run {}", program.display()))
}

/// Passes on what `selvedge dev` prints, and opens the console once it is told.
pub(crate) fn open_when_ready() -> anyhow::Result<ExitCode> {
    let mut opened = false;
    for line in std::io::stdin().lock().lines() {
        let line = line.context("read what selvedge dev prints")?;
        println!("{line}");
        if let Some(console) = console(&line).filter(|_| !opened) {
            open(&console);
            opened = true;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The address of the console, if this line tells it: in words, or with `--json`.
fn console(line: &str) -> Option<String> {
    let address = match line.trim_start().strip_prefix("Console ") {
        Some(address) => address.trim().to_owned(),
        None => {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            event["console"].as_str()?.to_owned()
        }
    };
    address.starts_with("http").then_some(address)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_found_in_words_and_in_json() {
        let address = Some("http://127.0.0.1:1/#token=a".to_owned());
        assert_eq!(console("  Console  http://127.0.0.1:1/#token=a"), address);
        let json = r#"{"event":"ready","console":"http://127.0.0.1:1/#token=a","center":"x"}"#;
        assert_eq!(console(json), address);
        for other in [
            "  Play     http://127.0.0.1:1/play/doom",
            "",
            "{}",
            "Console",
        ] {
            assert_eq!(console(other), None, "{other}");
        }
    }
}
