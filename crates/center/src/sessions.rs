//! Sessions: where each runs, who may enter where, and what happens when that changes.
//!
//! A change of owner goes: reserve on the new node, compare-and-set in the store, confirm. What
//! fails half way is undone; what dies half way is mended by `reconcile::sessions`.

mod close;
mod create;
mod host;
mod moving;
mod place;
mod program;
mod renew;
mod route;

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::ErrorCode;
use api::link::{FromNode, ToNode};
use api::session::{Discover, Discovered, Explanations, Passed, SessionLogs};
use model::{SessionId, Terminal};
use tokio::sync::OwnedMutexGuard;

use crate::clock::millis;
use crate::dispatch::{self, Want};
use crate::error::Refusal;
use crate::nodes::AskError;
use crate::records::{Revision, SessionRecord};
use crate::shared::Shared;

use self::program::Program;

pub(crate) use self::close::{close, close_app, collect, ended};
pub(crate) use self::create::{create, unknown_app};
pub(crate) use self::moving::{Mover, move_session};
pub(crate) use self::renew::renew;
pub(crate) use self::route::{choose_entry, entry_of, no_entry};

/// Candidates that a terminal is told: it probes all of them.
const CANDIDATES_MAX: usize = 5;

/// Lines of output that are asked of a node.
const LOG_LINES: u32 = 500;

/// A log crosses the link in one message; it is not in a hurry.
const LOG_WAIT: Duration = Duration::from_secs(5);

/// How long one change of a session waits for another.
const TURN_MAX: Duration = Duration::from_secs(10);

/// The right to change a session, and what it is now.
pub(crate) struct Turn {
    pub(crate) record: SessionRecord,
    pub(crate) revision: Revision,
    _guard: OwnedMutexGuard<()>,
}

impl Turn {
    /// Waits until nobody else changes the session.
    pub(crate) async fn take(shared: &Shared, id: SessionId) -> Result<Self, Refusal> {
        let turn = {
            let world = shared.world();
            let session = world.sessions.get(&id).ok_or_else(|| unknown(id))?;
            Arc::clone(&session.turn)
        };
        let guard = tokio::time::timeout(TURN_MAX, turn.lock_owned()).await;
        let guard = guard.map_err(|_| Refusal::conflict())?;
        let world = shared.world();
        // It may have ended while we waited.
        let session = world.sessions.get(&id).ok_or_else(|| unknown(id))?;
        Ok(Self {
            record: session.record.clone(),
            revision: session.revision,
            _guard: guard,
        })
    }
}

pub(crate) fn unknown(id: SessionId) -> Refusal {
    Refusal::not_found(format!("there is no session {id}"))
        .hint("it may have ended; start a new one")
}

/// Which nodes could serve this terminal.
pub(crate) fn discover(shared: &Shared, request: &Discover) -> Result<Discovered, Refusal> {
    let program = Program::present(shared, &request.app)?;
    let world = shared.world();
    let ranking = dispatch::rank(
        &world,
        &Want {
            session: SessionId(0),
            manifest: &program.manifest,
            terminal: &request.terminal,
            avoid: &[],
            site: None,
        },
    );
    let mut discovered = Discovered {
        candidates: Vec::new(),
        rejected: ranking.rejected,
    };
    let mut ranked = ranking.ranked;
    ranked.sort_by_key(|it| it.round_trip);
    for (place, it) in ranked.iter().enumerate() {
        let entry = entry_of(&world, it.node, &request.terminal);
        match entry {
            Some(entry) if place < CANDIDATES_MAX => {
                discovered.candidates.push(api::session::Candidate {
                    entry,
                    round_trip_ms: millis(it.round_trip),
                });
            }
            Some(_) => discovered.rejected.push(Passed {
                site: it.site.clone(),
                node: it.node,
                why: format!("{CANDIDATES_MAX} others are nearer"),
            }),
            None => {}
        }
    }
    Ok(discovered)
}

/// The decisions about a session.
pub(crate) fn explanations(shared: &Shared, id: SessionId) -> Result<Explanations, Refusal> {
    let world = shared.world();
    let session = world.sessions.get(&id).ok_or_else(|| unknown(id))?;
    Ok(Explanations {
        decisions: session.decisions.iter().cloned().collect(),
    })
}

/// What a session's app printed.
pub(crate) async fn logs(shared: &Shared, id: SessionId) -> Result<SessionLogs, Refusal> {
    let node = {
        let world = shared.world();
        let session = world.sessions.get(&id).ok_or_else(|| unknown(id))?;
        session.record.node
    };
    let request = ToNode::Logs {
        session: id,
        lines: LOG_LINES,
    };
    match shared.ask(node, &request, LOG_WAIT).await {
        Ok(FromNode::Logs { lines }) => Ok(SessionLogs { lines }),
        Err(AskError::Refused(why)) => Err(Refusal::new(ErrorCode::Unavailable, why)),
        Ok(_) | Err(_) => {
            let message = format!("node {node}, which runs the session, does not answer");
            Err(Refusal::new(ErrorCode::Unavailable, message).hint("try again in a moment"))
        }
    }
}

/// What a terminal has told of itself, with the present age of what it has measured.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    terminal: Terminal,
    at: Instant,
}

impl Told {
    pub(crate) fn new(mut terminal: Terminal) -> Self {
        let most = model::terminal::ROUND_TRIPS_MAX;
        terminal.round_trips.truncate(most);
        Self {
            terminal,
            at: Instant::now(),
        }
    }

    /// As if it were told now.
    pub(crate) fn now(&self) -> Terminal {
        let mut terminal = self.terminal.clone();
        let since = self.at.elapsed();
        for it in &mut terminal.round_trips {
            it.age = it.age.saturating_add(since);
        }
        terminal
    }
}

/// The terminal without what it has measured: that is worthless by the time it is read again.
fn settled(terminal: &Terminal) -> Terminal {
    Terminal {
        round_trips: Vec::new(),
        ..terminal.clone()
    }
}
