//! What this node reads from the table, wherever it was published.

use std::time::Duration;

use bytes::Bytes;
use moq_net::{Pattern, Patterns, announce, frame, group, origin, track};
use tokio::time::{Instant, sleep_until};

use crate::relay::Relay;

/// A group that a lost link was carrying may never end. When nothing of it has come for as long as an
/// older group may be behind, within these bounds, it is left as soon as there is a newer one: sooner
/// than a packet can be lost twice on the longest way, and it would be late; later, and people wait.
const STALLED_MIN: Duration = Duration::from_secs(1);
const STALLED_MAX: Duration = Duration::from_secs(5);

/// Why nothing (more) comes.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The path is malformed.
    #[error("{0} is no path")]
    Path(String),
    /// No such broadcast or track, or the relay has stopped.
    #[error("cannot subscribe to {track} of {path}")]
    Track {
        /// The broadcast.
        path: String,
        /// Its track.
        track: String,
        /// The library's reason.
        #[source]
        source: moq_net::Error,
    },
    /// The track broke off.
    #[error("track broke off")]
    Broken(#[source] moq_net::Error),
}

/// How to receive a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preferences {
    /// Higher goes first over one connection; see [`crate::priority`].
    pub priority: u8,
    /// How old a group may be, beside the newest, and still be delivered. Zero is the newest group
    /// only. Never delays anything.
    pub max_age: Duration,
}

/// One frame as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The number of its group, increasing.
    pub group: u64,
    /// Its place in the group, from 0.
    pub index: u64,
    /// As the publisher gave it, cut to microseconds.
    pub timestamp: Duration,
    /// As the publisher gave it.
    pub payload: Bytes,
}

/// Something under a watched prefix came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// A broadcast with this path can be subscribed to.
    Started(String),
    /// It no longer can.
    Ended(String),
}

impl Relay {
    /// Watches what is published at `prefix` and below, starting with what there is.
    pub fn announcements(&self, prefix: &str) -> Result<Announcements, SubscribeError> {
        let no_path = || SubscribeError::Path(prefix.to_owned());
        let pattern = Pattern::subtree(prefix).map_err(|_| no_path())?;
        let table = self.inner.origin.consume();
        let scoped = table.scope("", &Patterns::from(pattern));
        let consumer = scoped.map_err(|_| no_path())?.announced();
        Ok(Announcements { consumer })
    }

    /// Subscribes to a track, waiting for its broadcast to be announced first. Give it a deadline.
    pub async fn subscribe(
        &self,
        path: &str,
        track: &str,
        preferences: Preferences,
    ) -> Result<Subscription, SubscribeError> {
        let table = self.inner.origin.consume();
        Subscription::open(&table, path, track, preferences).await
    }
}

/// How a track is sent, known for as long as this is held.
pub struct Known {
    _track: track::Consumer,
}

impl Relay {
    /// Asks how a track is sent, waiting for its broadcast to be announced first. Whoever subscribes
    /// to it while the answer is held has its first frame a round trip to the next node sooner. At
    /// its own node, and for a moment at any other, this is demand for the track
    /// ([`Demand`](crate::publish::Demand)): not for what is made only while it is wanted.
    pub async fn ask_ahead(&self, path: &str, track: &str) -> Result<Known, SubscribeError> {
        let failed = |source| SubscribeError::Track {
            path: path.to_owned(),
            track: track.to_owned(),
            source,
        };
        let table = self.inner.origin.consume();
        let broadcast = table.routed_broadcast(path).await.map_err(failed)?;
        let track = broadcast.track(track).map_err(failed)?;
        track.query().await.map_err(failed)?;
        Ok(Known { _track: track })
    }
}

/// A stream of announcements. Bounded by what there is to announce: one pending change a path.
pub struct Announcements {
    consumer: announce::Consumer,
}

impl Announcements {
    /// The next change; `None` when the relay has stopped. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<Announcement> {
        loop {
            let update = self.consumer.next().await?;
            let path = update.prefix.to_string();
            match update.kind {
                announce::Kind::Announced => return Some(Announcement::Started(path)),
                announce::Kind::Retracted => return Some(Announcement::Ended(path)),
                // Another way to the same broadcast: nothing that a reader sees.
                announce::Kind::Updated => {}
            }
        }
    }
}

/// A track as it comes in. Ends when dropped.
pub struct Subscription {
    groups: track::Ordered,
    open: Option<OpenGroup>,
    /// How long the open group may say nothing.
    patience: Duration,
    skipped: u64,
}

struct OpenGroup {
    consumer: group::Consumer,
    sequence: u64,
    index: u64,
    /// When it was opened, or its last frame came.
    heard: Instant,
}

impl OpenGroup {
    fn new(consumer: group::Consumer) -> Self {
        Self {
            sequence: consumer.sequence,
            consumer,
            index: 0,
            heard: Instant::now(),
        }
    }

    fn frame(&mut self, frame: frame::Frame) -> Frame {
        let index = self.index;
        self.index += 1;
        self.heard = Instant::now();
        Frame {
            group: self.sequence,
            index,
            timestamp: frame.timestamp.into(),
            payload: frame.payload,
        }
    }
}

impl Subscription {
    pub(crate) async fn open(
        table: &origin::Consumer,
        path: &str,
        track: &str,
        preferences: Preferences,
    ) -> Result<Self, SubscribeError> {
        let failed = |source| SubscribeError::Track {
            path: path.to_owned(),
            track: track.to_owned(),
            source,
        };
        let wanted = track::Subscription::default()
            .with_priority(preferences.priority)
            .with_max_age(preferences.max_age);
        let broadcast = table.routed_broadcast(path).await.map_err(failed)?;
        let subscribed = broadcast.track(track).map_err(failed)?.subscribe(wanted);
        let groups = subscribed.await.map_err(failed)?.ordered();
        Ok(Self {
            groups,
            open: None,
            patience: preferences.max_age.clamp(STALLED_MIN, STALLED_MAX),
            skipped: 0,
        })
    }

    /// The next frame, in order; `None` when the track is complete. A group that broke off or grew
    /// too old is left for the next one. Safe to drop and call again.
    pub async fn next(&mut self) -> Result<Option<Frame>, SubscribeError> {
        loop {
            let Some(open) = &mut self.open else {
                let next = self.groups.next_group().await;
                let Some(consumer) = next.map_err(SubscribeError::Broken)? else {
                    return Ok(None);
                };
                self.open = Some(OpenGroup::new(consumer));
                continue;
            };
            let overdue = open.heard + self.patience;
            let newer = async {
                // Not before: groups may arrive out of order, and a newer one skips those between.
                sleep_until(overdue).await;
                self.groups.next_group().await
            };
            tokio::select! {
                biased;
                frame = open.consumer.read_frame() => match frame {
                    Ok(Some(frame)) => return Ok(Some(open.frame(frame))),
                    Ok(None) => self.open = None,
                    Err(_) => {
                        self.open = None;
                        self.skipped += 1;
                    }
                },
                newer = newer => {
                    self.skipped += 1;
                    self.open = newer.map_err(SubscribeError::Broken)?.map(OpenGroup::new);
                    if self.open.is_none() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Groups that were left before their end.
    pub fn skipped_groups(&self) -> u64 {
        self.skipped
    }
}
