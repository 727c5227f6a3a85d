//! The thread that captures, converts and encodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use logic::cadence::{Cadence, Done, Frame, SHARP, Work};
use logic::content::{Chooser, is_small};
use logic::rate::{FrameRate, Scale};
use model::Bitrate;
use model::input::InputSeq;
use tokio::sync::{mpsc, watch};

use super::{PipelineConfig, PipelineError, Shared, VideoFrame};
use crate::cursor::Cursor;
use crate::encoder::{self, Encoder, EncoderConfig, Simd};
use crate::mark::Mark;
use crate::picture::{I420, Size};
use crate::screen::Screen;

/// How soon to look again whether a slow receiver has made room. It is the only waiting that is not
/// woken, and it happens only while a receiver is slow.
const ROOM_WAIT: Duration = Duration::from_millis(4);
/// How long pictures are counted for their rate.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// The rate shared out is never taken for less: after a rest a single picture would otherwise get
/// the bits of a second and take a second on its way.
const RATE_MIN: u32 = 20;

/// What the thread is to do; later wishes replace earlier ones.
#[derive(Debug, Default)]
pub(super) struct VideoOrders {
    pub(super) run: Option<Run>,
    pub(super) keyframe: bool,
    pub(super) bitrate: Option<Bitrate>,
    pub(super) max_fps: Option<FrameRate>,
    pub(super) scale: Option<Scale>,
    pub(super) way: Option<Way>,
    pub(super) stop: bool,
}

/// Whether anybody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    On,
    Off,
}

/// Whether what is made can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Free,
    Blocked,
}

/// Where results go.
#[derive(Debug)]
pub(super) struct Sinks {
    pub(super) video: mpsc::Sender<VideoFrame>,
    pub(super) cursor: watch::Sender<Option<Cursor>>,
    pub(super) size: watch::Sender<Size>,
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Video {
    screen: Screen,
    encoder: Box<dyn Encoder>,
    cadence: Cadence,
    chooser: Chooser,
    rate: Rate,
    run: Run,
    scale: Scale,
    picture: I420,
    /// The picture scaled down, while it is.
    small: Option<I420>,
    started_at: Instant,
    /// The last event before the last capture.
    input_seq: InputSeq,
    sinks: Sinks,
    shared: Arc<Shared>,
}

impl Video {
    pub(super) fn open(
        config: &PipelineConfig,
        mut screen: Screen,
        sinks: Sinks,
        shared: Arc<Shared>,
        mark: Mark,
    ) -> Result<Self, PipelineError> {
        let now = Instant::now();
        screen.follow(mark);
        let size = screen.size();
        let chooser = Chooser::new(config.content, now);
        let encoder = encoder::open(EncoderConfig {
            size,
            mode: chooser.mode(),
            bitrate: config.bitrate,
            frame_rate: config.max_fps,
            threads: config.threads,
        })?;
        if encoder::simd() == Simd::Missing {
            tracing::warn!(
                "the encoder was built without SIMD (nasm was missing): it is 2.5x slower"
            );
        }
        tracing::info!(encoder = encoder.name(), ?size, mode = ?chooser.mode(), "pipeline started");
        shared.seat.set_size(size);
        Ok(Self {
            encoder,
            cadence: Cadence::new(config.max_fps.interval(), now),
            chooser,
            rate: Rate::new(config.max_fps, now),
            run: Run::Off,
            scale: Scale::Full,
            picture: I420::black(size),
            small: None,
            started_at: now,
            input_seq: InputSeq(0),
            screen,
            sinks,
            shared,
        })
    }

    pub(super) fn run(mut self) -> Result<(), PipelineError> {
        loop {
            let orders = self.shared.video.take();
            if orders.stop || self.sinks.video.is_closed() {
                return Ok(());
            }
            let now = Instant::now();
            self.follow(orders, now)?;
            if self.screen.update()? {
                self.cadence.handle_damage(now);
            }
            self.follow_size();
            // After anything that speaks with the X server: around again, as its answers may have
            // brought events along that nothing would wake us for.
            if self.run == Run::On
                && let Some(cursor) = self.screen.cursor()?
            {
                self.show_cursor(cursor);
                continue;
            }
            self.cadence.handle_timeout(now);
            let room = self.sinks.video.capacity() > 0;
            if let Some(work) = self.cadence.poll_work().filter(|_| room) {
                self.work(work)?;
                continue;
            }
            let due = self.cadence.poll_timeout();
            let mut timeout = due.map(|due| due.saturating_duration_since(now));
            if !room {
                timeout = timeout.map(|timeout| timeout.max(ROOM_WAIT));
            }
            self.screen.wait(&self.shared.video.wake, timeout)?;
        }
    }

    fn follow(&mut self, orders: VideoOrders, now: Instant) -> Result<(), PipelineError> {
        if let Some(bitrate) = orders.bitrate {
            self.encoder.set_bitrate(bitrate)?;
        }
        if let Some(max_fps) = orders.max_fps {
            self.cadence.set_interval(max_fps.interval());
            self.rate = Rate::new(max_fps, now);
            self.encoder.set_frame_rate(max_fps)?;
        }
        if let Some(scale) = orders.scale.filter(|it| *it != self.scale) {
            self.scale = scale;
            // A screen at rest would stay as coarse as it was.
            self.cadence.handle_keyframe_request(now);
        }
        if orders.keyframe {
            self.cadence.handle_keyframe_request(now);
        }
        match orders.run {
            Some(Run::On) => self.cadence.handle_resume(now),
            Some(Run::Off) => self.cadence.handle_pause(),
            None => {}
        }
        self.run = orders.run.unwrap_or(self.run);
        match orders.way {
            Some(Way::Blocked) => self.cadence.handle_hold(),
            Some(Way::Free) => self.cadence.handle_release(now),
            None => {}
        }
        Ok(())
    }

    /// Takes over the size of the screen.
    fn follow_size(&mut self) {
        let size = self.screen.size();
        if size != self.picture.size() {
            self.picture = I420::black(size);
            self.shared.seat.set_size(size);
            self.sinks.size.send_replace(size);
        }
    }

    fn work(&mut self, work: Work) -> Result<(), PipelineError> {
        let begun_at = Instant::now();
        let changed = match work {
            Work::Capture(_) => self.capture(begun_at)?,
            Work::Repeat | Work::Refine(_) => 0,
        };
        let size = self.picture.size().scaled(self.scale);
        let mode = self.chooser.mode();
        let config = self.encoder.config();
        let reshaped = (config.size, config.mode) != (size, mode);
        if reshaped {
            self.encoder.reshape(size, mode)?;
        }
        let at = begun_at - self.started_at;
        let picture = scaled(&self.picture, &mut self.small, self.scale);
        let budget = config.bitrate * config.frame_rate.interval();
        let encoded = match work {
            Work::Capture(Frame::Delta) if !reshaped && is_small(mode, changed, budget) => {
                self.encoder.encode_at(picture, at, SHARP)?
            }
            Work::Capture(frame) => self.encoder.encode(picture, at, frame)?,
            Work::Repeat => self.encoder.encode(picture, at, Frame::Key)?,
            Work::Refine(quantizer) => self.encoder.encode_at(picture, at, quantizer)?,
        };
        let now = Instant::now();
        let done = Done {
            frame: encoded.frame,
            quantizer: encoded.quantizer,
            air_time: air_time(encoded.data.len(), config.bitrate),
        };
        self.cadence.handle_encoded(work, done, now);
        let frame = VideoFrame {
            keyframe: encoded.frame == Frame::Key,
            data: encoded.data,
            size,
            captured_at: begun_at,
            encode_time: now - begun_at,
            input_seq: self.input_seq,
            mode,
            quantizer: encoded.quantizer,
        };
        tracing::trace!(?work, bytes = frame.data.len(), took = ?frame.encode_time, "encoded");
        // There was room, and nobody else sends; a receiver that went is seen in the loop.
        let _ = self.sinks.video.try_send(frame);
        if let Some(rate) = self.rate.handle_picture(now) {
            self.encoder.set_frame_rate(rate)?;
        }
        Ok(())
    }

    /// Captures what changed; returns how many pixels.
    fn capture(&mut self, now: Instant) -> Result<u64, PipelineError> {
        let Some(grab) = self.screen.grab()? else {
            return Ok(0);
        };
        self.follow_size();
        self.input_seq = grab.input_seq;
        self.picture.convert(self.screen.pixels(), grab.rows);
        self.chooser.handle_picture(grab.changed, now);
        let area = self.picture.size().area() as f64;
        Ok((f64::from(grab.changed) * area) as u64)
    }

    fn show_cursor(&self, cursor: Cursor) {
        self.sinks.cursor.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&cursor);
            if changed {
                *known = Some(cursor);
            }
            changed
        });
    }
}

fn scaled<'a>(picture: &'a I420, small: &'a mut Option<I420>, scale: Scale) -> &'a I420 {
    if scale == Scale::Full {
        *small = None;
        return picture;
    }
    let size = picture.size().scaled(scale);
    let small = small.get_or_insert_with(|| I420::black(size));
    if small.size() != size {
        *small = I420::black(size);
    }
    picture.scale_into(small, scale);
    small
}

/// How long so many bytes take at a rate.
fn air_time(bytes: usize, bitrate: Bitrate) -> Duration {
    #[expect(
        clippy::cast_precision_loss,
        reason = "rates and sizes are far below 2^52"
    )]
    let seconds = bytes as f64 * 8.0 / bitrate.as_bps().max(1) as f64;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// How many pictures a second really come: the encoder shares the bitrate among so many.
#[derive(Debug)]
struct Rate {
    max: u32,
    told: u32,
    window_start: Instant,
    pictures: u32,
}

impl Rate {
    fn new(max: FrameRate, now: Instant) -> Self {
        let max = max.as_fps();
        Self {
            max,
            told: max,
            window_start: now,
            pictures: 0,
        }
    }

    /// Counts a picture; returns the rate if the encoder should know it.
    fn handle_picture(&mut self, now: Instant) -> Option<FrameRate> {
        self.pictures += 1;
        let elapsed = now - self.window_start;
        if elapsed < RATE_WINDOW {
            return None;
        }
        let pictures = f64::from(self.pictures) / elapsed.as_secs_f64();
        self.window_start = now;
        self.pictures = 0;
        let rate = (pictures.round() as u32).clamp(RATE_MIN.min(self.max), self.max);
        // Small changes are noise.
        if rate.abs_diff(self.told) * 6 < self.told && rate != self.max {
            return None;
        }
        let changed = rate != self.told;
        self.told = rate;
        changed.then_some(FrameRate::fps(rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoder_learns_the_rate_that_really_comes() {
        let start = Instant::now();
        let mut rate = Rate::new(FrameRate::fps(60), start);
        let mut now = start;
        let mut play = |pictures: u32, seconds: u32| {
            let mut told = Vec::new();
            for _ in 0..pictures * seconds {
                now += Duration::from_secs(1) / pictures;
                told.extend(rate.handle_picture(now).map(FrameRate::as_fps));
            }
            told
        };
        assert_eq!(play(35, 3), [35]);
        assert_eq!(play(37, 3), [0; 0], "noise");
        assert_eq!(play(2, 5).last(), Some(&RATE_MIN), "a rest");
        assert_eq!(play(60, 3).last(), Some(&60));
    }
}
