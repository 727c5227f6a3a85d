//! Puts a sender's pictures and sound onto one clock, where each counts from anywhere (RTP).
//!
//! When the first of a track arrives is all that is known of it at first: good to what the network
//! and the sender's encoders add, and not good enough for lips. Then the sender reports which moment
//! of its own clock a count stands for; with a report of both tracks the sound is moved to where it
//! belongs. Pictures are never moved: they are what the eye would see jump.

use std::time::Duration;

/// A difference that nobody hears, and that reports differ by anyway: the sound stays.
const STEADY: i64 = 5_000;

/// No sender is so far apart: its clock was set between two reports. The next ones will tell.
const ABSURD: i64 = 2_000_000;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// Pictures.
    Picture,
    /// Sound.
    Sound,
}

/// One sender's clock. Times of a track are its count as time, from anywhere.
#[derive(Clone, Debug, Default)]
pub struct LipSync {
    picture: State,
    sound: State,
}

/// Microseconds throughout.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// What is added to the track's own time.
    offset: Option<i64>,
    /// The sender's clock less the track's own time, as reported last.
    report: Option<i64>,
}

impl LipSync {
    /// Takes in that at `clock`, on the sender's clock, the track's own time was `own`.
    pub fn handle_report(&mut self, track: Track, own: Duration, clock: Duration) {
        self.state(track).report = Some(micros(clock).saturating_sub(micros(own)));
        self.align();
    }

    /// The time on the common clock of what arrived at `arrived`, which counts from anywhere as well:
    /// far enough before the first that nothing is before its epoch.
    pub fn handle(&mut self, track: Track, own: Duration, arrived: Duration) -> Duration {
        let own = micros(own);
        let state = self.state(track);
        if state.offset.is_none() {
            state.offset = Some(micros(arrived).saturating_sub(own));
            self.align();
        }
        let offset = self.state(track).offset.unwrap_or_default();
        Duration::from_micros(u64::try_from(own.saturating_add(offset)).unwrap_or_default())
    }

    fn state(&mut self, track: Track) -> &mut State {
        match track {
            Track::Picture => &mut self.picture,
            Track::Sound => &mut self.sound,
        }
    }

    fn align(&mut self) {
        let (State { offset, report }, sound) = (self.picture, self.sound);
        let (Some(picture), Some(picture_report)) = (offset, report) else {
            return;
        };
        let (Some(present), Some(sound_report)) = (sound.offset, sound.report) else {
            return;
        };
        let right = picture
            .saturating_add(sound_report)
            .saturating_sub(picture_report);
        let apart = right.saturating_sub(present).saturating_abs();
        if (STEADY..ABSURD).contains(&apart) {
            self.sound.offset = Some(right);
        }
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Pictures count from 100 s, sound from 900 s; both begin at 1 s of the sender's clock, which
    /// is 50 s. Sound arrives `late`.
    fn check(late: u64, reports: &[(Track, u64, u64)]) -> i64 {
        let mut sync = LipSync::default();
        let picture = sync.handle(Track::Picture, ms(100_000), ms(10_000));
        let sound = sync.handle(Track::Sound, ms(900_000), ms(10_000 + late));
        assert_eq!((picture, sound), (ms(10_000), ms(10_000 + late)));
        for (track, own, clock) in reports {
            sync.handle_report(*track, ms(*own), ms(*clock));
        }
        let picture = sync.handle(Track::Picture, ms(102_000), ms(12_500));
        assert_eq!(picture, ms(12_000), "pictures are never moved");
        let sound = sync.handle(Track::Sound, ms(902_000), ms(12_700));
        micros(sound) - micros(picture)
    }

    #[test]
    fn sound_is_moved_to_where_reports_say_it_belongs() {
        let (picture, sound) = (
            (Track::Picture, 101_000, 51_000),
            (Track::Sound, 901_000, 51_000),
        );
        assert_eq!(check(300, &[]), 300_000);
        assert_eq!(check(300, &[picture]), 300_000);
        assert_eq!(check(300, &[picture, sound]), 0);
        assert_eq!(check(300, &[sound, picture]), 0);
        assert_eq!(check(4, &[sound, picture]), 4_000, "not worth a step");
    }

    #[test]
    fn clocks_that_drift_are_followed_and_clocks_that_are_set_are_not() {
        let start = [
            (Track::Picture, 101_000, 51_000),
            (Track::Sound, 901_000, 51_000),
        ];
        let drifted = [&start[..], &[(Track::Sound, 960_000, 110_020)]].concat();
        assert_eq!(check(0, &drifted), 20_000);
        let set = [&start[..], &[(Track::Sound, 960_000, 9_000_000)]].concat();
        assert_eq!(check(0, &set), 0);
    }

    #[test]
    fn a_report_before_the_first_packet_counts() {
        let mut sync = LipSync::default();
        sync.handle_report(Track::Picture, ms(1_000), ms(5_000));
        sync.handle_report(Track::Sound, ms(2_000), ms(5_000));
        assert_eq!(
            sync.handle(Track::Picture, ms(1_000), ms(10_000)),
            ms(10_000)
        );
        assert_eq!(sync.handle(Track::Sound, ms(2_000), ms(10_400)), ms(10_000));
        let mut wild = LipSync::default();
        wild.handle_report(Track::Sound, Duration::MAX, Duration::ZERO);
        wild.handle_report(Track::Picture, Duration::ZERO, Duration::MAX);
        wild.handle(Track::Sound, Duration::MAX, Duration::ZERO);
        assert_eq!(wild.handle(Track::Picture, Duration::ZERO, ms(1)), ms(1));
    }
}
