//! Which view at which bitrate a player receives that has one decoder, decides nothing itself, and
//! tells nothing but what the network does: WebRTC.
//!
//! A view is changed in its smallest form, whose keyframes are close to each other, and gets better
//! when it is there. The estimate of the network's room decides on the form: down at once, up after a
//! while, or every wave of the estimate would cost a keyframe.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::{Bitrate, CameraName, RenditionName};

/// The share of the room, in percent, that a form may take to be chosen: sound, repeats and waves
/// have to fit beside it.
const SHARE: u64 = 85;

/// A better form must fit for so long before it is taken.
const RISE: Duration = Duration::from_secs(2);

/// As much after a turn, where the smaller form was only to be there soon.
const RISE_AFTER_TURN: Duration = Duration::from_millis(300);

/// After a change nothing falls for so long: what the estimate says is still of what was before.
const SETTLE: Duration = Duration::from_secs(1);

/// What did not come is not tried again for so long.
const AVOID: Duration = Duration::from_secs(10);

/// A form in which a camera can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Its name; `None` is the camera's own.
    pub rendition: Option<RenditionName>,
    /// What it takes of the network.
    pub bitrate: Bitrate,
}

/// A camera in a form: one track.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feed {
    /// Whose view.
    pub camera: CameraName,
    /// In which form; `None` is the camera's own.
    pub rendition: Option<RenditionName>,
}

/// Decides for one player. After each `handle_*`, ask [`poll_feed`](Self::poll_feed).
#[derive(Debug)]
pub struct OneView {
    /// Every camera of the event, the one that stands in for others first.
    order: Vec<CameraName>,
    /// Those that are on air, with their forms, the best first, at least one each.
    live: BTreeMap<CameraName, Vec<Form>>,
    chosen: Option<CameraName>,
    room: Bitrate,
    /// A form fits that is better than what is seen, since then.
    fits_since: Option<Instant>,
    /// What is seen was turned to, and has not got better since.
    turned: bool,
    shown: Option<(Feed, Instant)>,
    wanted: Option<Feed>,
    told: Option<Feed>,
    /// Until when. Invariant: only feeds of `live`.
    avoided: BTreeMap<Feed, Instant>,
    now: Instant,
}

impl OneView {
    /// A player that shows nothing yet, and the room that is supposed until somebody measures it.
    pub fn new(order: Vec<CameraName>, room: Bitrate, now: Instant) -> Self {
        Self {
            order,
            live: BTreeMap::new(),
            chosen: None,
            room,
            fits_since: None,
            turned: false,
            shown: None,
            wanted: None,
            told: None,
            avoided: BTreeMap::new(),
            now,
        }
    }

    /// Takes in that a camera of the event is on air in these forms, the best first; without any it
    /// is not.
    pub fn handle_camera(&mut self, camera: &CameraName, forms: Vec<Form>, now: Instant) {
        self.now = self.now.max(now);
        if forms.is_empty() || !self.order.contains(camera) {
            self.live.remove(camera);
            self.avoided.retain(|it, _| it.camera != *camera);
        } else {
            self.live.insert(camera.clone(), forms);
        }
        self.decide();
    }

    /// Takes in which camera the viewer wants. Says whether the event has it.
    pub fn handle_choice(&mut self, camera: &CameraName, now: Instant) -> bool {
        self.now = self.now.max(now);
        let known = self.order.contains(camera);
        if known {
            self.chosen = Some(camera.clone());
            self.decide();
        }
        known
    }

    /// Takes in how much the network carries.
    pub fn handle_room(&mut self, room: Bitrate, now: Instant) {
        self.now = self.now.max(now);
        self.room = room;
        self.decide();
    }

    /// Takes in what is sent from now on.
    pub fn handle_shown(&mut self, feed: &Feed, now: Instant) {
        self.now = self.now.max(now);
        let before = self.shown.replace((feed.clone(), self.now));
        self.turned = before.is_some_and(|it| it.0.camera != feed.camera);
        self.fits_since = None;
        self.decide();
    }

    /// Takes in that something did not come in time, or has ended.
    pub fn handle_failure(&mut self, feed: &Feed, now: Instant) {
        self.now = self.now.max(now);
        if self.shown.as_ref().is_some_and(|it| it.0 == *feed) {
            self.shown = None;
        }
        if self.live.contains_key(&feed.camera) {
            self.avoided.insert(feed.clone(), self.now + AVOID);
        }
        // Who gave up has forgotten it.
        self.told = None;
        self.decide();
    }

    /// Moves time forward.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.decide();
    }

    /// What should be sent, if that is something else than before.
    pub fn poll_feed(&mut self) -> Option<Feed> {
        if self.wanted == self.told {
            return None;
        }
        self.told.clone_from(&self.wanted);
        self.told.clone()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let rise = self.fits_since.map(|it| it + self.rise());
        let settled = self.shown.as_ref().map(|it| it.1 + SETTLE);
        let again = self.avoided.values().copied();
        let times = rise.into_iter().chain(settled).chain(again);
        times.filter(|it| *it > self.now).min()
    }

    /// What the best form of what is wanted takes: what the network should be tried for.
    pub fn most(&self) -> Option<Bitrate> {
        let camera = &self.wanted.as_ref()?.camera;
        Some(self.live.get(camera)?.first()?.bitrate)
    }

    /// Cameras that are on air, in the event's order.
    pub fn on_air(&self) -> impl Iterator<Item = &CameraName> {
        self.order.iter().filter(|it| self.live.contains_key(it))
    }

    fn decide(&mut self) {
        let now = self.now;
        self.avoided.retain(|_, until| *until > now);
        let Some((camera, forms)) = self.camera() else {
            self.wanted = None;
            return;
        };
        let shown = self.shown.as_ref().filter(|it| it.0.camera == camera);
        let shown = shown.and_then(|(feed, since)| {
            let at = forms.iter().position(|it| it.rendition == feed.rendition);
            Some((at?, *since))
        });
        let form = match shown {
            Some((form, since)) => self.better_or_worse(&forms, form, since),
            None => {
                let waited_for = self.wanted.as_ref().filter(|it| it.camera == camera);
                let waited_for = waited_for
                    .and_then(|feed| forms.iter().position(|it| it.rendition == feed.rendition));
                match (waited_for, &self.shown) {
                    (Some(form), _) => form,
                    (None, Some(_)) => forms.len() - 1,
                    (None, None) => self.fitting(&forms),
                }
            }
        };
        let rendition = forms.into_iter().nth(form).and_then(|it| it.rendition);
        self.wanted = Some(Feed { camera, rendition });
    }

    /// The camera that should be seen, with those of its forms that may come.
    fn camera(&self) -> Option<(CameraName, Vec<Form>)> {
        let shown = self.shown.as_ref().map(|it| &it.0.camera);
        let mut candidates = self.chosen.iter().chain(shown).chain(&self.order);
        candidates.find_map(|camera| {
            let forms = self.live.get(camera)?.iter().filter(|form| {
                let feed = Feed {
                    camera: camera.clone(),
                    rendition: form.rendition.clone(),
                };
                !self.avoided.contains_key(&feed)
            });
            let forms: Vec<Form> = forms.cloned().collect();
            (!forms.is_empty()).then(|| (camera.clone(), forms))
        })
    }

    /// The best form that fits, or the smallest.
    fn fitting(&self, forms: &[Form]) -> usize {
        let share = self.room.as_bps() / 100 * SHARE;
        let fits = forms.iter().position(|it| it.bitrate.as_bps() <= share);
        fits.unwrap_or(forms.len() - 1)
    }

    const fn rise(&self) -> Duration {
        if self.turned { RISE_AFTER_TURN } else { RISE }
    }

    fn better_or_worse(&mut self, forms: &[Form], form: usize, since: Instant) -> usize {
        let fitting = self.fitting(forms);
        if fitting >= form {
            self.fits_since = None;
        }
        if fitting < form {
            let since = *self.fits_since.get_or_insert(self.now);
            if self.now >= since + self.rise() {
                return fitting;
            }
        } else if forms[form].bitrate > self.room && self.now >= since + SETTLE {
            return fitting;
        }
        form
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one real instant to start from"
)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["own", "mid", "low"];

    struct Script {
        view: OneView,
        start: Instant,
        told: String,
    }

    /// Steps such as `a+` (on air), `a-`, `a!` (chosen), `800` (room in kbit/s), `ok` (what is wanted
    /// is shown), `no` (it failed) and `3s` (time passes); returns what was wanted, in order.
    fn check(steps: &str) -> String {
        let start = Instant::now();
        let order = ["a", "b"].map(|it| it.parse().unwrap()).to_vec();
        let mut script = Script {
            view: OneView::new(order, Bitrate::kbps(2_500), start),
            start,
            told: String::new(),
        };
        steps.split_whitespace().for_each(|it| script.step(it));
        script.told.trim().to_owned()
    }

    impl Script {
        fn step(&mut self, step: &str) {
            let (view, now) = (&mut self.view, self.start);
            let wanted = view.wanted.clone();
            match step.split_at(step.len() - 1) {
                (camera, "+") => view.handle_camera(&camera.parse().unwrap(), forms(), now),
                (camera, "-") => view.handle_camera(&camera.parse().unwrap(), Vec::new(), now),
                (camera, "!") => assert!(view.handle_choice(&camera.parse().unwrap(), now)),
                ("o", "k") => view.handle_shown(&wanted.unwrap(), now),
                ("n", "o") => view.handle_failure(&wanted.unwrap(), now),
                (seconds, "s") => {
                    self.start += Duration::from_secs(seconds.parse().unwrap());
                    view.handle_timeout(self.start);
                }
                _ => view.handle_room(Bitrate::kbps(step.parse().unwrap()), now),
            }
            if let Some(feed) = self.view.poll_feed() {
                let form = feed.rendition.as_ref().map_or("own", |it| it.as_str());
                self.told.push_str(&format!("{}:{form} ", feed.camera));
            }
        }
    }

    fn forms() -> Vec<Form> {
        let rates = [2_000, 800, 250];
        let forms = NAMES.iter().zip(rates);
        forms
            .map(|(name, rate)| Form {
                rendition: (*name != "own").then(|| name.parse().unwrap()),
                bitrate: Bitrate::kbps(rate),
            })
            .collect()
    }

    #[test]
    fn the_first_view_is_what_fits() {
        assert_eq!(check("a+"), "a:own");
        assert_eq!(check("1000 b+"), "b:mid");
        assert_eq!(check("10 a+"), "a:low");
        assert_eq!(check("b! a+ b+"), "a:own b:own");
    }

    #[test]
    fn the_form_falls_at_once_and_rises_after_a_while() {
        assert_eq!(check("a+ ok 2s 1900"), "a:own a:mid");
        assert_eq!(check("a+ ok 500"), "a:own", "not yet settled");
        assert_eq!(check("a+ ok 500 1s"), "a:own a:low");
        assert_eq!(check("1000 a+ ok 3000 1s"), "a:mid");
        assert_eq!(check("1000 a+ ok 3000 1s 1000 3000 1s"), "a:mid", "a wave");
        assert_eq!(check("1000 a+ ok 3000 2s"), "a:mid a:own");
        // It fits no longer by much, but it is carried.
        assert_eq!(check("a+ ok 2100 5s"), "a:own");
    }

    #[test]
    fn a_turn_comes_in_the_smallest_form_and_gets_better() {
        assert_eq!(check("a+ b+ ok b!"), "a:own b:low");
        assert_eq!(check("800 a+ b+ ok b! ok 1s"), "a:low b:low");
        assert_eq!(check("a+ b+ ok b! ok 1s ok"), "a:own b:low b:own");
        assert_eq!(check("a+ b+ ok b! a!"), "a:own b:low a:own");
    }

    #[test]
    fn who_is_lost_is_stood_in_for_and_comes_back() {
        assert_eq!(check("a+ b+ ok a- ok a+"), "a:own b:low");
        assert_eq!(check("a+ b+ a! ok a- ok a+"), "a:own b:low a:low");
        assert_eq!(check("a+ ok a-"), "a:own");
    }

    #[test]
    fn what_does_not_come_is_left_out_for_a_while() {
        assert_eq!(check("a+ b+ ok b! no"), "a:own b:low b:mid");
        assert_eq!(check("a+ no no no"), "a:own a:mid a:low");
        assert_eq!(check("a+ no no no 10s"), "a:own a:mid a:low a:own");
    }

    #[test]
    fn cameras_of_no_event_are_none() {
        let mut view = OneView::new(Vec::new(), Bitrate::kbps(1), Instant::now());
        let camera = "x".parse().unwrap();
        assert!(!view.handle_choice(&camera, Instant::now()));
        view.handle_camera(&camera, forms(), Instant::now());
        assert_eq!(view.poll_feed(), None);
        assert_eq!((view.most(), view.poll_timeout()), (None, None));
    }
}
