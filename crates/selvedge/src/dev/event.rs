//! The demo event: its cameras are rendered once, and from then on publish as real ones do.

use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use api::client::Client;
use api::live::CreateStreamKey;
use lab::arena::{self, Event, Publisher, Settings};
use model::AppName;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::report::Reporter;
use crate::current;

/// Its name, as in `apps/`.
pub(super) const NAME: &str = "arena";

/// Whose keys are ours.
const LABEL: &str = "selvedge dev";

/// Which offsets the cameras' clocks have.
const SEED: u64 = 1;

/// How often we look whether the edge that takes the cameras is where it was.
const LOOK: Duration = Duration::from_secs(2);

/// Rendering takes what others leave: who tries an app meanwhile shall not notice.
const NICENESS: i32 = 15;

/// Progress is told this often, in percent.
const TOLD_EVERY: u32 = 20;

/// Renders the cameras if that was not done yet, then has them publish until `stop`.
pub(super) async fn run(reporter: Reporter, client: Client, stop: CancellationToken) {
    if let Err(error) = publish(reporter, &client, &stop).await {
        reporter.warning(&format!("no cameras for {NAME}: {error:#}"));
    }
}

async fn publish(
    reporter: Reporter,
    client: &Client,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Some(event) = render(reporter, stop.clone()).await? else {
        return Ok(());
    };
    let name: AppName = NAME.parse().context("read the name of the event")?;
    let key = key(client, &name).await?;
    let mut running: Option<(String, Publisher)> = None;
    loop {
        // An edge that died comes back at another port, or another one takes the cameras.
        let address = address(client, &name).await;
        let same = running.as_ref().map(|it| &it.0) == address.as_ref();
        if !same && let Some(address) = address {
            if let Some((_, before)) = running.take() {
                before.shutdown().await;
            }
            let target = |camera: &arena::Camera| format!("{address}/{}/{key}", camera.name);
            let publisher = Publisher::start(&event, target, SEED)?;
            let cameras = event.cameras.len();
            reporter.step(NAME, &format!("{cameras} cameras publish to {address}"));
            running = Some((address, publisher));
        }
        let wait = tokio::time::sleep(LOOK);
        if stop.run_until_cancelled(wait).await.is_none() {
            break;
        }
    }
    if let Some((_, publisher)) = running {
        publisher.shutdown().await;
    }
    Ok(())
}

/// Renders what is not there yet; nothing when it was stopped.
async fn render(reporter: Reporter, stop: CancellationToken) -> anyhow::Result<Option<Event>> {
    let cache = current::cache_dir().context("neither HOME nor XDG_CACHE_HOME is set")?;
    let dir = cache.join(NAME);
    std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let (done, rendered) = oneshot::channel();
    let work = move || {
        // Of this thread and those that it starts. Who may not be nicer is no worse off.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        let mut told = 0;
        let mut progress = |it: arena::Progress| {
            let percent = it.done * 100 / it.total.max(1);
            if percent >= told && percent < 100 {
                told = percent / TOLD_EVERY * TOLD_EVERY + TOLD_EVERY;
                let detail = format!("rendering its cameras, once: {percent} %");
                reporter.step(NAME, &detail);
            }
            if stop.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let event = arena::prepare(&dir, &Settings::default(), &mut progress);
        // Who waited may be gone.
        let _ = done.send((event, stop.is_cancelled()));
    };
    thread::Builder::new()
        .name("arena".into())
        .spawn(work)
        .context("start a thread")?;
    match rendered.await.context("rendering broke off")? {
        (Ok(event), _) => Ok(Some(event)),
        (Err(_), true) => Ok(None),
        (Err(error), false) => Err(error).context("render the cameras"),
    }
}

/// A key of our own; those of an earlier run are of no more use.
async fn key(client: &Client, event: &AppName) -> anyhow::Result<String> {
    for old in client.stream_keys(event).await?.items {
        if old.label == LABEL {
            client.revoke_stream_key(event, &old.id).await?;
        }
    }
    let create = CreateStreamKey {
        label: LABEL.to_owned(),
        camera: None,
    };
    Ok(client.create_stream_key(event, &create).await?.key)
}

/// Where the cameras publish to: all to one edge, as from one place.
async fn address(client: &Client, event: &AppName) -> Option<String> {
    let view = client.live(event).await.ok()?;
    let mut ways: Vec<_> = view
        .ingest
        .into_iter()
        .filter_map(|it| Some((it.site, it.rtmp?)))
        .collect();
    // Always the same one while it is there.
    ways.sort();
    ways.into_iter().map(|(_, address)| address).next()
}
