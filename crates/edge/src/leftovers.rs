//! What a node leaves when it is killed: processes and a directory of theirs. Its next start ends
//! them; [`tidy_up`] is for those who will not start it again.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use mesh::identity::Identity;
use model::NodeId;
use runtime::mark::Owner;

use crate::error::EdgeError;

/// Ends what the node of this directory may have left. Returns how many processes it found.
///
/// # Errors
/// When the node runs, or its directory cannot be used.
pub async fn tidy_up(data_dir: &Path) -> Result<usize, EdgeError> {
    let _lock = lock(data_dir)?;
    let node_id = Identity::load_or_create(data_dir)?.node_id();
    let swept = runtime::sweep::sweep(&owner(node_id)).await;
    let run_dir = run_dir(node_id);
    match tokio::fs::remove_dir_all(&run_dir).await {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(EdgeError::Directory {
            path: run_dir,
            source,
        }),
        _ => Ok(swept.processes),
    }
}

/// Makes this process the only one that uses the directory, for as long as the file is held.
pub(crate) fn lock(data_dir: &Path) -> Result<File, EdgeError> {
    let directory = |source| EdgeError::Directory {
        path: data_dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(data_dir).map_err(directory)?;
    let lock = File::create(data_dir.join("lock")).map_err(directory)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(EdgeError::InUse(data_dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(directory(source)),
    }
}

/// By whom the children of a node are marked.
pub(crate) fn owner(node_id: NodeId) -> Owner {
    Owner::new(format!("node-{node_id}")).expect("hexadecimal digits and a hyphen")
}

/// Where a node's instances have their directories. Short: there are sockets in it.
pub(crate) fn run_dir(node_id: NodeId) -> PathBuf {
    std::env::temp_dir().join(format!("selvedge-{node_id}"))
}
