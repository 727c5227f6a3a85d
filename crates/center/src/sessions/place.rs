//! Giving a session an owner: reserve, own, confirm.

use std::time::Duration;

use api::ErrorCode;
use api::link::{FromNode, ReleaseWhy, Reserve, ToNode};
use api::session::{Explanation, Passed, ScreenSize};
use model::{Epoch, NodeId, SessionId, SiteName, Terminal};

use super::program::Program;
use super::route;
use super::settled;
use crate::clock;
use crate::dispatch::{self, Ranked, Ranking, Want};
use crate::error::{Refusal, chain};
use crate::nodes::{ANSWER_MAX, AskError};
use crate::records::{RecordError, Revision, SessionRecord};
use crate::shared::Shared;

/// Nodes that are asked to reserve, one after the other.
const RESERVES_MAX: usize = 5;

/// Owners that may fail to start the app after they had reserved.
const CONFIRMS_MAX: usize = 3;

/// Placing takes a second or two; a reservation that is forgotten blocks a place.
const RESERVATION_LIFE: Duration = Duration::from_secs(10);

/// Reasons that are spelt out when nobody can serve.
const REASONS_MAX: usize = 6;

/// What is to be placed.
pub(crate) struct Wish {
    pub(crate) session: SessionId,
    pub(crate) program: Program,
    pub(crate) terminal: Terminal,
    pub(crate) screen: Option<ScreenSize>,
    pub(crate) key_hash: String,
    pub(crate) created_unix_ms: api::UnixMillis,
    /// What asked for this.
    pub(crate) cause: String,
    /// The only site allowed.
    pub(crate) site: Option<SiteName>,
    /// Nodes that must not host it, each with the reason.
    pub(crate) avoid: Vec<(NodeId, String)>,
    /// The entry that stopped answering.
    pub(crate) lost_entry: Option<NodeId>,
    /// What the session is now, if it exists.
    pub(crate) before: Option<(SessionRecord, Revision)>,
}

impl Wish {
    /// The wish to place a session anew that exists.
    pub(crate) fn again(
        record: &SessionRecord,
        revision: Revision,
        program: Program,
        terminal: Terminal,
        cause: impl Into<String>,
    ) -> Self {
        Self {
            session: record.id,
            program,
            terminal,
            screen: record.screen,
            key_hash: record.key_hash.clone(),
            created_unix_ms: record.created_unix_ms,
            cause: cause.into(),
            site: None,
            avoid: Vec::new(),
            lost_entry: None,
            before: Some((record.clone(), revision)),
        }
    }
}

/// How far placing has come: what must be undone if it fails.
struct Progress {
    last_epoch: Epoch,
    revision: Option<Revision>,
    written: bool,
}

/// Finds a node, makes it the owner, has it start the app, and returns the record as written. If
/// it fails, everything is as it was before.
pub(crate) async fn place(shared: &Shared, mut wish: Wish) -> Result<SessionRecord, Refusal> {
    let _placing = Placing::begin(shared, wish.session);
    let before = wish.before.as_ref();
    let mut progress = Progress {
        last_epoch: before.map_or(Epoch(0), |(record, _)| record.last_epoch),
        revision: before.map(|(_, revision)| *revision),
        written: false,
    };
    let placed = try_place(shared, &mut wish, &mut progress).await;
    if placed.is_err() && progress.written {
        undo(shared, &wish, &progress).await;
    }
    placed
}

/// Keeps the reconciler away from a session that has no record yet.
struct Placing<'a> {
    shared: &'a Shared,
    session: SessionId,
}

impl<'a> Placing<'a> {
    fn begin(shared: &'a Shared, session: SessionId) -> Self {
        shared.world().placing.insert(session);
        Self { shared, session }
    }
}

impl Drop for Placing<'_> {
    fn drop(&mut self) {
        self.shared.world().placing.remove(&self.session);
    }
}

async fn try_place(
    shared: &Shared,
    wish: &mut Wish,
    progress: &mut Progress,
) -> Result<SessionRecord, Refusal> {
    for _ in 0..CONFIRMS_MAX {
        let epoch = progress.last_epoch.next();
        let (chosen, passed) = reserve(shared, wish, epoch).await?;
        let record = new_record(shared, wish, epoch, &chosen, passed);
        match own(shared, &record, progress.revision).await {
            Ok(revision) => {
                progress.revision = Some(revision);
                progress.written = true;
                progress.last_epoch = epoch;
            }
            Err(error) => {
                if matches!(error, RecordError::Conflict) {
                    shared.metrics.sessions.conflicts.add(1);
                }
                cancel(shared, chosen.node, wish.session, epoch).await;
                return Err(error.into());
            }
        }
        let confirm = ToNode::Confirm {
            session: wish.session,
            epoch,
        };
        match shared.ask(chosen.node, &confirm, ANSWER_MAX).await {
            Ok(_) => return Ok(record),
            Err(error) => {
                tracing::warn!(node = %chosen.node, session = %wish.session, error = %chain(&error), "a node did not start what it had reserved");
                cancel(shared, chosen.node, wish.session, epoch).await;
                let why = format!("it did not start the app: {error}");
                wish.avoid.push((chosen.node, why));
            }
        }
    }
    Err(no_place(shared, wish, &rank(shared, wish).rejected))
}

/// Asks the best nodes in turn. Says also why every other node was passed over.
async fn reserve(
    shared: &Shared,
    wish: &mut Wish,
    epoch: Epoch,
) -> Result<(Ranked, Vec<Passed>), Refusal> {
    let ranking = rank(shared, wish);
    let mut passed = ranking.rejected;
    let mut refused = Vec::new();
    for candidate in ranking.ranked.iter().take(RESERVES_MAX) {
        match ask_to_reserve(shared, wish, epoch, candidate.node).await {
            Ok(()) => {
                passed.extend(refused);
                passed.extend(behind(shared, wish, candidate.node));
                note_reserved(shared, wish, candidate.node);
                return Ok((candidate.clone(), passed));
            }
            Err(error) => {
                shared.metrics.sessions.reservations_refused.add(1);
                tracing::info!(node = %candidate.node, session = %wish.session, error = %chain(&error), "a reservation was refused");
                if !matches!(error, AskError::Refused(_)) {
                    // It may have heard us all the same.
                    cancel(shared, candidate.node, wish.session, epoch).await;
                }
                let why = format!("it was asked first: {error}");
                wish.avoid.push((candidate.node, why.clone()));
                refused.push(Passed {
                    site: candidate.site.clone(),
                    node: candidate.node,
                    why,
                });
            }
        }
    }
    passed.extend(refused);
    let untried = ranking.ranked.iter().skip(RESERVES_MAX);
    passed.extend(untried.map(|it| Passed {
        site: it.site.clone(),
        node: it.node,
        why: format!("{RESERVES_MAX} nearer ones had refused"),
    }));
    Err(no_place(shared, wish, &passed))
}

fn rank(shared: &Shared, wish: &Wish) -> Ranking {
    let want = Want {
        session: wish.session,
        manifest: &wish.program.manifest,
        terminal: &wish.terminal,
        avoid: &wish.avoid,
        site: wish.site.as_ref(),
    };
    dispatch::rank(&shared.world(), &want)
}

async fn ask_to_reserve(
    shared: &Shared,
    wish: &Wish,
    epoch: Epoch,
    node: NodeId,
) -> Result<(), AskError> {
    let reserve = ToNode::Reserve(Box::new(Reserve {
        session: wish.session,
        epoch,
        release: wish.program.number,
        manifest: wish.program.manifest.clone(),
        screen: wish.screen,
        terminal: wish.terminal.clone(),
        expires_unix_ms: clock::unix_ms_in(RESERVATION_LIFE),
    }));
    match shared.ask(node, &reserve, ANSWER_MAX).await? {
        FromNode::Reserved { .. } | FromNode::Ok => Ok(()),
        FromNode::Refused { why } => Err(AskError::Refused(why)),
        FromNode::Logs { .. } | FromNode::Moments { .. } => Err(AskError::Garbled),
    }
}

/// What is taken now is not in the node's last summary.
fn note_reserved(shared: &Shared, wish: &Wish, node: NodeId) {
    let needs = wish.program.manifest.needs();
    let mut world = shared.world();
    let live = world.nodes.get_mut(&node).and_then(|it| it.live.as_mut());
    if let Some(live) = live {
        live.reserved = live.reserved.saturating_add(needs);
    }
}

/// Those that were ranked behind the chosen one. When the best had refused, they are ranked anew.
fn behind(shared: &Shared, wish: &Wish, chosen: NodeId) -> Vec<Passed> {
    let ranked = rank(shared, wish).ranked.into_iter();
    let others = ranked.filter(|it| it.node != chosen);
    others
        .map(|it| Passed {
            site: it.site,
            node: it.node,
            why: it.behind,
        })
        .collect()
}

fn new_record(
    shared: &Shared,
    wish: &Wish,
    epoch: Epoch,
    chosen: &Ranked,
    passed: Vec<Passed>,
) -> SessionRecord {
    let (terminal, host) = (&wish.terminal, chosen.node);
    let entry = route::choose_entry(&shared.world(), terminal, Some(host), wish.lost_entry, None);
    SessionRecord {
        id: wish.session,
        app: wish.program.manifest.name.clone(),
        release: wish.program.number,
        node: host,
        epoch,
        last_epoch: epoch,
        entry: entry.unwrap_or(host),
        key_hash: wish.key_hash.clone(),
        terminal: settled(terminal),
        screen: wish.screen,
        created_unix_ms: wish.created_unix_ms,
        explanation: Explanation {
            decided_unix_ms: clock::unix_ms(),
            cause: wish.cause.clone(),
            site: chosen.site.clone(),
            node: host,
            why: chosen.why.clone(),
            passed,
        },
    }
}

/// Writes a session's record, if it is as we think, and follows in memory.
pub(super) async fn own(
    shared: &Shared,
    record: &SessionRecord,
    expected: Option<Revision>,
) -> Result<Revision, RecordError> {
    let revision = shared.records.write(record, expected).await?;
    shared.world().put_session(record.clone(), revision);
    shared.changed();
    Ok(revision)
}

async fn cancel(shared: &Shared, node: NodeId, session: SessionId, epoch: Epoch) {
    let why = ReleaseWhy::Cancelled;
    release(shared, node, session, epoch, why).await;
}

/// Tells a node that a session is not its own any more. If it cannot be told, it will be when its
/// link returns.
pub(super) async fn release(
    shared: &Shared,
    node: NodeId,
    session: SessionId,
    epoch: Epoch,
    why: ReleaseWhy,
) {
    let release = ToNode::Release {
        session,
        epoch,
        why,
    };
    if let Err(error) = shared.ask(node, &release, ANSWER_MAX).await {
        tracing::info!(%node, %session, %epoch, ?why, error = %chain(&error), "a node could not be told to release a session");
    }
}

/// Puts the store back to what it was, but for the epochs that were used up.
async fn undo(shared: &Shared, wish: &Wish, progress: &Progress) {
    let Some(revision) = progress.revision else {
        return;
    };
    let undone = match &wish.before {
        Some((before, _)) => {
            let record = SessionRecord {
                last_epoch: progress.last_epoch,
                ..before.clone()
            };
            own(shared, &record, Some(revision)).await.map(drop)
        }
        None => {
            let key = SessionRecord::key_of(wish.session);
            let removed = shared.records.remove(&key, revision).await;
            shared.world().drop_session(wish.session);
            shared.changed();
            removed
        }
    };
    if let Err(error) = undone {
        tracing::error!(session = %wish.session, error = %chain(&error), "a failed placement could not be undone");
    }
}

fn no_place(shared: &Shared, wish: &Wish, passed: &[Passed]) -> Refusal {
    shared.metrics.sessions.no_place.add(1);
    let title = &wish.program.manifest.title;
    if passed.is_empty() {
        let message = format!("no place can take {title} now: no node has joined");
        return Refusal::new(ErrorCode::NoPlace, message)
            .hint("make a token with the center, then start `selvedge edge --join <token>`");
    }
    let mut reasons: Vec<_> = passed
        .iter()
        .take(REASONS_MAX)
        .map(|it| format!("{}: {}", it.site, it.why))
        .collect();
    if passed.len() > REASONS_MAX {
        reasons.push(format!("{} more", passed.len() - REASONS_MAX));
    }
    let message = format!("no place can take {title} now ({})", reasons.join("; "));
    Refusal::new(ErrorCode::NoPlace, message).hint("try again in a moment, or add a node")
}
