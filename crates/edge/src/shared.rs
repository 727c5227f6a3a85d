//! What every task of a node needs.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use mesh::identity::Identity;
use mesh::join::JoinToken;
use mesh::tls::TerminalCertificate;
use model::{NodeId, Resources};
use relay::{Hop, Relay, RelayConfig};
use runtime::mark::Owner;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::config::Config;
use crate::error::EdgeError;
use crate::grant::Grants;
use crate::leftovers;
use crate::machine;
use crate::metrics::Metrics;

/// Connections of terminals and nodes at once. Each may hold a send window of 1 MiB.
const CONNECTIONS_MAX: usize = 4_096;

/// What every task of a node needs.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) join: Option<JoinToken>,
    pub(crate) node_id: NodeId,
    pub(crate) identity: Arc<Identity>,
    pub(crate) certificate: TerminalCertificate,
    pub(crate) relay: Relay,
    /// Who may do what at the relay's door.
    pub(crate) grants: Arc<Grants>,
    pub(crate) capacity: Resources,
    pub(crate) lacks: Vec<String>,
    pub(crate) metrics: Metrics,
    /// By whom the children are marked.
    pub(crate) owner: Owner,
    /// Where instances have their directories. Short: there are sockets in it.
    pub(crate) run_dir: PathBuf,
    pub(crate) tracker: TaskTracker,
    /// Ends what is left when the node has stopped: relay, links.
    pub(crate) stop: CancellationToken,
    /// Held for as long as the process lives.
    _lock: File,
}

impl Shared {
    pub(crate) async fn open(config: Config, tracker: TaskTracker) -> Result<Self, EdgeError> {
        let directory = |source| EdgeError::Directory {
            path: config.data_dir.clone(),
            source,
        };
        let lock = leftovers::lock(&config.data_dir)?;
        let identity = Arc::new(Identity::load_or_create(&config.data_dir)?);
        let join = config.join.as_deref().map(str::parse).transpose()?;
        if join.is_none() && identity.credentials().authority().is_none() {
            return Err(EdgeError::NotJoined);
        }
        let now = SystemTime::now();
        let certificate = match &config.certificate {
            Some(files) => TerminalCertificate::from_files(&files.certificate, &files.key, now)?,
            None => TerminalCertificate::self_signed(&[], now)?,
        };

        let node_id = identity.node_id();
        let owner = leftovers::owner(node_id);
        let run_dir = leftovers::run_dir(node_id);
        let swept = runtime::sweep::sweep(&owner).await;
        if swept.processes > 0 {
            info!(processes = swept.processes, "ended what a crash had left");
        }
        runtime::sweep::clear(&run_dir).await.map_err(directory)?;

        let stop = CancellationToken::new();
        let grants = Arc::new(Grants::new(Arc::clone(&identity)));
        let authorize = Arc::clone(&grants);
        let relay = Relay::new(
            RelayConfig {
                hop: Hop::try_from(node_id.0).expect("node ids are hops: 1 to 2^62 - 1"),
                authorize,
                connections_max: CONNECTIONS_MAX,
            },
            tracker.clone(),
            stop.clone(),
        );
        Ok(Self {
            join,
            node_id,
            certificate,
            relay,
            grants,
            capacity: config.capacity.unwrap_or_else(machine::capacity),
            lacks: machine::lacks(),
            metrics: Metrics::default(),
            owner,
            run_dir,
            tracker,
            stop,
            identity,
            config,
            _lock: lock,
        })
    }
}
