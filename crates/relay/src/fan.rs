//! Sends what one track brings to all terminals that want it.
//!
//! The media library serves each subscriber for itself: each frame wakes each session, which finds
//! out what came and writes it. Here one task a track reads it once, lays each frame out once as it
//! goes over the wire, and hands it to QUIC for one terminal after the other ([`source`]); a
//! terminal's own task has work only where its line falls behind ([`seat`]). What a terminal may see
//! and all that is no subscription is left to the library ([`sorted`]).
//!
//! Invariants: a terminal's slowness costs others nothing, and the node what of a group is kept for
//! all ([`group`]) and what QUIC may hold for it.

mod group;
mod seat;
mod sorted;
mod source;
mod wire;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use moq_net::transport::poll;
use moq_net::web_transport_trait::poll::SendStream as _;
use moq_net::{StreamError, origin, track};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::delivery::Account;
use seat::{Listener, Place, Seat};
use sorted::Requests;
use source::{Join, Source};
use wire::{Subscribe, Version, Wanted, WireError};

pub(crate) use sorted::{Sorted, Sorting};

/// Terminals that may be about to sit down in one fan. Beyond, they wait.
const JOINS_MAX: usize = 256;

/// Why a terminal is sent nothing.
#[derive(Debug, thiserror::Error)]
enum FanError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("it may watch nothing, or not in this version")]
    Nothing,
    #[error(transparent)]
    Track(#[from] moq_net::Error),
}

/// The fans of a node, by broadcast and track. Bounded by what is subscribed to.
#[derive(Clone)]
pub(crate) struct Fans {
    inner: Arc<Inner>,
}

struct Inner {
    tracker: TaskTracker,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    fans: BTreeMap<Name, Fan>,
}

type Name = (String, String);

/// A way to a fan's task.
#[derive(Clone)]
struct Fan {
    id: u64,
    joins: mpsc::Sender<Join>,
    changed: Arc<Notify>,
}

/// What one terminal may watch.
pub(crate) struct Watch {
    /// None: nothing.
    pub table: Option<origin::Consumer>,
    /// Where it is written down.
    pub account: Account,
    pub fans: Fans,
}

impl Fans {
    /// Their tasks run on `tracker`.
    pub(crate) fn new(tracker: TaskTracker) -> Self {
        Self {
            inner: Arc::new(Inner {
                tracker,
                table: Mutex::default(),
            }),
        }
    }

    /// Has `seat` sent what `track` brings.
    async fn join(&self, name: &Name, mut track: track::Subscriber, seat: &mut Seated) {
        let mut refused = None;
        loop {
            let fan = {
                let mut table = self.table();
                match table.fans.get(name) {
                    Some(fan) if Some(fan.id) != refused => fan.clone(),
                    _ => return self.open(&mut table, name.clone(), track, seat),
                }
            };
            refused = Some(fan.id);
            seat.changed = Some(fan.changed);
            let (answer, answered) = oneshot::channel();
            let join = Join {
                listener: seat.listener.clone(),
                track,
                answer,
            };
            match fan.joins.send(join).await {
                Err(unsent) => track = unsent.0.track,
                Ok(()) => match answered.await {
                    Ok(Some(other)) => track = other,
                    // A fan's task does not end without an answer, unless the node does.
                    Ok(None) | Err(_) => return,
                },
            }
        }
    }

    fn open(&self, table: &mut Table, name: Name, track: track::Subscriber, seat: &mut Seated) {
        let id = table.next;
        table.next += 1;
        let (joins, joining) = mpsc::channel(JOINS_MAX);
        let changed = Arc::new(Notify::new());
        let source = Source::new(track, seat.listener.clone(), joining, changed.clone());
        seat.changed = Some(changed.clone());
        let fan = Fan { id, joins, changed };
        table.fans.insert(name.clone(), fan);
        let fans = self.clone();
        self.inner.tracker.spawn(async move {
            source.run().await;
            fans.close(&name, id);
        });
    }

    fn close(&self, name: &Name, id: u64) {
        let mut table = self.table();
        if table.fans.get(name).is_some_and(|fan| fan.id == id) {
            table.fans.remove(name);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing under the lock can leave the table half changed.
        self.inner
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a fan, left when dropped.
struct Seated {
    listener: Arc<dyn Listener>,
    /// Tells the fan to look.
    changed: Option<Arc<Notify>>,
}

impl Seated {
    fn changed(&self) {
        if let Some(changed) = &self.changed {
            changed.notify_one();
        }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.listener.leave();
        self.changed();
    }
}

/// A request that can be answered.
struct Prepared {
    version: Version,
    subscribe: Subscribe,
    name: Name,
    track: track::Subscriber,
}

impl Watch {
    /// Answers one request for a track, until the terminal or the track ends it.
    async fn serve<S>(
        &self,
        session: S,
        mut answers: S::SendStream,
        mut requests: Requests<S::RecvStream>,
    ) -> Result<(), FanError>
    where
        S: poll::Session + Send,
        S::SendStream: Send,
    {
        let prepared = match self.prepare(session.protocol(), &mut requests).await {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return Ok(()),
            Err(error) => {
                answers.reset(error.code());
                return Err(error);
            }
        };
        let version = prepared.version;
        // The publisher keeps no older ones.
        let kept = prepared.track.info().max_age;
        let wanted = move |wanted: Wanted| Wanted {
            max_age: wanted.max_age.min(kept),
            ..wanted
        };
        let seat = Arc::new(Seat::new(Place {
            session,
            version,
            id: prepared.subscribe.id,
            wanted: wanted(prepared.subscribe.wanted),
            answers,
            counter: self.account.counter(&prepared.name.0),
        }));
        let mut seated = Seated {
            listener: seat.clone(),
            changed: None,
        };
        let (name, track) = (prepared.name, prepared.track);
        self.fans.join(&name, track, &mut seated).await;
        poll_fn(|cx| {
            loop {
                if seat.poll_send(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                let Some(mut update) = ready!(requests.poll_message(cx))? else {
                    return Poll::Ready(Ok(()));
                };
                seat.update(wanted(Wanted::decode(&mut update, version)?));
                seated.changed();
            }
        })
        .await
    }

    /// Finds what is asked for. None when the terminal no longer wants it.
    async fn prepare<R: poll::RecvStream>(
        &self,
        protocol: Option<&str>,
        requests: &mut Requests<R>,
    ) -> Result<Option<Prepared>, FanError> {
        let version = protocol.and_then(Version::named);
        let (version, table) = version.zip(self.table.as_ref()).ok_or(FanError::Nothing)?;
        let Some(message) = requests.message().await? else {
            return Ok(None);
        };
        let mut subscribe = Subscribe::decode(message, version)?;
        let path = subscribe.broadcast.clone();
        let name = (table.absolute(&path).to_string(), subscribe.track.clone());
        let wanted = track::Subscription::default()
            .with_priority(subscribe.wanted.priority)
            .with_max_age(subscribe.wanted.max_age);
        let track = &subscribe.track.clone();
        let mut opening = pin!(async {
            let broadcast = table.request_broadcast(&path).await?;
            broadcast.track(track)?.subscribe(wanted).await
        });
        let track = loop {
            tokio::select! {
                track = &mut opening => break track?,
                update = requests.message() => match update? {
                    Some(mut update) => {
                        subscribe.wanted = Wanted::decode(&mut update, version)?;
                    }
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(Prepared {
            version,
            subscribe,
            name,
            track,
        }))
    }
}

impl FanError {
    /// What the terminal is told.
    fn code(&self) -> u32 {
        let error = match self {
            Self::Track(error) => StreamError::from(error),
            Self::Nothing => StreamError::NotFound,
            Self::Wire(_) => StreamError::Internal,
        };
        error.to_code()
    }
}
