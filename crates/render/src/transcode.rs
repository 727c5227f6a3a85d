//! Makes one stream into smaller ones: decoded once, encoded once for each that is wanted.
//!
//! One thread a stream. It never falls behind: what waits too long is decoded, as later pictures
//! build on it, but not encoded.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use bytes::Bytes;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use logic::cadence::Frame;
use logic::content::Mode;
use logic::rate::FrameRate;
use logic::rendition::{self, Schedule, Turn};
use model::manifest::live::Rendition;
use tokio::sync::mpsc;

use crate::decoder::Decoder;
use crate::encoder::{self, Encoder, EncoderConfig};
use crate::picture::{I420, Size};

/// Pictures that wait to be decoded: a group of a second, which comes at once when the thread
/// starts in the middle of it.
const WAITING_MAX: usize = 64;

/// While more than this wait, pictures are decoded but not encoded.
const BEHIND: usize = 3;

/// Encoded pictures that wait for the receiver: some of each rendition.
const MADE_MAX: usize = 64;

/// A picture of the stream.
#[derive(Clone, Debug)]
pub struct Unit {
    /// When it was taken; goes through unchanged.
    pub timestamp: Duration,
    /// Whether one can begin with it.
    pub keyframe: bool,
    /// H.264 in Annex B form; a keyframe begins with its parameter sets.
    pub data: Bytes,
}

/// A picture of a rendition.
#[derive(Clone, Debug)]
pub struct Made {
    /// Which of the renditions, by its place in the list.
    pub rendition: usize,
    /// The picture's own.
    pub timestamp: Duration,
    /// Whether one can begin with it.
    pub keyframe: bool,
    /// Its size.
    pub size: Size,
    /// H.264 in Annex B form.
    pub data: Bytes,
}

/// Pictures that wait, and whether the queue was full: then the next keyframe is the next to take.
#[derive(Debug, Default)]
struct Queue {
    waiting: usize,
    needs_keyframe: bool,
}

/// What the thread is told beside pictures.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wanted: Mutex<Vec<bool>>,
}

/// The hand on a transcoder. It ends when this is dropped.
#[derive(Debug)]
pub struct Transcoder {
    units: SyncSender<Unit>,
    shared: Arc<Shared>,
}

impl Transcoder {
    /// Starts one that makes none of `renditions` yet. The receiver ends with the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(renditions: Vec<Rendition>) -> io::Result<(Self, mpsc::Receiver<Made>)> {
        let (units, units_rx) = sync_channel(WAITING_MAX);
        let (made, made_rx) = mpsc::channel(MADE_MAX);
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                waiting: 0,
                needs_keyframe: true,
            }),
            wanted: Mutex::new(vec![false; renditions.len()]),
        });
        let worker = Worker {
            shared: Arc::clone(&shared),
            makers: renditions.into_iter().map(Maker::new).collect(),
            made,
        };
        thread::Builder::new()
            .name("transcode".into())
            .spawn(move || worker.run(&units_rx))?;
        Ok((Self { units, shared }, made_rx))
    }

    /// Which renditions somebody watches, by their places in the list. The rest cost nothing.
    pub fn want(&self, wanted: Vec<bool>) {
        *lock(&self.shared.wanted) = wanted;
    }

    /// Hands in the next picture. False when the thread has ended.
    pub fn push(&self, unit: Unit) -> bool {
        let mut queue = lock(&self.shared.queue);
        if queue.needs_keyframe && !unit.keyframe {
            return true;
        }
        queue.needs_keyframe = false;
        match self.units.try_send(unit) {
            Ok(()) => {
                queue.waiting += 1;
                true
            }
            Err(TrySendError::Full(_)) => {
                queue.needs_keyframe = true;
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

/// The thread's state.
struct Worker {
    shared: Arc<Shared>,
    makers: Vec<Maker>,
    made: mpsc::Sender<Made>,
}

impl Worker {
    fn run(mut self, units: &Receiver<Unit>) {
        let Some(mut decoder) = Decoder::open() else {
            tracing::error!("no decoder: the machine has no memory left");
            return;
        };
        while let Ok(unit) = units.recv() {
            let waiting = {
                let mut queue = lock(&self.shared.queue);
                queue.waiting -= 1;
                queue.waiting
            };
            match decoder.decode(&unit.data) {
                Ok(Some(picture)) if waiting <= BEHIND => self.make(&picture, unit.timestamp),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "a picture of a camera cannot be decoded");
                    lock(&self.shared.queue).needs_keyframe = true;
                }
            }
            if self.made.is_closed() {
                return;
            }
        }
    }

    fn make(&mut self, picture: &I420, at: Duration) {
        let wanted = lock(&self.shared.wanted).clone();
        for (rendition, maker) in self.makers.iter_mut().enumerate() {
            if !wanted.get(rendition).is_some_and(|it| *it) {
                maker.rest();
                continue;
            }
            match maker.make(picture, at) {
                Ok(Some(made)) => {
                    let made = Made { rendition, ..made };
                    if self.made.try_send(made).is_err() {
                        // What follows would build on what is missing.
                        maker.schedule.handle_reset();
                    }
                }
                Ok(None) => {}
                Err(why) => {
                    tracing::warn!(rendition = %maker.rendition.name, why, "a picture cannot be made smaller");
                    maker.rest();
                }
            }
        }
    }
}

/// One rendition.
struct Maker {
    rendition: Rendition,
    schedule: Schedule,
    resizer: Resizer,
    /// Where the camera's picture has been made smaller; none while it has this size itself.
    small: Option<I420>,
    encoder: Option<Box<dyn Encoder>>,
}

impl Maker {
    fn new(rendition: Rendition) -> Self {
        Self {
            schedule: Schedule::new(rendition.max_fps, rendition.group()),
            rendition,
            resizer: Resizer::new(),
            small: None,
            encoder: None,
        }
    }

    /// Nobody watches: gives back what it holds.
    fn rest(&mut self) {
        self.encoder = None;
        self.small = None;
        self.schedule.handle_reset();
    }

    fn make(&mut self, picture: &I420, at: Duration) -> Result<Option<Made>, String> {
        let frame = match self.schedule.handle_picture(at) {
            Turn::Skip => return Ok(None),
            Turn::Key => Frame::Key,
            Turn::Delta => Frame::Delta,
        };
        let source = picture.size();
        let (width, height) =
            rendition::size((source.width(), source.height()), self.rendition.height);
        let size = Size::new(width, height);
        let small = self.small.take().filter(|it| it.size() == size);
        let small = if size == source {
            None
        } else {
            let mut small = small.unwrap_or_else(|| I420::black(size));
            shrink(&mut self.resizer, picture, &mut small)?;
            Some(small)
        };
        let encoder = self.encoder(size)?;
        let encoded = encoder
            .encode(small.as_ref().unwrap_or(picture), at, frame)
            .map_err(|error| error.to_string())?;
        self.small = small;
        Ok(Some(Made {
            rendition: 0,
            timestamp: at,
            keyframe: encoded.frame == Frame::Key,
            size,
            data: encoded.data,
        }))
    }

    /// The encoder for this size.
    fn encoder(&mut self, size: Size) -> Result<&mut Box<dyn Encoder>, String> {
        let known = self.encoder.take().filter(|it| it.config().size == size);
        let encoder = match known {
            Some(encoder) => encoder,
            None => encoder::open(EncoderConfig {
                size,
                mode: Mode::Motion,
                bitrate: self.rendition.bitrate,
                frame_rate: FrameRate::fps(self.rendition.max_fps.into()),
                threads: 1,
            })
            .map_err(|error| error.to_string())?,
        };
        Ok(self.encoder.insert(encoder))
    }
}

/// Fills `small` with the whole of `picture`.
fn shrink(resizer: &mut Resizer, picture: &I420, small: &mut I420) -> Result<(), String> {
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let (from, to) = (picture.size(), small.size());
    let planes = picture.planes().into_iter().zip(small.planes_mut());
    for ((plane, small), part) in planes.zip([1, 2, 2]) {
        let side = |side: u16| u32::from(side) / part;
        let source = ImageRef::new(
            side(from.width()),
            side(from.height()),
            plane,
            PixelType::U8,
        )
        .map_err(|error| error.to_string())?;
        let mut target =
            Image::from_slice_u8(side(to.width()), side(to.height()), small, PixelType::U8)
                .map_err(|error| error.to_string())?;
        resizer
            .resize(&source, &mut target, &options)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
