//! An edge that takes whoever has the right key, and tools that publish to it.

use std::future::Future;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use relay::Refusal;
use relay::ingest::{Admit, Admitted, Asked, Limits};
use relay::media::{
    AudioConfig, Ended, Publication, Published, Sample, VideoConfig, Warning, publication,
};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Far beyond what any step takes, even beside other load.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) const KEY: &str = "s3cret";

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing within {DEADLINE:?}"))
}

/// Admits `match/north` and `match/south` with [`KEY`].
pub(crate) struct Edge {
    pub admit: Arc<Rules>,
    pub publications: mpsc::Receiver<(Asked, Publication)>,
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
}

pub(crate) struct Rules {
    limits: Limits,
    publications: mpsc::Sender<(Asked, Publication)>,
}

impl Edge {
    pub(crate) fn new(limits: Limits) -> Self {
        let (tx, publications) = mpsc::channel(8);
        let admit = Arc::new(Rules {
            limits,
            publications: tx,
        });
        Self {
            admit,
            publications,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    pub(crate) async fn next(&mut self) -> (Asked, Publication) {
        let next = soon("publication", self.publications.recv()).await;
        next.expect("the edge stands")
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Admit for Rules {
    fn admit(&self, asked: Asked) -> BoxFuture<'_, Result<Admitted, Refusal>> {
        async move {
            if asked.event.as_str() != "match" {
                return Err(Refusal("there is no such event".into()));
            }
            if asked.key != KEY {
                return Err(Refusal(
                    "the stream key is wrong: copy it from the event's page".into(),
                ));
            }
            let (sink, publication) = publication();
            let _ = self.publications.send((asked, publication)).await;
            Ok(Admitted {
                sink,
                limits: self.limits.clone(),
            })
        }
        .boxed()
    }
}

/// All of a publication.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub video: Vec<VideoConfig>,
    pub audio: Vec<AudioConfig>,
    pub pictures: Vec<Sample>,
    pub sounds: Vec<Sample>,
    pub warnings: Vec<Warning>,
    pub lost: u64,
    pub ended: Option<Ended>,
}

impl Taken {
    /// Takes a publication until it ends.
    pub(crate) async fn all(publication: &mut Publication) -> Self {
        let mut taken = Self::default();
        while taken.ended.is_none() && taken.take(publication).await {}
        taken
    }

    pub(crate) async fn take(&mut self, publication: &mut Publication) -> bool {
        match soon("publication", publication.next()).await {
            Some(Published::Video(it)) => self.video.push(it),
            Some(Published::Audio(it)) => self.audio.push(it),
            Some(Published::VideoSample(it)) => self.pictures.push(it),
            Some(Published::AudioSample(it)) => self.sounds.push(it),
            Some(Published::Lost(it)) => self.lost += it,
            Some(Published::Warning(it)) => self.warnings.push(it),
            Some(Published::Ended(it)) => self.ended = Some(it),
            None => return false,
        }
        true
    }

    /// Checks what every publication keeps, and that pictures are `fps` a second with a keyframe each
    /// `group` of them.
    pub(crate) fn check(&self, size: (u16, u16), fps: u64, group: usize) {
        let config = &self.video[0];
        assert_eq!((config.width, config.height), size);
        assert!(self.pictures[0].keyframe, "the first is a keyframe");
        let keyframes: Vec<usize> = (0..self.pictures.len())
            .filter(|at| self.pictures[*at].keyframe)
            .collect();
        let groups: Vec<usize> = keyframes.windows(2).map(|it| it[1] - it[0]).collect();
        assert!(!groups.is_empty(), "{keyframes:?}");
        assert!(groups.iter().all(|it| *it == group), "{groups:?}");
        let steps = self.pictures.windows(2).map(|it| {
            let step = it[1].timestamp.checked_sub(it[0].timestamp);
            step.expect("timestamps increase").as_micros()
        });
        let want = u128::from(1_000_000 / fps);
        for step in steps {
            assert!(step.abs_diff(want) <= 1_100, "{step} µs, not {want}");
        }
    }
}

/// A real ffmpeg.
pub(crate) struct Tool(Child);

/// A picture and a tone, `seconds` of them in real time.
pub(crate) fn source(seconds: u32) -> Vec<String> {
    words(&format!(
        "-re -f lavfi -i testsrc=size=320x240:rate=25:duration={seconds} \
         -re -f lavfi -i sine=frequency=440:sample_rate=48000:duration={seconds} -ac 2"
    ))
}

/// H.264 as it should be: 10 pictures a group, nothing reordered.
pub(crate) const X264: &str =
    "-pix_fmt yuv420p -c:v libx264 -preset ultrafast -tune zerolatency -g 10 -bf 0";

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Tool {
    pub(crate) fn start(arguments: &[Vec<String>]) -> Self {
        let child = Command::new("ffmpeg")
            .args([
                "-hide_banner",
                "-nostdin",
                "-y",
                "-loglevel",
                "info",
                "-nostats",
            ])
            .args(arguments.iter().flatten())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("ffmpeg is installed");
        Self(child)
    }

    pub(crate) fn output(&mut self) -> tokio::process::ChildStdout {
        self.0.stdout.take().expect("piped")
    }

    /// Waits until it is done and answers what it said to its user.
    pub(crate) async fn said(mut self) -> String {
        let mut said = Vec::new();
        let mut stderr = self.0.stderr.take().expect("piped");
        soon("ffmpeg", stderr.read_to_end(&mut said)).await.unwrap();
        soon("ffmpeg", self.0.wait()).await.unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }
}
