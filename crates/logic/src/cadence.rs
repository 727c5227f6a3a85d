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
/// Refinements at most after the screen came to rest.
const REFINEMENTS: u8 = 3;
/// A picture with this quantizer or a finer one is sharp: nothing would be gained.
const SHARP: u8 = 18;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Capture what changed, and encode.
    Capture(Frame),
    /// Encode the last picture once more.
    Refine,
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

/// The rhythm of one screen.
#[derive(Debug)]
pub struct Cadence {
    interval: Duration,
    running: bool,
    damaged: bool,
    keyframe_wanted: bool,
    /// When the slot after the ones already used begins.
    slot_at: Instant,
    last_keyframe_at: Option<Instant>,
    /// When to refine next, and how many times more.
    refine: Option<(Instant, u8)>,
    now: Instant,
}

impl Cadence {
    /// Creates a paused cadence with at least `interval` between two pictures.
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            running: false,
            damaged: true,
            keyframe_wanted: true,
            slot_at: now,
            last_keyframe_at: None,
            refine: None,
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
        self.refine = None;
    }

    /// Takes in that the screen changed.
    pub fn handle_damage(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.damaged = true;
        self.refine = None;
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

    /// Takes in that [`Work`] was done, and how fine the result is (H.264's quantizer, 0 to 51).
    pub fn handle_encoded(&mut self, work: Work, frame: Frame, quantizer: u8, now: Instant) {
        self.handle_timeout(now);
        self.slot_at = self.slot_at.max(now) + self.interval;
        if frame == Frame::Key {
            self.keyframe_wanted = false;
            self.last_keyframe_at = Some(now);
        }
        let more = match (work, self.refine) {
            (Work::Refine, Some((_, more))) => more.saturating_sub(1),
            (Work::Capture(_) | Work::Repeat | Work::Refine, _) => REFINEMENTS,
        };
        if let Work::Capture(_) = work {
            self.damaged = false;
        }
        self.refine = (more > 0 && quantizer > SHARP).then_some((now + STILL_AFTER, more));
    }

    /// Moves time forward.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// What to do now. After it, call [`handle_encoded`](Self::handle_encoded).
    pub fn poll_work(&self) -> Option<Work> {
        let due = |at: Instant| self.now >= at;
        if !self.running {
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
        self.refine.filter(|(at, _)| due(*at)).map(|_| Work::Refine)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.running {
            return None;
        }
        let capture_at = self.damaged.then(|| self.capture_at());
        let keyframe_at = self.keyframe_at().filter(|_| !self.damaged);
        let refine_at = self.refine.map(|(at, _)| at).filter(|_| !self.damaged);
        [capture_at, keyframe_at, refine_at]
            .into_iter()
            .flatten()
            .min()
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

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one real instant to start from"
)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(16);

    /// Plays events at their milliseconds for a second, encoding with `quantizer`; returns what was
    /// done and when: `c` capture, `k` capture as keyframe, `r` refine, `R` repeat as keyframe.
    fn play(script: &[(u64, &str)], quantizer: u8) -> String {
        let start = Instant::now();
        let mut cadence = Cadence::new(INTERVAL, start);
        let mut done = Vec::new();
        for at in 0..1000 {
            let now = start + Duration::from_millis(at);
            for (_, event) in script.iter().filter(|(due, _)| *due == at) {
                match *event {
                    "damage" => cadence.handle_damage(now),
                    "resume" => cadence.handle_resume(now),
                    "pause" => cadence.handle_pause(),
                    "keyframe" => cadence.handle_keyframe_request(now),
                    "reset" => cadence.handle_reset(),
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
                    Work::Refine => ("r", Frame::Delta),
                    Work::Repeat => ("R", Frame::Key),
                };
                done.push(format!("{name}{at}"));
                cadence.handle_encoded(work, frame, quantizer, now);
            }
        }
        done.join(" ")
    }

    #[track_caller]
    fn check(script: &[(u64, &str)], quantizer: u8, expected: &str) {
        assert_eq!(play(script, quantizer), expected);
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
    fn a_coarse_picture_is_refined_when_the_screen_rests_and_no_longer() {
        check(&[(0, "resume")], 30, "k0 r120 r240 r360");
        check(
            &[(0, "resume"), (200, "damage")],
            30,
            "k0 r120 c200 r320 r440 r560",
        );
        check(&[(0, "resume"), (10, "pause")], 30, "k0");
    }
}
