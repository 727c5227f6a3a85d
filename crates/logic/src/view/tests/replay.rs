//! Hands that were recorded, replayed against views that take their time to come.
//!
//! The traces have the columns `timestamp viewpoint yaw pitch roll`, in seconds and radians.

use super::*;

const CALM: &str = include_str!("../../../tests/traces/calm.txt");
const FAST: &str = include_str!("../../../tests/traces/fast.txt");

/// From one frame to the next.
const FRAME: Duration = Duration::from_millis(33);

/// What was seen of a replay.
#[derive(Debug, Default)]
struct Seen {
    switches: usize,
    /// From a wish to its picture, for each switch of camera.
    waits: Vec<Duration>,
    /// The longest time without a new picture.
    gap: Duration,
    /// What was received, against what all views in the best form would have been.
    share: f64,
    /// How long nothing but the best form was seen, as a share of the time at rest.
    best: f64,
}

fn replay(trace: &str, cold: Duration) -> Seen {
    let mut eager = Eager::new();
    let begin = eager.begin() + 1;
    let start = eager.at(begin);
    let mut swap = Swap::new(start);
    let mut feeds: Vec<(Feed, Instant)> = Vec::new();
    let mut hand = trace.lines().skip(1).map(sample).peekable();
    let (mut seen, mut bytes, mut frames, mut resting, mut best) = (Seen::default(), 0, 0, 0, 0);
    let mut last_picture = None;
    eager.viewer.handle_timeout(start);
    swap.handle_wish(&eager.wish, start);
    let mut shown = None;
    for tick in 0.. {
        let now = start + ms(tick);
        while let Some((at, angle)) = hand.next_if(|it| it.0 <= ms(tick)) {
            let gesture = Gesture { angle, zoom: 1.0 };
            eager.viewer.handle_gesture(gesture, start + at);
        }
        if hand.peek().is_none() {
            break;
        }
        eager.viewer.handle_timeout(now);
        swap.handle_timeout(now);
        if let Some(wish) = eager.viewer.poll_wish() {
            swap.handle_wish(&wish, now);
        }
        if tick % 33 == 0 {
            for (feed, since) in &feeds {
                if now >= *since + cold {
                    swap.handle_frame(feed, FRAME * u32::try_from(tick / 33).unwrap(), now);
                    let form = three().into_iter().find(|it| it.name == feed.rendition);
                    bytes += form.unwrap().bitrate.as_bps();
                }
            }
            frames += 1;
            if eager.viewer.moved_at.is_none_or(|it| now > it + ms(1_000)) {
                resting += 1;
                let high = swap
                    .shown()
                    .is_some_and(|it| it.rendition.as_str() == "high");
                best += usize::from(high);
            }
        }
        while let Some(action) = swap.poll_action() {
            match action {
                Action::Subscribe(feed) => feeds.push((feed, now)),
                Action::Unsubscribe(feed) | Action::GaveUp(feed) => feeds.retain(|it| it.0 != feed),
                Action::Show { feed, waited } => {
                    eager.viewer.handle_shown(&feed, now);
                    let other = |it: &Feed| it.camera != feed.camera;
                    if shown.as_ref().is_some_and(other) {
                        seen.switches += 1;
                        seen.waits.push(waited);
                    }
                    shown = Some(feed);
                }
            }
        }
        let comes = |it: &(Feed, Instant)| Some(&it.0) == swap.shown() && now >= it.1 + cold;
        if tick % 33 == 0 && feeds.iter().any(comes) {
            seen.gap = seen
                .gap
                .max(last_picture.map_or(Duration::ZERO, |it| now - it));
            last_picture = Some(now);
        }
    }
    let all = three()[0].bitrate.as_bps() * 12 * frames;
    seen.share = bytes as f64 / all as f64;
    seen.best = best as f64 / f64::from(resting.max(1));
    seen.waits.sort();
    seen
}

fn sample(line: &str) -> (Duration, Angle) {
    let columns: Vec<f64> = line.split(' ').map(|it| it.parse().unwrap()).collect();
    let angle = Angle::degrees(columns[2].to_degrees());
    (Duration::from_secs_f64(columns[0]), angle)
}

#[test]
fn a_calm_hand_gets_one_view_and_a_bit() {
    let seen = replay(CALM, ms(130));
    assert!((2..=5).contains(&seen.switches), "{seen:?}");
    assert!(seen.gap <= ms(50), "{seen:?}");
    // All that can be saved is 11 of 12 views; 95 % of that must be.
    assert!(seen.share <= 1.0 - 0.95 * 11.0 / 12.0, "{seen:?}");
    assert!(seen.best > 0.95, "{seen:?}");
}

#[test]
fn a_fast_hand_finds_most_views_ready() {
    let seen = replay(FAST, ms(130));
    assert!(seen.switches > 20, "{seen:?}");
    assert!(seen.gap <= ms(50), "{seen:?}");
    assert!(seen.share <= 1.0 - 0.95 * 11.0 / 12.0, "{seen:?}");
    let ready = seen.waits.iter().filter(|it| **it <= FRAME).count();
    assert!(ready * 10 >= seen.waits.len() * 9, "{seen:?}");
}
