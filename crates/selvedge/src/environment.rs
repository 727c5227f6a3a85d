//! The variables that we read, and those that only look like it.

use std::ffi::OsString;
use std::io::{self, Write as _};

use clap::CommandFactory as _;
use model::document;

use crate::cli::Cli;

/// How all our variables begin.
pub(crate) const PREFIX: &str = "SELVEDGE_";

/// Set for every app that a node runs, so also for a command line inside of one.
const OF_APPS: &str = "SELVEDGE_RUN";

/// Warns of variables that nobody reads: a misspelt one would be passed over in silence.
pub(crate) fn warn_of_unknown(variables: impl Iterator<Item = (OsString, OsString)>) {
    let names = variables.filter_map(|(name, _)| name.into_string().ok());
    for warning in unknown(names, &known()) {
        let _ = writeln!(io::stderr(), "selvedge: {warning}");
    }
}

fn unknown(names: impl Iterator<Item = String>, known: &[String]) -> Vec<String> {
    let mut warnings: Vec<String> = names
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .map(|name| {
            // The common prefix would make any two of them alike.
            let tails = known
                .iter()
                .filter(|it| *it != OF_APPS)
                .filter_map(|it| it.strip_prefix(PREFIX));
            match document::nearest(&name[PREFIX.len()..], tails) {
                Some(near) => {
                    format!("nobody reads the variable {name}; did you mean {PREFIX}{near}?")
                }
                None => format!("nobody reads the variable {name}"),
            }
        })
        .collect();
    warnings.sort();
    warnings
}

/// Every variable that some command reads.
fn known() -> Vec<String> {
    let mut known = vec![OF_APPS.to_owned()];
    collect(&Cli::command(), &mut known);
    known.sort();
    known.dedup();
    known
}

fn collect(command: &clap::Command, known: &mut Vec<String>) {
    for argument in command.get_arguments() {
        let name = argument.get_env().and_then(|it| it.to_str());
        known.extend(name.map(str::to_owned));
    }
    for inner in command.get_subcommands() {
        collect(inner, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_answered_with_the_nearest() {
        let names = ["SELVEDGE_DATADIR", "SELVEDGE_LISTEN", "HOME"];
        assert_eq!(
            unknown(names.into_iter().map(str::to_owned), &known()),
            ["nobody reads the variable SELVEDGE_DATADIR; did you mean SELVEDGE_DATA_DIR?"]
        );
    }

    #[test]
    fn every_variable_is_named_after_its_flag() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let Some(variable) = argument.get_env() else {
                    continue;
                };
                let flag = argument.get_long().unwrap_or_default();
                let wanted = flag.replace('-', "_").to_uppercase();
                assert_eq!(variable.to_str(), Some(&*format!("{PREFIX}{wanted}")));
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
