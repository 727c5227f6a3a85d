//! What the terminal sends: events of a hand, and control messages beside them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::input::{Control, InputEvent, InputSeq, Pong};
use moq_net::{Timestamp, broadcast, group, origin, track};
use serde::Serialize;
use tokio::sync::oneshot;

use super::TerminalError;

/// A group of events ends after this many frames, so that whoever reads it need not start at the
/// beginning of the session.
const EVENTS_GROUP: usize = 1_000;

/// Events whose answer somebody may wait for. Beyond it the oldest is given up.
const WAITING_MAX: usize = 256;

/// Pings under way. Beyond it the oldest is given up.
const PINGS_MAX: usize = 16;

/// The first picture that the app made knowing an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// From before the event was written until all of the picture had arrived.
    pub arrived: Duration,
    /// Until it had been decoded.
    pub decoded: Duration,
    /// How long its node took to encode it.
    pub encode_time: Duration,
}

/// An event that was sent.
#[derive(Debug)]
pub struct Sent {
    /// Its number.
    pub seq: InputSeq,
    answer: oneshot::Receiver<Answer>,
}

impl Sent {
    /// Waits for the first picture that the app made knowing this event. Give it a deadline.
    ///
    /// # Errors
    /// When the session ended before, or 256 later events are waited for.
    pub async fn answered(self) -> Result<Answer, TerminalError> {
        self.answer.await.map_err(|_| TerminalError::Over)
    }
}

/// A decoded picture, as far as answers go.
pub(super) struct Seen {
    pub(super) input_seq: InputSeq,
    pub(super) arrived: Instant,
    pub(super) decoded: Instant,
    pub(super) encode_time: Duration,
}

/// The terminal's side of a session's input.
pub(super) struct Hand {
    start: Instant,
    state: Mutex<State>,
    /// Ends with this.
    _broadcast: broadcast::Producer,
}

struct State {
    events: track::Producer,
    group: Option<(group::Producer, usize)>,
    next_seq: InputSeq,
    control: track::Producer,
    waiting: VecDeque<Waiting>,
    pings: VecDeque<(u32, Instant, oneshot::Sender<Duration>)>,
    next_ping: u32,
    round_trip: Option<Duration>,
}

struct Waiting {
    seq: InputSeq,
    since: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Hand {
    /// Publishes the input of one connection.
    pub(super) fn open(
        table: &origin::Producer,
        session: &str,
        first_seq: InputSeq,
    ) -> Result<Self, moq_net::Error> {
        let connection = moq_net::Hop::random().id();
        let broadcast = table.create_broadcast(format!("{session}/input/{connection:x}"))?;
        let info = || track::Info::default().with_timescale(moq_net::Timescale::MICRO);
        let events =
            broadcast.create_track("events", info().with_max_age(Duration::from_secs(10)))?;
        let control = broadcast.create_track("control", info())?;
        broadcast.announce(origin::Route::default())?;
        let state = State {
            events,
            group: None,
            next_seq: first_seq,
            control,
            waiting: VecDeque::new(),
            pings: VecDeque::new(),
            next_ping: 1,
            round_trip: None,
        };
        Ok(Self {
            start: Instant::now(),
            state: Mutex::new(state),
            _broadcast: broadcast,
        })
    }

    pub(super) fn send(
        &self,
        event: impl FnOnce(InputSeq) -> InputEvent,
    ) -> Result<Sent, TerminalError> {
        let mut state = self.lock();
        let seq = state.next_seq;
        state.next_seq = InputSeq(seq.0.wrapping_add(1));
        let (tx, answer) = oneshot::channel();
        if state.waiting.len() == WAITING_MAX {
            state.waiting.pop_front();
        }
        state.waiting.push_back(Waiting {
            seq,
            since: Instant::now(),
            answer: tx,
        });
        let frame = json(&[event(seq)]);
        let at = self.timestamp();
        state.write_events(at, frame)?;
        Ok(Sent { seq, answer })
    }

    pub(super) fn next_seq(&self) -> InputSeq {
        self.lock().next_seq
    }

    /// Answers every event that the app knew when it made this picture.
    pub(super) fn seen(&self, seen: &Seen) {
        let mut state = self.lock();
        while let Some(waiting) = state.waiting.pop_front_if(|it| it.seq <= seen.input_seq) {
            // Most answers interest nobody.
            let _ = waiting.answer.send(Answer {
                arrived: seen.arrived.saturating_duration_since(waiting.since),
                decoded: seen.decoded.saturating_duration_since(waiting.since),
                encode_time: seen.encode_time,
            });
        }
    }

    pub(super) async fn ping(&self) -> Result<Duration, TerminalError> {
        let answer = self.start_ping();
        answer.await.map_err(|_| TerminalError::Over)
    }

    /// Sends a ping; the answer also becomes the round trip that reports carry.
    pub(super) fn start_ping(&self) -> oneshot::Receiver<Duration> {
        let (tx, rx) = oneshot::channel();
        let mut state = self.lock();
        let id = state.next_ping;
        state.next_ping = id.wrapping_add(1);
        if state.pings.len() == PINGS_MAX {
            state.pings.pop_front();
        }
        state.pings.push_back((id, Instant::now(), tx));
        drop(state);
        let at = self.start.elapsed().as_secs_f64() * 1_000.0;
        self.say(&Control::Ping { id, at });
        rx
    }

    pub(super) fn pong(&self, pong: Pong) {
        let mut state = self.lock();
        let Some(at) = state.pings.iter().position(|(id, ..)| *id == pong.id) else {
            return;
        };
        if let Some((_, since, answer)) = state.pings.remove(at) {
            let round_trip = since.elapsed();
            state.round_trip = Some(round_trip);
            // The regular pings interest nobody.
            let _ = answer.send(round_trip);
        }
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.lock().round_trip
    }

    pub(super) fn ask_keyframe(&self) {
        self.say(&Control::Keyframe);
    }

    /// Sends a control message. One that cannot be sent is as good as one that was lost.
    pub(super) fn say(&self, control: &Control) {
        let at = self.timestamp();
        let state = self.lock();
        if let Ok(group) = state.control.append_group() {
            let _ = group.clone().write_frame(at, json(control));
            let _ = group.finish();
        }
    }

    /// Gives up every answer: nothing comes any more.
    pub(super) fn over(&self) {
        let mut state = self.lock();
        state.waiting.clear();
        state.pings.clear();
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::try_from(self.start.elapsed()).expect("no session lasts a thousand years")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write_events(&mut self, at: Timestamp, frame: Vec<u8>) -> Result<(), moq_net::Error> {
        if let Some((group, EVENTS_GROUP..)) = &self.group {
            group.finish()?;
            self.group = None;
        }
        if self.group.is_none() {
            self.group = Some((self.events.append_group()?, 0));
        }
        let (group, frames) = self.group.as_mut().expect("just opened");
        *frames += 1;
        group.write_frame(at, frame)
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("these types have only text keys and finite numbers")
}
