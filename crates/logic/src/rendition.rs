//! Decides which pictures of a stream go into a smaller one, and which of those are keyframes.
//!
//! All by the pictures' own time, so that every camera of an event, at whatever edge, gets its
//! keyframes at the same moments: a viewer who changes the camera then never waits for one longer
//! than those who stay.

use std::time::Duration;

/// What becomes of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is left out.
    Skip,
    /// It starts a group.
    Key,
    /// It builds on the one before.
    Delta,
}

/// The pictures of one rendition.
#[derive(Clone, Debug)]
pub struct Schedule {
    interval: Duration,
    group: Duration,
    /// When the next picture is due.
    due: Duration,
    /// Which group the last picture was in.
    current: Option<u128>,
}

impl Schedule {
    /// At most `max_fps` pictures a second, and a keyframe at every multiple of `group`. Zeros are
    /// taken for ones.
    pub fn new(max_fps: u8, group: Duration) -> Self {
        Self {
            interval: Duration::from_secs(1) / u32::from(max_fps.max(1)),
            group: group.max(Duration::from_millis(1)),
            due: Duration::ZERO,
            current: None,
        }
    }

    /// Takes in the next picture, stamped `at`. Stamps may jump.
    pub fn handle_picture(&mut self, at: Duration) -> Turn {
        // A camera's clock jitters: what is a quarter early is on time.
        let early = self.interval / 4;
        let jumped_back = at + self.interval * 2 < self.due;
        if at + early < self.due && !jumped_back {
            return Turn::Skip;
        }
        let on_time = at < self.due + self.interval && !jumped_back;
        self.due = if on_time { self.due } else { at } + self.interval;
        let group = at.as_nanos() / self.group.as_nanos();
        if self.current.replace(group) == Some(group) {
            Turn::Delta
        } else {
            Turn::Key
        }
    }

    /// Takes in that there is nothing to build on: the next picture is a keyframe.
    pub fn handle_reset(&mut self) {
        self.current = None;
    }
}

/// The size of a rendition of `lines` for a camera of `width` by `height`: never larger, even sides.
pub fn size((width, height): (u16, u16), lines: u16) -> (u16, u16) {
    if height <= lines {
        return (width, height);
    }
    let scaled = u32::from(width) * u32::from(lines) / u32::from(height);
    (u16::try_from(scaled).unwrap_or(width) & !1, lines & !1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The pictures of `seconds` at `fps`, from `start`, each up to `jitter` late.
    fn play(
        schedule: &mut Schedule,
        start: Duration,
        fps: u32,
        jitter: Duration,
    ) -> Vec<(Duration, Turn)> {
        (0..fps * 2)
            .map(|index| {
                let at =
                    start + Duration::from_secs(1) * index / fps + jitter * (index * 7 % 5) / 4;
                (at, schedule.handle_picture(at))
            })
            .filter(|(_, turn)| *turn != Turn::Skip)
            .collect()
    }

    #[test]
    fn half_the_pictures_of_a_camera_that_is_twice_as_fast() {
        for jitter in [Duration::ZERO, 3 * MS] {
            let mut schedule = Schedule::new(15, 400 * MS);
            let played = play(&mut schedule, Duration::from_secs(1_000), 30, jitter);
            assert!(
                (29..=31).contains(&played.len()),
                "{} {jitter:?}",
                played.len()
            );
        }
        let mut schedule = Schedule::new(30, 400 * MS);
        assert_eq!(
            play(&mut schedule, MS, 30, 4 * MS).len(),
            60,
            "none is lost to jitter"
        );
        let mut schedule = Schedule::new(30, 400 * MS);
        assert_eq!(
            play(&mut schedule, MS, 25, MS).len(),
            50,
            "a slower camera keeps its own"
        );
    }

    #[test]
    fn two_cameras_have_their_keyframes_at_the_same_moments() {
        let keys = |start, fps| {
            let mut schedule = Schedule::new(30, 400 * MS);
            let played = play(&mut schedule, start, fps, Duration::ZERO).into_iter();
            let keys = played.filter(|(_, turn)| *turn == Turn::Key);
            keys.map(|(at, _)| at.as_nanos() / (400 * MS).as_nanos())
                .collect::<Vec<_>>()
        };
        let (one, two) = (keys(10_000 * MS, 30), keys(10_013 * MS, 25));
        assert_eq!(one, two);
        assert_eq!(one, [25, 26, 27, 28, 29]);
    }

    #[test]
    fn a_clock_that_jumps_stops_nothing() {
        let mut schedule = Schedule::new(30, 400 * MS);
        play(
            &mut schedule,
            Duration::from_secs(1_000),
            30,
            Duration::ZERO,
        );
        let back = play(&mut schedule, Duration::from_secs(5), 30, Duration::ZERO);
        assert_eq!(back.len(), 60);
        assert_eq!(back[0].1, Turn::Key);
        let ahead = play(
            &mut schedule,
            Duration::from_secs(9_000),
            30,
            Duration::ZERO,
        );
        assert_eq!(ahead.len(), 60);
        schedule.handle_reset();
        assert_eq!(
            schedule.handle_picture(Duration::from_secs(9_002)),
            Turn::Key
        );
    }

    #[test]
    fn a_rendition_is_never_larger_than_its_camera() {
        assert_eq!(size((1280, 720), 480), (852, 480));
        assert_eq!(size((1280, 720), 240), (426, 240));
        assert_eq!(size((640, 360), 480), (640, 360));
        assert_eq!(size((720, 1280), 480), (270, 480));
        assert_eq!(size((65_534, 65_534), 64), (64, 64));
    }
}
