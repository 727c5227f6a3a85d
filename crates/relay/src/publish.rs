//! What this node itself puts into the table: broadcasts of tracks of groups of frames.

use std::time::Duration;

use bytes::Bytes;
use model::picture::Header;
use moq_net::{Timescale, Timestamp, broadcast, group, origin, track};

use crate::relay::Relay;

/// A group is one stream and is kept whole for those who join: the library caps it at 32 MiB and
/// 8,192 frames. We stop a little earlier, and say so.
const GROUP_BYTES_MAX: usize = 24 << 20;
const GROUP_FRAMES_MAX: usize = 8_000;

/// Why something was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The path is malformed, or the relay has stopped.
    #[error("cannot publish {path}")]
    Broadcast {
        /// Where.
        path: String,
        /// The library's reason.
        #[source]
        source: moq_net::Error,
    },
    /// There is such a track already, or the broadcast is closed.
    #[error("cannot create track {name}")]
    Track {
        /// Which.
        name: String,
        /// The library's reason.
        #[source]
        source: moq_net::Error,
    },
    /// The group has no room: write the next frame with [`Place::NewGroup`].
    #[error("group is full")]
    GroupFull,
    /// No group is open: write the next frame with [`Place::NewGroup`].
    #[error("no group is open")]
    NoGroup,
    /// The track is closed.
    #[error("cannot write frame")]
    Frame(#[source] moq_net::Error),
    /// More than 146,000 years since the start.
    #[error("timestamp does not fit")]
    Timestamp,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It starts a group: whoever joins starts here, and what came before may be dropped.
    NewGroup,
    /// It follows the last one.
    SameGroup,
}

/// How a track is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackOptions {
    /// Decides between tracks that a subscriber wants equally; see [`crate::priority`].
    pub priority: u8,
    /// How far an older group may fall behind the newest and still be delivered. Late pictures are
    /// worth nothing; late input is.
    pub keep: Duration,
}

impl Relay {
    /// Creates a broadcast. Nobody sees it before [`Broadcast::announce`].
    pub fn publish(&self, path: &str) -> Result<Broadcast, PublishError> {
        Broadcast::create(&self.inner.origin, path)
    }
}

/// A broadcast of ours. Ends when dropped.
pub struct Broadcast {
    producer: broadcast::Producer,
    path: String,
}

impl Broadcast {
    pub(crate) fn create(table: &origin::Producer, path: &str) -> Result<Self, PublishError> {
        let created = table.create_broadcast(path);
        let producer = created.map_err(|source| PublishError::Broadcast {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            producer,
            path: path.to_owned(),
        })
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Adds a track.
    pub fn track(&self, name: &str, options: TrackOptions) -> Result<Track, PublishError> {
        let info = track::Info::default()
            .with_timescale(Timescale::MICRO)
            .with_max_age(options.keep)
            .with_priority(options.priority);
        let created = self.producer.create_track(name, info);
        let producer = created.map_err(|source| PublishError::Track {
            name: name.to_owned(),
            source,
        })?;
        Ok(Track {
            producer,
            open: None,
        })
    }

    /// Makes it visible. The tracks that everybody needs should exist by now.
    pub fn announce(&self) -> Result<(), PublishError> {
        let announced = self.producer.announce(origin::Route::default());
        announced.map_err(|source| PublishError::Broadcast {
            path: self.path.clone(),
            source,
        })
    }

    /// Takes it out of the table, as dropping it does. Tracks end when they are dropped.
    pub fn close(self) {
        self.producer.close();
    }
}

/// A track of ours. Ends when dropped.
pub struct Track {
    producer: track::Producer,
    open: Option<OpenGroup>,
}

struct OpenGroup {
    producer: group::Producer,
    bytes: usize,
    frames: usize,
}

impl Track {
    /// Writes a frame; it is on its way to every subscriber when this returns. Never waits: what a
    /// subscriber cannot take is skipped for it, group by group.
    pub fn write(
        &mut self,
        place: Place,
        timestamp: Duration,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        let timestamp = Timestamp::try_from(timestamp).map_err(|_| PublishError::Timestamp)?;
        if place == Place::NewGroup {
            self.finish_group();
            let producer = self.producer.append_group().map_err(PublishError::Frame)?;
            self.open = Some(OpenGroup {
                producer,
                bytes: 0,
                frames: 0,
            });
        }
        let group = self.open.as_mut().ok_or(PublishError::NoGroup)?;
        let bytes = group.bytes.saturating_add(payload.len());
        if bytes > GROUP_BYTES_MAX || group.frames >= GROUP_FRAMES_MAX {
            return Err(PublishError::GroupFull);
        }
        let written = group.producer.write_frame(timestamp, payload);
        written.map_err(PublishError::Frame)?;
        group.bytes = bytes;
        group.frames += 1;
        Ok(())
    }

    /// Writes a picture behind its header. A keyframe starts a group. Returns its size on the wire.
    pub fn write_picture(
        &mut self,
        timestamp: Duration,
        header: Header,
        data: &[u8],
    ) -> Result<usize, PublishError> {
        let place = if header.keyframe {
            Place::NewGroup
        } else {
            Place::SameGroup
        };
        let payload = [&header.to_bytes()[..], data].concat();
        let size = payload.len();
        self.write(place, timestamp, payload.into())?;
        Ok(size)
    }

    /// Ends the open group, so that its subscribers know it is complete.
    pub fn finish_group(&mut self) {
        if let Some(group) = self.open.take() {
            // Fails only if the track is gone, and then there is nobody to tell.
            let _ = group.producer.finish();
        }
    }

    /// Ends the open group. Nobody who joins for the newest group alone has it, or any before: what was
    /// written is of the past, and more comes only later. Who takes older groups, too, may still get
    /// it, here and from nodes on the way.
    pub fn forget(&mut self) {
        self.finish_group();
        // A joiner gets the newest group, and this one is empty. Fails only if the track is gone.
        if let Ok(group) = self.producer.append_group() {
            let _ = group.finish();
        }
    }

    /// Whether anybody watches. Stays usable after the track.
    pub fn demand(&self) -> Demand {
        Demand(self.producer.demand())
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        self.finish_group();
        let _ = self.producer.finish();
    }
}

/// Whether anybody watches a track, at this node or behind it: encode only then. It turns true with
/// the first subscriber and false after the last; a second one shares the first one's flow and gets
/// the open group from its start, so it does not show here. To know of every terminal, watch the
/// broadcasts that they publish ([`Relay::announcements`]).
#[derive(Clone)]
pub struct Demand(track::Demand);

impl Demand {
    /// Whether anybody watches now.
    pub fn is_wanted(&self) -> bool {
        self.0.is_used()
    }

    /// Waits until somebody watches. False if the track has ended.
    pub async fn wanted(&self) -> bool {
        self.0.used().await.is_ok()
    }

    /// Waits until nobody watches. False if the track has ended.
    pub async fn unwanted(&self) -> bool {
        self.0.unused().await.is_ok()
    }
}
