//! What of a running instance is shown and heard: its picture, pointer, clipboard and sound.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use logic::rate::FrameRate;
use model::Bitrate;
use model::manifest::{Content, Stream};
use relay::publish::Demand;
use render::cursor::Cursor;
use render::pipeline::{Outputs, Pipeline, PipelineConfig, PipelineHandle, VideoFrame};
use render::sound::{Packet, Recording};
use render::{Authority, XServer};
use runtime::display::Display;
use runtime::instance::{Sound, State};
use tracing::warn;

use super::instance::chain;
use crate::machine;

/// The layout that an X server starts with.
const FIRST_LAYOUT: &str = "us";

/// What to show and record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    display: Display,
    sound: Option<(PathBuf, String)>,
    content: Content,
    max_fps: u8,
    bitrate: Bitrate,
    layout: String,
    gamepad: BTreeMap<u8, String>,
}

impl Request {
    fn server(&self) -> XServer {
        XServer {
            display: self.display.name(),
            authority: Some(Authority {
                cookie: *self.display.cookie().data(),
                file: self.display.authority().to_owned(),
            }),
        }
    }

    /// `None` while the instance has no screen.
    pub(crate) fn new(state: &State, manifest: &Stream, bitrate: Bitrate) -> Option<Self> {
        let button = |(name, code): (&String, &String)| {
            Some((name.strip_prefix("button")?.parse().ok()?, code.clone()))
        };
        Some(Self {
            display: state.display.clone()?,
            sound: match &state.sound {
                Sound::On { socket, monitor } => Some((socket.clone(), monitor.clone())),
                Sound::Off | Sound::Unavailable { .. } => None,
            },
            content: manifest.screen.content,
            max_fps: manifest.screen.max_fps,
            bitrate,
            layout: manifest.input.layout.clone(),
            gamepad: manifest.input.gamepad.iter().filter_map(button).collect(),
        })
    }
}

/// Something to be sent, or to be known for sending.
pub(crate) enum Output {
    /// A picture.
    Frame(VideoFrame),
    /// The pointer's shape.
    Cursor(Cursor),
    /// 10 ms of sound.
    Sound(Packet),
    /// The app put a text on its clipboard.
    Copied(Arc<str>),
    /// The screen has another size.
    Resized,
    /// Somebody began to watch, or nobody does any more.
    Wanted(bool),
    /// There is no picture any more.
    Ended(String),
}

/// A picture and its sound.
pub(crate) struct Stage {
    request: Request,
    pipeline: PipelineHandle,
    outputs: Outputs,
    recording: Option<Recording>,
    demand: Option<Demand>,
    wanted: bool,
}

impl Stage {
    /// Begins to show what is asked. The error is for a person.
    pub(crate) async fn set(request: Request) -> Result<Self, String> {
        let config = PipelineConfig {
            server: request.server(),
            content: request.content,
            bitrate: request.bitrate,
            max_fps: FrameRate::fps(request.max_fps.into()),
            threads: machine::encoder_threads(),
            gamepad: request.gamepad.clone(),
        };
        let layout = request.layout.clone();
        let started = tokio::task::spawn_blocking(move || {
            // The keyboard is read once, when the pipeline starts.
            if layout != FIRST_LAYOUT
                && let Err(error) = render::input::set_layout(&config.server, &layout)
            {
                warn!(
                    layout,
                    error = chain(&error),
                    "the keyboard keeps its layout"
                );
            }
            Pipeline::start(config)
        })
        .await;
        let (pipeline, outputs) = started
            .map_err(|error| error.to_string())?
            .map_err(|error| chain(&error))?;
        let recording = match &request.sound {
            Some((socket, monitor)) => match Recording::start(socket, monitor).await {
                Ok(recording) => Some(recording),
                Err(error) => {
                    warn!(error = chain(&error), "no sound from this app");
                    None
                }
            },
            None => None,
        };
        Ok(Self {
            request,
            pipeline,
            outputs,
            recording,
            demand: None,
            wanted: false,
        })
    }

    /// From now on pictures are made only while somebody watches.
    pub(crate) fn follow(&mut self, demand: Demand) {
        self.set_wanted(demand.is_wanted());
        self.demand = Some(demand);
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    pub(crate) fn pipeline(&self) -> &PipelineHandle {
        &self.pipeline
    }

    /// The screen's width and height in pixels.
    pub(crate) fn size(&self) -> (u16, u16) {
        let size = *self.outputs.size.borrow();
        (size.width(), size.height())
    }

    /// Somebody watches, or nobody does.
    pub(crate) fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
        if wanted {
            self.pipeline.resume();
        } else {
            self.pipeline.pause();
        }
        match (&self.recording, wanted) {
            (Some(recording), true) => recording.resume(),
            (Some(recording), false) => recording.pause(),
            (None, _) => {}
        }
    }

    /// What comes next. Safe to drop and call again.
    pub(crate) async fn next(&mut self) -> Output {
        let Self {
            outputs,
            recording,
            demand,
            wanted,
            ..
        } = self;
        tokio::select! {
            biased;
            Some(frame) = outputs.video.recv() => Output::Frame(frame),
            Some(packet) = packet(recording.as_mut()) => Output::Sound(packet),
            Ok(()) = outputs.cursor.changed() => match outputs.cursor.borrow_and_update().clone() {
                Some(cursor) => Output::Cursor(cursor),
                None => Output::Resized,
            },
            Ok(()) = outputs.clipboard.changed() => {
                match outputs.clipboard.borrow_and_update().clone() {
                    Some(text) => Output::Copied(text),
                    None => Output::Resized,
                }
            }
            Ok(()) = outputs.size.changed() => Output::Resized,
            wanted = demanded(demand.as_ref(), *wanted) => Output::Wanted(wanted),
            ended = &mut outputs.ended => Output::Ended(match ended {
                Ok(Ok(())) | Err(_) => "it was stopped".to_owned(),
                Ok(Err(error)) => chain(&error),
            }),
        }
    }
}

async fn packet(recording: Option<&mut Recording>) -> Option<Packet> {
    match recording {
        Some(recording) => recording.next().await,
        None => std::future::pending().await,
    }
}

/// Waits until the demand is no longer as it was.
async fn demanded(demand: Option<&Demand>, was: bool) -> bool {
    let Some(demand) = demand else {
        return std::future::pending().await;
    };
    let changed = if was {
        demand.unwanted().await
    } else {
        demand.wanted().await
    };
    if changed {
        !was
    } else {
        // The track has ended, and so will this.
        std::future::pending().await
    }
}
