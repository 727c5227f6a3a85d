//! Decides when a screen is captured, and when a picture is encoded once more.
//!
//! Nothing ticks: a picture is taken as soon as something changed, though never faster than the
//! frame rate. Two pictures may follow each other at once after a rest, because an app often answers
//! a key in two strokes (a cursor hides, a letter appears), and the second must not wait for a slot.
//! When the screen comes to rest the last picture is encoded again a few times, so that what motion
//! blurred gets sharp; then nothing happens at all.

use std::time::{Duration, Instant};

/// Keyframes asked for within this time after one are one: they are large, and several terminals
/// may ask at once.
pub const KEYFRAME_GAP: Duration = Duration::from_millis(200);
/// The screen rests when it has not changed for so long.
const STILL_AFTER: Duration = Duration::from_millis(120);
/// A picture with this quantizer or a finer one is sharp: more would cost bits that nobody sees.
pub const SHARP: u8 = 20;
/// How much finer each refinement is. Twelve quadruple the bits of what changes, so from the
/// coarsest picture it takes three, each no larger than the way to the terminal can bear.
const STEP: u8 = 12;
/// Refinements more at most once the picture should be sharp: encoders skip blocks in which they
/// overlook a difference, and see it the second or third time.
const POLISHES: u8 = 2;
/// A refinement that is on its way for less changed next to nothing: it was the last.
const POLISH_WORTH: Duration = Duration::from_millis(5);

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Capture what changed, and encode.
    Capture(Frame),
    /// Encode the last picture once more, this fine (H.264's quantizer).
    Refine(u8),
    /// Encode the last picture as a keyframe: nothing changed, but somebody needs it.
    Repeat,
}

/// Which kind of frame to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A picture that others build on.
    Key,
    /// The difference to the picture before.
    Delta,
}

/// What is shown less sharp than it could be.
#[derive(Clone, Copy, Debug)]
struct Debt {
    /// The coarsest part of the picture.
    quantizer: u8,
    /// Refinements that may follow once it should be sharp.
    polishes: u8,
}

/// What came of [`Work`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The kind of frame it became.
    pub frame: Frame,
    /// How coarse it is: H.264's quantizer, 0 to 51.
    pub quantizer: u8,
    /// How long it takes on its way at the rate of now. Refinements wait so long, lest they stand
    /// in the way of what the person does next.
    pub air_time: Duration,
}

/// The rhythm of one screen.
#[derive(Debug)]
pub struct Cadence {
    interval: Duration,
    running: bool,
    held: bool,
    damaged: bool,
    keyframe_wanted: bool,
    /// When the slot after the ones already used begins.
    slot_at: Instant,
    last_keyframe_at: Option<Instant>,
    debt: Option<Debt>,
    /// When the screen will have rested long enough to be refined: no large change since.
    rests_at: Instant,
    now: Instant,
}

impl Cadence {
    /// Creates a paused cadence with at least `interval` between two pictures.
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            running: false,
            held: false,
            damaged: true,
            keyframe_wanted: true,
            slot_at: now,
            last_keyframe_at: None,
            debt: None,
            rests_at: now,
            now,
        }
    }

    /// Changes the least time between two pictures.
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// Begins: the first picture is a keyframe, at once.
    pub fn handle_resume(&mut self, now: Instant) {
        self.handle_timeout(now);
        if !self.running {
            self.running = true;
            self.damaged = true;
            self.handle_reset();
        }
    }

    /// Stops: no work until [`handle_resume`](Self::handle_resume).
    pub fn handle_pause(&mut self) {
        self.running = false;
    }

    /// Takes in that a picture could not be sent now: no work until
    /// [`handle_release`](Self::handle_release). Holding is no pause: the stream goes on where it was.
    pub fn handle_hold(&mut self) {
        self.held = true;
    }

    /// Takes in that pictures can be sent again. What changed meanwhile is captured at once, as a
    /// keyframe only if somebody asked for one.
    pub fn handle_release(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.held = false;
    }

    /// Takes in that the screen changed.
    pub fn handle_damage(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.damaged = true;
    }

    /// Takes in that somebody cannot go on without a keyframe.
    pub fn handle_keyframe_request(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.keyframe_wanted = true;
    }

    /// Takes in that the encoder began anew: only a keyframe can follow, without delay.
    pub fn handle_reset(&mut self) {
        self.keyframe_wanted = true;
        self.last_keyframe_at = None;
    }

    /// Takes in that [`Work`] was done, and what came of it.
    pub fn handle_encoded(&mut self, work: Work, done: Done, now: Instant) {
        self.handle_timeout(now);
        self.slot_at = self.slot_at.max(now) + self.interval;
        if done.frame == Frame::Key {
            self.keyframe_wanted = false;
            self.last_keyframe_at = Some(now);
        }
        if let Work::Capture(_) = work {
            self.damaged = false;
        }
        self.debt = next_debt(self.debt, work, done);
        // What is sharp at once (a letter, a clock, a spinner) does not break the rest.
        if done.quantizer > SHARP || !matches!(work, Work::Capture(_)) {
            self.rests_at = now + STILL_AFTER.max(done.air_time);
        }
    }

    /// Moves time forward.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// What to do now. After it, call [`handle_encoded`](Self::handle_encoded).
    pub fn poll_work(&self) -> Option<Work> {
        let due = |at: Instant| self.now >= at;
        if !self.works() {
            return None;
        }
        let keyframe = self.keyframe_at().is_some_and(due);
        if self.damaged {
            let frame = if keyframe { Frame::Key } else { Frame::Delta };
            return due(self.capture_at()).then_some(Work::Capture(frame));
        }
        if keyframe {
            return Some(Work::Repeat);
        }
        let debt = self.debt?;
        let finer = debt.quantizer.saturating_sub(STEP).max(SHARP);
        due(self.rests_at).then_some(Work::Refine(finer))
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.works() {
            return None;
        }
        let capture_at = self.damaged.then(|| self.capture_at());
        let keyframe_at = self.keyframe_at().filter(|_| !self.damaged);
        let refine_at = self.debt.filter(|_| !self.damaged).map(|_| self.rests_at);
        [capture_at, keyframe_at, refine_at]
            .into_iter()
            .flatten()
            .min()
    }

    const fn works(&self) -> bool {
        self.running && !self.held
    }

    /// A picture may be one slot early.
    fn capture_at(&self) -> Instant {
        self.slot_at
            .checked_sub(self.interval)
            .unwrap_or(self.slot_at)
    }

    fn keyframe_at(&self) -> Option<Instant> {
        let at = self
            .last_keyframe_at
            .map_or(self.now, |last| last + KEYFRAME_GAP);
        self.keyframe_wanted.then_some(at)
    }
}

fn next_debt(before: Option<Debt>, work: Work, done: Done) -> Option<Debt> {
    match work {
        // It went over the whole picture. What was tried counts, not what came of it, so that this
        // ends whatever the encoder does.
        Work::Refine(quantizer) if quantizer > SHARP => Some(Debt {
            quantizer,
            polishes: POLISHES,
        }),
        Work::Refine(_) => before
            .filter(|debt| debt.polishes > 0 && done.air_time >= POLISH_WORTH)
            .map(|debt| Debt {
                quantizer: SHARP,
                polishes: debt.polishes - 1,
            }),
        Work::Capture(_) | Work::Repeat => {
            // A delta leaves alone what did not change, and that may be coarser.
            let rest = before.filter(|_| done.frame == Frame::Delta);
            if done.quantizer <= SHARP {
                return rest;
            }
            let quantizer = rest.map_or(0, |debt| debt.quantizer).max(done.quantizer);
            Some(Debt {
                quantizer,
                polishes: POLISHES,
            })
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one real instant to start from"
)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(16);

    /// Plays events at their milliseconds for a second, encoding with `quantizer`; refinements take
    /// `refinement_ms` on their way, and a `letter` is sharp at once. Returns what was done and when: `c` capture, `k` capture as keyframe, `r` refine, `R` repeat as keyframe.
    fn play(script: &[(u64, &str)], quantizer: u8, refinement_ms: u64) -> String {
        let start = Instant::now();
        let mut cadence = Cadence::new(INTERVAL, start);
        let mut letter = false;
        let mut done = Vec::new();
        for at in 0..1000 {
            let now = start + Duration::from_millis(at);
            for (_, event) in script.iter().filter(|(due, _)| *due == at) {
                match *event {
                    "damage" => cadence.handle_damage(now),
                    "letter" => {
                        letter = true;
                        cadence.handle_damage(now);
                    }
                    "resume" => cadence.handle_resume(now),
                    "pause" => cadence.handle_pause(),
                    "keyframe" => cadence.handle_keyframe_request(now),
                    "reset" => cadence.handle_reset(),
                    "hold" => cadence.handle_hold(),
                    "release" => cadence.handle_release(now),
                    other => panic!("{other} is no event"),
                }
            }
            if cadence.poll_timeout().is_none_or(|due| due > now) {
                assert_eq!(cadence.poll_work(), None, "work at {at} without a timeout");
            }
            cadence.handle_timeout(now);
            while let Some(work) = cadence.poll_work() {
                let (name, frame) = match work {
                    Work::Capture(Frame::Key) => ("k", Frame::Key),
                    Work::Capture(Frame::Delta) => ("c", Frame::Delta),
                    Work::Refine(_) => ("r", Frame::Delta),
                    Work::Repeat => ("R", Frame::Key),
                };
                done.push(format!("{name}{at}"));
                let air_time = Duration::from_millis(match work {
                    Work::Refine(_) => refinement_ms,
                    Work::Capture(Frame::Delta) => 10,
                    Work::Capture(Frame::Key) | Work::Repeat => 150,
                });
                let quantizer = match work {
                    Work::Refine(quantizer) => quantizer,
                    Work::Capture(_) if std::mem::take(&mut letter) => SHARP,
                    Work::Capture(_) | Work::Repeat => quantizer,
                };
                let result = Done {
                    frame,
                    quantizer,
                    air_time,
                };
                cadence.handle_encoded(work, result, now);
            }
        }
        done.join(" ")
    }

    #[track_caller]
    fn check(script: &[(u64, &str)], quantizer: u8, expected: &str) {
        assert_eq!(play(script, quantizer, 1), expected);
    }

    #[test]
    fn nothing_happens_until_resumed_and_then_a_keyframe_at_once() {
        check(&[(5, "damage"), (9, "keyframe")], 12, "");
        check(&[(5, "damage"), (20, "resume")], 12, "k20");
        check(&[(0, "resume"), (10, "pause"), (20, "damage")], 12, "k0");
        check(
            &[(0, "resume"), (10, "pause"), (20, "resume")],
            12,
            "k0 k20",
        );
    }

    #[test]
    fn damage_is_captured_at_once_though_no_faster_than_the_rate() {
        let script = [
            (0, "resume"),
            (300, "damage"),
            (302, "damage"),
            (303, "damage"),
        ];
        check(&script, 12, "k0 c300 c302 c316");
    }

    #[test]
    fn keyframes_are_joined_and_sent_from_a_still_screen() {
        let requests = [
            (0, "resume"),
            (50, "keyframe"),
            (60, "keyframe"),
            (500, "keyframe"),
        ];
        check(&requests, 12, "k0 R200 R500");
        let moving = [
            (0, "resume"),
            (50, "keyframe"),
            (100, "damage"),
            (250, "damage"),
        ];
        check(&moving, 12, "k0 c100 R200 c250");
        check(&[(0, "resume"), (50, "reset")], 12, "k0 R50");
    }

    #[test]
    fn while_held_nothing_happens_and_then_what_was_missed_at_once() {
        let held = [(0, "resume"), (300, "hold"), (400, "damage")];
        check(&held, 12, "k0");
        let released = [&held[..], &[(500, "release")]].concat();
        check(&released, 12, "k0 c500");
        let asked = [&released[..], &[(450, "keyframe")]].concat();
        check(&asked, 12, "k0 k500");
        let still = [(0, "resume"), (10, "hold"), (500, "release")];
        check(&still, 12, "k0");
        check(&still, 30, "k0 r500");
        let asked = [&still[..], &[(20, "keyframe"), (30, "keyframe")]].concat();
        check(&asked, 12, "k0 R500");
    }

    #[test]
    fn a_hold_and_a_pause_do_not_end_each_other() {
        let paused = [
            (0, "resume"),
            (100, "hold"),
            (200, "pause"),
            (300, "release"),
            (310, "damage"),
            (400, "resume"),
        ];
        check(&paused, 12, "k0 k400");
        let held = [(0, "hold"), (10, "resume"), (20, "damage"), (90, "release")];
        check(&held, 12, "k90");
    }

    #[test]
    fn a_coarse_picture_is_refined_when_the_screen_rests_and_no_longer() {
        check(&[(0, "resume")], 20, "k0");
        check(&[(0, "resume")], 30, "k0 r150");
        check(&[(0, "resume")], 51, "k0 r150 r270 r390");
        check(
            &[(0, "resume"), (200, "damage")],
            40,
            "k0 r150 c200 r320 r440",
        );
        check(&[(0, "resume"), (10, "pause")], 30, "k0");
        let letters = [(0, "resume"), (60, "letter"), (700, "letter")];
        check(&letters, 30, "k0 c60 r150 c700");
        let polished = play(&[(0, "resume")], 30, 140);
        assert_eq!(
            polished, "k0 r150 r290 r430",
            "while there is something to add"
        );
    }
}
