//! Moving a session: its terminal is somewhere else now, or an operator wants it elsewhere.

use std::sync::Arc;
use std::time::Duration;

use api::ErrorCode;
use api::link::{ReleaseWhy, ToNode};
use api::session::{MoveSession, Outcome, Renewed};
use api::terminal::Status;
use model::manifest::OnMove;
use model::{Epoch, NodeId, SessionId, SiteName, Terminal};

use super::host::{Verdict, verdict};
use super::place::{Wish, place, release};
use super::program::Program;
use super::renew::{NewEntry, enter, note_told, restart};
use super::route::{self, site_title};
use super::{Told, Turn};
use crate::dispatch::{self, Ranked, Want, Ways};
use crate::error::{Refusal, chain};
use crate::nodes::ANSWER_MAX;
use crate::shared::Shared;

/// A restart for less than this is not worth the person's while.
const GAIN_MIN: Duration = Duration::from_millis(5);

/// Who moves a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mover {
    /// Its terminal, which reads the answer.
    Terminal,
    /// An operator: the terminal must be told.
    Operator,
}

/// Moves a session.
pub(crate) async fn move_session(
    shared: Arc<Shared>,
    id: SessionId,
    request: MoveSession,
    mover: Mover,
) -> Result<Renewed, Refusal> {
    let turn = Turn::take(&shared, id).await?;
    check_site(&shared, request.site.as_ref())?;
    let cause = cause(&shared, &request, mover);
    let terminal = present_terminal(&shared, &turn, request.terminal);
    if let Verdict::Gone(gone) = verdict(&shared, &turn.record, None).await {
        return restart(&shared, &turn, &terminal, gone, None).await;
    }
    let manifest = Program::of(&shared, &turn.record)?.manifest;
    let mode = request.mode.unwrap_or(manifest.session.on_move);
    let better = match mode {
        OnMove::Stay => None,
        OnMove::Restart => better_host(&shared, &turn, &terminal, request.site.as_ref())?,
    };
    let renewed = match better {
        Some(_) => restart_there(&shared, &turn, &terminal, request.site, &cause).await?,
        None => {
            // In mode `restart` the site names the host, which is there already.
            let site = request.site.filter(|_| mode == OnMove::Stay);
            let entry = NewEntry {
                avoid: None,
                site,
                cause: Some(cause),
            };
            enter(&shared, &turn, &terminal, entry).await?
        }
    };
    let tells = renewed.outcome != Outcome::Same || renewed.offer.is_some();
    if mover == Mover::Operator && tells {
        tell(&shared, turn.record.node, turn.record.epoch, &renewed).await;
    }
    if renewed.outcome == Outcome::Restarted {
        let old = &turn.record;
        let superseded = ReleaseWhy::Superseded;
        release(&shared, old.node, old.id, old.epoch, superseded).await;
    }
    Ok(renewed)
}

fn check_site(shared: &Shared, site: Option<&SiteName>) -> Result<(), Refusal> {
    let Some(site) = site else { return Ok(()) };
    let world = shared.world();
    let known = world.nodes.values().any(|it| it.site() == site);
    known.then_some(()).ok_or_else(|| {
        Refusal::not_found(format!("there is no site called {site}"))
            .hint("`selvedge site list` shows all")
    })
}

fn cause(shared: &Shared, request: &MoveSession, mover: Mover) -> String {
    let where_to = request.site.as_ref().map(|site| {
        let world = shared.world();
        let node = world.nodes.values().find(|it| it.site() == site);
        let title = node.map(|it| it.record.site.title.clone());
        title.unwrap_or_else(|| site.to_string())
    });
    match (mover, where_to) {
        (Mover::Terminal, None) => "the terminal moved".into(),
        (Mover::Terminal, Some(site)) => format!("the terminal asked for {site}"),
        (Mover::Operator, None) if request.terminal.is_some() => {
            "an operator moved the terminal".into()
        }
        (Mover::Operator, None) => "an operator asked for the best place".into(),
        (Mover::Operator, Some(site)) => format!("an operator asked for {site}"),
    }
}

/// Where the terminal is: as it says now, or as it said last.
fn present_terminal(shared: &Shared, turn: &Turn, said: Option<Terminal>) -> Terminal {
    if let Some(terminal) = said {
        let told = Told::new(terminal);
        let now = told.now();
        note_told(shared, turn.record.id, told);
        return now;
    }
    let world = shared.world();
    let session = world.sessions.get(&turn.record.id);
    let told = session.and_then(|it| it.told.as_ref());
    told.map_or_else(|| turn.record.terminal.clone(), Told::now)
}

/// A host at another site that is worth a restart.
fn better_host(
    shared: &Shared,
    turn: &Turn,
    terminal: &Terminal,
    site: Option<&SiteName>,
) -> Result<Option<Ranked>, Refusal> {
    let program = Program::of(shared, &turn.record)?;
    let world = shared.world();
    let Some(host) = world.nodes.get(&turn.record.node) else {
        return Ok(None);
    };
    if site == Some(host.site()) {
        return Ok(None);
    }
    let want = Want {
        session: turn.record.id,
        manifest: &program.manifest,
        terminal,
        avoid: &[],
        site,
    };
    let ranking = dispatch::rank(&world, &want);
    let Some(best) = ranking.ranked.first() else {
        // With a wish for a site that is an answer; without one the app stays where it is.
        return match site {
            Some(site) => Err(no_room(site, &ranking.rejected)),
            None => Ok(None),
        };
    };
    let here = Ways::new(&world, terminal).to(host.record.id);
    let gain = here.saturating_sub(best.round_trip);
    let worth = site.is_some() || (best.site != *host.site() && gain >= GAIN_MIN);
    Ok(worth.then(|| best.clone()))
}

fn no_room(site: &SiteName, passed: &[api::session::Passed]) -> Refusal {
    let there = passed.iter().find(|it| it.site == *site);
    let why = there.map_or("nothing is there", |it| it.why.as_str());
    let message = format!("the session cannot move to {site}: {why}");
    Refusal::new(ErrorCode::NoPlace, message).hint("it stays where it is; try another site")
}

/// A new instance takes over; the old one keeps the picture until the terminal has left.
async fn restart_there(
    shared: &Shared,
    turn: &Turn,
    terminal: &Terminal,
    site: Option<SiteName>,
    cause: &str,
) -> Result<Renewed, Refusal> {
    let old = &turn.record;
    let program = Program::of(shared, old)?;
    let title = program.manifest.title.clone();
    let mut wish = Wish::again(old, turn.revision, program, terminal.clone(), cause);
    wish.site = site;
    wish.avoid.push((old.node, "the app runs there now".into()));
    let record = place(shared, wish).await?;
    shared.metrics.sessions.restarted.add(1);
    tracing::info!(session = %record.id, from = %old.node, to = %record.node, epoch = %record.epoch, cause, "a session was moved");
    let world = shared.world();
    let ticket = route::ticket(shared, &world, &record, terminal).ok_or_else(route::no_entry)?;
    let site = site_title(&world, record.node);
    Ok(Renewed {
        ticket,
        outcome: Outcome::Restarted,
        why: format!("{cause}; {title} was started anew in {site}"),
        offer: None,
    })
}

/// Has the host that the terminal watches pass the new ticket on.
async fn tell(shared: &Shared, host: NodeId, epoch: Epoch, renewed: &Renewed) {
    let tell = ToNode::Tell {
        session: renewed.ticket.session,
        epoch,
        status: Box::new(Status::Ticket {
            ticket: Box::new(renewed.ticket.clone()),
            why: renewed.why.clone(),
            offer: renewed.offer.clone(),
        }),
    };
    if let Err(error) = shared.ask(host, &tell, ANSWER_MAX).await {
        // A terminal that is not told notices by itself, and asks.
        tracing::warn!(session = %renewed.ticket.session, node = %host, error = %chain(&error), "a terminal could not be told of its move");
    }
}
