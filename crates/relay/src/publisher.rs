//! Publishes a camera from outside of the cloud: what a container gives out goes to whichever node
//! the cloud names, and to another when that one is gone.
//!
//! While there is no connection, what comes is let go: viewers are at the live edge, and go on with
//! the next keyframe. Nothing is read before the first connection is up.
//!
//! Deliberately elsewhere: who names the node (whoever implements [`FindWay`]), when a recording's
//! pictures are due (`logic::playout`).

mod line;

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use logic::meter::Figures;
use logic::playout::{Kind, Pace, Playout};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::camera::{ticking, wall_time};
use crate::client::{Closed, Door};
use crate::media::{Ended, Publication, Published, Sample};
use line::{Happened, Line};

/// The node has so long to read the last pictures.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Finds where to publish.
pub trait FindWay: Send + Sync + 'static {
    /// Why there is no way.
    type Error: std::fmt::Display + Send + 'static;

    /// The best way now. `lost` says that the last one stopped answering.
    fn find(&self, lost: bool) -> BoxFuture<'_, Result<Found, NoWay<Self::Error>>>;
}

/// Where to publish.
#[derive(Clone, Debug)]
pub struct Found {
    /// The node's door, with the key in its path.
    pub door: Door,
    /// The broadcast that the node reads.
    pub broadcast: String,
}

/// There is none.
#[derive(Debug)]
pub enum NoWay<E> {
    /// Nor will there be.
    Never(E),
    /// Asking again may help.
    Later(E),
}

/// What people want to know while it runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The node reads.
    OnAir,
    /// The connection is lost, or there is no way: it is tried again.
    Lost {
        /// Why.
        why: String,
        /// When it is tried again.
        again_in: Duration,
    },
    /// The tool's user should change something.
    Warning(String),
    /// How it goes, once a second.
    Progress(Progress),
}

/// How it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// What comes, over the last seconds.
    pub figures: Figures,
    /// Whether the node reads.
    pub on_air: bool,
    /// Pictures that nobody was there to take.
    pub unsent: u64,
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome<E> {
    /// The input is over and the node has all of it.
    Done,
    /// The input is over, but whether the node has its end is not known.
    Unconfirmed,
    /// The node does not want it; in its words.
    Refused(String),
    /// What came is nothing that can be published; in words.
    Input(String),
    /// There is nowhere to publish to.
    NoWay(E),
}

/// Publishes one camera.
pub struct Publisher<W> {
    /// Finds where to.
    pub ways: W,
    /// How the input comes.
    pub pace: Pace,
    /// Told what happens. What does not fit is not told.
    pub told: mpsc::Sender<Told>,
    /// Ends it, with what was sent so far.
    pub stop: CancellationToken,
}

/// What happens to a publisher.
enum Event<E> {
    Read(Option<Published>),
    Due,
    Line(Happened<E>),
    Tick,
    Stop,
}

impl<W: FindWay> Publisher<W> {
    /// Publishes until the input ends.
    pub async fn run(self, mut input: Publication) -> Outcome<W::Error> {
        let mut run = Run {
            line: Line::new(self.ways),
            playout: Playout::new(self.pace),
            sources: Sources::default(),
            told: self.told,
            ended: None,
        };
        let mut tick = ticking();
        loop {
            run.play();
            if run.playout.is_over() {
                return run.finish().await;
            }
            let reads = run.line.was_up() && run.playout.wants_more();
            let due = run.playout.poll_timeout(Instant::now());
            let event = tokio::select! {
                published = input.next(), if reads => Event::Read(published),
                () = until(due), if run.line.was_up() => Event::Due,
                happened = run.line.next() => Event::Line(happened),
                _ = tick.tick() => Event::Tick,
                () = self.stop.cancelled() => Event::Stop,
            };
            match event {
                Event::Read(published) => run.handle_input(published),
                Event::Due => {}
                Event::Line(happened) => {
                    if let Some(outcome) = run.handle_line(happened) {
                        return outcome;
                    }
                }
                Event::Tick => run.tell(Told::Progress(run.line.progress(wall_time()))),
                Event::Stop => return run.finish().await,
            }
        }
    }
}

/// A sample, and the configuration that it needs first.
struct Played {
    config: Option<Published>,
    sample: Published,
}

/// Configurations whose first sample has not come.
#[derive(Default)]
struct Sources {
    picture: Option<Published>,
    sound: Option<Published>,
}

struct Run<W: FindWay> {
    line: Line<W>,
    playout: Playout<Played>,
    sources: Sources,
    told: mpsc::Sender<Told>,
    /// How the input ended.
    ended: Option<Ended>,
}

impl<W: FindWay> Run<W> {
    fn handle_input(&mut self, published: Option<Published>) {
        match published {
            Some(Published::Video(config)) => {
                self.sources.picture = Some(Published::Video(config));
            }
            Some(Published::Audio(config)) => self.sources.sound = Some(Published::Audio(config)),
            Some(Published::VideoSample(sample)) => {
                let config = self.sources.picture.take();
                self.queue(Kind::Picture, config, sample, Published::VideoSample);
            }
            Some(Published::AudioSample(sample)) => {
                let config = self.sources.sound.take();
                self.queue(Kind::Sound, config, sample, Published::AudioSample);
            }
            Some(Published::Warning(warning)) => self.tell(Told::Warning(warning.text)),
            // Lost on the way to us: the gate has waited for the next keyframe.
            Some(Published::Lost(_)) => {}
            Some(Published::Ended(ended)) => {
                self.ended = Some(ended);
                self.playout.handle_end();
            }
            None => self.playout.handle_end(),
        }
    }

    fn queue(
        &mut self,
        kind: Kind,
        config: Option<Published>,
        sample: Sample,
        of: impl FnOnce(Sample) -> Published,
    ) {
        let (timestamp, size) = (
            sample.timestamp,
            model::Bytes::new(sample.data.len() as u64),
        );
        let sample = of(sample);
        let played = Played { config, sample };
        self.playout.handle(kind, timestamp, size, played);
    }

    /// Sends what is due.
    fn play(&mut self) {
        while let Some(played) = self.playout.poll(Instant::now()) {
            let now = wall_time();
            let sent = played.config.into_iter().chain([played.sample]);
            for published in sent {
                self.line.handle(published, now);
            }
        }
    }

    fn handle_line(&mut self, happened: Happened<W::Error>) -> Option<Outcome<W::Error>> {
        match happened {
            Happened::OnAir => self.tell(Told::OnAir),
            Happened::Lost { why, again_in } => self.tell(Told::Lost { why, again_in }),
            Happened::Refused(words) => return Some(Outcome::Refused(words)),
            Happened::NoWay(error) => return Some(Outcome::NoWay(error)),
            Happened::Nothing => {}
        }
        None
    }

    /// Ends the tracks, and waits until the node has read them.
    async fn finish(self) -> Outcome<W::Error> {
        let done = match self.ended {
            Some(Ended::Refused(words) | Ended::Broken(words)) => Outcome::Input(words),
            Some(Ended::Done) | None => Outcome::Done,
        };
        let Some((client, broadcast)) = self.line.finish() else {
            return done;
        };
        let closed = timeout(FINISH_WITHIN, client.closed()).await;
        drop(broadcast);
        client.close().await;
        match (closed, done) {
            (Ok(Closed::Refused(words)), Outcome::Done) => Outcome::Refused(words),
            (Ok(Closed::Lost(_)) | Err(_), Outcome::Done) => Outcome::Unconfirmed,
            (_, done) => done,
        }
    }

    fn tell(&self, told: Told) {
        // Nobody listens, or is behind: it is for people.
        let _ = self.told.try_send(told);
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
