//! What `selvedge live publish` says while it runs: lines on stderr, one of them written over and
//! over where somebody looks on; or a JSON object for each event on stdout.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use api::live::PublishWay;
use relay::publisher::{Progress, Told};
use serde::Serialize;

use super::publish::Named;
use crate::output::{Output, milliseconds, say};

pub(super) struct Teller {
    output: Output,
    camera: Named,
    /// Where it goes.
    way: Arc<Mutex<Option<PublishWay>>>,
    /// Whether somebody looks on.
    watched: bool,
    /// A line is open that is written over.
    open: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    OnAir {
        camera: String,
        #[serde(flatten)]
        to: Option<To<'a>>,
    },
    Lost {
        why: &'a str,
        again_in_ms: f64,
    },
    Warning {
        text: &'a str,
    },
    Progress {
        on_air: bool,
        kilobits_per_second: f64,
        frames_per_second: f64,
        group_ms: f64,
        pictures: u64,
        unsent: u64,
    },
}

#[derive(Debug, Serialize)]
struct To<'a> {
    site: &'a str,
    node: String,
    address: &'a str,
    round_trip_ms: f64,
}

impl Teller {
    pub(super) fn new(output: Output, camera: Named, way: Arc<Mutex<Option<PublishWay>>>) -> Self {
        Self {
            output,
            camera,
            way,
            watched: output == Output::People && io::stderr().is_terminal(),
            open: false,
        }
    }

    pub(super) fn tell(&mut self, told: &Told) -> anyhow::Result<()> {
        let way = self
            .way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if self.output == Output::Json {
            return self
                .output
                .data(&line(told, &self.camera, way.as_ref()), |_| String::new());
        }
        let site = way.as_ref().map_or("", |it| it.entry.site.as_str());
        match told {
            Told::OnAir => {
                let address = way.as_ref().map_or("", |it| it.entry.address.as_str());
                self.say(&format!("{} is on air at {site} ({address})", self.camera));
            }
            Told::Lost { why, again_in } => {
                let again = milliseconds(again_in.as_secs_f64() * 1e3);
                self.say(&format!("not on air: {why}; trying again in {again}"));
            }
            Told::Warning(text) => self.say(&format!("warning: {text}")),
            Told::Progress(progress) if self.watched => self.show(progress, site),
            Told::Progress(_) => {}
        }
        Ok(())
    }

    /// Nothing more is said.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            say("");
        }
    }

    fn say(&mut self, text: &str) {
        self.end();
        say(text);
    }

    /// Writes over the line that shows how it goes.
    fn show(&mut self, progress: &Progress, site: &str) {
        let figures = &progress.figures;
        let state = if progress.on_air { site } else { "not on air" };
        let group = group_ms(progress);
        let text = format!(
            "\r{state}: {:.0} kbit/s, {:.1} frames/s, a keyframe each {:.1} s, {} pictures\x1b[K",
            kilobits(progress),
            figures.pictures_per_sec,
            group / 1e3,
            figures.pictures,
        );
        // Whoever closed our stderr has chosen not to know.
        let _ = io::stderr().write_all(text.as_bytes());
        self.open = true;
    }
}

fn line<'a>(told: &'a Told, camera: &Named, way: Option<&'a PublishWay>) -> Line<'a> {
    match told {
        Told::OnAir => Line::OnAir {
            camera: camera.to_string(),
            to: way.map(|it| To {
                site: it.entry.site.as_str(),
                node: it.entry.node.to_string(),
                address: &it.entry.address,
                round_trip_ms: it.round_trip_ms,
            }),
        },
        Told::Lost { why, again_in } => Line::Lost {
            why,
            again_in_ms: again_in.as_secs_f64() * 1e3,
        },
        Told::Warning(text) => Line::Warning { text },
        Told::Progress(progress) => Line::Progress {
            on_air: progress.on_air,
            kilobits_per_second: kilobits(progress),
            frames_per_second: progress.figures.pictures_per_sec,
            group_ms: group_ms(progress),
            pictures: progress.figures.pictures,
            unsent: progress.unsent,
        },
    }
}

fn group_ms(progress: &Progress) -> f64 {
    let group = progress.figures.group;
    group.map_or(0.0, |it| it.length.as_secs_f64() * 1e3)
}

fn kilobits(progress: &Progress) -> f64 {
    let bits = progress.figures.video.as_bps() + progress.figures.audio.as_bps();
    #[expect(clippy::cast_precision_loss, reason = "bitrates are far below 2^52")]
    let kilobits = bits as f64 / 1e3;
    kilobits
}
