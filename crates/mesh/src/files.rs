//! Small secret files: readable by their owner alone, replaced whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// No file of ours comes near this; a larger one is not ours and is not read into memory.
const FILE_MAX: u64 = 256 * 1024;

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system said no.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others could have read the secret, so it is no secret.
    #[error("{} can be read by others (mode {mode:o}); run `chmod 600` on it if nobody has", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Far larger than anything written by us.
    #[error("{} is larger than {FILE_MAX} bytes, so it is not a file of ours", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a secret, or `None` where there is no such file.
pub(crate) fn read_secret(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let io = |source| io_error("read", path, source);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(FileError::TooOpen { path, mode });
    }
    let mut content = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut content)
        .map_err(io)?;
    if content.len() as u64 > FILE_MAX {
        let path = path.to_owned();
        return Err(FileError::TooLarge { path });
    }
    Ok(Some(content))
}

/// Replaces a secret. After a crash there is either the old content or the new.
pub(crate) fn write_secret(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let temporary = write_temporary(path, content)?;
    fs::rename(&temporary, path).map_err(|source| io_error("replace", path, source))?;
    sync_directory(path)
}

/// Reads a secret; where there is none, writes what `make` returns. When two processes race,
/// both end with the content of the one that came first.
pub(crate) fn read_or_create_secret<E: From<FileError>>(
    path: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    if let Some(content) = read_secret(path)? {
        return Ok(content);
    }
    let content = make()?;
    let temporary = write_temporary(path, &content)?;
    // A hard link, unlike a rename, fails when somebody was faster.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary).map_err(|source| io_error("remove", &temporary, source))?;
    match linked {
        Ok(()) => sync_directory(path)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if let Some(theirs) = read_secret(path)? {
                return Ok(theirs);
            }
        }
        Err(error) => return Err(io_error("create", path, error).into()),
    }
    Ok(content)
}

fn write_temporary(path: &Path, content: &[u8]) -> Result<PathBuf, FileError> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|source| io_error("create", directory, source))?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    // Left by a process of the same number that was killed half way.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove", &temporary, error));
        }
        Ok(()) | Err(_) => {}
    }
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|source| io_error("write", &temporary, source))?;
    Ok(temporary)
}

/// A new name is only durable once its directory is.
fn sync_directory(path: &Path) -> Result<(), FileError> {
    let Some(directory) = path.parent() else {
        return Ok(());
    };
    File::open(directory)
        .and_then(|it| it.sync_all())
        .map_err(|source| io_error("sync", directory, source))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> FileError {
    let path = path.to_owned();
    FileError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_writer_wins_and_the_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a").join("key");
        let first = read_or_create_secret::<FileError>(&path, || Ok(b"first".to_vec())).unwrap();
        let second = read_or_create_secret::<FileError>(&path, || Ok(b"second".to_vec())).unwrap();
        assert_eq!((first, second), (b"first".to_vec(), b"first".to_vec()));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_secret(&path, b"secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read_secret(&path),
            Err(FileError::TooOpen { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_killed_writer_leaves_the_old_content_and_does_not_block_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_secret(&path, b"old").unwrap();
        write_temporary(&path, b"half").unwrap(); // and here the process dies
        assert_eq!(read_secret(&path).unwrap().unwrap(), b"old");
        write_secret(&path, b"new").unwrap();
        assert_eq!(read_secret(&path).unwrap().unwrap(), b"new");
    }
}
