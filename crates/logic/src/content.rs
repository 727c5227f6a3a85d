//! Decides whether a picture is encoded as motion (games, video) or as text (desktops, editors).
//!
//! What tells them apart is how much of the picture changes, how often and for how long: a game
//! repaints most of it all the time, a page scrolls for a moment and then rests. A change of mode
//! costs a keyframe, so it takes seconds of evidence.

use std::time::{Duration, Instant};

use model::Bytes;
use model::manifest::Content;

/// Evidence is weighed once per window.
const WINDOW: Duration = Duration::from_secs(1);
/// Pictures in a window of motion at least: below, even a full repaint is a page that was turned.
const MOTION_PICTURES: u32 = 12;
/// The mean share of the picture that changes in a window of motion at least.
const MOTION_SHARE: f32 = 0.25;
/// Windows of motion in a row before `motion` is chosen. Scrolling rarely lasts as long.
const WINDOWS_TO_MOTION: u32 = 2;
/// Calm windows in a row before `text` is chosen: a game may pause for a loading screen.
const WINDOWS_TO_TEXT: u32 = 4;

/// What a pixel of dense, sharp text costs, rounded up.
const SHARP_BITS_PER_PIXEL: u64 = 2;

/// How a picture is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Cheap in CPU, good for pictures that change everywhere.
    Motion,
    /// Twice the CPU, and text stays sharp.
    Text,
}

/// Chooses the mode of one session.
#[derive(Debug)]
pub struct Chooser {
    content: Content,
    mode: Mode,
    window_start: Instant,
    pictures: u32,
    share_sum: f32,
    /// Windows in a row that spoke against the mode of now.
    against: u32,
}

impl Chooser {
    /// Creates a chooser. `Content::Auto` starts as text, which is right for most apps while they
    /// start.
    pub fn new(content: Content, now: Instant) -> Self {
        let mode = match content {
            Content::Motion => Mode::Motion,
            Content::Text | Content::Auto => Mode::Text,
        };
        Self {
            content,
            mode,
            window_start: now,
            pictures: 0,
            share_sum: 0.0,
            against: 0,
        }
    }

    /// Takes in that a picture was captured, `changed` (0 to 1) of which differed from the one before.
    pub fn handle_picture(&mut self, changed: f32, now: Instant) {
        self.handle_timeout(now);
        self.pictures += 1;
        self.share_sum += changed.clamp(0.0, 1.0);
    }

    /// The mode to encode the next picture in.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    fn handle_timeout(&mut self, now: Instant) {
        // A long rest is as good as the windows that decide; more of them would say nothing new.
        for _ in 0..=WINDOWS_TO_TEXT {
            if now.saturating_duration_since(self.window_start) < WINDOW {
                return;
            }
            self.close_window();
        }
        self.window_start = now;
    }

    fn close_window(&mut self) {
        let pictures = std::mem::take(&mut self.pictures);
        let share_sum = std::mem::take(&mut self.share_sum);
        self.window_start += WINDOW;
        if self.content != Content::Auto {
            return;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a window holds a few hundred pictures"
        )]
        let wide = share_sum >= MOTION_SHARE * pictures as f32;
        let seen = if pictures >= MOTION_PICTURES && wide {
            Mode::Motion
        } else {
            Mode::Text
        };
        if seen == self.mode {
            self.against = 0;
            return;
        }
        self.against += 1;
        let needed = match seen {
            Mode::Motion => WINDOWS_TO_MOTION,
            Mode::Text => WINDOWS_TO_TEXT,
        };
        if self.against >= needed {
            self.mode = seen;
            self.against = 0;
        }
    }
}

/// Whether a change is so small that it can be sharp at once, whatever the rate control has spent
/// before: a letter typed, a cursor that blinks. `budget` is what one picture may take.
pub fn is_small(mode: Mode, changed_pixels: u64, budget: Bytes) -> bool {
    match mode {
        Mode::Text => changed_pixels * SHARP_BITS_PER_PIXEL <= budget.get() * 8,
        Mode::Motion => false,
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one real instant to start from"
)]
mod tests {
    use super::*;

    /// Plays stretches of (seconds, pictures a second, share of change) and checks the mode after
    /// each.
    fn check(content: Content, stretches: &[(u64, u64, f32)], expected: &[Mode]) {
        let mut now = Instant::now();
        let mut chooser = Chooser::new(content, now);
        let mut modes = Vec::new();
        for &(seconds, rate, share) in stretches {
            let end = now + Duration::from_secs(seconds);
            let step = Duration::from_secs(1) / u32::try_from(rate.max(1)).unwrap();
            while now < end {
                now += step;
                if rate > 0 {
                    chooser.handle_picture(share, now);
                }
            }
            modes.push(chooser.mode());
        }
        assert_eq!(modes, expected);
    }

    #[test]
    fn a_game_becomes_motion_and_a_menu_of_seconds_text_again() {
        let (motion, text) = (Mode::Motion, Mode::Text);
        check(
            Content::Auto,
            &[
                (1, 35, 0.9),
                (3, 35, 0.9),
                (2, 5, 0.1),
                (2, 35, 0.9),
                (6, 5, 0.1),
            ],
            &[text, motion, motion, motion, text],
        );
    }

    #[test]
    fn typing_a_blinking_cursor_and_a_short_scroll_stay_text() {
        check(
            Content::Auto,
            &[
                (5, 8, 0.02),
                (3, 2, 0.9),
                (1, 60, 0.8),
                (5, 1, 0.01),
                (4, 30, 0.05),
            ],
            &[Mode::Text; 5],
        );
    }

    #[test]
    fn a_rest_counts_as_calm() {
        let (motion, text) = (Mode::Motion, Mode::Text);
        check(
            Content::Auto,
            &[(4, 30, 1.0), (60, 0, 0.0), (1, 3, 0.1)],
            &[motion, motion, text],
        );
    }

    #[test]
    fn a_letter_is_small_and_a_page_is_not() {
        let budget = Bytes::new(12_500); // 6 Mbit/s at 60 pictures a second
        assert!(is_small(Mode::Text, 10 * 20, budget));
        assert!(!is_small(Mode::Text, 1280 * 720, budget));
        assert!(!is_small(Mode::Motion, 10 * 20, budget));
    }

    #[test]
    fn what_the_manifest_says_holds() {
        check(Content::Motion, &[(10, 2, 0.01)], &[Mode::Motion]);
        check(Content::Text, &[(10, 60, 1.0)], &[Mode::Text]);
    }
}
