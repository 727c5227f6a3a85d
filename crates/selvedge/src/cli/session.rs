//! `selvedge session`.

use api::Page;
use api::session::{MoveSession, Outcome, Renewed, SessionLogs, SessionState, SessionView};
use clap::{Args, Subcommand, ValueEnum};
use model::manifest::OnMove;
use model::{SessionId, SiteName};
use serde::Serialize;

use super::ListArgs;
use super::client::ClientArgs;
use super::place::terminal_in;
use crate::output::{Facts, Output, Table, ago, milliseconds, percent, say};

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List all sessions
    List(ListArgs),
    /// Show one session
    Show(OneArgs),
    /// Print what a session's app printed
    Logs(OneArgs),
    /// Move a session
    Move(MoveArgs),
    /// Close a session
    Close(OneArgs),
}

#[derive(Debug, Args)]
pub(super) struct OneArgs {
    /// Its id, from `selvedge session list`
    session: SessionId,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct MoveArgs {
    /// Its id, from `selvedge session list`
    session: SessionId,
    /// To this very site. Default: the best
    #[arg(long)]
    site: Option<SiteName>,
    /// The place its terminal is in now, such as Berlin. Default: where it was
    #[arg(long)]
    place: Option<String>,
    /// What happens to the app. Default: as its manifest says
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// It stays, and the terminal enters at its nearest edge
    Stay,
    /// It starts anew at the nearest edge
    Restart,
}

/// What was closed.
#[derive(Debug, Serialize)]
struct Closed {
    closed: SessionId,
}

impl SessionCommand {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List(args) => {
                let sessions = args.client.connect()?.sessions().await?;
                if sessions.items.is_empty() {
                    say("No sessions now: a page at /play/<app> of the center starts one.");
                }
                output.data(&sessions, list)
            }
            Self::Show(one) => {
                let session = one.client.connect()?.session(one.session).await?;
                output.data(&session, show)
            }
            Self::Logs(one) => {
                let logs = one.client.connect()?.logs(one.session).await?;
                output.data(&logs, |it: &SessionLogs| it.lines.join("\n"))
            }
            Self::Move(args) => relocate(args, output).await,
            Self::Close(one) => {
                one.client.connect()?.close_session(one.session).await?;
                let closed = one.session;
                output.data(&Closed { closed }, |it| format!("closed {}", it.closed))
            }
        }
    }
}

async fn relocate(args: MoveArgs, output: Output) -> anyhow::Result<()> {
    let client = args.client.connect()?;
    let terminal = match &args.place {
        Some(place) => Some(terminal_in(&client, place).await?),
        None => None,
    };
    let to = MoveSession {
        terminal,
        site: args.site,
        mode: args.mode.map(|it| match it {
            Mode::Stay => OnMove::Stay,
            Mode::Restart => OnMove::Restart,
        }),
    };
    let renewed = client.move_session(args.session, &to).await?;
    output.data(&renewed, moved)
}

fn list(sessions: &Page<SessionView>) -> String {
    let mut table = Table::new(&[
        "session",
        "app",
        "state",
        "runs at",
        "enters at",
        "round trip>",
        "frames>",
        "kbit/s>",
        "started",
    ]);
    for session in &sessions.items {
        table.row([
            session.id.to_string(),
            session.app.to_string(),
            state(session.state).to_owned(),
            session.host_site.to_string(),
            session.entry_site.to_string(),
            milliseconds(session.quality.round_trip_ms),
            format!("{:.0}/s", session.quality.frames_per_second),
            format!("{:.0}", session.quality.kilobits_per_second),
            ago(session.created_unix_ms),
        ]);
    }
    table.render()
}

fn show(session: &SessionView) -> String {
    let quality = &session.quality;
    let mut facts = Facts::default();
    facts
        .add("session", session.id)
        .add(
            "app",
            format!("{} release {}", session.app, session.release),
        )
        .add("state", state(session.state))
        .add("epoch", session.epoch)
        .add(
            "runs at",
            format!("{} on node {}", session.host_site, session.host_node),
        )
        .add("enters at", &session.entry_site)
        .add("started", ago(session.created_unix_ms));
    if let Some(position) = session.position {
        facts.add(
            "terminal",
            format!("{}, {}", position.lat(), position.lon()),
        );
    }
    if let Some(network) = &session.network {
        facts.add("network", network);
    }
    facts
        .add("round trip", milliseconds(quality.round_trip_ms))
        .add("frames", format!("{:.1}/s", quality.frames_per_second))
        .add(
            "rate",
            format!(
                "{:.0} of {:.0} kbit/s",
                quality.kilobits_per_second, quality.target_kilobits_per_second
            ),
        )
        .add("loss", percent(quality.loss))
        .add("encoding", milliseconds(quality.encode_ms));
    facts.render()
}

fn moved(renewed: &Renewed) -> String {
    let ticket = &renewed.ticket;
    let what = match renewed.outcome {
        Outcome::Same => "stays as it is",
        Outcome::Entry => "enters elsewhere",
        Outcome::Restarted => "starts anew elsewhere",
    };
    let mut text = format!(
        "{what}: runs at {}, enters at {}\n{}\n",
        ticket.host_site, ticket.entry.site, renewed.why
    );
    if let Some(offer) = &renewed.offer {
        text.push_str(&format!(
            "{} here, {} in {} if it restarts there (--mode restart)\n",
            milliseconds(offer.here_ms),
            milliseconds(offer.there_ms),
            offer.site
        ));
    }
    text
}

const fn state(state: SessionState) -> &'static str {
    match state {
        SessionState::Starting => "starting",
        SessionState::Active => "active",
        SessionState::Waiting => "waiting",
        SessionState::Lost => "lost",
    }
}
