//! Cameras that come in as media sessions: each publishes into a table of its own, which this node
//! alone reads.

use moq_net::server::Handshake;
use moq_net::{SessionError as CloseCode, cache, origin, transport};
use tokio::time::timeout;
use tracing::info;

use crate::access::{CameraGrant, Scope, patterns};
use crate::client::DONE;
use crate::connections::Live;
use crate::ingest::moq::{End, take};
use crate::media::Published;
use crate::relay::{CLOSE_MAX, Relay};
use crate::server::AcceptError;

/// What is kept of one camera while it is read: the group that is open, and the one before. The
/// newest group of each track stays whatever its size; the library caps it at 32 MiB.
const CACHE_CAPACITY: u64 = 16 << 20;

impl Relay {
    /// Takes what a camera publishes, until it ends or may not go on. `transport` is what the
    /// handshake went over: closing it is how words reach the publisher.
    pub(crate) async fn admit_camera<S: transport::poll::Session>(
        &self,
        live: Live,
        mut transport: S,
        handshake: Handshake<S>,
        camera: CameraGrant,
    ) -> Result<(), AcceptError> {
        let CameraGrant { path, admitted } = camera;
        let mut settings = origin::Config::new(moq_net::Hop::random());
        settings.pool = cache::Pool::new(cache::Config::default().with_capacity(CACHE_CAPACITY));
        let (table, driver) = origin::Producer::new(settings);
        let mine = patterns(&[Scope::Exactly(path.clone())]).ok_or(AcceptError::NoPath)?;
        let (session, session_driver) = handshake
            .with_subscriber(table.scope("", &mine)?)
            .ok()
            .await?;
        let (label, remote) = (live.label.clone(), live.remote);
        let reading = async {
            tokio::select! {
                end = take(table.consume(), &path, &admitted) => end,
                _ = moq_net::time::run(driver) => End::Broken("this node is going down".into()),
                () = self.inner.stop.cancelled() => End::Broken("this node is going down".into()),
            }
        };
        let end = {
            let mut reading = std::pin::pin!(reading);
            let mut running = std::pin::pin!(self.run(live, None, session, session_driver));
            tokio::select! {
                end = &mut reading => {
                    let (code, words) = farewell(&end);
                    transport.close(code.to_code(), &words);
                    running.await;
                    end
                }
                // What has arrived is read to its end.
                () = &mut running => timeout(CLOSE_MAX, reading)
                    .await
                    .unwrap_or_else(|_| End::Broken("the connection ended".into())),
            }
        };
        info!(label, %remote, ?end, "MoQ publisher is gone");
        // Nobody may be there to hear it.
        let _ = admitted.sink.send(Published::Ended(end.ended())).await;
        Ok(())
    }
}

/// How the publisher is told.
fn farewell(end: &End) -> (CloseCode, String) {
    match end {
        End::Done => (CloseCode::Cancel, DONE.to_owned()),
        End::Refused(why) => (CloseCode::Unauthorized, why.to_string()),
        End::Broken(why) => (CloseCode::Internal, why.clone()),
    }
}
