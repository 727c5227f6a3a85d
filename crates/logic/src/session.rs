//! Decides how long an instance lives on its node.
//!
//! One machine for each session that a node holds. Whoever runs it starts, greets and stops the
//! instance as [`poll_action`](Session::poll_action) says. Where a session runs is not decided here
//! but by `dispatch`; how a crashed app comes back is `backoff`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a superseded instance keeps its picture for a terminal that has not moved over yet.
/// Make before break takes a few round trips; beyond this the terminal has lost its way.
pub const LINGER: Duration = Duration::from_secs(10);

/// The rules of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long the instance waits for its terminal to return.
    pub reconnect_grace: Duration,
    /// How long the session lives without input, if not for ever.
    pub idle_limit: Option<Duration>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Bring the instance up.
    Start,
    /// Tell the terminals why it ends, then stop the instance and forget the session.
    Stop(Ending),
}

/// Why a session ends on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The reservation was not confirmed in time.
    Expired,
    /// The reservation was not needed.
    Cancelled,
    /// Another node serves the session under a higher epoch.
    Superseded,
    /// Somebody closed it.
    Closed,
    /// Nobody touched it for longer than the idle limit.
    Idle,
    /// The terminal did not return within the grace.
    Abandoned,
    /// The app failed for good.
    Failed,
    /// The node is shutting down.
    Draining,
}

/// One session on its node.
#[derive(Debug)]
pub struct Session {
    rules: Rules,
    state: State,
    terminals: u32,
    /// When the last terminal left, or the session was confirmed.
    alone_since: Instant,
    last_input: Instant,
    now: Instant,
    /// At most two: a start and a stop.
    actions: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reserved { until: Instant },
    Serving,
    Lingering { until: Instant },
    Ended,
}

impl Session {
    /// A session whose needs are set aside until `until`.
    pub fn reserve(rules: Rules, until: Instant, now: Instant) -> Self {
        Self {
            rules,
            state: State::Reserved { until },
            terminals: 0,
            alone_since: now,
            last_input: now,
            now,
            actions: VecDeque::new(),
        }
    }

    /// The session is this node's. Harmless when it already was.
    ///
    /// Returns whether the session is served now.
    pub fn handle_confirm(&mut self, now: Instant) -> bool {
        self.handle_timeout(now);
        match self.state {
            State::Reserved { .. } => {
                self.state = State::Serving;
                self.alone_since = now;
                self.last_input = now;
                self.actions.push_back(Action::Start);
                true
            }
            State::Serving => true,
            State::Lingering { .. } | State::Ended => false,
        }
    }

    /// A terminal is connected.
    pub fn handle_joined(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.terminals = self.terminals.saturating_add(1);
        self.last_input = now;
    }

    /// A terminal is gone.
    pub fn handle_left(&mut self, now: Instant) {
        self.terminals = self.terminals.saturating_sub(1);
        if self.terminals == 0 {
            self.alone_since = now;
        }
        self.handle_timeout(now);
    }

    /// A person's hand moved.
    pub fn handle_input(&mut self, now: Instant) {
        self.last_input = self.last_input.max(now);
    }

    /// Another node serves the session: the picture stays until the terminal has moved over.
    pub fn handle_superseded(&mut self, now: Instant) {
        self.handle_timeout(now);
        match self.state {
            State::Reserved { .. } => self.end(Ending::Cancelled),
            State::Serving if self.terminals == 0 => self.end(Ending::Superseded),
            State::Serving => {
                self.state = State::Lingering {
                    until: now + LINGER,
                }
            }
            State::Lingering { .. } | State::Ended => {}
        }
    }

    /// The session ends now.
    pub fn handle_end(&mut self, why: Ending, now: Instant) {
        self.handle_timeout(now);
        self.end(why);
    }

    /// Moves time forward.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let Some((deadline, why)) = self.deadline() else {
            return;
        };
        if deadline <= self.now {
            self.end(why);
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline().map(|(at, _)| at)
    }

    /// Whether a terminal is connected.
    pub fn is_watched(&self) -> bool {
        self.terminals > 0
    }

    /// Whether the session is this node's, and not on its way out.
    pub fn is_serving(&self) -> bool {
        self.state == State::Serving
    }

    fn deadline(&self) -> Option<(Instant, Ending)> {
        let alone = (self.terminals == 0).then(|| {
            (
                self.alone_since + self.rules.reconnect_grace,
                Ending::Abandoned,
            )
        });
        match self.state {
            State::Reserved { until } => Some((until, Ending::Expired)),
            State::Serving => {
                let idle = self
                    .rules
                    .idle_limit
                    .map(|limit| (self.last_input + limit, Ending::Idle));
                alone.into_iter().chain(idle).min_by_key(|(at, _)| *at)
            }
            State::Lingering { until } if self.terminals > 0 => Some((until, Ending::Superseded)),
            State::Lingering { .. } => Some((self.now, Ending::Superseded)),
            State::Ended => None,
        }
    }

    fn end(&mut self, why: Ending) {
        if self.state != State::Ended {
            self.state = State::Ended;
            self.actions.push_back(Action::Stop(why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_that_is_not_confirmed_expires() {
        check("10 tick", "10 stop expired");
        check("9 confirm; 10 tick", "9 start");
        check("11 confirm", "11 stop expired");
    }

    #[test]
    fn a_terminal_that_returns_within_the_grace_finds_its_instance() {
        check("0 confirm; 1 join; 5 left; 64 join; 200 tick", "0 start");
        check(
            "0 confirm; 1 join; 5 left; 65 tick",
            "0 start; 65 stop abandoned",
        );
    }

    #[test]
    fn a_terminal_that_never_comes_is_not_waited_for_longer() {
        check("0 confirm; 60 tick", "0 start; 60 stop abandoned");
    }

    #[test]
    fn two_connections_of_one_terminal_overlap() {
        check(
            "0 confirm; 1 join; 2 join; 3 left; 100 tick; 101 left; 160 tick",
            "0 start",
        );
    }

    #[test]
    fn nobody_at_the_keys() {
        check("0 confirm; 1 join; 250 input; 549 tick", "0 start");
        check(
            "0 confirm; 1 join; 250 input; 550 tick",
            "0 start; 550 stop idle",
        );
    }

    #[test]
    fn a_superseded_instance_keeps_its_picture_until_the_terminal_has_left() {
        check(
            "0 confirm; 1 join; 2 superseded; 4 left",
            "0 start; 4 stop superseded",
        );
        check(
            "0 confirm; 1 join; 2 superseded; 12 tick",
            "0 start; 12 stop superseded",
        );
        check("0 confirm; 2 superseded", "0 start; 2 stop superseded");
        check("2 superseded; 3 confirm", "2 stop cancelled");
    }

    #[test]
    fn an_end_is_final_and_said_once() {
        check(
            "0 confirm; 1 close; 2 superseded; 3 close; 99 tick",
            "0 start; 1 stop closed",
        );
        check("0 confirm; 1 confirm", "0 start");
    }

    /// Grace 60 s, idle limit 300 s, reserved until second 10.
    #[track_caller]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs one real instant to start from"
    )]
    fn check(script: &str, expected: &str) {
        let start = Instant::now();
        let rules = Rules {
            reconnect_grace: Duration::from_secs(60),
            idle_limit: Some(Duration::from_secs(300)),
        };
        let mut session = Session::reserve(rules, start + Duration::from_secs(10), start);
        let mut said = Vec::new();
        for step in script.split("; ") {
            let (second, what) = step.split_once(' ').unwrap();
            let now = start + Duration::from_secs(second.parse().unwrap());
            match what {
                "confirm" => drop(session.handle_confirm(now)),
                "join" => session.handle_joined(now),
                "left" => session.handle_left(now),
                "input" => session.handle_input(now),
                "superseded" => session.handle_superseded(now),
                "close" => session.handle_end(Ending::Closed, now),
                _ => session.handle_timeout(now),
            }
            while let Some(action) = session.poll_action() {
                said.push(match action {
                    Action::Start => format!("{second} start"),
                    Action::Stop(why) => format!("{second} stop {why:?}").to_lowercase(),
                });
            }
        }
        assert_eq!(said.join("; "), expected);
    }
}
