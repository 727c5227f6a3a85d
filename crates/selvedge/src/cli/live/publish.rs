//! `selvedge live publish`: standard input becomes a camera.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use api::ErrorCode;
use api::client::{Client, ClientError};
use api::live::{PublishCamera, PublishWay, publish_path};
use clap::{Args, ValueEnum};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use logic::playout::Pace;
use model::{AppName, CameraName, SiteName, Terminal};
use relay::client::Door;
use relay::ingest::input::{self, Format};
use relay::ingest::{Admitted, Limits, Reordered};
use relay::media::publication;
use relay::publisher::{FindWay, Found, NoWay, Outcome, Publisher};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::client::ClientArgs;
use super::super::place::terminal_in;
use super::teller::Teller;
use crate::exit::{Ending, Told};
use crate::lifetime::{self, Supervision};
use crate::output::Output;

/// What waits to be told. Each is a line.
const TOLD_MAX: usize = 64;

/// The longest file with a key, in bytes.
const KEY_FILE_MAX: u64 = 4_096;

#[derive(Debug, Args)]
#[command(after_help = "\
Standard input is MPEG-TS or fragmented MP4, with H.264, AV1 or VP9 and AAC or Opus:
  ffmpeg -i … -c:v libx264 -bf 0 -g 30 -c:a aac -f mpegts - | selvedge live publish arena/north

A connection that is lost is made again, to wherever the center says then; viewers go on with the
next keyframe. It ends with its input, or when it is refused.")]
pub(crate) struct PublishArgs {
    /// The event and its camera
    #[arg(value_name = "EVENT/CAMERA")]
    camera: Named,
    /// The stream key. As a flag others on this machine can read it: better a variable or a file
    #[arg(
        long,
        visible_alias = "key",
        env = "SELVEDGE_STREAM_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    stream_key: Option<String>,
    /// A file with the stream key in it, which counts before all else
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// What standard input is
    #[arg(long, value_enum, default_value_t = Container::Auto)]
    format: Container,
    /// Whether to play it at the pace of its timestamps
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Realtime::Auto)]
    realtime: Realtime,
    /// Publish to this site. Default: the nearest
    #[arg(long, value_name = "SITE")]
    to: Option<SiteName>,
    /// The place this camera is in, such as Berlin
    #[arg(long)]
    place: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// `event/camera`.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) event: AppName,
    pub(super) camera: CameraName,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.event, self.camera)
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (event, camera) = text
            .split_once('/')
            .ok_or("write the event and its camera, such as arena/north")?;
        Ok(Self {
            event: event.parse().map_err(|error| format!("{error}"))?,
            camera: camera.parse().map_err(|error| format!("{error}"))?,
        })
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Container {
    /// Told by how it begins
    Auto,
    /// MPEG-TS, even if it begins in the middle of a packet
    Ts,
    /// Fragmented MP4
    Mp4,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Realtime {
    /// A file yes; a pipe is sent as it comes, and held only when it is 2 s ahead of time
    Auto,
    /// Yes
    Always,
    /// No: a pipe, whatever it is
    Never,
}

impl PublishArgs {
    pub(crate) fn run(self, output: Output) -> anyhow::Result<ExitCode> {
        if io::stdin().is_terminal() {
            let told = Told::new(Ending::Usage, "standard input is a terminal");
            return Err(told
                .hint("pipe a camera into it: ffmpeg … -f mpegts - | selvedge live publish …")
                .into());
        }
        lifetime::run(Supervision::None, |stop| self.publish(output, stop))
    }

    async fn publish(self, output: Output, stop: CancellationToken) -> anyhow::Result<()> {
        let key = self.key()?;
        let pace = self.pace();
        let client = self.client.connect()?.with_token(&*key);
        let terminal = match &self.place {
            Some(place) => terminal_in(&client, place).await?,
            None => Terminal::default(),
        };
        let way = Arc::new(Mutex::new(None));
        let ways = Ways {
            client,
            event: self.camera.event.clone(),
            ask: PublishCamera {
                camera: self.camera.camera.clone(),
                terminal,
                site: self.to,
                lost_entry: None,
            },
            key,
            way: Arc::clone(&way),
        };
        let (told, mut happened) = mpsc::channel(TOLD_MAX);
        let (sink, input) = publication();
        // The node decides; here only what nobody could carry is refused.
        let limits = Limits {
            group_max: std::time::Duration::from_secs(10),
            bitrate_max: model::Bitrate::kbps(1_000_000),
            reordered: Reordered::Taken,
            ..Limits::default()
        };
        let format = match self.format {
            Container::Auto => None,
            Container::Ts => Some(Format::Ts),
            Container::Mp4 => Some(Format::Mp4),
        };
        let tasks = TaskTracker::new();
        let reading = stop.child_token();
        let _reading_ends = reading.clone().drop_guard();
        let admitted = Admitted { sink, limits };
        tasks.spawn(input::read(tokio::io::stdin(), format, admitted, reading));
        let publisher = Publisher {
            ways,
            pace,
            told,
            stop,
        };
        let mut teller = Teller::new(output, self.camera.clone(), way);
        let mut running = std::pin::pin!(publisher.run(input));
        let outcome = loop {
            tokio::select! {
                outcome = &mut running => break outcome,
                Some(happened) = happened.recv() => teller.tell(&happened)?,
            }
        };
        while let Ok(happened) = happened.try_recv() {
            teller.tell(&happened)?;
        }
        teller.end();
        ended(outcome, &self.camera)
    }

    fn key(&self) -> anyhow::Result<String> {
        let Some(file) = &self.key_file else {
            if let Some(key) = &self.stream_key {
                return Ok(key.trim().to_owned());
            }
            let told = Told::new(Ending::Usage, "there is no stream key");
            return Err(told
                .hint(format!(
                    "`selvedge live key create {}` makes one; give it as SELVEDGE_STREAM_KEY or by --key-file",
                    self.camera.event
                ))
                .into());
        };
        let read = || -> io::Result<String> {
            if fs::metadata(file)?.len() > KEY_FILE_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            fs::read_to_string(file)
        };
        let key = read().with_context(|| format!("read the stream key from {}", file.display()))?;
        Ok(key.trim().to_owned())
    }

    fn pace(&self) -> Pace {
        let recorded = match self.realtime {
            Realtime::Always => true,
            Realtime::Never => false,
            Realtime::Auto => is_file(),
        };
        if recorded { Pace::Recorded } else { Pace::Live }
    }
}

/// Whether standard input is a file, which can be read as fast as the disk.
fn is_file() -> bool {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let metadata = stdin.and_then(|it| File::from(it).metadata());
    metadata.is_ok_and(|it| it.is_file())
}

fn ended(outcome: Outcome<anyhow::Error>, camera: &Named) -> anyhow::Result<()> {
    let event = &camera.event;
    let told = match outcome {
        Outcome::Done => return Ok(()),
        Outcome::NoWay(error) => return Err(error),
        Outcome::Unconfirmed => Told::new(
            Ending::Failed,
            "the input is over, but the node did not say that it has all of it",
        )
        .hint(format!("`selvedge live status {event}` shows how it is")),
        Outcome::Input(words) => Told::new(Ending::Failed, format!("standard input: {words}"))
            .hint("`selvedge live publish --help` shows what is taken"),
        Outcome::Refused(words) => {
            Told::new(Ending::Refused, format!("{camera} is refused: {words}"))
                .hint(format!("`selvedge live status {event}` shows its cameras"))
        }
    };
    Err(told.into())
}

/// Asks the center.
struct Ways {
    client: Client,
    event: AppName,
    ask: PublishCamera,
    key: String,
    /// The last one.
    way: Arc<Mutex<Option<PublishWay>>>,
}

impl Ways {
    async fn ask(&self, lost: bool) -> Result<Found, NoWay<anyhow::Error>> {
        let last = self.lock().clone();
        let last_node = last.as_ref().map(|it| it.entry.node);
        let ask = PublishCamera {
            lost_entry: last_node.filter(|_| lost),
            ..self.ask.clone()
        };
        let way = match (self.client.publish(&self.event, &ask).await, last) {
            (Ok(way), _) => way,
            // The center is away: the node may be there nevertheless.
            (Err(ClientError::Unreachable { .. }), Some(last)) => last,
            (Err(error), _) if may_change(&error) => return Err(NoWay::Later(error.into())),
            (Err(error), _) => return Err(NoWay::Never(error.into())),
        };
        let pin = way.entry.certificate_sha256.as_deref();
        let tls = mesh::tls::entry_client(pin);
        let tls = tls.map_err(|error| NoWay::Never(error.into()))?;
        let found = Found {
            door: Door {
                address: way.entry.address.clone(),
                path: publish_path(&self.event, &self.ask.camera, &self.key),
                tls,
            },
            broadcast: way.broadcast.clone(),
        };
        *self.lock() = Some(way);
        Ok(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<PublishWay>> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FindWay for Ways {
    type Error = anyhow::Error;

    fn find(&self, lost: bool) -> BoxFuture<'_, Result<Found, NoWay<anyhow::Error>>> {
        self.ask(lost).boxed()
    }
}

/// Whether asking again may be answered otherwise.
fn may_change(error: &ClientError) -> bool {
    match error.code() {
        Some(code) => matches!(
            code,
            ErrorCode::Unavailable | ErrorCode::NoPlace | ErrorCode::Internal
        ),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_named_with_its_event() {
        let named: Named = "arena/north".parse().unwrap();
        assert_eq!(named.to_string(), "arena/north");
        for wrong in ["arena", "", "/", "arena/", "/north", "a/b/c", "Arena/north"] {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_may_change_is_asked_again() {
        let refused = |code| {
            ClientError::Refused(api::error::ErrorDetail {
                code,
                message: String::new(),
                hint: None,
            })
        };
        assert!(may_change(&refused(ErrorCode::NoPlace)));
        assert!(!may_change(&refused(ErrorCode::Unauthorized)));
        assert!(!may_change(&refused(ErrorCode::NotFound)));
    }
}
