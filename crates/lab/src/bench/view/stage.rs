//! What viewers watch: two edges, an event whose cameras publish at the one, viewers at the other, and
//! lines of any length between them.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use api::client::Client;
use api::live::{CreateStreamKey, WatchEvent, WatchTicket};
use logic::view::{Form, forms, seats};
use model::{AppName, Bitrate, RenditionName};
use tokio::time::timeout;

use super::watcher::{Carried, Common};
use crate::arena::{self, CameraState, Publisher, Settings};
use crate::bench::Progress;
use crate::bench::cache_dir;
use crate::bench::cloud::{Cloud, Emulation};
use crate::bench::usage::Usage;
use crate::follower::Follower;

use crate::wan::{Link, Proxy, Wan};

/// Cameras publish at the stage, viewers enter at the hall. They are 1,350 km apart, which the
/// emulated network makes 30 ms there and back.
const SITES: &str = "
[[site]]
name = 'stage'
lat = 50.0
lon = 8.0
[[site]]
name = 'hall'
lat = 50.0
lon = 26.9
";

/// What the event is called here.
const EVENT: &str = "bench-view";

/// How long cameras may take to come on air, and a viewer to come in.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// How often we look.
const LOOK: Duration = Duration::from_millis(50);

/// A cloud with an event on air.
pub(super) struct Stage {
    cloud: Cloud,
    event: AppName,
    publisher: Publisher,
    wan: Wan,
    pub(super) cameras: usize,
}

impl Stage {
    /// Puts an event on air. Its cameras are rendered if they never were.
    pub(super) async fn open(settings: &Settings, progress: Progress<'_>) -> anyhow::Result<Self> {
        let footage = prepare(settings, progress)?;
        progress("starting a center and two edges");
        let cloud = Cloud::start(SITES, Emulation::On).await?;
        let text = arena::manifest(&footage);
        let kind = "kind = \"live\"\n";
        if !text.contains("name = \"arena\"\n") || !text.contains(kind) {
            bail!("the manifest of the arena does not look as it did");
        }
        let text = text
            .replace("name = \"arena\"\n", &format!("name = \"{EVENT}\"\n"))
            .replace(kind, &format!("{kind}renditions = []\n"));
        cloud.publish(&text).await?;
        let event: AppName = EVENT.parse()?;
        let client = cloud.client();
        let key = client
            .create_stream_key(&event, &CreateStreamKey::default())
            .await?;
        let live = client.live(&event).await?;
        let mut ingest = live.ingest.into_iter();
        let stage = ingest.find(|it| it.site.as_str() == "stage");
        let rtmp = stage
            .and_then(|it| it.rtmp)
            .context("the stage takes RTMP")?;
        let target = |camera: &arena::Camera| format!("{rtmp}/{}/{}", camera.name, key.key);
        let publisher = Publisher::start(&footage, target, 1)?;
        let stage = Self {
            cameras: footage.cameras.len(),
            cloud,
            event,
            publisher,
            wan: Wan::start(1)?,
        };
        let on_air = timeout(WAIT_MAX, stage.on_air()).await;
        on_air.with_context(|| format!("no cameras: {}", stage.said()))??;
        Ok(stage)
    }

    /// Waits until all cameras are on air at their full rate.
    async fn on_air(&self) -> anyhow::Result<()> {
        loop {
            let live = self.cloud.client().live(&self.event).await?;
            let status = live.cameras.iter().filter_map(|it| it.status.as_ref());
            let going = status.filter(|it| it.frames_per_second > 25.0);
            if going.count() == self.cameras {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the first camera that does not send says of it.
    fn said(&self) -> String {
        let states = (0..self.cameras).filter_map(|it| self.publisher.state(it));
        let mut states = states.map(|it| it.borrow().clone());
        states
            .find_map(|it| match it {
                CameraState::Waiting { why } => Some(why),
                _ => None,
            })
            .unwrap_or_else(|| "they send, and nobody takes them".to_owned())
    }

    /// What the viewers of one run have in common. They find nothing of an earlier run at their entry.
    pub(super) async fn common(&self, round_trip: Duration) -> anyhow::Result<Common> {
        let ticket = self.ticket(self.cloud.client()).await?;
        // There is no other form, so its size decides nothing.
        let source = Form {
            name: RenditionName::source(),
            height: 720,
            bitrate: Bitrate::kbps(3_000),
        };
        Ok(Common {
            seats: seats(&ticket.event).into(),
            forms: forms(&ticket.event, Some(source)).into(),
            round_trip,
            carried: Arc::new(Carried::default()),
        })
    }

    async fn ticket(&self, client: &Client) -> anyhow::Result<WatchTicket> {
        let watch = WatchEvent {
            terminal: model::Terminal {
                network: Some("dev:hall".parse()?),
                position: Some(model::Position::new(50.0, 26.9)?),
                ..model::Terminal::default()
            },
            lost_entry: None,
        };
        let ticket = client.watch(&self.event, &watch).await?;
        if ticket.entry.site.as_str() != "hall" {
            bail!("viewers are sent to {}", ticket.entry.site);
        }
        Ok(ticket)
    }

    /// A line from viewers to their entry, and one to the center.
    pub(super) fn line(&self, link: Link) -> anyhow::Result<Road> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let hall = self.cloud.site("hall")?.address;
        let center = self.cloud.center();
        let center = center
            .strip_prefix("http://")
            .context("the center speaks HTTP")?;
        let center: SocketAddr = center.trim_end_matches('/').parse()?;
        Ok(Road {
            entry: self.wan.proxy(any, Some(hall), link)?,
            center: self.wan.proxy(any, Some(center), link)?,
        })
    }

    /// A viewer who comes in over a line, from the wish to watch on. Asks the center first, as
    /// the viewer page does.
    pub(super) async fn enter(&self, road: &Road) -> anyhow::Result<Follower> {
        let client = Client::new(&format!("http://{}", road.center.address()), None)?;
        let entry = road.entry.address();
        let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let enter = async {
            let ticket = self.ticket(&client).await?;
            anyhow::Ok(Follower::enter(&endpoint, &ticket, entry).await?)
        };
        timeout(WAIT_MAX, enter).await.context("no way in")?
    }

    /// Viewers who come in from a few sockets, without a line before the entry.
    pub(super) async fn door(&self) -> anyhow::Result<Door> {
        Ok(Door {
            ticket: self.ticket(self.cloud.client()).await?,
            entry: self.cloud.site("hall")?.address,
        })
    }

    /// What the edge takes that viewers enter at.
    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        self.cloud.site("hall")?.usage()
    }

    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        self.publisher.shutdown().await;
        self.cloud.stop().await
    }
}

/// What is between a viewer and the cloud.
pub(super) struct Road {
    pub(super) entry: Proxy,
    center: Proxy,
}

/// The entry itself.
pub(super) struct Door {
    ticket: WatchTicket,
    entry: SocketAddr,
}

impl Door {
    pub(super) async fn enter(&self, endpoint: &quinn::Endpoint) -> anyhow::Result<Follower> {
        let enter = Follower::enter(endpoint, &self.ticket, self.entry);
        Ok(timeout(WAIT_MAX, enter).await.context("no way in")??)
    }
}

/// The cameras' files.
fn prepare(settings: &Settings, progress: Progress<'_>) -> anyhow::Result<arena::Event> {
    let name = if *settings == Settings::default() {
        "arena".to_owned()
    } else {
        format!("bench-arena-{}", settings.height)
    };
    let dir = cache_dir()?.join(name);
    let mut told = Instant::now();
    let (tx, rx) = std::sync::mpsc::sync_channel(1);
    let event = std::thread::scope(|scope| {
        let rendering = scope.spawn(move || {
            arena::prepare(&dir, settings, &mut |now| {
                if told.elapsed() > Duration::from_secs(10) && now.done < now.total {
                    told = Instant::now();
                    // Whoever listens may be behind: the next one will do.
                    let _ = tx.try_send(now.done * 100 / now.total);
                }
                ControlFlow::Continue(())
            })
        });
        for percent in rx {
            progress(&format!("rendering the cameras, once: {percent} %"));
        }
        rendering.join().expect("rendering does not panic")
    });
    Ok(event?)
}
