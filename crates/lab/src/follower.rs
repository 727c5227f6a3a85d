//! A viewer that costs as little as it can: thousands of them fit beside the edge that is measured.
//!
//! It enters as [`Viewer`](crate::viewer::Viewer) does and asks as little as the viewer page, but
//! speaks itself what of the protocol receiving needs (`docs/protocol.md`, moq-lite 06): it says who
//! it is, subscribes, and reads groups. All that comes is read by whoever calls [`Follower::next`],
//! without a task or a queue between.

mod wire;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use api::live::{self, WatchTicket};
use bytes::BytesMut;
use model::{AppName, CameraName};
use quinn::{Connection, ConnectionError, RecvStream, VarInt};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::terminal::connect::{VERSIONS, dial_from};
use crate::terminal::{CertificateHash, TerminalError};
use crate::viewer::Arrived;
use wire::{Kind, Wanted};

/// What is read at once.
const READ: usize = 4 << 10;

/// Groups that are read at once: some of each of a few feeds.
const GROUPS_MAX: usize = 64;

/// A subscription of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feed(u64);

/// A connected viewer. Leaves when dropped.
pub struct Follower {
    event: AppName,
    quic: Connection,
    /// They end with the connection.
    tasks: TaskTracker,
    feeds: Vec<Following>,
    next: u64,
    accept: Pin<Box<dyn Future<Output = Result<RecvStream, ConnectionError>> + Send>>,
    groups: Vec<Incoming>,
}

struct Following {
    feed: Feed,
    /// What is asked for. Ends the subscription when dropped.
    wanted: watch::Sender<Wanted>,
    /// What shall be asked for when it has begun.
    max_age: Duration,
    /// The newest group of which something came.
    newest: Option<u64>,
}

/// A group as it comes in.
struct Incoming {
    stream: RecvStream,
    unread: BytesMut,
    /// What it says it is, once it has.
    header: Option<wire::Group>,
    /// Time of the frame before.
    before: u64,
}

/// What came of an incoming stream.
enum Came {
    Frame(Feed, Arrived),
    /// Nothing more will, or it is not wanted.
    Over,
}

impl Follower {
    /// Enters with a ticket from a socket that other viewers may use, too.
    ///
    /// # Errors
    /// When the entry cannot be reached.
    pub async fn enter(
        endpoint: &quinn::Endpoint,
        ticket: &WatchTicket,
        address: SocketAddr,
    ) -> Result<Self, TerminalError> {
        let pin = ticket.entry.certificate_sha256.as_deref();
        let pin: CertificateHash = pin.ok_or(TerminalError::NoPin)?.parse()?;
        let name = address.to_string();
        let quic = dial_from(endpoint, &name, address, pin, VERSIONS[0]).await?;
        let setup = wire::setup(&format!("/moq?watch={}", ticket.token));
        let mut hello = quic.open_uni().await.map_err(TerminalError::Connect)?;
        // What goes wrong is seen by who reads.
        let _ = hello.write_all(&setup).await;
        let _ = hello.finish();
        Ok(Self {
            event: ticket.event.name.clone(),
            accept: accept(&quic),
            quic,
            tasks: TaskTracker::new(),
            feeds: Vec::new(),
            next: 0,
            groups: Vec::new(),
        })
    }

    /// Subscribes to a camera's track. It begins with the newest group; once one is not the newest any
    /// more, it comes as long as it is not older than `max_age`.
    pub fn follow(
        &mut self,
        camera: &CameraName,
        track: &str,
        max_age: Duration,
        priority: u8,
    ) -> Feed {
        let feed = Feed(self.next);
        self.next += 1;
        let broadcast = live::broadcast(&self.event, camera);
        let (wanted, asking) = watch::channel(Wanted {
            priority,
            max_age: Duration::ZERO,
        });
        let request = wire::subscribe(feed.0, &broadcast, track, *wanted.borrow());
        self.tasks.spawn(ask(self.quic.clone(), request, asking));
        self.feeds.push(Following {
            feed,
            wanted,
            max_age,
            newest: None,
        });
        feed
    }

    /// From now on it goes before all of a lower priority.
    pub fn set_priority(&mut self, feed: Feed, priority: u8) {
        if let Some(it) = self.feeds.iter().find(|it| it.feed == feed) {
            it.wanted.send_modify(|it| it.priority = priority);
        }
    }

    /// Wants no more of it.
    pub fn leave(&mut self, feed: Feed) {
        self.feeds.retain(|it| it.feed != feed);
        let subscription = feed.0;
        self.groups
            .retain(|it| it.header.is_none_or(|it| it.subscription != subscription));
    }

    /// What arrived next; of each feed never older than what was returned before. `None` when the
    /// session is over. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<(Feed, Arrived)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Feed, Arrived)>> {
        while let Poll::Ready(accepted) = self.accept.as_mut().poll(cx) {
            let Ok(stream) = accepted else {
                self.accept = Box::pin(std::future::pending());
                return Poll::Ready(None);
            };
            self.accept = accept(&self.quic);
            if self.groups.len() == GROUPS_MAX {
                self.groups.remove(0);
            }
            self.groups.push(Incoming::new(stream));
        }
        let mut index = 0;
        while let Some(group) = self.groups.get_mut(index) {
            match group.poll_frame(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(Came::Over) => {
                    self.groups.remove(index);
                }
                Poll::Ready(Came::Frame(feed, arrived)) => {
                    if self.is_new(feed, arrived.group) {
                        return Poll::Ready(Some((feed, arrived)));
                    }
                    self.groups.remove(index);
                }
            }
        }
        Poll::Pending
    }

    /// Whether nothing newer came of the feed. What is before a group of which something came is
    /// history.
    fn is_new(&mut self, feed: Feed, group: u64) -> bool {
        let Some(following) = self.feeds.iter_mut().find(|it| it.feed == feed) else {
            return false;
        };
        let max_age = following.max_age;
        let newest = following.newest.get_or_insert_with(|| {
            following.wanted.send_modify(|it| it.max_age = max_age);
            group
        });
        if group > *newest {
            *newest = group;
            self.groups.retain(|it| {
                let of = it.header.filter(|it| it.subscription == feed.0);
                of.is_none_or(|it| it.sequence >= group)
            });
        }
        group >= following.newest.unwrap_or(group)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.quic.close(VarInt::from_u32(0), b"");
    }
}

/// The next stream that the entry opens.
fn accept(
    quic: &Connection,
) -> Pin<Box<dyn Future<Output = Result<RecvStream, ConnectionError>> + Send>> {
    let quic = quic.clone();
    Box::pin(async move { quic.accept_uni().await })
}

/// Keeps up a subscription for as long as somebody may change what it asks for.
async fn ask(quic: Connection, request: BytesMut, mut wanted: watch::Receiver<Wanted>) {
    // What goes wrong is seen by who reads.
    let Ok((mut asked, _answers)) = quic.open_bi().await else {
        return;
    };
    if asked.write_all(&request).await.is_err() {
        return;
    }
    while wanted.changed().await.is_ok() {
        let update = wire::update(*wanted.borrow_and_update());
        if asked.write_all(&update).await.is_err() {
            return;
        }
    }
    let _ = asked.finish();
}

impl Incoming {
    fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            unread: BytesMut::new(),
            header: None,
            before: 0,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        loop {
            if self.header.is_none() {
                match wire::take_header(&mut self.unread) {
                    Some(Kind::Group(group)) => self.header = Some(group),
                    // The entry's own setup says nothing that a follower needs.
                    Some(Kind::Other) => return Poll::Ready(Came::Over),
                    None => {}
                }
            }
            if let Some(group) = self.header
                && let Some((time, payload)) = wire::take_frame(&mut self.unread, &mut self.before)
            {
                let arrived = Arrived {
                    group: group.sequence,
                    timestamp: Duration::from_micros(time),
                    payload,
                };
                return Poll::Ready(Came::Frame(Feed(group.subscription), arrived));
            }
            let mut read = [0; READ];
            match ready!(self.stream.poll_read(cx, &mut read)) {
                Ok(0) | Err(_) => return Poll::Ready(Came::Over),
                Ok(length) => self.unread.extend_from_slice(&read[..length]),
            }
        }
    }
}
