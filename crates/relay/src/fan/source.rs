//! The task of a fan: reads a track and pushes what it reads to all who sit in it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use moq_net::{StreamError, frame, group, track};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::group::{End, Group, is_stale};
use super::seat::{Listener, Over};
use super::wire::frame_header;

/// Groups that are read at once. Beyond, new ones wait.
const READING_MAX: usize = 64;

/// Groups that are kept for who comes later, whatever their ages.
const KEPT_MAX: usize = 64;

/// How long after a change of mind the fan looks what all want now: of a crowd somebody always
/// changes theirs.
const TUNE_AFTER: Duration = Duration::from_millis(50);

/// After so many pushes, some hundred microseconds, others get a turn on this thread.
const TURN: usize = 128;

/// Somebody wants to sit down.
pub(super) struct Join {
    pub listener: Arc<dyn Listener>,
    /// The track that it was given: the fan's, or one of the same name that came since.
    pub track: track::Subscriber,
    /// Gets the track back when the fan is of another.
    pub answer: oneshot::Sender<Option<track::Subscriber>>,
}

/// Reads one track.
pub(super) struct Source {
    track: track::Subscriber,
    joins: mpsc::Receiver<Join>,
    /// Somebody left or wants something else.
    changed: Arc<Notify>,
    seats: Vec<Arc<dyn Listener>>,
    /// Groups in the order of their numbers: those that who comes later may want.
    kept: VecDeque<Kept>,
}

struct Kept {
    group: Arc<Group>,
    /// Ends the reading of it.
    leave: CancellationToken,
}

impl Source {
    pub(super) fn new(
        track: track::Subscriber,
        first: Arc<dyn Listener>,
        joins: mpsc::Receiver<Join>,
        changed: Arc<Notify>,
    ) -> Self {
        Self {
            track,
            joins,
            changed,
            seats: vec![first],
            kept: VecDeque::new(),
        }
    }

    /// Reads until the track ends or everybody has left.
    pub(super) async fn run(mut self) {
        let mut reading = FuturesUnordered::new();
        let mut complete = None;
        let mut tune_at = None;
        while !self.seats.is_empty() {
            tokio::select! {
                biased;
                Some(join) = self.joins.recv() => self.join(join),
                () = self.changed.notified(), if tune_at.is_none() => {
                    tune_at = Some(Instant::now() + TUNE_AFTER);
                }
                () = until(tune_at), if tune_at.is_some() => {
                    tune_at = None;
                    self.retune();
                }
                Some((reader, event)) = reading.next() => {
                    if let Some(reader) = self.read(reader, event).await {
                        reading.push(step(reader));
                    } else if reading.is_empty() && let Some(over) = complete {
                        return self.over(over);
                    }
                }
                group = self.track.recv_group(),
                    if complete.is_none() && reading.len() < READING_MAX => match group {
                    // Of one that lost its beginning nobody can use the rest.
                    Ok(Some(group)) if group.index() > 0 => {}
                    Ok(Some(group)) => reading.push(step(Reader::new(group))),
                    Ok(None) => {
                        let before = self.track.finished().await;
                        let over = Over::Complete(before.unwrap_or_default());
                        if reading.is_empty() {
                            return self.over(over);
                        }
                        complete = Some(over);
                    }
                    Err(error) => return self.over(Over::Broken(code(&error))),
                },
            }
        }
        self.refuse();
    }

    fn join(&mut self, join: Join) {
        if !self.track.is_clone(&join.track) {
            // Whoever asked may have gone meanwhile.
            let _ = join.answer.send(Some(join.track));
            return;
        }
        let kept: Vec<_> = self.kept.iter().map(|it| it.group.clone()).collect();
        join.listener.offer(&kept);
        if let Some(wanted) = join.listener.wanted() {
            let now = self.track.subscription();
            let priority = wanted.priority.max(now.priority);
            self.tune(priority, wanted.max_age.max(now.max_age));
            self.seats.push(join.listener);
        }
        // It sees in its seat when that is so.
        let _ = join.answer.send(None);
    }

    /// Whoever came too late finds another fan.
    fn refuse(mut self) {
        self.joins.close();
        while let Ok(join) = self.joins.try_recv() {
            let _ = join.answer.send(Some(join.track));
        }
    }

    fn over(self, over: Over) {
        for seat in &self.seats {
            seat.over(over);
        }
        self.refuse();
    }

    /// Asks for what all together want, after one of them changed its mind.
    fn retune(&mut self) {
        let kept: Vec<_> = self.kept.iter().map(|it| it.group.clone()).collect();
        let (mut priority, mut max_age) = (0, Duration::ZERO);
        self.seats.retain(|seat| {
            let Some(wanted) = seat.wanted() else {
                return false;
            };
            priority = wanted.priority.max(priority);
            max_age = wanted.max_age.max(max_age);
            // It may want groups now that it did not.
            seat.offer(&kept);
            true
        });
        if !self.seats.is_empty() {
            self.tune(priority, max_age);
        }
    }

    fn tune(&mut self, priority: u8, max_age: Duration) {
        let now = self.track.subscription();
        if (now.priority, now.max_age) != (priority, max_age) {
            let wanted = now.with_priority(priority).with_max_age(max_age);
            // Of an ended track there is nothing to want.
            let _ = self.track.update(wanted);
        }
    }

    /// Passes on what came of a group. Gives the reader back while there is more of it.
    async fn read(&mut self, mut reader: Reader, event: Event) -> Option<Reader> {
        let begins = reader.group.is_none();
        if begins && matches!(event, Event::End(End::Broken(_))) {
            return None;
        }
        let group = reader.group().clone();
        if begins {
            self.keep(&group, reader.leave.clone());
        }
        let more = match event {
            Event::Piece(piece, time) => {
                group.append(piece, time);
                true
            }
            Event::End(end) => {
                group.end(end);
                false
            }
        };
        for (index, seat) in self.seats.iter().enumerate() {
            if index % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            if begins {
                seat.begin(&group);
            }
            seat.push(&group);
        }
        if begins {
            self.forget();
        }
        more.then_some(reader)
    }

    fn keep(&mut self, group: &Arc<Group>, leave: CancellationToken) {
        let place = self
            .kept
            .partition_point(|it| it.group.sequence < group.sequence);
        let group = group.clone();
        self.kept.insert(place, Kept { group, leave });
    }

    /// Lets go of groups that are of no use to anybody, and reads no more of them.
    fn forget(&mut self) {
        let max_age = self.track.subscription().max_age;
        let newest = self.kept.back().and_then(|it| it.group.reaches());
        while let Some(next) = self.kept.get(1) {
            let stale = is_stale(next.group.begins(), newest, max_age);
            if !stale && self.kept.len() <= KEPT_MAX {
                return;
            }
            if let Some(kept) = self.kept.pop_front() {
                kept.leave.cancel();
            }
        }
    }
}

/// Reads one group.
struct Reader {
    consumer: group::Consumer,
    leave: CancellationToken,
    /// None until something came of it.
    group: Option<Arc<Group>>,
    /// The frame that is being read, and what of it is to come.
    frame: Option<(frame::Consumer, u64)>,
    /// Time of the frame before, as it is on the wire.
    before: u64,
}

/// What came of a group.
enum Event {
    /// A piece, with the time of the frame that it begins.
    Piece(Bytes, Option<Duration>),
    End(End),
}

impl Reader {
    fn new(consumer: group::Consumer) -> Self {
        Self {
            consumer,
            leave: CancellationToken::new(),
            group: None,
            frame: None,
            before: 0,
        }
    }

    fn group(&mut self) -> &Arc<Group> {
        let sequence = self.consumer.sequence;
        self.group
            .get_or_insert_with(|| Arc::new(Group::new(sequence)))
    }

    /// The next piece: a frame as far as it is here, or more of one.
    async fn next(&mut self) -> Result<Option<(Bytes, Option<Duration>)>, moq_net::Error> {
        if let Some(piece) = self.rest().await? {
            return Ok(Some((piece, None)));
        }
        let Some(frame) = self.consumer.next_frame().await? else {
            return Ok(None);
        };
        let (time, size) = (frame.timestamp, frame.size);
        let header = frame_header(self.before, time.value(), size);
        let mut piece = header.ok_or(moq_net::Error::TimestampMismatch)?;
        self.before = time.value();
        self.frame = Some((frame, size));
        if let Some(first) = self.rest().await? {
            piece.extend_from_slice(&first);
        }
        Ok(Some((piece.freeze(), Some(time.into()))))
    }

    /// More of the frame that is being read; none if it is all here.
    async fn rest(&mut self) -> Result<Option<Bytes>, moq_net::Error> {
        let Some((frame, left)) = &mut self.frame else {
            return Ok(None);
        };
        let chunk = if *left > 0 {
            frame.read_chunk().await?
        } else {
            None
        };
        *left -= chunk.as_ref().map_or(0, |it| it.len() as u64).min(*left);
        if *left == 0 || chunk.is_none() {
            self.frame = None;
        }
        Ok(chunk)
    }
}

/// Never, without a time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn step(mut reader: Reader) -> (Reader, Event) {
    let leave = reader.leave.clone();
    let event = tokio::select! {
        next = reader.next() => match next {
            Ok(Some((piece, time))) => Event::Piece(piece, time),
            Ok(None) => Event::End(End::Complete),
            Err(error) => Event::End(End::Broken(code(&error))),
        },
        () = leave.cancelled() => Event::End(End::Broken(StreamError::Old.to_code())),
    };
    (reader, event)
}

/// What a terminal is told.
fn code(error: &moq_net::Error) -> u32 {
    StreamError::from(error).to_code()
}
