//! Running the real binary, away from this person's own variables and files.

use std::path::Path;
use std::process::{Command, Output};

/// The binary with nothing of ours in its environment, and `home` as this person's home.
pub(crate) fn selvedge(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SELVEDGE_") {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", home)
        .env("XDG_STATE_HOME", home.join("state"))
        .env_remove("COLUMNS")
        .env_remove("NO_COLOR");
    command
}

/// Runs it to its end.
pub(crate) fn run(args: &str) -> Ran {
    run_in(tempfile::tempdir().unwrap().path(), args, &[])
}

/// Runs it to its end with variables.
pub(crate) fn run_in(home: &Path, args: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = selvedge(home);
    command.args(args.split_whitespace());
    command.envs(variables.iter().copied());
    Ran::from(command.output().unwrap())
}

/// What it said and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
