//! Processes as the system shows them.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The variable by which a node marks its children: `node-<id>/<unit>/<part>`.
const MARK: &str = "SELVEDGE_RUN=";

/// A child of a node: an app, a screen, a sound daemon, or a child of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) pid: u32,
    /// `app`, `screen`, `sound`, `service0` …
    pub(crate) part: String,
}

/// The children of a node that run.
pub(crate) fn of_node(node: &str) -> Vec<Marked> {
    let mark = format!("{MARK}node-{node}/");
    all()
        .into_iter()
        .filter(|pid| runs(*pid))
        .filter_map(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let mut variables = environment.split(|byte| *byte == 0);
            let unit = variables.find_map(|it| it.strip_prefix(mark.as_bytes()))?;
            let unit = String::from_utf8_lossy(unit);
            let part = unit.split_once('/').map_or("", |(_, part)| part);
            Some(Marked {
                pid,
                part: part.to_owned(),
            })
        })
        .collect()
}

/// Whether a process is there; zombies are not.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, it)| it.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Sends a signal. A process that is gone already is as good.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let _ = kill_process(pid, signal);
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    let names = entries.filter_map(|it| it.ok()?.file_name().into_string().ok());
    names.filter_map(|it| it.parse().ok()).collect()
}
