//! The kernel's table of processes: who is ours, and what it takes.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use model::Bytes;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::mark::VARIABLE;

/// The most bytes of an environment that are searched for our mark. The mark is put there first or
/// among a few dozen others; a kernel limit lets an environment have megabytes.
const ENVIRON_MAX: u64 = 256 * 1024;

/// The most generations of children followed. A tree deeper than this is a fork bomb and is found
/// by its marks.
const GENERATIONS_MAX: usize = 32;

/// What the kernel tells of a session that was opened outside of our PID namespace.
const NO_SESSION: i32 = 0;

/// A process as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub pid: Pid,
    parent: i32,
    session: i32,
    /// In clock ticks since boot. Together with the pid it names one process for ever.
    started: u64,
    /// Its own processor time and that of the children it has waited for.
    pub cpu: Duration,
    /// Resident memory, what is shared counted in full.
    pub resident: Bytes,
    zombie: bool,
}

/// All processes of ours whose mark satisfies `is_ours`, with everything that came of them: their
/// children, and the members of the sessions they opened. A program may overwrite its environment
/// (browsers do, to show a title), so marks alone don't find all.
pub(crate) fn marked(is_ours: impl Fn(&[u8]) -> bool) -> Vec<Entry> {
    let own_user = rustix::process::geteuid().as_raw();
    let own_pid = rustix::process::getpid();
    // Not by getsid(2): rustix takes its answer for a `Pid`, and in a container it may be 0.
    let own_session = entry(own_pid).map_or(NO_SESSION, |it| it.session);
    let all: Vec<Entry> = all()
        .into_iter()
        .filter(|it| !it.zombie && it.pid != own_pid)
        .collect();

    let mut found = BTreeSet::new();
    let mut sessions = BTreeSet::new();
    let add = |entry: &Entry, found: &mut BTreeSet<i32>, sessions: &mut BTreeSet<i32>| {
        if entry.session != own_session && entry.session != NO_SESSION {
            sessions.insert(entry.session);
        }
        found.insert(entry.pid.as_raw_pid())
    };
    for entry in &all {
        if user_of(entry.pid) == Some(own_user) && mark_of(entry.pid).is_some_and(|it| is_ours(&it))
        {
            add(entry, &mut found, &mut sessions);
        }
    }
    // Each round adds at least one process or is the last.
    loop {
        let mut grew = false;
        for entry in &all {
            if found.contains(&entry.parent) || sessions.contains(&entry.session) {
                grew |= add(entry, &mut found, &mut sessions);
            }
        }
        if !grew {
            break;
        }
    }
    all.into_iter()
        .filter(|it| found.contains(&it.pid.as_raw_pid()))
        .collect()
}

/// A process and its descendants, by the kernel's lists of children: cheap, but blind for those
/// whose parent is gone.
pub(crate) fn tree(leader: Pid) -> Vec<Entry> {
    let mut found: Vec<Entry> = entry(leader).into_iter().collect();
    let mut parents = vec![leader];
    for _ in 0..GENERATIONS_MAX {
        let children: Vec<Pid> = parents.iter().flat_map(|it| children(*it)).collect();
        if children.is_empty() {
            break;
        }
        found.extend(children.iter().filter_map(|it| entry(*it)));
        parents = children;
    }
    found
}

/// Reads one process, if it is there.
pub(crate) fn entry(pid: Pid) -> Option<Entry> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    parse_stat(pid, &text)
}

/// The same process as before, as it is now.
pub(crate) fn again(before: Entry) -> Option<Entry> {
    entry(before.pid).filter(|it| it.started == before.started)
}

/// Memory of a process with what it shares divided among those who share it. Costs the kernel a
/// walk of its pages, so it is asked only when the cheap figure is too high.
pub(crate) fn proportional(pid: Pid) -> Option<Bytes> {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_pid())).ok()?;
    let line = text.lines().find_map(|it| it.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes::new(kib * 1024))
}

/// Sends a signal to exactly the process that was seen, never to one that has its number now.
/// Returns whether it was there.
pub(crate) fn signal(target: Entry, signal: Signal) -> bool {
    let Ok(pidfd) = rustix::process::pidfd_open(target.pid, PidfdFlags::empty()) else {
        return false;
    };
    again(target).is_some() && rustix::process::pidfd_send_signal(pidfd, signal).is_ok()
}

fn all() -> Vec<Entry> {
    let Ok(dir) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    dir.filter_map(Result::ok)
        .filter_map(|it| it.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter_map(entry)
        .collect()
}

fn children(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_pid();
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .filter_map(Result::ok)
        .filter_map(|it| fs::read_to_string(it.path().join("children")).ok())
        .flat_map(|it| {
            it.split_ascii_whitespace()
                .filter_map(|it| it.parse().ok())
                .filter_map(Pid::from_raw)
                .collect::<Vec<_>>()
        })
        .collect()
}

fn user_of(pid: Pid) -> Option<u32> {
    let metadata = fs::metadata(format!("/proc/{}", pid.as_raw_pid())).ok()?;
    Some(metadata.uid())
}

/// The value of our variable in a process' environment.
fn mark_of(pid: Pid) -> Option<Vec<u8>> {
    let file = fs::File::open(format!("/proc/{}/environ", pid.as_raw_pid())).ok()?;
    let mut environ = Vec::new();
    file.take(ENVIRON_MAX).read_to_end(&mut environ).ok()?;
    environ
        .split(|it| *it == 0)
        .find_map(|it| it.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"="))
        .map(<[u8]>::to_vec)
}

/// See proc_pid_stat(5): the program's name is in brackets and may contain anything.
fn parse_stat(pid: Pid, text: &str) -> Option<Entry> {
    let after_name = &text[text.rfind(')')? + 1..];
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let signed = |at: usize| fields.get(at)?.parse::<i32>().ok();
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Entry {
        pid,
        parent: signed(1)?,
        session: signed(3)?,
        started: number(19)?,
        cpu: Duration::from_millis(ticks * 1_000 / per_second),
        resident: Bytes::new(
            number(21)?.saturating_mul(u64::try_from(rustix::param::page_size()).ok()?),
        ),
        zombie: matches!(fields.first(), Some(&"Z" | &"X")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_anything() {
        let pid = Pid::from_raw(7).unwrap();
        let text = "7 (a) Z (b) R 3 7 5 0 -1 4 0 0 0 0 100 50 10 5 20 0 1 0 12345 1000 3 0";
        let entry = parse_stat(pid, text).unwrap();
        assert_eq!((entry.parent, entry.session), (3, 5));
        assert_eq!(entry.started, 12_345);
        assert_eq!(entry.cpu, Duration::from_millis(1_650));
        assert!(!entry.zombie);
        assert_eq!(parse_stat(pid, "7 (cut"), None);
        assert_eq!(parse_stat(pid, "7 (cut) R 3 7"), None);
    }

    #[test]
    fn we_see_ourselves() {
        let own = rustix::process::getpid();
        let entry = entry(own).unwrap();
        assert!(entry.resident > Bytes::new(100_000));
        assert!(tree(own).iter().any(|it| it.pid == own));
        assert_eq!(again(entry).unwrap().pid, own);
        let other = Entry {
            started: entry.started + 1,
            ..entry
        };
        assert_eq!(again(other), None);
        assert!(proportional(own).unwrap() > Bytes::new(10_000));
    }
}
