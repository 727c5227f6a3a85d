//! Runs a bench: `selvedge-bench <name> [--json] [--check] [--flag value]`, or `--list` for what there is.
//!
//! Exit codes: 0 measured, 1 a goal was not met and `--check` was given, 2 nothing was measured.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program: figures on stdout, speech on stderr"
)]

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use lab::bench::{BENCHES, Bench, Flags};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match Request::parse(&args).and_then(|it| it.serve()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[derive(Debug)]
enum Request {
    List,
    Run {
        bench: &'static Bench,
        flags: Flags,
        json: bool,
        check: bool,
    },
}

impl Request {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let (mut name, mut json, mut check) = (None, false, false);
        let mut values = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => return Ok(Self::List),
                "--json" => json = true,
                "--check" => check = true,
                flag if flag.starts_with('-') => {
                    let value = args.next();
                    let value = value.with_context(|| format!("{flag} needs a value"))?;
                    values.push((flag.trim_start_matches('-'), value.clone()));
                }
                word if name.is_none() => name = Some(word),
                word => bail!("one bench at a time, and {word} is the second"),
            }
        }
        let name = name.context("which bench? --list tells what there is")?;
        let bench = Bench::find(name)
            .with_context(|| format!("there is no bench {name}; --list tells what there is"))?;
        let mut flags = Flags::new();
        for (flag, value) in values {
            let known = bench.flags.iter().find(|it| **it == flag);
            let known = known.with_context(|| unknown_flag(bench, flag))?;
            flags.insert(known, value);
        }
        Ok(Self::Run {
            bench,
            flags,
            json,
            check,
        })
    }

    fn serve(self) -> anyhow::Result<ExitCode> {
        let Self::Run {
            bench,
            flags,
            json,
            check,
        } = self
        else {
            for bench in BENCHES {
                println!("{:<8} {}", bench.name, bench.about);
            }
            return Ok(ExitCode::SUCCESS);
        };
        let report = bench.report(&flags, &|what| eprintln!("{}: {what}", bench.name))?;
        if json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print!("{report}");
        }
        let failed = check && !report.met();
        Ok(ExitCode::from(u8::from(failed)))
    }
}

fn unknown_flag(bench: &Bench, flag: &str) -> String {
    let own = bench.flags.iter().map(|it| format!(", --{it}"));
    let own: String = own.collect();
    format!(
        "{} knows no --{flag}; there are --list, --json, --check{own}",
        bench.name
    )
}
