//! What runs here now: lets the command line find the center of this person without being told.
//!
//! `selvedge dev` (or a center on its own) writes a small file when it is ready and removes it at
//! its end. A file whose process is gone counts as none.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

use serde::{Deserialize, Serialize};

/// The center that runs here now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Current {
    /// Its address, such as `http://127.0.0.1:7400`.
    pub(crate) center: String,
    /// The operator's token.
    pub(crate) token: String,
    /// The process that wrote this.
    pub(crate) pid: u32,
}

/// Keeps the file in place until dropped.
#[derive(Debug)]
pub(crate) struct Announced {
    path: PathBuf,
    current: Current,
}

/// Tells the command line of this person where the center is.
pub(crate) fn announce(center: String, token: String) -> io::Result<Announced> {
    let path = path().ok_or_else(|| io::Error::other("neither HOME nor XDG_STATE_HOME is set"))?;
    let current = Current {
        center,
        token,
        pid: process::id(),
    };
    write(&path, &current)?;
    Ok(Announced { path, current })
}

/// The center that runs here now, if one does.
pub(crate) fn find() -> Option<Current> {
    let current = read(&path()?)?;
    Path::new("/proc")
        .join(current.pid.to_string())
        .exists()
        .then_some(current)
}

/// Where this person's programs keep what outlives them: `~/.local/state`.
pub(crate) fn state_dir() -> Option<PathBuf> {
    own_dir("XDG_STATE_HOME", ".local/state")
}

/// Where this person's programs keep what they can make again: `~/.cache`.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    own_dir("XDG_CACHE_HOME", ".cache")
}

/// As the XDG Base Directory Specification has it: the variable, else below the home.
fn own_dir(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|it| it.is_absolute())
    };
    absolute(variable)
        .or_else(|| absolute("HOME").map(|it| it.join(below_home)))
        .map(|it| it.join("selvedge"))
}

impl Drop for Announced {
    fn drop(&mut self) {
        // Somebody who started later may have written their own.
        if read(&self.path).as_ref() == Some(&self.current) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn path() -> Option<PathBuf> {
    Some(state_dir()?.join("current.json"))
}

fn read(path: &Path) -> Option<Current> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Whole or not at all, and for this person's eyes only.
fn write(path: &Path, current: &Current) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(&serde_json::to_vec(current)?)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_private_and_goes_with_its_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("selvedge/current.json");
        let mine = current(process::id());
        write(&path, &mine).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read(&path), Some(mine.clone()));
        drop(Announced {
            path: path.clone(),
            current: mine,
        });
        assert!(!path.exists());
    }

    #[test]
    fn a_later_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("current.json");
        write(&path, &current(2)).unwrap();
        drop(Announced {
            path: path.clone(),
            current: current(1),
        });
        assert_eq!(read(&path), Some(current(2)));
    }

    fn current(pid: u32) -> Current {
        Current {
            center: "http://127.0.0.1:1".into(),
            token: "t".into(),
            pid,
        }
    }
}
