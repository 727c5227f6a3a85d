//! Where `selvedge dev` keeps its things: a directory of its own that goes when it ends.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use edge::EdgeError;
use tempfile::TempDir;

use super::role;
use crate::exit::{Ending, Told};
use crate::output::say;

/// How the directories begin that are thrown away.
const PREFIX: &str = "selvedge-dev-";

/// Locked for as long as somebody uses the directory.
const LOCK: &str = "dev.lock";

/// A directory that nobody else uses.
#[derive(Debug)]
pub(super) struct Scratch {
    dir: Dir,
    /// Held, not read.
    _lock: File,
}

#[derive(Debug)]
enum Dir {
    ThrownAway(TempDir),
    Kept(PathBuf),
}

impl Scratch {
    /// The directory that is named and kept, or a new one that is thrown away.
    pub(super) async fn open(kept: Option<&Path>) -> anyhow::Result<Self> {
        let dir = match kept {
            Some(path) => {
                fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
                let path = path.canonicalize();
                Dir::Kept(path.context("find the data directory")?)
            }
            None => {
                sweep(&std::env::temp_dir()).await;
                let dir = tempfile::Builder::new().prefix(PREFIX).tempdir();
                Dir::ThrownAway(dir.context("make a directory for temporary files")?)
            }
        };
        let lock = lock(dir.path())?;
        Ok(Self { dir, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Whether it goes at the end.
    pub(super) const fn is_thrown_away(&self) -> bool {
        matches!(self.dir, Dir::ThrownAway(_))
    }
}

impl Dir {
    fn path(&self) -> &Path {
        match self {
            Self::ThrownAway(dir) => dir.path(),
            Self::Kept(path) => path,
        }
    }
}

fn lock(dir: &Path) -> anyhow::Result<File> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(dir.join(LOCK));
    let file = file.with_context(|| format!("write in {}", dir.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let told = Told::new(
                Ending::Failed,
                format!("another `selvedge dev` uses {}", dir.display()),
            );
            Err(told.hint("end that one, or give another --data-dir").into())
        }
        Err(TryLockError::Error(error)) => Err(error).context("lock the data directory"),
    }
}

/// Removes what was left by those who were killed. Only our own person's, and only if nobody holds
/// the lock.
async fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours && let Err(error) = remove_if_left(&entry.path()).await {
            let path = entry.path();
            say(&format!(
                "selvedge: cannot remove {}: {error:#}",
                path.display()
            ));
        }
    }
}

async fn remove_if_left(dir: &Path) -> anyhow::Result<()> {
    let metadata = fs::symlink_metadata(dir)?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    // Without a lock somebody is about to make one, or it is none of ours.
    let Ok(lock) = File::open(dir.join(LOCK)) else {
        return Ok(());
    };
    if lock.try_lock().is_err() {
        return Ok(());
    }
    for child in fs::read_dir(dir)? {
        let child = child?;
        if !child.file_name().to_string_lossy().starts_with(role::EDGE) {
            continue;
        }
        match role::tidy_up(&child.path().join(role::DATA)).await {
            // It has noticed that it is alone and is about to end.
            Err(EdgeError::InUse(_)) => return Ok(()),
            outcome => outcome?,
        }
    }
    Ok(fs::remove_dir_all(dir)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_dead_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let dir = |name: &str, locked: bool| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            locked.then(|| lock(&path).unwrap())
        };
        let alive = dir("selvedge-dev-alive", true);
        drop(dir("selvedge-dev-dead", true));
        dir("selvedge-dev-new", false);
        drop(dir("somebody-else", true));
        sweep(parent.path()).await;
        let mut left: Vec<_> = fs::read_dir(parent.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(
            left,
            ["selvedge-dev-alive", "selvedge-dev-new", "somebody-else"]
        );
        drop(alive);
    }

    #[tokio::test]
    async fn two_do_not_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = Scratch::open(Some(dir.path())).await.unwrap();
        assert!(!first.is_thrown_away());
        let error = Scratch::open(Some(dir.path()))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("another `selvedge dev`"), "{error}");
        drop(first);
        Scratch::open(Some(dir.path())).await.unwrap();
    }
}
