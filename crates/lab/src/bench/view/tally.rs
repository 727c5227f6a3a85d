//! What a viewer notes while it watches.

use std::time::{Duration, Instant};

/// Without a picture for so long the picture stood still, as a person sees it. The viewer page counts
/// the same.
const STALL: Duration = Duration::from_millis(400);

/// A picture is at the live edge if nobody who watched all along would see a newer one at that moment:
/// the next one comes within this, at 30 a second.
const EDGE: Duration = Duration::from_millis(34);

/// So long after a switch its pictures come as they will: what is earliest among them is the live edge.
const SETTLED: Duration = Duration::from_millis(400);

/// Until so long after the first picture at the live edge, gaps are the switch's: three pictures. Later
/// ones are the camera's, whose pictures wait now and then for a packet of sound.
const AFTERMATH: Duration = Duration::from_millis(100);

/// Two pictures that are farther apart than this look uneven.
const UNEVEN: Duration = Duration::from_millis(50);

/// Where the view was that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The viewer received it already, hidden.
    Ready,
    /// The entry had it, for others.
    Warm,
    /// The entry had to fetch it.
    Cold,
    /// The entry had it a moment ago, and may have it still.
    Fading,
}

/// A change to another camera.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch {
    pub(super) place: Place,
    /// From the hand until the first of it came.
    pub(super) came: Option<Duration>,
    /// From the hand to the first picture.
    pub(super) seen: Duration,
    /// From the hand to the first picture that is as early as those that follow: it has caught up.
    pub(super) live: Duration,
    /// The longest time without a new picture, from the hand to a little after it has caught up.
    pub(super) gap: Duration,
}

/// Everything of one view.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// From the wish to watch to the first picture.
    pub(super) first: Option<Duration>,
    pub(super) switches: Vec<Switch>,
    /// Switches that did not come in time, and were given up.
    pub(super) failed: u32,
    pub(super) stalls: u32,
    pub(super) longest_gap: Duration,
    pub(super) pictures: u64,
    /// Of them, those that were late after the one before.
    pub(super) uneven: u64,
    pub(super) bytes: u64,
    /// How long it was watched.
    pub(super) watched: Duration,
}

/// What is noted of a switch under way.
#[derive(Clone, Debug)]
struct Pending {
    place: Place,
    asked: Instant,
    came: Option<Instant>,
    seen: Option<Instant>,
    /// Pictures since then.
    pictures: Vec<Drawn>,
    /// The longest gap before.
    gap: Duration,
}

/// A picture of a switch.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    at: Instant,
    late: Duration,
    /// Since the one before.
    gap: Duration,
}

/// Takes down what is seen.
#[derive(Debug)]
pub(super) struct Notes {
    tally: Tally,
    opened: Instant,
    last: Option<Instant>,
    pending: Option<Pending>,
}

impl Notes {
    pub(super) fn new(opened: Instant) -> Self {
        Self {
            tally: Tally::default(),
            opened,
            last: None,
            pending: None,
        }
    }

    /// Whether a picture was seen.
    pub(super) fn began(&self) -> bool {
        self.tally.first.is_some()
    }

    /// Another camera should be seen. One that is asked for before the last was there takes its place.
    pub(super) fn handle_asked(&mut self, place: Place, now: Instant) {
        self.finish_switch();
        self.pending = Some(Pending {
            place,
            asked: now,
            came: None,
            seen: None,
            pictures: Vec::new(),
            gap: Duration::ZERO,
        });
    }

    /// The first of it is there.
    pub(super) fn handle_first(&mut self, now: Instant) {
        if let Some(pending) = &mut self.pending {
            pending.came = Some(now);
        }
    }

    /// It is seen from now on.
    pub(super) fn handle_shown(&mut self, now: Instant) {
        if let Some(pending) = &mut self.pending {
            pending.seen.get_or_insert(now);
        }
    }

    /// What was asked for did not come.
    pub(super) fn handle_failed(&mut self) {
        self.tally.failed += 1;
        self.pending = None;
    }

    /// A picture is drawn, now or soon, that is so old then.
    pub(super) fn handle_picture(&mut self, late: Duration, now: Instant) {
        self.tally.pictures += 1;
        self.tally.first.get_or_insert(now - self.opened);
        // Of pictures of the view before that wait for their time, those are drawn whose time is before
        // that of the new view's first.
        let gap = self
            .last
            .map_or(Duration::ZERO, |it| now.saturating_duration_since(it));
        self.note_gap(gap);
        self.tally.uneven += u64::from(gap > UNEVEN);
        self.last = Some(now);
        let Some(pending) = &mut self.pending else {
            return;
        };
        let Some(seen) = pending.seen else {
            pending.gap = pending.gap.max(gap);
            return;
        };
        let at = now;
        pending.pictures.push(Drawn { at, late, gap });
        if now > seen + SETTLED {
            self.finish_switch();
        }
    }

    pub(super) fn handle_bytes(&mut self, bytes: usize) {
        self.tally.bytes += bytes as u64;
    }

    pub(super) fn finish(mut self, now: Instant) -> Tally {
        let last = self.last.unwrap_or(self.opened);
        let gap = now.saturating_duration_since(last);
        self.note_gap(gap);
        if let Some(pending) = &mut self.pending {
            pending.gap = pending.gap.max(gap);
        }
        self.finish_switch();
        self.tally.watched = now - self.opened;
        self.tally
    }

    fn note_gap(&mut self, gap: Duration) {
        self.tally.stalls += u32::from(gap > STALL);
        self.tally.longest_gap = self.tally.longest_gap.max(gap);
    }

    /// Sums a switch up, if its view was seen at all: the hand may have turned on before.
    fn finish_switch(&mut self) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let Some(seen) = pending.seen else { return };
        let pictures = &pending.pictures;
        let edge = pictures.iter().map(|it| it.late).min();
        let edge = edge.unwrap_or_default() + EDGE;
        let live = pictures.iter().find(|it| it.late <= edge);
        let live = live.map_or(seen, |it| it.at);
        let gaps = pictures.iter().take_while(|it| it.at <= live + AFTERMATH);
        self.tally.switches.push(Switch {
            place: pending.place,
            came: pending.came.map(|it| it - pending.asked),
            seen: pictures.first().map_or(seen, |it| it.at) - pending.asked,
            live: live - pending.asked,
            gap: gaps
                .map(|it| it.gap)
                .max()
                .unwrap_or_default()
                .max(pending.gap),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Pictures 33 ms apart, of which each is 20 ms old when it is drawn.
    fn play(notes: &mut Notes, start: Instant, from: u64, to: u64) {
        for at in (from..to).step_by(33) {
            notes.handle_picture(ms(20), start + ms(at));
        }
    }

    #[test]
    fn a_switch_is_seen_before_it_has_caught_up() {
        let start = Instant::now();
        let mut notes = Notes::new(start);
        play(&mut notes, start, 100, 1_000);
        notes.handle_asked(Place::Cold, start + ms(1_000));
        notes.handle_first(start + ms(1_040));
        notes.handle_shown(start + ms(1_050));
        notes.handle_picture(ms(90), start + ms(1_050));
        play(&mut notes, start, 1_090, 2_000);
        let tally = notes.finish(start + ms(2_000));
        assert_eq!(tally.first, Some(ms(100)));
        assert_eq!((tally.stalls, tally.failed), (0, 0));
        let [switch] = tally.switches[..] else {
            panic!("{:?}", tally.switches);
        };
        assert_eq!(switch.came, Some(ms(40)));
        assert_eq!((switch.seen, switch.live), (ms(50), ms(90)));
        // From the last picture of the view before, at 991 ms.
        assert_eq!(switch.gap, ms(59));
    }

    #[test]
    fn a_picture_that_stands_still_is_a_stall_also_at_the_end() {
        let start = Instant::now();
        let mut notes = Notes::new(start);
        play(&mut notes, start, 0, 100);
        play(&mut notes, start, 600, 700);
        let tally = notes.finish(start + ms(1_200));
        assert_eq!(tally.stalls, 2);
        assert_eq!(tally.longest_gap, ms(501));
    }

    #[test]
    fn a_view_that_the_hand_passed_is_no_switch() {
        let start = Instant::now();
        let mut notes = Notes::new(start);
        play(&mut notes, start, 0, 100);
        notes.handle_asked(Place::Warm, start + ms(110));
        notes.handle_asked(Place::Warm, start + ms(210));
        notes.handle_failed();
        let tally = notes.finish(start + ms(220));
        assert_eq!((tally.switches.len(), tally.failed), (0, 1));
    }
}
