//! What a hand does to twelve cameras around a field, 30 degrees apart, in three forms.

mod audience;
mod choosing;
mod heat;
mod replay;
mod supply;
mod swap;

use std::time::{Duration, Instant};

use model::Manifest;

use super::*;

/// The first moment of every test.
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one real instant to start from"
)]
fn start() -> Instant {
    Instant::now()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn name(camera: &str) -> CameraName {
    camera.parse().unwrap()
}

/// `c0` at 0 degrees, `c30` at 30, and so on.
fn twelve() -> Vec<Seat> {
    let bearing = |it: usize| 30.0 * it as f64;
    (0..12)
        .map(|it| Seat {
            camera: name(&format!("c{}", bearing(it))),
            bearing: Angle::degrees(bearing(it)),
        })
        .collect()
}

fn three() -> Vec<Form> {
    let form = |name: &str, height, kbps| Form {
        name: name.parse().unwrap(),
        height,
        bitrate: Bitrate::kbps(kbps),
    };
    vec![
        form("high", 720, 2_500),
        form("medium", 480, 1_000),
        form("low", 240, 350),
    ]
}

fn feed(text: &str) -> Feed {
    let (camera, rendition) = text.split_once('/').unwrap();
    Feed {
        camera: name(camera),
        rendition: rendition.parse().unwrap(),
    }
}

fn words(feed: &Feed) -> String {
    format!("{}/{}", feed.camera, feed.rendition)
}

/// As in `c0/high +c30/low ~c330`: what is seen, warm, near.
fn wish_words(wish: &Wish) -> String {
    let view = wish.view.as_ref().map_or_else(|| "nothing".into(), words);
    let warm = wish.warm.iter().map(|it| format!(" +{}", words(it)));
    let near = wish.near.iter().map(|it| format!(" ~{it}"));
    std::iter::once(view).chain(warm).chain(near).collect()
}

/// A viewer whose every wish is fulfilled at once.
struct Eager {
    viewer: Viewer,
    start: Instant,
    wish: Wish,
    /// Every view that was ever wished, with the time in ms.
    past: Vec<(u64, String)>,
}

impl Eager {
    /// At 0 degrees, all cameras live, the link already known to carry everything.
    fn new() -> Self {
        let mut eager = Self::fresh();
        for at in 0..40 {
            eager.report(at * 200, 0, 5_000);
        }
        eager.past.clear();
        eager
    }

    /// At 0 degrees, all cameras live, nothing known of the link.
    fn fresh() -> Self {
        Self::with(&three())
    }

    fn with(forms: &[Form]) -> Self {
        let start = start();
        let mut viewer = Viewer::new(&twelve(), forms, Angle::degrees(0.0), 720, start);
        let all: Vec<_> = twelve().into_iter().map(|it| it.camera).collect();
        viewer.handle_live(&all, start);
        let mut eager = Self {
            viewer,
            start,
            wish: Wish::default(),
            past: Vec::new(),
        };
        eager.drain(0);
        eager
    }

    /// The times below count from here.
    fn begin(&self) -> u64 {
        u64::try_from((self.viewer.now - self.start).as_millis()).unwrap()
    }

    fn at(&self, at: u64) -> Instant {
        self.start + ms(at)
    }

    fn turn(&mut self, at: u64, degrees: f64) {
        self.zoom(at, degrees, 1.0);
    }

    fn zoom(&mut self, at: u64, degrees: f64, zoom: f64) {
        let gesture = Gesture {
            angle: Angle::degrees(degrees),
            zoom,
        };
        self.viewer.handle_gesture(gesture, self.at(at));
        self.drain(at);
    }

    /// Turns at an even speed, 60 gestures a second.
    fn drag(&mut self, from: u64, millis: u64, first: f64, degrees_per_sec: f64) {
        let count = millis * 60 / 1_000;
        for it in 0..=count {
            let turned = degrees_per_sec * it as f64 / 60.0;
            self.turn(from + it * 1_000 / 60, first + turned);
        }
    }

    fn report(&mut self, at: u64, late: u64, kbps: u64) {
        let report = Report {
            throughput: Bitrate::kbps(kbps),
            late: ms(late),
            decode_queue: 0,
            round_trip: ms(20),
        };
        self.viewer.handle_report(&report, self.at(at));
        self.drain(at);
    }

    fn wait(&mut self, until: u64) {
        let end = self.at(until);
        while let Some(next) = self.viewer.poll_timeout().filter(|it| *it <= end) {
            assert!(next > self.viewer.now, "time stands still");
            self.viewer.handle_timeout(next);
            let at = u64::try_from((next - self.start).as_millis()).unwrap();
            self.drain(at);
        }
        self.viewer.handle_timeout(end);
        self.drain(until);
    }

    fn drain(&mut self, at: u64) {
        let now = self.at(at);
        while let Some(wish) = self.viewer.poll_wish() {
            if let Some(view) = wish.view.clone() {
                if self.wish.view.as_ref() != Some(&view) {
                    self.past.push((at, words(&view)));
                }
                self.viewer.handle_shown(&view, now);
            }
            self.wish = wish;
        }
    }

    #[track_caller]
    fn expect(&self, words: &str) {
        assert_eq!(wish_words(&self.wish), words);
    }
}

#[test]
fn an_event_becomes_seats_and_forms() {
    let text = "name = 'a'\nkind = 'live'\ncenter = [10, 0, 0]
        [[cameras]]\nname = 'east'\nposition = [30, 0, 2]
        [[cameras]]\nname = 'north'\nposition = [10, 20, 2]
        [[cameras]]\nname = 'top'\nposition = [10, 0, 30]\nyaw_degrees = 90\npitch_degrees = -80";
    let manifest = Manifest::read(text).unwrap();
    let live = manifest.live().unwrap();
    let bearings = seats(live).into_iter().map(|it| it.bearing.as_degrees());
    assert_eq!(bearings.collect::<Vec<_>>(), [0.0, 90.0, -90.0]);
    assert_eq!(forms(live, None), three());
    let source = Form {
        name: RenditionName::source(),
        height: 480,
        bitrate: Bitrate::kbps(1_500),
    };
    let names: Vec<String> = forms(live, Some(source))
        .iter()
        .map(|it| it.name.to_string())
        .collect();
    assert_eq!(names, ["source", "medium", "low"]);
}
