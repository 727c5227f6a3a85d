//! One instance's picture and input, from its X server to H.264 and back.
//!
//! Two threads per pipeline: one captures, converts and encodes (so that every picture is the newest
//! at the moment the encoder is free), one hands input in and speaks of the clipboard (so that a key
//! never waits for a picture). Both block on their connection; neither ticks.
//!
//! **Invariant:** an encoded frame is never thrown away here, because the next one builds on it.
//! When the receiver is slow nothing more is captured until there is room, and then the newest.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use logic::content::Mode;
use logic::rate::{FrameRate, Scale};
use model::Bitrate;
use model::input::{InputEvent, InputSeq};
use model::manifest::Content;
use tokio::sync::{mpsc, oneshot, watch};

use crate::cursor::Cursor;
use crate::encoder::EncoderError;
use crate::picture::Size;
use crate::screen::Screen;
use crate::seat::{Seat, SeatShared};
use crate::wake::Orders;
use crate::x11::{XError, XServer};

mod video;

/// Encoded frames that wait for the receiver at most: 67 ms of the fastest usual rate. More would
/// only be late.
pub const FRAMES_MAX: usize = 4;

/// What a pipeline is made for.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// The X server.
    pub server: XServer,
    /// What the screen shows.
    pub content: Content,
    /// The rate to aim at in the beginning.
    pub bitrate: Bitrate,
    /// Pictures a second at most.
    pub max_fps: FrameRate,
    /// Encoder threads, 1 to 4.
    pub threads: u8,
    /// Gamepad buttons to W3C codes of keys.
    pub gamepad: BTreeMap<u8, String>,
}

/// What comes out of a pipeline.
#[derive(Debug)]
pub struct Outputs {
    /// Encoded pictures in order. The first after [`PipelineHandle::resume`] is a keyframe.
    pub video: mpsc::Receiver<VideoFrame>,
    /// The newest shape of the cursor; `None` until the first is known.
    pub cursor: watch::Receiver<Option<Cursor>>,
    /// The newest text that an app copied; `None` until the first.
    pub clipboard: watch::Receiver<Option<Arc<str>>>,
    /// The size of the screen, whoever changes it.
    pub size: watch::Receiver<Size>,
    /// Told once, when the pipeline has ended: `Ok` if it was stopped, otherwise why it cannot go on.
    pub ended: oneshot::Receiver<Result<(), PipelineError>>,
}

/// An encoded picture.
#[derive(Clone, Debug)]
pub struct VideoFrame {
    /// H.264 in Annex B form; a keyframe begins with its parameter sets.
    pub data: Bytes,
    /// Whether it can be decoded without those before it.
    pub keyframe: bool,
    /// The size of the encoded picture: the screen's, or less if scaled down.
    pub size: Size,
    /// When the capture of the picture began.
    pub captured_at: Instant,
    /// From then until it was encoded.
    pub encode_time: Duration,
    /// The last event that the X server had before the capture.
    pub input_seq: InputSeq,
    /// How it was encoded.
    pub mode: Mode,
    /// How coarse it is, 12 (fine) to 51.
    pub quantizer: u8,
}

/// Why a pipeline ended.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The X server has gone or cannot do what is needed.
    #[error("the screen is lost")]
    Screen(#[from] XError),
    /// The encoder failed.
    #[error("the encoder failed")]
    Encoder(#[from] EncoderError),
    /// The operating system refused a thread or a descriptor.
    #[error("the operating system refused resources")]
    System(#[from] io::Error),
}

/// The pipeline of one instance.
#[derive(Debug)]
pub struct Pipeline;

impl Pipeline {
    /// Starts a pipeline, paused. Blocks for some round trips to the X server: call it where
    /// blocking is allowed.
    ///
    /// # Errors
    /// If the X server cannot be reached or used, or the encoder does not work.
    pub fn start(config: PipelineConfig) -> Result<(PipelineHandle, Outputs), PipelineError> {
        let (video_tx, video) = mpsc::channel(FRAMES_MAX);
        let (cursor_tx, cursor) = watch::channel(None);
        let (copied_tx, clipboard) = watch::channel(None);
        let (ended_tx, ended) = oneshot::channel();

        let shared = Arc::new(Shared {
            video: Orders::new()?,
            seat: SeatShared::new()?,
            ended: Mutex::new(Some(ended_tx)),
        });
        let seat = Seat::open(&config.server, &config.gamepad, copied_tx)?;
        let screen = Screen::connect(&config.server)?;
        let (size_tx, size) = watch::channel(screen.size());
        let sinks = video::Sinks {
            video: video_tx,
            cursor: cursor_tx,
            size: size_tx,
        };
        let video_loop = video::Video::open(&config, screen, sinks, shared.clone(), seat.mark())?;

        let owner = Arc::new(Owner(shared.clone()));
        let for_seat = shared.clone();
        spawn("seat", shared.clone(), move || {
            seat.run(&for_seat.seat).map_err(PipelineError::from)
        })?;
        spawn("video", shared, move || video_loop.run())?;
        let outputs = Outputs {
            video,
            cursor,
            clipboard,
            size,
            ended,
        };
        Ok((PipelineHandle(owner), outputs))
    }
}

/// The hand on a pipeline. The pipeline stops when the last clone is dropped. No call blocks.
#[derive(Clone, Debug)]
pub struct PipelineHandle(Arc<Owner>);

impl PipelineHandle {
    /// Begins to capture: a keyframe of the current picture comes at once.
    pub fn resume(&self) {
        self.0
            .0
            .video
            .give(|orders| orders.run = Some(video::Run::On));
    }

    /// Ends capturing until [`resume`](Self::resume): for when nobody looks.
    pub fn pause(&self) {
        self.0
            .0
            .video
            .give(|orders| orders.run = Some(video::Run::Off));
    }

    /// Asks for a keyframe. Several requests within 200 ms are one.
    pub fn request_keyframe(&self) {
        self.0.0.video.give(|orders| orders.keyframe = true);
    }

    /// Changes the rate to aim at.
    pub fn set_bitrate(&self, bitrate: Bitrate) {
        self.0.0.video.give(|orders| orders.bitrate = Some(bitrate));
    }

    /// Changes how many pictures a second come at most.
    pub fn set_max_fps(&self, max_fps: FrameRate) {
        self.0.0.video.give(|orders| orders.max_fps = Some(max_fps));
    }

    /// Changes how far pictures are scaled down. A keyframe follows.
    pub fn set_scale(&self, scale: Scale) {
        self.0.0.video.give(|orders| orders.scale = Some(scale));
    }

    /// Captures nothing more until [`go`](Self::go): the way to the terminal is blocked. What changes
    /// meanwhile is in the next picture, and keyframes asked for wait.
    pub fn hold(&self) {
        self.0
            .0
            .video
            .give(|orders| orders.way = Some(video::Way::Blocked));
    }

    /// Captures again, as if it had never ceased: without a keyframe.
    pub fn go(&self) {
        self.0
            .0
            .video
            .give(|orders| orders.way = Some(video::Way::Free));
    }

    /// Hands in a person's input, in order. Events that the X server does not take in time are
    /// forgotten and everything held is let go. A wish for another size is not for us: whoever owns
    /// the screen decides it.
    pub fn input(&self, events: Vec<InputEvent>) {
        self.0.0.seat.orders.give(|orders| orders.add(events));
    }

    /// The terminal has gone: lets go of every key and button, and numbers events anew.
    pub fn release_all(&self) {
        self.0.0.seat.orders.give(|orders| orders.leave());
    }

    /// Stops the pipeline; [`Outputs::ended`] tells when.
    pub fn stop(&self) {
        self.0.0.stop();
    }
}

/// What the handle and the threads share.
#[derive(Debug)]
struct Shared {
    video: Orders<video::VideoOrders>,
    seat: SeatShared,
    ended: Mutex<Option<oneshot::Sender<Result<(), PipelineError>>>>,
}

impl Shared {
    fn stop(&self) {
        self.video.give(|orders| orders.stop = true);
        self.seat.orders.give(|orders| orders.stop());
    }

    /// A thread has ended: so does the other. The first tells why.
    fn end(&self, result: Result<(), PipelineError>) {
        self.stop();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = ended.take() {
            let _ = ended.send(result); // nobody may want to know
        }
    }
}

/// Stops the threads when the last handle is dropped; the threads hold [`Shared`] only.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn spawn(
    name: &str,
    shared: Arc<Shared>,
    run: impl FnOnce() -> Result<(), PipelineError> + Send + 'static,
) -> io::Result<()> {
    let ending = Ending(shared);
    thread::Builder::new().name(name.into()).spawn(move || {
        let result = run();
        ending.0.end(result);
    })?;
    Ok(())
}

/// Stops the other thread even if this one panics.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let panicked = io::Error::other("a thread of the pipeline panicked");
        self.0.end(Err(PipelineError::System(panicked)));
    }
}
