//! What a session runs: a release of an app that is a program.

use api::ErrorCode;
use api::app::Release;
use model::manifest::Stream;
use model::{AppName, Manifest, ReleaseNumber};

use super::create::unknown_app;
use crate::error::Refusal;
use crate::records::SessionRecord;
use crate::shared::Shared;

/// A release of an app that sessions can be opened on.
#[derive(Clone)]
pub(crate) struct Program {
    /// The number of the release.
    pub(crate) number: ReleaseNumber,
    /// What to run.
    pub(crate) manifest: Stream,
}

impl Program {
    /// The present release of an app.
    pub(super) fn present(shared: &Shared, app: &AppName) -> Result<Self, Refusal> {
        let world = shared.world();
        let release = world.apps.get(app).and_then(|it| it.present());
        Self::from_release(release.ok_or_else(|| unknown_app(app))?)
    }

    /// The release that a session runs.
    pub(super) fn of(shared: &Shared, record: &SessionRecord) -> Result<Self, Refusal> {
        let world = shared.world();
        let release = world.release(&record.app, record.release.0);
        Self::from_release(release.ok_or_else(|| unknown_app(&record.app))?)
    }

    fn from_release(release: &Release) -> Result<Self, Refusal> {
        match &release.manifest {
            Manifest::Stream(manifest) => Ok(Self {
                number: release.number,
                manifest: manifest.clone(),
            }),
            Manifest::Live(live) => {
                let name = &live.name;
                let message = format!("{name} is a live event: it is watched, not played");
                Err(Refusal::new(ErrorCode::BadRequest, message)
                    .hint(format!("open /watch/{name} instead")))
            }
        }
    }
}
