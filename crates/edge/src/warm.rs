//! Instances that are started and frozen, so that a session finds its app running.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::link::PlannedRelease;
use model::manifest::Stream;
use model::{AppName, ReleaseNumber};
use runtime::instance::{Instance, Phase};
use tracing::{debug, warn};

use crate::session::instance;
use crate::shared::Shared;

/// How long an app runs before it is frozen: most are past their start-up by then.
const SETTLE: Duration = Duration::from_secs(3);

/// After a start that failed. An app that cannot start is tried again with the next release too.
const RETRY: Duration = Duration::from_secs(30);

/// Frozen instances of the releases that the plan wants warm. All clones are one pool.
#[derive(Clone)]
pub(crate) struct WarmPool {
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    wanted: BTreeMap<AppName, Wanted>,
    ready: BTreeMap<(AppName, ReleaseNumber), Vec<Instance>>,
    /// Being started, by app.
    starting: BTreeMap<AppName, usize>,
    stopped: bool,
}

/// A program of which instances should wait.
#[derive(Clone)]
struct Wanted {
    number: ReleaseNumber,
    manifest: Stream,
}

impl Wanted {
    fn from_planned(release: &PlannedRelease) -> Option<Self> {
        let stream = release.manifest.stream()?;
        (stream.placement.warm > 0).then(|| Self {
            number: release.number,
            manifest: stream.clone(),
        })
    }
}

impl WarmPool {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            state: Arc::default(),
        }
    }

    /// Starts what the plan wants and is not there, and ends what it no longer wants.
    pub(crate) fn adopt(&self, releases: &[PlannedRelease]) {
        let mut state = self.lock();
        state.wanted = releases
            .iter()
            .filter_map(Wanted::from_planned)
            .map(|it| (it.manifest.name.clone(), it))
            .collect();
        let State { wanted, ready, .. } = &mut *state;
        ready.retain(|(app, number), instances| {
            let keep = wanted.get(app).is_some_and(|it| it.number == *number);
            if !keep {
                for instance in instances.drain(..) {
                    self.shared.tracker.spawn(instance.stop());
                }
            }
            keep
        });
        drop(state);
        self.refill();
    }

    /// Takes a warm instance of this very release, if there is one, and starts the next.
    pub(crate) async fn take(&self, app: &AppName, release: ReleaseNumber) -> Option<Instance> {
        let taken = {
            let mut state = self.lock();
            state.ready.get_mut(&(app.clone(), release))?.pop()
        };
        self.refill();
        let instance = taken?;
        instance.thaw().await;
        match instance.state().phase {
            Phase::Running => {
                self.shared.metrics.warm_hits.add(1);
                Some(instance)
            }
            Phase::Restarting { .. } | Phase::Failed { .. } => {
                instance.stop().await;
                None
            }
        }
    }

    /// Whether an instance of this release waits.
    pub(crate) fn has(&self, app: &AppName, release: ReleaseNumber) -> bool {
        self.count(app, release) > 0
    }

    /// How many instances of this release wait.
    pub(crate) fn count(&self, app: &AppName, release: ReleaseNumber) -> u32 {
        let state = self.lock();
        let ready = state.ready.get(&(app.clone(), release)).map_or(0, Vec::len);
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// Ends all of them.
    pub(crate) async fn stop(&self) {
        let ready = {
            let mut state = self.lock();
            state.stopped = true;
            std::mem::take(&mut state.ready)
        };
        let instances = ready.into_values().flatten().map(Instance::stop);
        futures::future::join_all(instances).await;
    }

    fn refill(&self) {
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        let wanted: Vec<Wanted> = state.wanted.values().cloned().collect();
        for release in wanted {
            let app = release.manifest.name.clone();
            let key = (app.clone(), release.number);
            let ready = state.ready.get(&key).map_or(0, Vec::len);
            let starting = state.starting.entry(app).or_default();
            while ready + *starting < usize::from(release.manifest.placement.warm) {
                *starting += 1;
                let pool = self.clone();
                let release = release.clone();
                self.shared
                    .tracker
                    .spawn(async move { pool.add(release).await });
            }
        }
    }

    async fn add(self, release: Wanted) {
        let app = release.manifest.name.clone();
        let started = tokio::select! {
            () = self.shared.stop.cancelled() => return,
            started = instance::start(&self.shared, &release.manifest, None) => started,
        };
        let instance = match started {
            Ok(instance) => instance,
            Err(error) => {
                warn!(%app, error, "a warm instance did not start");
                tokio::select! {
                    () = self.shared.stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
                self.started(&app);
                return self.refill();
            }
        };
        tokio::select! {
            () = self.shared.stop.cancelled() => return instance.stop().await,
            () = tokio::time::sleep(SETTLE) => instance.freeze().await,
        }
        self.started(&app);
        if let Some(unwanted) = self.keep(&app, release.number, instance) {
            unwanted.stop().await;
        }
    }

    /// Puts an instance into the pool, or gives it back if nobody wants it any more.
    fn keep(&self, app: &AppName, number: ReleaseNumber, instance: Instance) -> Option<Instance> {
        let mut state = self.lock();
        let wanted = state.wanted.get(app).is_some_and(|it| it.number == number);
        if !wanted || state.stopped {
            return Some(instance);
        }
        debug!(%app, "an instance is warm");
        let key = (app.clone(), number);
        state.ready.entry(key).or_default().push(instance);
        None
    }

    fn started(&self, app: &AppName) {
        if let Some(starting) = self.lock().starting.get_mut(app) {
            *starting = starting.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave the pool half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
