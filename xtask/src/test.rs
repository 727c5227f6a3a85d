//! `cargo xtask test`: all that must hold, with a summary. CI runs exactly this.

mod count;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::packages::{self, Install, Use};
use crate::shell;
use count::Count;

/// Where the browser tests and the pinned tools of JavaScript lie.
const BROWSER_TESTS: &str = "tests/browser";

/// What came of a step.
struct Step {
    name: &'static str,
    count: Count,
    took: Duration,
}

#[derive(Default)]
struct Run {
    steps: Vec<Step>,
}

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let mut install = Install::Yes;
    let mut filter = Vec::new();
    for argument in arguments {
        match argument.as_str() {
            "--no-install" => install = Install::No,
            other if other.starts_with('-') => bail!("test knows no {other}"),
            name => filter.push(name.to_owned()),
        }
    }
    shell::say("looking for what the tests need");
    packages::provide(&[Use::Build, Use::Run, Use::Test], install)?;

    let mut run = Run::default();
    if filter.is_empty() {
        run.lints()?;
    }
    run.rust_tests(&filter)?;
    run.browser_tests(&filter)?;
    run.summary();
    let failed = run.steps.iter().any(|it| it.count.failed > 0);
    Ok(match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

impl Run {
    fn lints(&mut self) -> anyhow::Result<()> {
        self.check("format", &mut shell::cargo(["fmt", "--all", "--check"]))?;
        let features: &[&[&str]] = match has_features()? {
            true => &[&[], &["--all-features"], &["--no-default-features"]],
            false => &[&[]],
        };
        for features in features {
            let name = match features {
                [] => "clippy",
                ["--all-features", ..] => "clippy, all features",
                _ => "clippy, no features",
            };
            let mut clippy = shell::cargo(["clippy", "--workspace", "--all-targets"]);
            clippy.args(*features).args(["--", "-D", "warnings"]);
            self.check(name, &mut clippy)?;
        }
        self.step("tidy", |_| match crate::tidy::run() {
            Ok(_) => Ok(Count::passed()),
            Err(error) => {
                eprintln!("{error:#}");
                Ok(Count::failed())
            }
        })
    }

    fn rust_tests(&mut self, filter: &[String]) -> anyhow::Result<()> {
        // First on its own: a build that fails is told apart from a test that does.
        let mut build = shell::cargo(["build", "--workspace", "--all-targets"]);
        if !self.check("build", &mut build)? {
            return Ok(());
        }
        let has_nextest = shell::output(env!("CARGO"), &["nextest", "--version"]).is_some();
        self.step("unit and integration tests", |count| {
            let mut tests = match has_nextest {
                true => {
                    let mut tests =
                        shell::cargo(["nextest", "run", "--workspace", "--no-fail-fast"]);
                    tests.args(filter);
                    tests
                }
                false => {
                    let mut tests = shell::cargo(["test", "--workspace", "--all-targets"]);
                    tests.args(["--no-fail-fast", "--"]).args(filter);
                    tests
                }
            };
            let read = |line: &str| match has_nextest {
                true => count.add(Count::of_nextest(line)),
                false => count.add(Count::of_libtest(line)),
            };
            let succeeded = shell::succeeds_and_reads(&mut tests, read)?;
            Ok(count.or_fail(succeeded))
        })
    }

    fn browser_tests(&mut self, filter: &[String]) -> anyhow::Result<()> {
        let dir = shell::root().join(BROWSER_TESTS);
        if !dir.join("package-lock.json").exists() {
            return Ok(());
        }
        let mut install = shell::npm(&dir, &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        if !self.check("tools of JavaScript", &mut install)? {
            return Ok(());
        }
        if filter.is_empty() {
            let mut types = Command::new(dir.join("node_modules/.bin/tsc"));
            types
                .arg("--project")
                .arg(shell::root().join("console/jsconfig.json"));
            self.check("types of the console", &mut types)?;
        }
        let files = test_files(&dir, filter)?;
        if files.is_empty() {
            return Ok(());
        }
        self.step("browser tests", |count| {
            // One after the other: each starts a cloud of its own and measures time.
            for file in &files {
                eprintln!("# {file}");
                let mut node = Command::new("node");
                node.args(["--test", "--test-reporter=tap"]);
                for name in filter {
                    node.arg(format!("--test-name-pattern={name}"));
                }
                node.arg(file)
                    .current_dir(&dir)
                    .env("SELVEDGE_BINARY", shell::built("debug").join("selvedge"));
                let mut one = Count::default();
                let succeeded =
                    shell::succeeds_and_reads(&mut node, |line| one.add(Count::of_tap(line)))?;
                count.add(one.or_fail(succeeded));
            }
            Ok(*count)
        })
    }

    /// A step that is one test by itself. Whether it passed.
    fn check(&mut self, name: &'static str, command: &mut Command) -> anyhow::Result<bool> {
        let mut passed = false;
        self.step(name, |_| {
            passed = shell::succeeds(command)?;
            Ok(match passed {
                true => Count::passed(),
                false => Count::failed(),
            })
        })?;
        Ok(passed)
    }

    fn step(
        &mut self,
        name: &'static str,
        run: impl FnOnce(&mut Count) -> anyhow::Result<Count>,
    ) -> anyhow::Result<()> {
        shell::say(name);
        let started = Instant::now();
        let count = run(&mut Count::default()).context(name)?;
        self.steps.push(Step {
            name,
            count,
            took: started.elapsed(),
        });
        Ok(())
    }

    fn summary(&self) {
        println!();
        let mut all = Count::default();
        for Step { name, count, took } in &self.steps {
            let verdict = match count.failed {
                0 => "ok    ",
                _ => "FAILED",
            };
            let tests = count.passed + count.failed;
            let seconds = took.as_secs_f64();
            println!("{verdict} {name:<28} {seconds:>7.1} s  {tests:>5}");
            all.add(*count);
        }
        println!();
        println!("{} passed, {} failed", all.passed, all.failed);
    }
}

/// Whether a crate of ours has features, beyond none at all.
fn has_features() -> anyhow::Result<bool> {
    let metadata = shell::cargo(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .context("run cargo metadata")?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&metadata.stdout).context("parse cargo metadata")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    Ok(packages
        .filter_map(|it| it["features"].as_object())
        .any(|it| !it.is_empty()))
}

/// The files with browser tests; with a filter only those that name a test so.
fn test_files(dir: &Path, filter: &[String]) -> anyhow::Result<Vec<String>> {
    let mut files: Vec<String> = std::fs::read_dir(dir)?
        .filter_map(|it| it.ok()?.file_name().into_string().ok())
        .filter(|it| it.ends_with(".test.mjs"))
        .collect();
    if !filter.is_empty() {
        files.retain(|file| {
            let text = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
            filter.iter().any(|it| text.contains(it.as_str()))
        });
    }
    files.sort();
    Ok(files)
}
