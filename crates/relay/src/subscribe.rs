//! What this node reads from the table, wherever it was published.

use std::time::Duration;

use bytes::Bytes;
use moq_net::{Pattern, Patterns, announce, group, origin, track};

use crate::relay::Relay;

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
    skipped: u64,
}

struct OpenGroup {
    consumer: group::Consumer,
    sequence: u64,
    index: u64,
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
                self.open = Some(OpenGroup {
                    sequence: consumer.sequence,
                    consumer,
                    index: 0,
                });
                continue;
            };
            match open.consumer.read_frame().await {
                Ok(Some(frame)) => {
                    let index = open.index;
                    open.index += 1;
                    return Ok(Some(Frame {
                        group: open.sequence,
                        index,
                        timestamp: frame.timestamp.into(),
                        payload: frame.payload,
                    }));
                }
                Ok(None) => self.open = None,
                Err(_) => {
                    self.open = None;
                    self.skipped += 1;
                }
            }
        }
    }

    /// Groups that were left before their end.
    pub fn skipped_groups(&self) -> u64 {
        self.skipped
    }
}
