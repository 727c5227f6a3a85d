//! `--help` of every command, compared with files. `SELVEDGE_BLESS=1` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::run;

/// Every command. The test below finds one that is missing here.
const COMMANDS: &[&str] = &[
    "",
    "dev",
    "center",
    "edge",
    "app",
    "app deploy",
    "app list",
    "app show",
    "app remove",
    "site",
    "site list",
    "site show",
    "node",
    "node list",
    "node show",
    "node token",
    "session",
    "session list",
    "session show",
    "session logs",
    "session move",
    "session close",
    "live",
    "live publish",
    "live status",
    "live align",
    "live key",
    "live key create",
    "live key list",
    "live key revoke",
    "status",
    "explain",
    "completion",
];

#[test]
fn every_command_helps_as_written_down() {
    let bless = std::env::var_os("SELVEDGE_BLESS").is_some();
    let mut differ = Vec::new();
    for command in COMMANDS {
        let ran = run(&format!("{command} --help"));
        assert_eq!(ran.code, 0, "{command}: {}", ran.stderr);
        assert_eq!(ran.stderr, "", "{command}");
        let path = golden(command);
        if bless {
            fs::write(&path, &ran.stdout).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != ran.stdout {
            differ.push(format!("{}:\n{}", path.display(), ran.stdout));
        }
    }
    assert!(
        differ.is_empty(),
        "help has changed; SELVEDGE_BLESS=1 writes it down:\n{}",
        differ.join("\n")
    );
}

/// A command that nobody wrote down would have no test.
#[test]
fn every_command_is_written_down() {
    for command in COMMANDS {
        let help = run(&format!("{command} --help")).stdout;
        let listed = help
            .lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1)
            .take_while(|line| line.starts_with("  "))
            .filter(|line| !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next());
        for verb in listed {
            let whole = format!("{command} {verb}");
            assert!(COMMANDS.contains(&whole.trim()), "{whole}");
        }
    }
}

fn golden(command: &str) -> PathBuf {
    let name = if command.is_empty() {
        "selvedge".to_owned()
    } else {
        command.replace(' ', "-")
    };
    Path::new("tests/golden").join(format!("{name}.txt"))
}
