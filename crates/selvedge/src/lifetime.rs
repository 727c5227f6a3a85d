//! How long a service lives: until a signal, or until its supervisor is gone.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{Ending, Told};
use crate::output::say;

/// How long a service may take to stop, a little less than the five seconds we promise. What it
/// still holds then dies with the process.
const STOP_WAIT: Duration = Duration::from_millis(4_500);

/// What ends a service apart from signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supervision {
    /// Nothing else.
    None,
    /// Its stdin: closed when whoever started it is gone, however that came about.
    Stdin,
}

/// Runs a service on a runtime of its own until it ends or is told to. A second signal ends it at
/// once.
pub(crate) fn run<F>(
    supervision: Supervision,
    service: impl FnOnce(CancellationToken) -> F,
) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let stop = CancellationToken::new();
        let mut service = std::pin::pin!(service(stop.clone()));
        tokio::select! {
            outcome = &mut service => return outcome,
            () = signals.next() => {}
            () = supervisor_gone(supervision) => {}
        }
        stop.cancel();
        tokio::select! {
            outcome = &mut service => outcome,
            () = signals.next() => Err(forced("a second signal came").into()),
            () = tokio::time::sleep(STOP_WAIT) => {
                Err(forced(&format!("it took longer than {STOP_WAIT:?}")).into())
            }
        }
    });
    // A thread may sit in a read of stdin that nothing ends.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// The signals that mean "stop".
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes the signals over; until then they end the process.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let take = |kind| signal(kind).context("take over signals");
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
            hang_up: take(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

async fn supervisor_gone(supervision: Supervision) {
    match supervision {
        Supervision::None => std::future::pending().await,
        Supervision::Stdin => {
            let mut stdin = tokio::io::stdin();
            let mut buffer = [0; 64];
            while let Ok(1..) = stdin.read(&mut buffer).await {}
            say("selvedge: the supervisor is gone, stopping");
        }
    }
}

fn forced(why: &str) -> Told {
    Told::new(Ending::Failed, format!("stopped without tidying up: {why}"))
        .hint("the next start in the same data directory tidies up")
}
