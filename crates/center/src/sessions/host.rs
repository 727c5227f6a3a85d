//! Whether a session's host still has it: asked when a terminal comes back and says that it lost
//! its way.

use std::time::{Duration, Instant};

use api::link::ToNode;
use api::node::NodeStatus;
use model::NodeId;

use super::route::site_title;
use crate::nodes::AskError;
use crate::records::SessionRecord;
use crate::shared::Shared;
use crate::world::{World, is_starting};

/// A link that went down may come back by itself: a node reconnects at once.
const RETURN_WAIT: Duration = Duration::from_millis(1_500);

/// After a start of the center all nodes are down for a moment, and none of them is dead.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// A host whose terminal says that it does not answer has this long to answer us.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// Whether the instance is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is.
    Holds,
    /// It is not.
    Gone(Gone),
}

/// An instance that is not there any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// In words for a person.
    pub(super) why: String,
    /// Whether its host is gone as well.
    pub(super) silent: bool,
}

enum Look {
    Holds,
    Gone(Gone),
    /// Not known before this moment.
    Until(Instant),
}

/// Finds out, waiting a bounded time where it is not clear.
pub(super) async fn verdict(
    shared: &Shared,
    record: &SessionRecord,
    lost_entry: Option<NodeId>,
) -> Verdict {
    loop {
        let changed = shared.wake.links.notified();
        tokio::pin!(changed);
        changed.as_mut().enable(); // before the look, so that no change is missed
        let until = match look(&shared.world(), record, Instant::now()) {
            Look::Holds => break,
            Look::Gone(gone) => return Verdict::Gone(gone),
            Look::Until(until) => until,
        };
        // Whichever comes first, we look again.
        let _ = tokio::time::timeout_at(until.into(), changed).await;
    }
    if lost_entry != Some(record.node) {
        return Verdict::Holds;
    }
    let (what, silent) = match ask(shared, record).await {
        Answer::Holds => return Verdict::Holds,
        // It came back so soon that we have not heard what it holds: nothing.
        Answer::Unknown => ("has restarted", false),
        Answer::None => ("stopped answering", true),
    };
    let site = site_title(&shared.world(), record.node);
    let why = format!("{site} {what}");
    Verdict::Gone(Gone { why, silent })
}

fn look(world: &World, record: &SessionRecord, now: Instant) -> Look {
    let site = site_title(world, record.node);
    let gone = |what: &str, silent| {
        let why = format!("{site} {what}");
        Look::Gone(Gone { why, silent })
    };
    let Some(node) = world.nodes.get(&record.node) else {
        return gone("is gone", true);
    };
    let Some(live) = &node.live else {
        let wait = if node.seen { RETURN_WAIT } else { FIRST_WAIT };
        let until = node.since + wait;
        return if now < until {
            Look::Until(until)
        } else {
            gone("stopped answering", true)
        };
    };
    if node.status() == NodeStatus::Draining {
        return gone("is shutting down", true);
    }
    let session = world.sessions.get(&record.id);
    let starting = session.is_some_and(|it| is_starting(it, now));
    if live.session(record).is_some() || starting {
        Look::Holds
    } else {
        gone("has restarted", false)
    }
}

/// What the host says when it is asked about a session.
enum Answer {
    Holds,
    /// It knows no such session.
    Unknown,
    None,
}

async fn ask(shared: &Shared, record: &SessionRecord) -> Answer {
    let ask = ToNode::Logs {
        session: record.id,
        lines: 0,
    };
    match shared.ask(record.node, &ask, PROBE_WAIT).await {
        Ok(_) | Err(AskError::Garbled) => Answer::Holds,
        Err(AskError::Refused(_)) => Answer::Unknown,
        Err(AskError::NoLink | AskError::Call(_)) => Answer::None,
    }
}
