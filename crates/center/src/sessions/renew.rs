//! A terminal comes back: to the same instance if it is there, else to a new one.

use std::sync::Arc;

use api::link::ReleaseWhy;
use api::session::{Outcome, RenewTicket, Renewed};
use model::{NodeId, SessionId, SiteName, Terminal};

use super::host::{Gone, Verdict, verdict};
use super::place::{Wish, own, place, release};
use super::program::Program;
use super::route::{self, site_title};
use super::{Told, Turn, settled};
use crate::error::Refusal;
use crate::records::SessionRecord;
use crate::shared::Shared;

/// A new ticket for a session's terminal.
pub(crate) async fn renew(
    shared: Arc<Shared>,
    id: SessionId,
    request: RenewTicket,
) -> Result<Renewed, Refusal> {
    let asked = shared.world().sessions.get(&id).map(|it| it.record.epoch);
    let turn = Turn::take(&shared, id).await?;
    let told = Told::new(request.terminal);
    let terminal = told.now();
    note_told(&shared, id, told);
    let mut renewed = match verdict(&shared, &turn.record, request.lost_entry).await {
        Verdict::Holds => {
            let entry = NewEntry {
                avoid: request.lost_entry,
                site: None,
                cause: None,
            };
            enter(&shared, &turn, &terminal, entry).await?
        }
        Verdict::Gone(gone) => restart(&shared, &turn, &terminal, gone, request.lost_entry).await?,
    };
    if asked.is_some_and(|it| it != turn.record.epoch) && renewed.outcome != Outcome::Restarted {
        // Another request for the same session was faster and has restarted it.
        renewed.outcome = Outcome::Restarted;
        renewed.why = turn.record.explanation.why.clone();
    }
    Ok(renewed)
}

/// Remembers what the terminal has told.
pub(super) fn note_told(shared: &Shared, id: SessionId, told: Told) {
    if let Some(session) = shared.world().sessions.get_mut(&id) {
        session.told = Some(told);
    }
}

/// How an entry is chosen anew.
pub(super) struct NewEntry {
    /// Not this one, unless nothing else is there.
    pub(super) avoid: Option<NodeId>,
    /// At this very site.
    pub(super) site: Option<SiteName>,
    /// What asked for it, where that is worth an explanation.
    pub(super) cause: Option<String>,
}

/// Lets the terminal in to the same instance, by the entry that is best now.
pub(super) async fn enter(
    shared: &Shared,
    turn: &Turn,
    terminal: &Terminal,
    wish: NewEntry,
) -> Result<Renewed, Refusal> {
    let mut record = turn.record.clone();
    let site = wish.site.as_ref();
    let before = {
        let world = shared.world();
        let entry = route::choose_entry(&world, terminal, Some(record.node), wish.avoid, site);
        record.entry = entry.ok_or_else(|| no_entry_at(site))?;
        record.terminal = settled(terminal);
        let before = &turn.record;
        route::entry_of(&world, before.entry, &before.terminal)
    };
    if record.entry != turn.record.entry {
        if let Some(cause) = wish.cause {
            explain_entry(shared, &mut record, cause, site);
        }
        shared.metrics.sessions.moved_entry.add(1);
    }
    if record != turn.record {
        own(shared, &record, Some(turn.revision)).await?;
    }
    let world = shared.world();
    let ticket = route::ticket(shared, &world, &record, terminal).ok_or_else(route::no_entry)?;
    let manifest = world.release(&record.app, record.release.0);
    let manifest = manifest.and_then(|it| it.manifest.stream());
    let host = site_title(&world, record.node);
    let (outcome, why) = if before.as_ref() == Some(&ticket.entry) {
        (Outcome::Same, format!("still in {host}"))
    } else {
        let entry = site_title(&world, record.entry);
        let why = format!("the app stays in {host}, the way in is now by {entry}");
        (Outcome::Entry, why)
    };
    let offer = manifest.and_then(|it| route::offer(&world, &record, it, terminal));
    Ok(Renewed {
        ticket,
        outcome,
        why,
        offer,
    })
}

fn explain_entry(
    shared: &Shared,
    record: &mut SessionRecord,
    cause: String,
    site: Option<&SiteName>,
) {
    let world = shared.world();
    let host = site_title(&world, record.node);
    let entry = site_title(&world, record.entry);
    let explanation = &mut record.explanation;
    explanation.decided_unix_ms = crate::clock::unix_ms();
    explanation.cause = cause;
    let reason = match site {
        Some(_) => "was asked for as the way in",
        None => "is the nearest way in",
    };
    explanation.why = format!("the app stays in {host}; {entry} {reason}");
    explanation.passed = Vec::new();
}

fn no_entry_at(site: Option<&SiteName>) -> Refusal {
    let message = match site {
        Some(site) => format!("no node at {site} takes terminals now"),
        None => "no node takes terminals now".to_owned(),
    };
    Refusal::new(api::ErrorCode::NoPlace, message).hint("try again in a moment")
}

/// Starts a new instance, because the old one is gone.
pub(super) async fn restart(
    shared: &Arc<Shared>,
    turn: &Turn,
    terminal: &Terminal,
    gone: Gone,
    lost_entry: Option<NodeId>,
) -> Result<Renewed, Refusal> {
    let old = &turn.record;
    let why = gone.why;
    let program = Program::of(shared, old)?;
    let title = program.manifest.title.clone();
    let mut wish = Wish::again(old, turn.revision, program, terminal.clone(), &why);
    if gone.silent {
        wish.avoid.push((old.node, why.clone()));
    }
    wish.lost_entry = lost_entry.filter(|it| gone.silent || *it != old.node);
    let record = place(shared, wish).await?;
    shared.metrics.sessions.restarted.add(1);
    tracing::warn!(session = %record.id, from = %old.node, to = %record.node, epoch = %record.epoch, why, "a session was started anew");
    let world = shared.world();
    let ticket = route::ticket(shared, &world, &record, terminal).ok_or_else(route::no_entry)?;
    let site = site_title(&world, record.node);
    if world.holds_link(old.node) {
        // It may be alive after all. The terminal does not wait for that.
        let (shared, old) = (Arc::clone(shared), old.clone());
        shared.clone().tasks.spawn(async move {
            let superseded = ReleaseWhy::Superseded;
            release(&shared, old.node, old.id, old.epoch, superseded).await;
        });
    }
    Ok(Renewed {
        ticket,
        outcome: Outcome::Restarted,
        why: format!("{why}; {title} was started anew in {site}"),
        offer: None,
    })
}
