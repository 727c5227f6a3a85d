//! One terminal's subscription: what of each group it was sent, over which stream.
//!
//! The fan's task pushes into it, and its own task carries on with what the line could not take at
//! once. All that either does is done under one lock, held for as long as QUIC takes to accept some
//! bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use moq_net::StreamError;
use moq_net::transport::poll;
use moq_net::web_transport_trait::poll::SendStream;

use super::group::{End, Group, Next, is_stale};
use super::wire::{self, Version, Wanted};
use crate::delivery::Counter;

/// A stream that could send nothing for this long has no picture that anybody still wants.
const STALLED_MAX: Duration = Duration::from_secs(3);

/// Streams that are written but perhaps not received. Beyond, the oldest is given up; a terminal
/// allows no more anyway.
const FINISHED_MAX: usize = 1_024;

/// Up to this size a piece goes into one packet with the header before it.
const JOINED_MAX: usize = 2 << 10;

/// Who sits in a fan.
pub(super) trait Listener: Send + Sync {
    /// What it wants now; `None` when it has left.
    fn wanted(&self) -> Option<Wanted>;
    /// Begins what it wants of these groups, oldest first, and has not begun.
    fn offer(&self, groups: &[Arc<Group>]);
    /// Begins a group that came up.
    fn begin(&self, group: &Arc<Group>);
    /// Sends on, after a piece was added to a group, or its end.
    fn push(&self, group: &Arc<Group>);
    /// No group will begin any more.
    fn over(&self, over: Over);
    /// Nobody is here any more: what is half sent is broken off.
    fn leave(&self);
}

/// How a track ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Before this group.
    Complete(u64),
    /// With this code.
    Broken(u32),
}

/// What a seat is made of.
pub(super) struct Place<S: poll::Session> {
    pub session: S,
    pub version: Version,
    /// The terminal's number for the subscription.
    pub id: u64,
    pub wanted: Wanted,
    /// The way back of the request.
    pub answers: S::SendStream,
    /// Counts what is sent.
    pub counter: Counter,
}

pub(super) struct Seat<S: poll::Session> {
    state: Mutex<State<S>>,
    left: AtomicBool,
}

struct State<S: poll::Session> {
    place: Place<S>,
    /// Answers that are not sent.
    unsent: BytesMut,
    /// The first group that was begun, and the newest.
    begun: Option<(u64, u64)>,
    /// Groups that are being sent, the newest last.
    lines: VecDeque<Line<S::SendStream>>,
    /// Streams that are written and perhaps not received, and since when; the newest last.
    finished: VecDeque<(Instant, S::SendStream)>,
    over: Option<Over>,
    /// Wakes the seat's own task.
    waker: Waker,
}

impl<S: poll::Session> Seat<S> {
    pub(super) fn new(place: Place<S>) -> Self {
        let state = State {
            place,
            unsent: BytesMut::new(),
            begun: None,
            lines: VecDeque::new(),
            finished: VecDeque::new(),
            over: None,
            waker: Waker::noop().clone(),
        };
        Self {
            state: Mutex::new(state),
            left: AtomicBool::new(false),
        }
    }

    /// Carries on with what could not be sent. Ready when all of an ended track is.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        state.waker.clone_from(cx.waker());
        state.send(cx);
        match state.over {
            Some(Over::Broken(code)) => {
                state.place.answers.reset(code);
                Poll::Ready(())
            }
            Some(Over::Complete(_)) if state.lines.is_empty() && state.unsent.is_empty() => {
                // The terminal may be gone: then nobody misses it.
                let _ = state.place.answers.finish();
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }

    /// Changes what is wanted. What is being sent goes on.
    pub(super) fn update(&self, wanted: Wanted) {
        self.state().update(wanted);
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        // At worst a stream is left that nobody writes to.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Listener for Seat<S>
where
    S: poll::Session + Send,
    S::SendStream: Send,
{
    fn wanted(&self) -> Option<Wanted> {
        let left = self.left.load(Ordering::Relaxed);
        (!left).then(|| self.state().place.wanted)
    }

    fn offer(&self, groups: &[Arc<Group>]) {
        let mut state = self.state();
        let wanted = state.place.wanted;
        let newest = groups.last().and_then(|it| it.reaches());
        for (index, group) in groups.iter().enumerate() {
            let next = groups.get(index + 1);
            let stale = match state.place.version {
                Version::Lite05 if wanted.first.is_none() => next.is_some(),
                _ => next.is_some_and(|it| is_stale(it.begins(), newest, wanted.max_age)),
            };
            let begun = state.begun.is_some_and(|(_, it)| group.sequence <= it);
            if !stale && !begun && group.is_whole() {
                state.begin(group);
                state.wake();
            }
        }
    }

    fn begin(&self, group: &Arc<Group>) {
        self.state().begin(group);
    }

    fn push(&self, group: &Arc<Group>) {
        let mut state = self.state();
        let waker = state.waker.clone();
        let mut cx = Context::from_waker(&waker);
        state.push(group, &mut cx);
    }

    fn over(&self, over: Over) {
        let mut state = self.state();
        if let Over::Complete(before) = over {
            wire::put_end(&mut state.unsent, before);
        }
        state.over = Some(over);
        state.wake();
    }

    fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
        let mut state = self.state();
        state.lines.clear();
        // It is closed, or reset, or the terminal is gone.
        let _ = state.place.answers.finish();
    }
}

impl<S: poll::Session> State<S> {
    fn wake(&self) {
        self.waker.wake_by_ref();
    }

    fn update(&mut self, wanted: Wanted) {
        let before = std::mem::replace(&mut self.place.wanted, wanted);
        if before.priority == wanted.priority {
            return;
        }
        let newest = self.lines.len().saturating_sub(1);
        for (index, line) in self.lines.iter_mut().enumerate() {
            let order = order(wanted.priority, index == newest);
            if let Some(stream) = &mut line.stream {
                stream.set_priority(order);
            }
        }
    }

    /// Begins a group, if it is wanted. The newest goes first.
    fn begin(&mut self, group: &Arc<Group>) {
        let (sequence, wanted) = (group.sequence, self.place.wanted);
        let early = self.begun.is_some_and(|(first, _)| sequence < first)
            || wanted.first.is_some_and(|first| sequence < first);
        if early || wanted.last.is_some_and(|last| sequence > last) || self.over.is_some() {
            return;
        }
        match &mut self.begun {
            Some((_, newest)) => *newest = sequence.max(*newest),
            None => {
                self.begun = Some((sequence, sequence));
                wire::put_start(&mut self.unsent, sequence);
            }
        }
        self.release(Instant::now());
        let place = self
            .lines
            .partition_point(|it| it.group.sequence < sequence);
        if place == self.lines.len() {
            self.step_back();
        }
        let header = wire::group_header(self.place.version, self.place.id, sequence);
        self.lines.insert(place, Line::new(group.clone(), header));
    }

    /// What was the newest group makes way for the one that comes.
    fn step_back(&mut self) {
        let order = order(self.place.wanted.priority, false);
        let sending = self.lines.back_mut().and_then(|it| it.stream.as_mut());
        let finished = self.finished.back_mut().map(|(_, stream)| stream);
        for stream in [sending, finished].into_iter().flatten() {
            stream.set_priority(order);
        }
    }

    /// Gives up what has waited for too long, whether it is written or not.
    fn release(&mut self, now: Instant) {
        let overdue = |since: Instant| now.saturating_duration_since(since) >= STALLED_MAX;
        self.lines.retain(|it| !it.stalled.is_some_and(overdue));
        let crowded = |it: &Self| it.finished.len() > FINISHED_MAX;
        while self
            .finished
            .front()
            .is_some_and(|(since, _)| overdue(*since))
            || crowded(self)
        {
            let Some((_, mut stream)) = self.finished.pop_front() else {
                return;
            };
            // Of what was received, QUIC knows nothing any more.
            stream.reset(StreamError::Old.to_code());
        }
    }

    /// Sends on: answers first, then the newest group.
    fn send(&mut self, cx: &mut Context<'_>) {
        self.answer(cx);
        for index in (0..self.lines.len()).rev() {
            self.send_line(index, cx);
        }
        self.expire();
    }

    fn push(&mut self, group: &Arc<Group>, cx: &mut Context<'_>) {
        if !self.unsent.is_empty() {
            self.answer(cx);
        }
        let index = self
            .lines
            .iter()
            .rposition(|it| Arc::ptr_eq(&it.group, group));
        if let Some(index) = index {
            self.send_line(index, cx);
        }
        if self.lines.len() > 1 {
            self.expire();
        }
    }

    fn answer(&mut self, cx: &mut Context<'_>) {
        while !self.unsent.is_empty() {
            match self.place.answers.poll_write(cx, &self.unsent) {
                Poll::Ready(Ok(sent)) => self.unsent.advance(sent),
                // Nobody listens: the groups have their own streams.
                Poll::Ready(Err(_)) => self.unsent.clear(),
                Poll::Pending => return,
            }
        }
    }

    fn send_line(&mut self, index: usize, cx: &mut Context<'_>) {
        let newest = index + 1 == self.lines.len();
        let line = &mut self.lines[index];
        match line.send(&mut self.place, newest, cx) {
            Progress::Waits => {}
            Progress::Finished(stream) => {
                self.lines.remove(index);
                self.finished.push_back((Instant::now(), stream));
            }
            Progress::Gone => {
                self.lines.remove(index);
            }
        }
    }

    /// Breaks off groups that nobody can use any more, for all that came after them.
    fn expire(&mut self) {
        let max_age = self.place.wanted.max_age;
        let Some(newest) = self.lines.back().map(|it| it.group.reaches()) else {
            return;
        };
        for index in (1..self.lines.len()).rev() {
            let next = self.lines[index].group.begins();
            if is_stale(next, newest, max_age) {
                for mut line in self.lines.drain(..index) {
                    line.reset(StreamError::Old.to_code());
                }
                return;
            }
        }
    }
}

/// One group on its way.
struct Line<T: SendStream> {
    group: Arc<Group>,
    /// Pieces that were taken from it.
    had: u64,
    /// What of them is not sent.
    unsent: Bytes,
    stream: Option<T>,
    /// Since when it could send nothing.
    stalled: Option<Instant>,
}

/// What became of a line.
enum Progress<T> {
    Waits,
    Finished(T),
    Gone,
}

impl<T: SendStream> Line<T> {
    fn new(group: Arc<Group>, header: BytesMut) -> Self {
        Self {
            group,
            had: 0,
            unsent: header.freeze(),
            stream: None,
            stalled: None,
        }
    }

    fn send<S>(&mut self, place: &mut Place<S>, newest: bool, cx: &mut Context<'_>) -> Progress<T>
    where
        S: poll::Session<SendStream = T>,
    {
        if self.stream.is_none() {
            let opened = match place.session.poll_open_uni(cx) {
                Poll::Ready(Ok(stream)) => stream,
                Poll::Ready(Err(_)) => return Progress::Gone,
                Poll::Pending => return self.stall(),
            };
            let stream = self.stream.insert(opened);
            stream.set_priority(order(place.wanted.priority, newest));
        }
        loop {
            if self.had == 0 || self.unsent.is_empty() {
                match self.group.next(self.had) {
                    Next::Piece(piece) if self.may_join(&piece) => {
                        self.take(piece, &place.counter);
                    }
                    Next::Piece(_) => {}
                    Next::Later if self.unsent.is_empty() => return Progress::Waits,
                    Next::Later => {}
                    Next::Missed => return self.broken(StreamError::TooFarBehind.to_code()),
                    Next::Nothing(End::Broken(code)) => return self.broken(code),
                    Next::Nothing(End::Complete) if self.unsent.is_empty() => {
                        return self.finish();
                    }
                    Next::Nothing(End::Complete) => {}
                }
            }
            let Some(stream) = &mut self.stream else {
                return Progress::Gone;
            };
            match stream.poll_write(cx, &self.unsent) {
                Poll::Ready(Ok(sent)) => {
                    self.unsent.advance(sent);
                    self.stalled = None;
                }
                Poll::Ready(Err(_)) => {
                    // The terminal wants no more of it, or is gone.
                    self.stream = None;
                    return Progress::Gone;
                }
                Poll::Pending => return self.stall(),
            }
        }
    }

    /// The header alone would be a packet; a copy of much would cost more.
    fn may_join(&self, piece: &Bytes) -> bool {
        self.unsent.is_empty() || piece.len() <= JOINED_MAX
    }

    fn take(&mut self, piece: Bytes, counter: &Counter) {
        self.had += 1;
        counter.add(piece.len());
        self.unsent = if self.unsent.is_empty() {
            piece
        } else {
            let mut joined = BytesMut::with_capacity(self.unsent.len() + piece.len());
            joined.extend_from_slice(&self.unsent);
            joined.extend_from_slice(&piece);
            joined.freeze()
        };
    }

    fn stall(&mut self) -> Progress<T> {
        self.stalled.get_or_insert_with(Instant::now);
        Progress::Waits
    }

    fn broken(&mut self, code: u32) -> Progress<T> {
        self.reset(code);
        Progress::Gone
    }

    fn finish(&mut self) -> Progress<T> {
        let Some(mut stream) = self.stream.take() else {
            return Progress::Gone;
        };
        match stream.finish() {
            Ok(()) => Progress::Finished(stream),
            Err(_) => Progress::Gone,
        }
    }

    fn reset(&mut self, code: u32) {
        if let Some(mut stream) = self.stream.take() {
            stream.reset(code);
        }
    }
}

impl<T: SendStream> Drop for Line<T> {
    /// A stream that is dropped would end as if its group were complete.
    fn drop(&mut self) {
        self.reset(StreamError::Cancel.to_code());
    }
}

/// The order of a stream, higher first: the newest group of a subscription before its older ones.
/// Priorities of subscriptions that should not mix differ by two or more.
fn order(priority: u8, newest: bool) -> u8 {
    priority.saturating_sub(u8::from(!newest))
}
