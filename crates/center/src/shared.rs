//! What every part of the center holds on to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use api::UnixMillis;
use mesh::authority::Authority;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::admin::{self, AdminToken};
use crate::clock;
use crate::config::Config;
use crate::error::LoadError;
use crate::events::Hub;
use crate::metrics::Metrics;
use crate::records::Records;
use crate::world::World;

/// What every part of the center holds on to.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) records: Records,
    pub(crate) authority: Authority,
    pub(crate) admin: AdminToken,
    pub(crate) metrics: Metrics,
    pub(crate) hub: Hub,
    /// Work that must end although the one who asked for it has gone away.
    pub(crate) tasks: TaskTracker,
    pub(crate) wake: Wake,
    /// Held while the cameras of an event are brought together.
    pub(crate) aligning: tokio::sync::Mutex<()>,
    pub(crate) started: Instant,
    pub(crate) started_unix_ms: UnixMillis,
    world: Mutex<World>,
}

/// Who is woken by what.
#[derive(Default)]
pub(crate) struct Wake {
    /// Apps or nodes have changed: plans may have to.
    pub(crate) plan: Notify,
    /// A node came, went or reported something: sessions may be in the wrong place.
    pub(crate) sessions: Notify,
    /// Something visible has changed.
    pub(crate) events: Notify,
    /// A node's link came or went.
    pub(crate) links: Notify,
}

impl Shared {
    /// Opens the data directory and reads what is in it.
    pub(crate) async fn open(config: Config) -> Result<Self, LoadError> {
        let directory = config.data_dir.clone();
        admin::create_directory(&directory).map_err(|source| LoadError::Directory {
            path: directory.clone(),
            source,
        })?;
        let admin = AdminToken::load_or_create(&directory)?;
        let authority = Authority::load_or_create(&directory, SystemTime::now())?;
        let records = Records::open(&directory).await?;
        let world = World::load(&records).await?;
        Ok(Self {
            config,
            records,
            authority,
            admin,
            metrics: Metrics::default(),
            hub: Hub::default(),
            tasks: TaskTracker::new(),
            wake: Wake::default(),
            aligning: tokio::sync::Mutex::default(),
            started: Instant::now(),
            started_unix_ms: clock::unix_ms(),
            world: Mutex::new(world),
        })
    }

    /// The present state. Never held over an await: the guard is not `Send`.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // A panic in a short critical section leaves at worst one object behind its record; the
        // reconcilers mend that.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that something visible has changed in the world.
    pub(crate) fn changed(&self) {
        self.wake.events.notify_one();
    }

    /// Runs `work` to its end even if the caller goes away, and returns what it returns. `None`
    /// only when it panicked.
    pub(crate) async fn finish<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.tasks.spawn(work).await.ok()
    }
}
