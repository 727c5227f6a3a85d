//! Sessions that nobody holds are forgotten; instances that nobody owns are stopped.
//!
//! This is also how the center finds its way after a restart: the store says who owns what, the
//! nodes say what they hold, and what differs for longer than a moment is mended here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::link::{ReleaseWhy, Summary, ToNode};
use model::{Epoch, NodeId, SessionId};
use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::nodes::ANSWER_MAX;
use crate::sessions;
use crate::shared::Shared;
use crate::world::{Session, World, is_starting};

/// How often the world is looked at without a signal.
const INTERVAL: Duration = Duration::from_secs(1);

/// A node that came back without a session: its terminal has this long to ask for a new instance.
const MISSING_MAX: Duration = Duration::from_secs(30);

/// A node that went away: its sessions' terminals have this long to ask for a new instance.
const SILENT_MAX: Duration = Duration::from_secs(300);

/// A node that was told to stop an instance is told again after this, if it still reports it. It
/// may be keeping the picture for a terminal that has not left yet.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// Reports that are remembered as answered. Beyond it some nodes are told twice.
const TOLD_MAX: usize = 16_384;

type Held = (NodeId, SessionId, Epoch);

/// Compares what is owned with what is held, until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut told = BTreeMap::new();
    while !stop.is_cancelled() {
        let lapsed = lapsed(&mut shared.world(), Instant::now());
        for (id, epoch, why) in lapsed {
            sessions::collect(&shared, id, epoch, why).await;
        }
        stop_strays(&shared, &mut told);
        let wake = tokio::time::timeout(INTERVAL, shared.wake.sessions.notified());
        // Woken or not, we look again.
        let _ = stop.run_until_cancelled(wake).await;
    }
}

/// Sessions that nobody has held for too long.
fn lapsed(world: &mut World, now: Instant) -> Vec<(SessionId, Epoch, &'static str)> {
    let mut lapsed = Vec::new();
    let World {
        sessions, nodes, ..
    } = world;
    for session in sessions.values_mut() {
        let why = match nodes.get(&session.record.node) {
            None => Some("its node is unknown"),
            Some(node) => match &node.live {
                None => {
                    session.missing_since = None;
                    let silent = now.saturating_duration_since(node.since);
                    (silent > SILENT_MAX).then_some("its node has been silent for too long")
                }
                Some(live) if live.session(&session.record).is_some() => {
                    session.missing_since = None;
                    None
                }
                Some(_) => missing(session, now),
            },
        };
        if let Some(why) = why {
            lapsed.push((session.record.id, session.record.epoch, why));
        }
    }
    lapsed
}

fn missing(session: &mut Session, now: Instant) -> Option<&'static str> {
    if is_starting(session, now) {
        return None;
    }
    let since = *session.missing_since.get_or_insert(now);
    let missing = now.saturating_duration_since(since);
    (missing > MISSING_MAX).then_some("its node does not have it, and its terminal has not come")
}

/// What a node reports and does not own.
pub(crate) fn strays(world: &World, node: NodeId, summary: &Summary) -> Vec<(SessionId, Epoch)> {
    let held = summary.sessions.iter();
    let strays = held.filter(|held| match world.sessions.get(&held.session) {
        None => !world.placing.contains(&held.session),
        // While the owner changes, nothing is sure.
        Some(session) if session.turn.try_lock().is_err() => false,
        Some(session) => {
            let owner = (session.record.node, session.record.epoch);
            owner != (node, held.epoch)
        }
    });
    strays.map(|it| (it.session, it.epoch)).collect()
}

/// Tells nodes to stop what they do not own.
fn stop_strays(shared: &Arc<Shared>, told: &mut BTreeMap<Held, Instant>) {
    let now = Instant::now();
    told.retain(|_, at| now.saturating_duration_since(*at) < TOLD_AGAIN);
    if told.len() > TOLD_MAX {
        told.clear();
    }
    let mut releases = Vec::new();
    {
        let world = shared.world();
        for node in world.nodes.values() {
            let Some(live) = &node.live else { continue };
            let id = node.record.id;
            for (session, epoch) in strays(&world, id, &live.summary) {
                if told.insert((id, session, epoch), now).is_none() {
                    let why = if world.sessions.contains_key(&session) {
                        ReleaseWhy::Superseded
                    } else {
                        ReleaseWhy::Closed
                    };
                    releases.push((id, session, epoch, why));
                }
            }
        }
    }
    for (node, session, epoch, why) in releases {
        let shared = Arc::clone(shared);
        shared.metrics.sessions.strays_stopped.add(1);
        // As many at once as nodes report; each lives for `ANSWER_MAX` at most.
        shared.clone().tasks.spawn(async move {
            let release = ToNode::Release {
                session,
                epoch,
                why,
            };
            match shared.ask(node, &release, ANSWER_MAX).await {
                Ok(_) => tracing::info!(%node, %session, %epoch, "a node was told to stop what it does not own"),
                Err(error) => tracing::warn!(%node, %session, %epoch, error = %chain(&error), "a node could not be told to stop"),
            }
        });
    }
}
