//! Benchmarks: always a release build, whose progress goes to stderr.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::packages::{self, Use};
use crate::shell;

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    if !arguments.iter().any(|it| it == "--list") {
        packages::warn_of_missing(&[Use::Build, Use::Run]);
    }
    let status = shell::cargo([
        "run",
        "--release",
        "-p",
        "lab",
        "--bin",
        "selvedge-bench",
        "--",
    ])
    .args(arguments)
    .status()
    .context("run cargo")?;
    let code = status.code().and_then(|it| u8::try_from(it).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
