//! The rules of this repository that no other tool checks. Also a test, so it runs wherever the
//! tests run.

mod files;
mod graph;
mod papers;

use std::process::ExitCode;

use anyhow::bail;

use crate::shell;
use graph::Graph;

/// Who may use whom among our own crates. A line here is an architecture decision: see docs/adr.
/// `ARCHITECTURE.md` has the same table for people.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("logic", &["model"]),
    ("api", &["model"]),
    ("store", &["model"]),
    ("mesh", &["model", "logic"]),
    ("relay", &["model", "logic"]),
    ("render", &["model", "logic"]),
    ("runtime", &["model", "logic"]),
    ("center", &["model", "logic", "api", "store", "mesh"]),
    (
        "edge",
        &[
            "model", "logic", "api", "store", "mesh", "relay", "render", "runtime",
        ],
    ),
    ("lab", &["model", "logic", "api", "mesh", "render"]),
    (
        "selvedge",
        &[
            "model", "logic", "api", "mesh", "relay", "center", "edge", "lab",
        ],
    ),
    ("xtask", &[]),
];

/// Crates that must stay free of IO, and what would betray it anywhere in their dependencies.
const PURE: &[&str] = &["model", "logic"];
const IMPURE: &[&str] = &["tokio", "mio", "socket2", "getrandom", "hyper", "rustls"];

/// The task.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let faults = faults()?;
    if !faults.is_empty() {
        bail!("not tidy:\n  {}", faults.join("\n  "));
    }
    Ok(ExitCode::SUCCESS)
}

fn faults() -> anyhow::Result<Vec<String>> {
    let root = shell::root();
    let graph = Graph::load()?;
    let mut faults = Vec::new();
    crates_use_whom_they_may(&graph, &mut faults);
    pure_crates_stay_pure(&graph, &mut faults);
    graph.crates_say_what_they_are(&mut faults);
    papers::table_is_the_same(&root, MAY_USE, &mut faults)?;
    papers::tasks_exist(&root, &mut faults)?;
    files::modules_know_only_the_model(&root.join("crates/logic/src"), &mut faults)?;
    files::are_short_and_well_named(&root, &mut faults)?;
    Ok(faults)
}

fn crates_use_whom_they_may(graph: &Graph, faults: &mut Vec<String>) {
    for (name, uses) in graph.ours() {
        let Some((_, allowed)) = MAY_USE.iter().find(|(it, _)| it == name) else {
            faults.push(format!(
                "{name} is new: add it to MAY_USE and to ARCHITECTURE.md"
            ));
            continue;
        };
        for used in uses {
            if graph.is_ours(used) && !allowed.contains(&used.as_str()) {
                faults.push(format!("{name} may not use {used}"));
            }
        }
    }
}

fn pure_crates_stay_pure(graph: &Graph, faults: &mut Vec<String>) {
    for pure in PURE {
        for impure in graph
            .reachable(pure)
            .iter()
            .filter(|it| IMPURE.contains(&it.as_str()))
        {
            faults.push(format!("{pure} must stay pure but reaches {impure}"));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_is_tidy() {
        assert_eq!(super::faults().unwrap(), Vec::<String>::new());
    }
}
