//! What the tests stand on: an X server, a program on it, a pipeline with a decoder behind.

pub(crate) mod app;
pub(crate) mod decoder;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use logic::rate::FrameRate;
use model::Bitrate;
use model::manifest::Content;
use render::picture::Size;
use render::pipeline::{Outputs, Pipeline, PipelineConfig, PipelineHandle, VideoFrame};
use tokio::runtime::Runtime;

use decoder::{Decoder, Picture};

/// For everything that must happen; generous, as the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// How long nothing must happen where nothing may.
pub(crate) const QUIET: Duration = Duration::from_millis(900);

/// An X server as the platform starts it.
pub(crate) struct Xvfb {
    child: Child,
    pub(crate) display: String,
}

impl Xvfb {
    pub(crate) fn start(max: Size) -> Self {
        Self::start_with(max, &[])
    }

    pub(crate) fn start_with(max: Size, more: &[&str]) -> Self {
        let screen = format!("{}x{}x24", max.width(), max.height());
        let mut child = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", &screen])
            .args(["-noreset", "-nolisten", "tcp"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is installed");
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let display = format!(":{}", line.trim());
        assert_ne!(display, ":", "Xvfb did not start");
        Self { child, display }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn config(display: &str) -> PipelineConfig {
    PipelineConfig {
        server: display.into(),
        content: Content::Text,
        bitrate: Bitrate::kbps(8_000),
        max_fps: FrameRate::fps(60),
        threads: 2,
        gamepad: BTreeMap::from([(0, "ControlLeft".to_owned())]),
    }
}

/// A running pipeline and somebody who looks at it.
pub(crate) struct Viewer {
    pub(crate) runtime: Runtime,
    pub(crate) handle: PipelineHandle,
    pub(crate) outputs: Outputs,
    decoder: Decoder,
    /// The picture that the terminal would show.
    pub(crate) shown: Option<Picture>,
}

impl Viewer {
    /// Starts a pipeline, still paused.
    pub(crate) fn start(config: PipelineConfig) -> Self {
        let (handle, outputs) = Pipeline::start(config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        Self {
            runtime,
            handle,
            outputs,
            decoder: Decoder::new(),
            shown: None,
        }
    }

    /// The next frame, decoded, unless none comes in time.
    pub(crate) fn next_within(&mut self, time: Duration) -> Option<VideoFrame> {
        let next = self.outputs.video.recv();
        let frame = self
            .runtime
            .block_on(async { tokio::time::timeout(time, next).await })
            .ok()?
            .expect("the pipeline runs");
        let picture = self.decoder.decode(&frame.data).expect("every frame shows");
        assert_eq!(
            (picture.width, picture.height),
            (frame.size.width().into(), frame.size.height().into())
        );
        self.shown = Some(picture);
        Some(frame)
    }

    pub(crate) fn next(&mut self) -> VideoFrame {
        self.next_within(DEADLINE).expect("a frame within time")
    }

    /// Takes frames until one is as wanted.
    #[track_caller]
    pub(crate) fn until(
        &mut self,
        mut wanted: impl FnMut(&VideoFrame, &Picture) -> bool,
    ) -> VideoFrame {
        let end = Instant::now() + DEADLINE;
        loop {
            let frame = self.next_within(end.saturating_duration_since(Instant::now()));
            let frame = frame.expect("the wanted frame within time");
            if wanted(&frame, self.shown.as_ref().unwrap()) {
                return frame;
            }
        }
    }

    /// Takes frames until none comes for a while; returns how many came.
    pub(crate) fn until_quiet(&mut self) -> usize {
        let end = Instant::now() + DEADLINE;
        let mut frames = 0;
        while self.next_within(QUIET).is_some() {
            frames += 1;
            assert!(Instant::now() < end, "it never gets quiet");
        }
        frames
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(2)); // between looks, not instead of them
    }
}
