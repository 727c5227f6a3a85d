//! The page in the browser makes the same decisions in JavaScript. What both must agree on is
//! written down here: `tests/vectors/view.json` says what [`logic::view`] answers to what, and a
//! test of the page holds the other side to it.
//!
//! Refresh it with `SELVEDGE_BLESS=1 cargo test -p logic --test view`.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails where it stands; clippy only knows the functions with #[test]"
)]

use std::time::{Duration, Instant};

use logic::view::{Action, Feed, Form, Gesture, Report, Seat, Swap, Viewer, Wish};
use model::{Angle, Bitrate, CameraName};
use serde_json::{Value, json};

#[test]
fn the_vectors_are_what_the_decisions_say() {
    let path = "../../tests/vectors/view.json";
    let present = document();
    if std::env::var_os("SELVEDGE_BLESS").is_some() {
        std::fs::write(path, &present).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == present,
        "the decisions have changed; look at what, mend console/js/watch, then refresh the vectors: \
         SELVEDGE_BLESS=1 cargo test -p logic --test view"
    );
}

/// One step a line, so that a change can be read.
fn document() -> String {
    let mut text = String::from("{\n\"viewer\": [");
    let viewers = (1..=8).map(viewer_case);
    text.push_str(&viewers.collect::<Vec<_>>().join(","));
    text.push_str("\n],\n\"swap\": [");
    let swaps = (1..=3).map(swap_case);
    text.push_str(&swaps.collect::<Vec<_>>().join(","));
    text.push_str("\n]\n}\n");
    text
}

fn case(head: &Value, steps: &[Value]) -> String {
    let lines: Vec<String> = steps.iter().map(Value::to_string).collect();
    format!(
        "\n{{\"given\": {head}, \"steps\": [\n{}\n]}}",
        lines.join(",\n")
    )
}

/// Cameras at uneven distances: the more, the higher the seed.
fn ring(seed: u64) -> Vec<Seat> {
    let count = [12, 1, 2, 3, 5, 8][usize::try_from(seed % 6).unwrap()];
    (0..count)
        .map(|it| Seat {
            camera: format!("c{it}").parse().unwrap(),
            bearing: Angle::degrees(4.5 * f64::from(it * it % 7) + 31.25 * f64::from(it)),
        })
        .collect()
}

fn forms(seed: u64) -> Vec<Form> {
    let all = [
        ("source", 1_080, 6_000),
        ("high", 720, 2_500),
        ("medium", 480, 1_000),
        ("low", 240, 350),
    ];
    let skip = usize::try_from(seed % 3).unwrap();
    let forms = all.into_iter().skip(skip);
    forms
        .map(|(name, height, kbps)| Form {
            name: name.parse().unwrap(),
            height,
            bitrate: Bitrate::kbps(kbps),
        })
        .collect()
}

fn viewer_case(seed: u64) -> String {
    let (seats, forms) = (ring(seed), forms(seed));
    let mut script = Script::new(seed, &seats);
    let start = script.now;
    let lines = 720;
    let mut viewer = Viewer::new(&seats, &forms, Angle::degrees(10.0), lines, start);
    let mut view = None;
    let mut steps = Vec::new();
    for _ in 0..220 {
        let mut step = script.step(&mut viewer, view.as_ref());
        if let Some(wish) = viewer.poll_wish() {
            view.clone_from(&wish.view);
            script.told_shown = true;
            step["wish"] = wish_json(&wish);
        }
        step["next"] = json!(viewer.poll_timeout().map(|it| script.ms(it)));
        steps.push(step);
    }
    let seats = seats
        .iter()
        .map(|it| json!({"camera": it.camera, "bearing": it.bearing}));
    let forms = forms
        .iter()
        .map(|it| json!({"name": it.name, "height": it.height, "bitrate": it.bitrate}));
    let head = json!({
        "seats": seats.collect::<Vec<_>>(),
        "forms": forms.collect::<Vec<_>>(),
        "angle": 10,
        "lines": lines,
    });
    case(&head, &steps)
}

/// Draws what happens: mostly a hand that drags at changing speeds.
struct Script {
    random: u64,
    start: Instant,
    now: Instant,
    angle: f64,
    by: f64,
    zoom: f64,
    all: Vec<CameraName>,
    begun: bool,
    /// More of the link than of the hand.
    reports: bool,
    /// A wish was told that nobody has fulfilled.
    told_shown: bool,
    trouble: bool,
}

impl Script {
    fn new(seed: u64, seats: &[Seat]) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs one real instant to start from"
        )]
        let start = Instant::now();
        Self {
            random: 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed),
            start,
            now: start,
            angle: 10.0,
            by: 0.0,
            zoom: 1.0,
            all: seats.iter().map(|it| it.camera.clone()).collect(),
            begun: false,
            reports: seed > 6,
            told_shown: false,
            trouble: false,
        }
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from((at - self.start).as_millis()).unwrap()
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % below
    }

    fn camera(&mut self) -> CameraName {
        let at = self.draw(self.all.len() as u64);
        self.all[usize::try_from(at).unwrap()].clone()
    }

    fn step(&mut self, viewer: &mut Viewer, view: Option<&Feed>) -> Value {
        if !self.begun {
            self.begun = true;
            viewer.handle_live(&self.all, self.now);
            return json!({"at": 0, "live": self.all});
        }
        let what = match view {
            Some(_) if self.told_shown && self.draw(3) > 0 => 19,
            _ if self.reports => [3, 3, 12, 12, 12, 12, 12, 12][self.pick(8)],
            _ => self.draw(20),
        };
        self.told_shown = false;
        let wait = if what < 12 {
            [16, 16, 17, 3][self.pick(4)]
        } else {
            self.draw(300)
        };
        self.now += Duration::from_millis(wait);
        let (now, at) = (self.now, self.ms(self.now));
        match what {
            0..12 => self.turn(viewer),
            12..16 => self.report(viewer),
            16 => {
                let camera = self.camera();
                viewer.handle_choice(&camera, now);
                json!({"at": at, "choice": camera})
            }
            17 => {
                let mut live = self.all.clone();
                live.truncate(1 + self.pick(self.all.len() as u64));
                viewer.handle_live(&live, now);
                json!({"at": at, "live": live})
            }
            18 if view.is_some() && self.draw(3) == 0 => {
                let feed = view.expect("it is some");
                viewer.handle_failure(feed, now);
                json!({"at": at, "failure": feed_json(feed)})
            }
            18 => {
                let lines = [50, 300, 700][self.pick(3)];
                viewer.handle_window(lines, now);
                json!({"at": at, "window": lines})
            }
            _ => match view {
                Some(feed) => {
                    viewer.handle_shown(feed, now);
                    json!({"at": at, "shown": feed_json(feed)})
                }
                None => {
                    viewer.handle_timeout(now);
                    json!({"at": at})
                }
            },
        }
    }

    fn turn(&mut self, viewer: &mut Viewer) -> Value {
        if self.draw(12) == 0 {
            // Many are slow, some are fast.
            let part = (self.draw(2_001) as f64 - 1_000.0) / 1_000.0;
            self.by = part * part * part * 7.0;
            self.zoom = [1.0, 1.0, 1.5, 3.0, 10.0][self.pick(5)];
        }
        self.angle += self.by;
        let angle = Angle::degrees(self.angle);
        let zoom = self.zoom;
        viewer.handle_gesture(Gesture { angle, zoom }, self.now);
        json!({"at": self.ms(self.now), "gesture": {"angle": angle, "zoom": zoom}})
    }

    fn report(&mut self, viewer: &mut Viewer) -> Value {
        if self.draw(10) == 0 {
            self.trouble = !self.trouble;
        }
        let bad = self.trouble && self.draw(3) == 0;
        let late = if bad {
            [65, 80, 155, 250]
        } else {
            [0, 5, 20, 55]
        };
        let queue = if bad { [0, 4, 7, 9] } else { [0, 0, 2, 3] };
        let late = Duration::from_millis(late[self.pick(4)]);
        let report = Report {
            throughput: Bitrate::kbps(300 + self.draw(4_000)),
            late,
            decode_queue: queue[self.pick(4)],
            round_trip: Duration::from_millis(20),
        };
        viewer.handle_report(&report, self.now);
        json!({"at": self.ms(self.now), "report": {
            "throughput": report.throughput,
            "lateMs": ms_json(report.late),
            "decodeQueue": report.decode_queue,
            "roundTripMs": ms_json(report.round_trip),
        }})
    }

    fn pick(&mut self, below: u64) -> usize {
        usize::try_from(self.draw(below)).unwrap()
    }
}

fn swap_case(seed: u64) -> String {
    let feeds = ["a/low", "a/high", "b/low", "c/low"].map(|text| {
        let (camera, rendition) = text.split_once('/').unwrap();
        Feed {
            camera: camera.parse().unwrap(),
            rendition: rendition.parse().unwrap(),
        }
    });
    let mut script = Script::new(seed, &[]);
    let mut swap = Swap::new(script.now);
    let mut steps = Vec::new();
    for _ in 0..160 {
        let what = match script.draw(8) {
            0 if seed == 3 && script.draw(8) > 0 => 1,
            what => what,
        };
        let wait = if what == 7 && script.draw(4) == 0 {
            script.draw(2_500)
        } else {
            11
        };
        script.now += Duration::from_millis(wait);
        let (now, at) = (script.now, script.ms(script.now));
        let feed = feeds[script.pick(4)].clone();
        let mut step = match what {
            0 => {
                let wish = Wish {
                    view: Some(feed),
                    warm: vec![feeds[script.pick(4)].clone()],
                    near: Vec::new(),
                };
                swap.handle_wish(&wish, now);
                json!({"at": at, "handle": wish_json(&wish)})
            }
            1..7 => {
                let time = at.saturating_sub(script.draw(450));
                swap.handle_frame(&feed, Duration::from_millis(time), now);
                json!({"at": at, "frame": feed_json(&feed), "timestamp": time})
            }
            _ => {
                swap.handle_timeout(now);
                json!({"at": at})
            }
        };
        let mut actions = Vec::new();
        while let Some(action) = swap.poll_action() {
            actions.push(action_json(&action));
        }
        step["actions"] = json!(actions);
        step["next"] = json!(swap.poll_timeout().map(|it| script.ms(it)));
        steps.push(step);
    }
    case(&json!({}), &steps)
}

fn ms_json(time: Duration) -> Value {
    json!(u64::try_from(time.as_millis()).unwrap())
}

fn feed_json(feed: &Feed) -> Value {
    json!({"camera": feed.camera, "rendition": feed.rendition})
}

fn wish_json(wish: &Wish) -> Value {
    json!({
        "view": wish.view.as_ref().map(feed_json),
        "warm": wish.warm.iter().map(feed_json).collect::<Vec<_>>(),
        "near": wish.near,
    })
}

fn action_json(action: &Action) -> Value {
    match action {
        Action::Subscribe(feed) => json!({"do": "subscribe", "feed": feed_json(feed)}),
        Action::Show { feed, waited } => {
            json!({"do": "show", "feed": feed_json(feed), "waitedMs": ms_json(*waited)})
        }
        Action::Unsubscribe(feed) => json!({"do": "unsubscribe", "feed": feed_json(feed)}),
        Action::GaveUp(feed) => json!({"do": "gaveUp", "feed": feed_json(feed)}),
    }
}
