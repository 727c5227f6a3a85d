//! Who watches what at one edge, seen from what each viewer is sent, and what they will want next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::{Bitrate, Bytes, CameraName};

use super::{Heat, Seat};

/// Less than this is sound, or words about a camera. The smallest picture that moves takes more.
const PICTURE: Bitrate = Bitrate::kbps(80);

/// What was sent to a viewer so far, of each camera, since they last came back to it.
pub type Sent = BTreeMap<CameraName, Bytes>;

/// The viewers of one event at one edge.
#[derive(Debug)]
pub struct Audience {
    heat: Heat,
    /// Those of the last look; bounded by whoever lets viewers in.
    viewers: BTreeMap<u64, Viewing>,
    looked_at: Option<Instant>,
}

#[derive(Debug)]
struct Viewing {
    sent: Sent,
    view: Option<CameraName>,
}

impl Audience {
    /// Nobody is here, and nothing is known but where the cameras stand.
    pub fn new(seats: &[Seat], now: Instant) -> Self {
        Self {
            heat: Heat::new(seats, now),
            viewers: BTreeMap::new(),
            looked_at: None,
        }
    }

    /// Takes in what was sent to everybody who is here, by a number that is theirs alone. What a
    /// viewer sees is what took the most since the last look: what is received hidden comes smaller.
    pub fn handle_look(&mut self, everybody: BTreeMap<u64, Sent>, now: Instant) {
        let since = self.looked_at.replace(now);
        let span = since.map_or(Duration::ZERO, |it| now.saturating_duration_since(it));
        let least = u128::from(PICTURE.as_bps()) * span.as_millis() / 8_000;
        let mut before = std::mem::take(&mut self.viewers);
        for (viewer, sent) in everybody {
            let old = before.remove(&viewer);
            let view = old.as_ref().and_then(|old| {
                let most = sent
                    .iter()
                    .map(|(camera, bytes)| (grown(old.sent.get(camera), *bytes), camera))
                    .max();
                most.filter(|(bytes, _)| u128::from(*bytes) > least)
                    .map(|it| it.1.clone())
            });
            let old = old.and_then(|it| it.view);
            if let (Some(from), Some(to)) = (&old, &view) {
                self.heat.handle_switch(from, to, now);
            }
            let view = view.or(old);
            self.viewers.insert(viewer, Viewing { sent, view });
        }
    }

    /// Views that nobody here watches and that this edge should receive all the same, the hottest
    /// first, at most `slots`.
    pub fn hot(&mut self, slots: usize, now: Instant) -> Vec<CameraName> {
        self.heat.handle_timeout(now);
        let mut watched: BTreeMap<CameraName, u32> = BTreeMap::new();
        for view in self.viewers.values().filter_map(|it| it.view.as_ref()) {
            *watched.entry(view.clone()).or_default() += 1;
        }
        self.heat.hot(&watched, slots)
    }
}

/// By how much a count grew. One that is smaller has begun anew.
fn grown(before: Option<&Bytes>, now: Bytes) -> u64 {
    let before = before.map_or(0, |it| it.get());
    now.get().checked_sub(before).unwrap_or(now.get())
}
