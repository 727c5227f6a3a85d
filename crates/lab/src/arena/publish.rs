//! Sends the cameras of an event through one ffmpeg each, as cameras in the field do: all show the
//! same match, and no two clocks agree.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use logic::backoff::{Backoff, Policy, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::flv::{Group, Loop};
use super::{ArenaError, Camera, Event};

/// Clocks are behind by up to this much.
const OFFSET_MAX: Duration = Duration::from_millis(120);
/// Who is later than this has been stalled, and goes on with what is shown now.
const LATE_MAX: Duration = Duration::from_secs(2);
/// How long an ffmpeg may take to say goodbye, before it is killed.
const GOODBYE: Duration = Duration::from_secs(2);
/// How much of what an ffmpeg says is kept, in bytes: its end tells why it failed.
const SAID_MAX: usize = 2_048;
/// A camera that is refused tries again at least this often; it never gives up.
const PATIENCE: Policy = Policy {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(5),
    jitter_percent: 20,
    crashes_max: 256, // more than fit into the window at these waits
    window: Duration::from_secs(60),
    stable: Duration::from_secs(30),
};

/// Where a camera sends to: anything that ffmpeg takes as an output for FLV, so
/// `rtmp://host:port/app/key`.
pub type Target = String;

/// Whether a camera is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// It sends.
    On,
    /// It is unplugged.
    Off,
}

/// What a camera does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraState {
    /// Its ffmpeg was started.
    Starting,
    /// Its ffmpeg takes what it is given.
    Sending,
    /// Its ffmpeg ended and is started again soon.
    Waiting {
        /// What ffmpeg said at the end, without the target.
        why: String,
    },
    /// It was unplugged.
    Off,
}

/// Sends an event until it is dropped or [`Publisher::shutdown`].
#[derive(Debug)]
pub struct Publisher {
    cameras: Vec<Handle>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Handle {
    offset: Duration,
    live: watch::Sender<Live>,
    state: watch::Receiver<CameraState>,
}

impl Publisher {
    /// Starts an ffmpeg for each camera. The same seed gives the same offsets.
    ///
    /// An instant of the match is sent, and stamped, by the camera's clock, which is some
    /// 0 to 120 ms behind: `Publisher::offset`.
    ///
    /// # Errors
    /// When a file of the event is missing or damaged.
    pub fn start(
        event: &Event,
        target: impl Fn(&Camera) -> Target,
        seed: u64,
    ) -> Result<Self, ArenaError> {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let epoch = Instant::now();
        let mut cameras = Vec::with_capacity(event.cameras.len());
        for (index, camera) in event.cameras.iter().enumerate() {
            let offset = offset(seed, index as u64);
            let (live, is_live) = watch::channel(Live::On);
            let (state_tx, state) = watch::channel(CameraState::Starting);
            let feed = Feed {
                name: camera.name.clone(),
                footage: Arc::new(Loop::open(&event.dir.join(&camera.file))?),
                duration: event.duration(),
                target: target(camera),
                epoch,
                offset,
                live: is_live,
                state: state_tx,
                backoff: Backoff::new(PATIENCE, seed ^ index as u64),
            };
            let stop = stop.clone();
            tracker.spawn(async move {
                stop.run_until_cancelled(feed.run()).await;
            });
            cameras.push(Handle {
                offset,
                live,
                state,
            });
        }
        tracker.close();
        Ok(Self {
            cameras,
            tracker,
            stop,
        })
    }

    /// By how much a camera's clock is behind; cameras count from 0 as in the event.
    pub fn offset(&self, camera: usize) -> Option<Duration> {
        self.cameras.get(camera).map(|it| it.offset)
    }

    /// What a camera does, and will do.
    pub fn state(&self, camera: usize) -> Option<watch::Receiver<CameraState>> {
        self.cameras.get(camera).map(|it| it.state.clone())
    }

    /// Unplugs a camera, or plugs it in again: it comes back where the match is by then.
    pub fn set_live(&self, camera: usize, live: Live) {
        if let Some(handle) = self.cameras.get(camera) {
            handle.live.send_replace(live);
        }
    }

    /// Ends all ffmpegs and waits for that.
    pub async fn shutdown(self) {
        self.stop.cancel();
        // Tasks only drop their children, which kills them.
        self.tracker.wait().await;
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One camera.
struct Feed {
    name: String,
    footage: Arc<Loop>,
    duration: Duration,
    target: Target,
    /// When the match began.
    epoch: Instant,
    offset: Duration,
    live: watch::Receiver<Live>,
    state: watch::Sender<CameraState>,
    backoff: Backoff,
}

impl Feed {
    async fn run(mut self) {
        loop {
            if !self.plugged_in().await {
                return;
            }
            self.state.send_replace(CameraState::Starting);
            self.backoff.handle_start(std::time::Instant::now());
            let mut live = self.live.clone();
            let outcome = tokio::select! {
                outcome = self.send() => outcome,
                _ = live.wait_for(|it| *it == Live::Off) => continue,
            };
            let why = outcome.unwrap_or_else(|error| format!("cannot start ffmpeg: {error}"));
            tracing::debug!(camera = self.name, why, "ffmpeg ended");
            self.state.send_replace(CameraState::Waiting { why });
            let now = std::time::Instant::now();
            let at = match self.backoff.handle_crash(now) {
                Verdict::Restart { at, .. } => at,
                Verdict::GiveUp { .. } => now + PATIENCE.longest,
            };
            sleep_until(at.into()).await;
        }
    }

    /// Waits until it is to send; false if nobody can say so any more.
    async fn plugged_in(&mut self) -> bool {
        if *self.live.borrow_and_update() == Live::Off {
            self.state.send_replace(CameraState::Off);
        }
        self.live.wait_for(|it| *it == Live::On).await.is_ok()
    }

    /// Runs an ffmpeg and feeds it until it ends; returns what it said then.
    async fn send(&self) -> std::io::Result<String> {
        let mut child = self.spawn()?;
        let mut input = child.stdin.take().expect("it was asked for");
        let mut log = child.stderr.take().expect("it was asked for");
        let mut said = Vec::new();
        let listen = async {
            let mut some = [0; 512];
            while let Ok(count @ 1..) = log.read(&mut some).await {
                said.extend_from_slice(&some[..count]);
                let over = said.len().saturating_sub(SAID_MAX);
                said.drain(..over);
            }
        };
        let fed = tokio::select! {
            fed = self.feed(&mut input) => fed,
            () = listen => Ok(()), // it closed its mouth: it has ended
        };
        drop(input);
        if timeout(GOODBYE, child.wait()).await.is_err() {
            let _ = child.start_kill(); // dropping it would too
        }
        let mut rest = Vec::new();
        let _ = timeout(GOODBYE, log.take(SAID_MAX as u64).read_to_end(&mut rest)).await;
        said.extend(rest);
        let mut said = String::from_utf8_lossy(&said).replace(&self.target, "<target>");
        if let Err(error) = fed {
            said.push_str(&format!(" ({error})"));
        }
        Ok(said.trim().to_owned())
    }

    fn spawn(&self) -> std::io::Result<Child> {
        Command::new("ffmpeg")
            .args(["-hide_banner", "-nostats", "-loglevel", "error"])
            // It is told what comes, and need not look at seconds of it first.
            .args(["-analyzeduration", "200000", "-fpsprobesize", "0"])
            // The camera's clock goes through to whoever receives.
            .args(["-copyts", "-f", "flv", "-i", "pipe:0", "-c", "copy"])
            .args([
                "-flvflags",
                "no_duration_filesize",
                "-flush_packets",
                "1",
                "-f",
                "flv",
            ])
            .arg(&self.target)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }

    async fn feed(&self, input: &mut ChildStdin) -> std::io::Result<()> {
        let (mut round, mut next) = self.place();
        let first = self.clock(round, self.footage.groups()[next].at);
        input.write_all(&self.footage.headers(first)).await?;
        loop {
            let Some(group) = self.footage.groups().get(next) else {
                (round, next) = (round + 1, 0);
                continue;
            };
            self.feed_group(group, round, input).await?;
            next += 1;
            self.state.send_if_modified(|it| {
                let was = std::mem::replace(it, CameraState::Sending);
                was != CameraState::Sending
            });
            if self.epoch.elapsed() > self.clock(round, group.at) + LATE_MAX {
                (round, next) = self.place();
            }
        }
    }

    async fn feed_group(
        &self,
        group: &Group,
        round: u32,
        input: &mut ChildStdin,
    ) -> std::io::Result<()> {
        for tag in self.footage.read(group)? {
            let at = self.clock(round, tag.at);
            sleep_until(self.epoch + at).await;
            input.write_all(&tag.stamped(at)).await?;
        }
        Ok(())
    }

    /// When the camera's clock says that a place of a round of the loop is shown.
    fn clock(&self, round: u32, at: Duration) -> Duration {
        self.duration * round + at + self.offset
    }

    /// Round and group that come next.
    fn place(&self) -> (u32, usize) {
        let shown = self.epoch.elapsed().saturating_sub(self.offset);
        let round = (shown.as_nanos() / self.duration.as_nanos()) as u32;
        let within = shown - self.duration * round;
        let next = self.footage.groups().partition_point(|it| it.at < within);
        if next == self.footage.groups().len() {
            return (round + 1, 0);
        }
        (round, next)
    }
}

/// SplitMix64's finaliser spreads the cameras over all offsets.
fn offset(seed: u64, camera: u64) -> Duration {
    let mut z = seed.wrapping_add((camera + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let millis = (z ^ (z >> 31)) % (OFFSET_MAX.as_millis() as u64 + 1);
    Duration::from_millis(millis)
}
