//! Answers round-trip probes of terminals that have no ticket yet: echoes datagrams, grants nothing.

use std::time::Duration;

use tokio::time::timeout;
use web_transport_quinn::Session;

/// The address of the probe.
pub(crate) const PATH: &str = "/ping";

/// A probe is a handful of datagrams within seconds; whoever wants more is no probe.
const DATAGRAMS_MAX: usize = 64;
const LIFETIME: Duration = Duration::from_secs(30);

/// Echoes until the terminal goes or a limit is reached, then closes.
pub(crate) async fn echo(session: Session) {
    let _ = timeout(LIFETIME, async {
        for _ in 0..DATAGRAMS_MAX {
            let datagram = session.read_datagram().await?;
            session.send_datagram(datagram)?;
        }
        // The last echo must leave before the close does.
        session.closed().await;
        Ok::<_, web_transport_quinn::SessionError>(())
    })
    .await;
    session.close(0, b"done");
}
