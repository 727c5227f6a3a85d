//! Changes what is seen without a gap: the new view is received and decoded hidden until its time
//! has caught up with what is seen, then they are swapped, then the old one is dropped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Feed, WARM_MAX, Wish};

/// So far behind, the new view seems to go on from the old one: half a frame at 30 a second.
const SLACK: Duration = Duration::from_millis(17);

/// Where a camera's pictures take a longer way they never catch up: the longer one has waited, the
/// more is accepted, by a quarter of the wait, up to this.
const SLACK_MAX: Duration = Duration::from_millis(250);

/// What is seen and got no frame for so long has nothing worth waiting for.
const STALE: Duration = Duration::from_millis(300);

/// A view that is not there after this long does not come.
pub(super) const GIVE_UP: Duration = Duration::from_secs(2);

/// Feeds that are received at once: seen, wanted, warm.
const FEEDS_MAX: usize = 2 + WARM_MAX;

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Receive and decode it, hidden.
    Subscribe(Feed),
    /// Let it be seen from its newest frame on, instead of what is seen.
    Show {
        /// What.
        feed: Feed,
        /// Since it was wanted.
        waited: Duration,
    },
    /// Receive it no longer.
    Unsubscribe(Feed),
    /// It did not come in time: tell [`Viewer::handle_failure`](super::Viewer::handle_failure). It
    /// is no longer received.
    GaveUp(Feed),
}

#[derive(Debug)]
struct Received {
    feed: Feed,
    /// The newest decoded frame's time, and when it was decoded.
    newest: Option<(Duration, Instant)>,
}

/// Makes a viewer's [`Wish`] so.
#[derive(Debug)]
pub struct Swap {
    /// Invariant: at most `FEEDS_MAX`.
    received: Vec<Received>,
    shown: Option<Feed>,
    /// What shall be seen instead, and since when.
    wanted: Option<(Feed, Instant)>,
    warm: Vec<Feed>,
    /// Bounded by what one wish can change.
    actions: VecDeque<Action>,
    now: Instant,
}

impl Swap {
    /// Nothing is received.
    pub fn new(now: Instant) -> Self {
        Self {
            received: Vec::new(),
            shown: None,
            wanted: None,
            warm: Vec::new(),
            actions: VecDeque::new(),
            now,
        }
    }

    /// Takes in what should be received.
    pub fn handle_wish(&mut self, wish: &Wish, now: Instant) {
        self.now = self.now.max(now);
        self.warm = wish.warm.iter().take(WARM_MAX).cloned().collect();
        self.wanted = match &wish.view {
            Some(view) if self.shown.as_ref() == Some(view) => None,
            Some(view) => {
                let since = self.wanted.take().filter(|it| it.0 == *view);
                Some(since.unwrap_or_else(|| (view.clone(), self.now)))
            }
            // What is seen stays as long as it comes: better than nothing.
            None => None,
        };
        // What was made ready is seen before anything new is asked for.
        self.try_show();
        self.receive_what_is_wanted();
    }

    /// Takes in that a frame was decoded.
    pub fn handle_frame(&mut self, feed: &Feed, timestamp: Duration, now: Instant) {
        self.now = self.now.max(now);
        let now = self.now;
        if let Some(received) = self.received.iter_mut().find(|it| it.feed == *feed) {
            let newest = received.newest.map_or(timestamp, |it| it.0.max(timestamp));
            received.newest = Some((newest, now));
        }
        self.try_show();
    }

    /// Moves time forward.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.try_show();
        let late = self.wanted.take_if(|it| self.now >= it.1 + GIVE_UP);
        if let Some((feed, _)) = late {
            self.received.retain(|it| it.feed != feed);
            self.warm.retain(|it| *it != feed);
            self.actions.push_back(Action::GaveUp(feed));
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (_, since) = self.wanted.as_ref()?;
        let stale = self.newest_shown().map(|it| it.1 + STALE);
        let give_up = since.checked_add(GIVE_UP);
        let times = [stale.filter(|it| *it > self.now), give_up];
        times.into_iter().flatten().min()
    }

    /// What is seen.
    pub const fn shown(&self) -> Option<&Feed> {
        self.shown.as_ref()
    }

    fn receive_what_is_wanted(&mut self) {
        let view = self.wanted.as_ref().map(|it| &it.0);
        let all: Vec<Feed> = self
            .shown
            .iter()
            .chain(view)
            .chain(&self.warm)
            .cloned()
            .collect();
        let actions = &mut self.actions;
        self.received.retain(|it| {
            let keep = all.contains(&it.feed);
            if !keep {
                actions.push_back(Action::Unsubscribe(it.feed.clone()));
            }
            keep
        });
        for feed in all {
            if !self.received.iter().any(|it| it.feed == feed) && self.received.len() < FEEDS_MAX {
                self.actions.push_back(Action::Subscribe(feed.clone()));
                self.received.push(Received { feed, newest: None });
            }
        }
    }

    fn try_show(&mut self) {
        let Some((feed, since)) = &self.wanted else {
            return;
        };
        let waited = self.now - *since;
        let Some((there, _)) = self.newest(feed) else {
            return;
        };
        let caught_up = match self.newest_shown() {
            Some((here, at)) if self.now < at + STALE => {
                here.saturating_sub(there) <= (SLACK + waited / 4).min(SLACK_MAX)
            }
            _ => true,
        };
        if !caught_up {
            return;
        }
        let feed = feed.clone();
        self.wanted = None;
        self.actions.push_back(Action::Show {
            feed: feed.clone(),
            waited,
        });
        self.shown = Some(feed);
        self.receive_what_is_wanted();
    }

    fn newest_shown(&self) -> Option<(Duration, Instant)> {
        self.newest(self.shown.as_ref()?)
    }

    fn newest(&self, feed: &Feed) -> Option<(Duration, Instant)> {
        self.received.iter().find(|it| it.feed == *feed)?.newest
    }
}
