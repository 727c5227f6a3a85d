//! `selvedge dev`: a small cloud on this machine, to try and to test.
//!
//! A center and an edge for each site run as real child processes of this program. Between the
//! cities of the world and the sites, and between the sites, lies an emulated network (`lab::wan`):
//! every site has a door for every place, as far away as the place is. Center and edges know
//! nothing of it: to them these are endpoints for access networks, as an operator has them.
//!
//! **Invariant:** no child outlives this process, however it ends. Children stop when their stdin
//! is closed, and the system closes it when we are gone.

mod apps;
mod child;
mod event;
mod keeper;
mod network;
mod report;
mod role;
mod scratch;
mod sites;
mod start;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::runtime::Builder;

use crate::exit::Ending;
use crate::lifetime::Signals;
use crate::output::{Output, say};
use keeper::Event;
use report::Reporter;
use start::Cloud;

/// How long everything may take to end. The children may take four seconds of it.
const STOP_WAIT: Duration = Duration::from_millis(4_800);

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Keep everything here. Default: a temporary directory, removed at the end
    #[arg(
        long,
        env = "SELVEDGE_DATA_DIR",
        value_name = "DIR",
        hide_env_values = true
    )]
    data_dir: Option<PathBuf>,
    /// Where the center listens
    #[arg(
        long,
        env = "SELVEDGE_LISTEN",
        value_name = "ADDRESS",
        hide_env_values = true
    )]
    #[arg(default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Sites in TOML: [[site]] with name, title, lat, lon; cities need only a name. Default:
    /// Shanghai, Frankfurt, São Paulo
    #[arg(
        long,
        env = "SELVEDGE_SITES",
        value_name = "FILE",
        hide_env_values = true
    )]
    sites: Option<PathBuf>,
    /// Let everyone reach every site at once, without the emulated network
    #[arg(long)]
    no_emulation: bool,
    /// Publish no cameras to the demo event. They take a sixth of a core, and some minutes of what
    /// others leave to be rendered at the first start
    #[arg(long)]
    no_event: bool,
    /// Leave a center or edge dead that died
    #[arg(long)]
    no_restart: bool,
    /// What center and edges log, as in `info,edge=debug`. Default: info
    #[arg(
        long,
        env = "SELVEDGE_LOG",
        value_name = "FILTER",
        hide_env_values = true
    )]
    log: Option<String>,
}

/// Runs a small cloud until a signal comes.
pub(crate) fn run(args: DevArgs, output: Output) -> anyhow::Result<ExitCode> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let outcome = runtime.block_on(live(args, Reporter::new(output)));
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn live(args: DevArgs, reporter: Reporter) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let mut cloud = Cloud::new(args, reporter).await?;
    let outcome = tokio::select! {
        outcome = serve(&mut cloud, reporter) => outcome,
        () = signals.next() => Ok(()),
    };
    let mut stopping = std::pin::pin!(cloud.stop());
    let in_order = tokio::select! {
        in_order = &mut stopping => in_order,
        () = signals.next() => {
            say("selvedge: a second signal came, killing what still runs");
            false
        }
        () = tokio::time::sleep(STOP_WAIT) => false,
    };
    if !in_order {
        cloud.kill().await;
    }
    outcome?;
    Ok(if in_order {
        ExitCode::SUCCESS
    } else {
        Ending::Failed.into()
    })
}

async fn serve(cloud: &mut Cloud, reporter: Reporter) -> anyhow::Result<()> {
    let _announced = cloud.start().await?;
    loop {
        match cloud.next_event().await {
            Event::Ready {
                name,
                pid,
                restarts,
                ..
            } => reporter.restarted(&name, pid, restarts)?,
            Event::Exited {
                name,
                pid,
                why,
                log,
                next,
            } => reporter.exited(&name, pid, &why, &log, next)?,
        }
    }
}
