//! Cleaning up after ourselves: what a node that was killed left running, and on disk.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::mark::Owner;
use crate::process::{search, send};

/// What leftovers may take to end when asked.
const GRACE: Duration = Duration::from_millis(500);

/// What we wait in all. A node should not start late because of something that can't be killed.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// How often we look whether they are gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Processes that were still there.
    pub processes: usize,
    /// Those that did not end within three seconds; zero unless the kernel holds them.
    pub survivors: usize,
}

/// Ends every process that carries a mark of `owner`, and what came of it.
///
/// Call it before anything is started in this owner's name, and while holding whatever makes this
/// process the only one of that owner (the lock of its data directory).
pub async fn sweep(owner: &Owner) -> Swept {
    let started = Instant::now();
    let mut swept = Swept::default();
    let mut asked = BTreeSet::new();
    loop {
        let name = owner.clone();
        let left = search(move |it| name.is_in(it)).await;
        swept.processes = swept.processes.max(left.len());
        swept.survivors = left.len();
        if left.is_empty() || started.elapsed() > WAIT_MAX {
            return swept;
        }
        if started.elapsed() > GRACE {
            send(&left, Signal::KILL);
        } else {
            // Each once: programs take a second request as impatience.
            let fresh: Vec<_> = left
                .into_iter()
                .filter(|it| asked.insert(it.pid.as_raw_pid()))
                .collect();
            send(&fresh, Signal::TERM);
            send(&fresh, Signal::CONT);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Empties the directory in which instances have theirs, and makes it if there is none. Afterwards
/// it is ours and nobody else may look into it, also where its parent is open to all.
///
/// # Errors
/// When something in it can't be removed, or somebody else made it.
pub async fn clear(dir: &Path) -> io::Result<()> {
    match tokio::fs::remove_dir_all(dir).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(parent) = dir.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    // Fails if somebody was quicker: a directory of theirs would be a trap.
    tokio::fs::DirBuilder::new().mode(0o700).create(dir).await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_cleared_directory_is_empty_and_ours_alone() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("a/run");
        clear(&dir).await.unwrap();
        std::fs::create_dir(dir.join("old")).unwrap();
        std::fs::write(dir.join("old/file"), "left").unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();

        clear(&dir).await.unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
