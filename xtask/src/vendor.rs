//! Files that are checked in although a program makes them.

use std::process::ExitCode;

use anyhow::ensure;

use crate::shell;

/// The files of the console that come from elsewhere; `console/vendor/README.md` tells of them.
pub(crate) fn javascript() -> anyhow::Result<ExitCode> {
    ensure!(
        shell::which("npm").is_some(),
        "npm is not installed: apt-get install npm"
    );
    let dir = shell::root().join("console/vendor");
    for arguments in [&["ci", "--ignore-scripts"][..], &["run", "vendor"]] {
        shell::say(&format!("npm {}", arguments.join(" ")));
        ensure!(
            shell::succeeds(&mut shell::npm(&dir, arguments))?,
            "npm {} failed",
            arguments.join(" ")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The OpenAPI document. The test that compares it with the code writes it when asked to.
pub(crate) fn openapi() -> anyhow::Result<ExitCode> {
    let mut test = shell::cargo(["test", "--quiet", "-p", "center", "openapi"]);
    test.env("SELVEDGE_BLESS", "1");
    ensure!(shell::succeeds(&mut test)?, "the document was not written");
    Ok(ExitCode::SUCCESS)
}
