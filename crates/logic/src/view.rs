//! Decides which camera's view a viewer receives, in which rendition, and which views are made
//! ready beside it.
//!
//! The hand decides on the view: the camera nearest to the angle it turned to, with hysteresis at
//! the border between two. While the hand moves, a new view begins in a rendition that is quickly
//! there and the frame rate stays; when it rests, the quality rises to what the link and the
//! decoder carry. Views that the hand is about to reach are received hidden, so that they are there.
//!
//! [`Viewer`] says what should be; [`Swap`] makes it so without a gap; [`Audience`] and its [`Heat`]
//! are an edge's guess of what will be asked of it next. How a picture is carried and drawn is
//! elsewhere.
//!
//! **Invariant:** the page runs the same decisions in `console/js/watch/view.js`; both are held to
//! `tests/vectors/view.json`. So the arithmetic here is plain: no roots, exponents or angles' sines.

mod audience;
mod hand;
mod heat;
mod ring;
mod supply;
mod swap;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use model::manifest::Live;
use model::{Angle, Bitrate, CameraName, RenditionName};

use self::hand::Hand;
use self::ring::Ring;
use self::supply::Supply;

pub use self::audience::{Audience, Sent};
pub use self::heat::Heat;
pub use self::ring::Seat;
pub use self::swap::{Action, Swap};

/// From this speed on, in degrees a second, the hand moves. Slower is tremor, or looking closely.
pub const SLOW: f64 = 5.0;

/// From this speed on, in degrees a second, nobody sees detail: the smallest rendition will do.
pub const FAST: f64 = 25.0;

/// A hand that was slow for so long rests. Shorter would take a turning point for rest.
pub const REST: Duration = Duration::from_millis(250);

/// Views do not follow each other faster: a picture that is replaced sooner is not seen, and its
/// keyframe was for nothing.
pub const SWITCH_MIN: Duration = Duration::from_millis(100);

/// How far ahead of the hand views are made ready, besides two round trips, where each is received
/// as its camera sends it: the rest of a group comes at once, and must be decoded.
const SENT_AHEAD: Duration = Duration::from_millis(100);

/// The same where a moving hand receives renditions: an edge may have to make one first, which
/// begins with a keyframe's wait.
const MADE_AHEAD: Duration = Duration::from_millis(400);

/// A view that was made ready stays so for a while: hands turn back.
const WARM_LINGER: Duration = Duration::from_millis(150);

/// Views that are received hidden at most. Each costs the link what the visible one does.
pub const WARM_MAX: usize = 2;

/// A camera that could not be shown is left out for so long.
const RETRY: Duration = Duration::from_secs(3);

/// Zoom beyond this shows nothing new.
const ZOOM_MAX: f64 = 8.0;

/// A form in which views are offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// How the rendition is called.
    pub name: RenditionName,
    /// Lines of its picture.
    pub height: u16,
    /// What it takes of the link.
    pub bitrate: Bitrate,
}

/// All forms of an event's views, the best first. `source` is what cameras send themselves, where
/// that is known; of the renditions only those below it make sense.
pub fn forms(live: &Live, source: Option<Form>) -> Vec<Form> {
    let limit = source.as_ref().map(|it| (it.bitrate, it.height));
    let below = live.renditions.iter().filter(|it| {
        limit.is_none_or(|(bitrate, height)| it.bitrate < bitrate && it.height <= height)
    });
    let below = below.map(|it| Form {
        name: it.name.clone(),
        height: it.height,
        bitrate: it.bitrate,
    });
    source.iter().cloned().chain(below).collect()
}

/// Where each camera stands around the event's center, as seen from there.
pub fn seats(live: &Live) -> Vec<Seat> {
    ring::seats(live)
}

/// A view in a form: what can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feed {
    /// Whose view.
    pub camera: CameraName,
    /// In which form.
    pub rendition: RenditionName,
}

/// What a viewer should receive. Whatever is not in it should not be received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// What should be seen; `None` while no camera is live.
    pub view: Option<Feed>,
    /// What should be received and decoded without being seen, at most [`WARM_MAX`].
    pub warm: Vec<Feed>,
    /// Neighbours of which nothing is received, but of which it may be asked ahead how they are
    /// received: that spares a round trip.
    pub near: Vec<CameraName>,
}

/// What the hand says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gesture {
    /// Where the viewer wants to stand around the center.
    pub angle: Angle,
    /// How much larger than the window the picture should be, 1 to 8.
    pub zoom: f64,
}

/// What a viewer tells of its link and its decoder, every 200 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What arrived, of all views together.
    pub throughput: Bitrate,
    /// How late the latest twentieth of the frames was, against the earliest of the last seconds.
    pub late: Duration,
    /// Frames that wait for the decoder.
    pub decode_queue: u32,
    /// To the edge and back.
    pub round_trip: Duration,
}

/// Decides for one viewer. After each `handle_*`, ask [`poll_wish`](Self::poll_wish).
#[derive(Debug)]
pub struct Viewer {
    ring: Ring,
    forms: Vec<Form>,
    hand: Hand,
    supply: Supply,
    /// Lines of the viewer's window.
    lines: u16,
    zoom: f64,
    round_trip: Duration,
    /// Chosen by name; holds until the hand moves.
    pinned: Option<usize>,
    moved_at: Option<Instant>,
    switched_at: Option<Instant>,
    /// Seat and form that should be seen.
    view: Option<(usize, usize)>,
    /// What is seen.
    shown: Option<(usize, usize)>,
    /// Invariant: at most `WARM_MAX`, no two of one seat.
    warm: Vec<Warm>,
    /// What was told last; `None` when it must be told again even if it is the same.
    told: Option<Wish>,
    now: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Warm {
    seat: usize,
    form: usize,
    until: Instant,
}

impl Viewer {
    /// A viewer who stands at `angle` and has a window of so many lines. No camera is live yet.
    ///
    /// # Panics
    /// Without a form: there is always what the cameras send.
    pub fn new(seats: &[Seat], forms: &[Form], angle: Angle, lines: u16, now: Instant) -> Self {
        assert!(!forms.is_empty(), "a view comes in some form");
        Self {
            ring: Ring::new(seats),
            forms: forms.to_vec(),
            hand: Hand::new(angle),
            supply: Supply::new(forms, now),
            lines,
            zoom: 1.0,
            round_trip: Duration::ZERO,
            pinned: None,
            moved_at: None,
            switched_at: None,
            view: None,
            shown: None,
            warm: Vec::new(),
            told: Some(Wish::default()),
            now,
        }
    }

    /// Takes in where the hand turned to.
    pub fn handle_gesture(&mut self, gesture: Gesture, now: Instant) {
        self.now = self.now.max(now);
        self.zoom = if gesture.zoom.is_finite() {
            gesture.zoom.clamp(1.0, ZOOM_MAX)
        } else {
            1.0
        };
        if self.hand.turn(gesture.angle, self.now) {
            self.pinned = None;
        }
        self.decide();
    }

    /// Takes in that a camera was chosen by name, as by its picture on the ring.
    pub fn handle_choice(&mut self, camera: &CameraName, now: Instant) {
        self.now = self.now.max(now);
        if let Some(seat) = self.ring.find(camera) {
            self.pinned = Some(seat);
            self.hand.jump(self.ring.bearing(seat));
            // It comes in a form that is quickly there, and gets better.
            self.moved_at = Some(self.now);
        }
        self.decide();
    }

    /// Takes in which cameras are live now: all of them.
    pub fn handle_live(&mut self, cameras: &[CameraName], now: Instant) {
        self.now = self.now.max(now);
        self.ring.set_live(cameras);
        self.decide();
    }

    /// Takes in how many lines the viewer's window has.
    pub fn handle_window(&mut self, lines: u16, now: Instant) {
        self.now = self.now.max(now);
        self.lines = lines;
        self.decide();
    }

    /// Takes in how the link and the decoder do.
    pub fn handle_report(&mut self, report: &Report, now: Instant) {
        self.now = self.now.max(now);
        self.round_trip = report.round_trip;
        if let Some((_, form)) = self.shown {
            self.supply.handle_report(report, form, self.now);
        }
        self.decide();
    }

    /// Takes in what is seen now.
    pub fn handle_shown(&mut self, feed: &Feed, now: Instant) {
        self.now = self.now.max(now);
        if let Some(shown) = self.index(feed) {
            if self.shown.is_none_or(|(_, form)| form != shown.1) {
                self.supply.handle_change(self.now);
            }
            self.shown = Some(shown);
        }
        self.decide();
    }

    /// Takes in that something could not be shown in time. A camera is left out for a while; a
    /// better form of what is seen is not tried again so soon.
    pub fn handle_failure(&mut self, feed: &Feed, now: Instant) {
        self.now = self.now.max(now);
        if let Some((seat, form)) = self.index(feed) {
            match self.shown {
                Some((shown, _)) if shown == seat => self.supply.handle_failure(form, self.now),
                _ => self.ring.leave_out(seat, self.now + RETRY),
            }
        }
        // Who gave up has forgotten what was wished.
        self.told = None;
        self.decide();
    }

    /// Moves time forward.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.decide();
    }

    /// What should be received, if that has changed or something has failed.
    pub fn poll_wish(&mut self) -> Option<Wish> {
        let wish = self.wish();
        if self.told.as_ref() == Some(&wish) {
            return None;
        }
        self.told = Some(wish.clone());
        Some(wish)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let switch = self.switched_at.map(|it| it + SWITCH_MIN);
        let rest = self.moved_at.map(|it| it + REST);
        let warm = self.warm.iter().map(|it| it.until);
        [
            switch,
            rest,
            self.hand.still_at(),
            self.ring.back_at(self.now),
        ]
        .into_iter()
        .flatten()
        .chain(warm)
        .filter(|it| *it > self.now)
        .min()
    }

    /// How fast the hand turns, in degrees a second, counterclockwise if positive.
    pub fn speed(&self) -> f64 {
        self.hand.speed(self.now)
    }

    fn decide(&mut self) {
        let speed = self.hand.speed(self.now);
        if speed.abs() >= SLOW {
            self.moved_at = Some(self.now);
        }
        let moving = self.moved_at.is_some_and(|it| self.now < it + REST);
        self.decide_view(moving);
        self.decide_warm(speed, moving);
        self.decide_form(moving);
    }

    fn decide_view(&mut self, moving: bool) {
        let present = self
            .view
            .filter(|(seat, _)| self.ring.usable(*seat, self.now));
        let pinned = self.pinned.filter(|it| self.ring.usable(*it, self.now));
        let seat = pinned.or_else(|| {
            let seat = present.map(|(seat, _)| seat);
            self.ring.nearest(self.hand.angle(), seat, self.now)
        });
        let Some(seat) = seat else {
            self.view = None;
            return;
        };
        if present.is_some_and(|(present, _)| present == seat) {
            return;
        }
        let too_soon = self
            .switched_at
            .is_some_and(|it| self.now < it + SWITCH_MIN);
        if present.is_some() && too_soon {
            return;
        }
        let warm = self.warm.iter().find(|it| it.seat == seat);
        let form = match warm {
            Some(warm) => warm.form,
            // Edges have the last form ready where views are hot, and make it soonest where not.
            None if moving => self.forms.len() - 1,
            // The view that was seen is gone, or it is the first: what is surely carried.
            None => self.supply.reach().max(self.enough()),
        };
        self.view = Some((seat, form));
        self.switched_at = Some(self.now);
        self.warm.retain(|it| it.seat != seat);
    }

    fn decide_warm(&mut self, speed: f64, moving: bool) {
        let now = self.now;
        let ring = &self.ring;
        self.warm
            .retain(|it| it.until > now && ring.usable(it.seat, now));
        let Some((view, _)) = self.view else {
            self.warm.clear();
            return;
        };
        if !moving || speed.abs() < SLOW {
            return;
        }
        let ahead = match self.forms.len() {
            1 => SENT_AHEAD,
            _ => MADE_AHEAD,
        };
        let ahead = (ahead + 2 * self.round_trip).as_micros() as f64 / 1e6;
        let reach = speed.abs() * ahead;
        let seats = ring.ahead(view, self.hand.angle(), speed > 0.0, reach, now);
        let until = now + WARM_LINGER;
        let form = self.moving_form(speed, seats.len());
        for seat in seats {
            if let Some(warm) = self.warm.iter_mut().find(|it| it.seat == seat) {
                warm.until = until;
                continue;
            }
            if self.warm.len() == WARM_MAX {
                let Some(oldest) = self.warm.iter().map(|it| it.until).min() else {
                    return;
                };
                if oldest == until {
                    return;
                }
                let at = self.warm.iter().position(|it| it.until == oldest);
                at.map(|it| self.warm.remove(it));
            }
            self.warm.push(Warm { seat, form, until });
        }
    }

    fn decide_form(&mut self, moving: bool) {
        let best = self.supply.reach().max(self.enough());
        if let Some((_, form)) = &mut self.view {
            // While the hand moves, a change of form alone would cost a keyframe that nobody sees.
            *form = if moving { best.max(*form) } else { best };
        }
    }

    /// The form of a view that the hand passes: a faster hand, a smaller form. All that is received
    /// together takes no more than what is known to be carried, where a form is small enough.
    fn moving_form(&self, speed: f64, warm: usize) -> usize {
        let last = self.forms.len() - 1;
        let best = self.supply.reach().max(self.enough());
        let wanted = if speed.abs() >= FAST {
            last
        } else {
            usize::midpoint(best, last)
        };
        let carried = self.forms[self.supply.reach()].bitrate.as_bps();
        let views = 1 + warm as u64;
        let fits = |it: &usize| self.forms[*it].bitrate.as_bps() * views <= carried;
        (wanted..=last).find(fits).unwrap_or(last)
    }

    /// The smallest form that fills the window, or the best one.
    fn enough(&self) -> usize {
        let wanted = f64::from(self.lines) * self.zoom;
        let fills = |it: &Form| f64::from(it.height) >= wanted;
        self.forms.iter().rposition(fills).unwrap_or(0)
    }

    fn wish(&self) -> Wish {
        let feed = |(seat, form): (usize, usize)| Feed {
            camera: self.ring.camera(seat).clone(),
            rendition: self.forms[form].name.clone(),
        };
        let warm: Vec<Feed> = self
            .warm
            .iter()
            .map(|it| feed((it.seat, it.form)))
            .collect();
        let mut near = Vec::new();
        if let Some((seat, _)) = self.view {
            for there in self.ring.neighbours(seat, self.now) {
                let camera = self.ring.camera(there);
                if !warm.iter().any(|it| it.camera == *camera) {
                    near.push(camera.clone());
                }
            }
        }
        Wish {
            view: self.view.map(feed),
            warm,
            near,
        }
    }

    fn index(&self, feed: &Feed) -> Option<(usize, usize)> {
        let seat = self.ring.find(&feed.camera)?;
        let form = self.forms.iter().position(|it| it.name == feed.rendition)?;
        Some((seat, form))
    }
}
