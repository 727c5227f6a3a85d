//! Tells linked nodes how busy this one is, and hears it of them: what a link costs depends on both of
//! its ends, and the center need not be there.
//!
//! A node's word is one byte, the percentage of its cores in use, in the newest group of the track
//! [`TRACK`] of a broadcast that only nodes can see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use logic::routing::Load;
use model::NodeId;
use relay::priority;
use relay::publish::{Broadcast, Place, PublishError, Track, TrackOptions};
use relay::subscribe::{Preferences, Subscription};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::shared::Shared;

const TRACK: &str = "load";

/// The newest is all that counts.
const NEWEST: Preferences = Preferences {
    priority: priority::CURSOR,
    max_age: Duration::ZERO,
};

/// A node that is linked and says nothing for this long is asked again.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(5);

/// Between two tries to hear a node.
const PAUSE: Duration = Duration::from_secs(2);

/// Below a hidden segment: no grant of a terminal names it.
fn path(node: NodeId) -> String {
    format!(".node/{node}")
}

/// This node's own load.
pub(crate) struct OwnLoad {
    load: Load,
    looked: Instant,
    out: Option<Out>,
}

struct Out {
    track: Track,
    _broadcast: Broadcast,
}

impl OwnLoad {
    pub(crate) fn new(shared: &Shared) -> Self {
        let out = Out::open(shared)
            .inspect_err(|error| warn!(%error, "other nodes will not hear how busy this one is"));
        Self {
            load: Load::default(),
            looked: Instant::now(),
            out: out.ok(),
        }
    }

    /// Takes in the share of the cores in use since the last look, and tells who listens.
    pub(crate) fn handle_look(&mut self, share: f64, now: Instant) {
        let over = now.saturating_duration_since(self.looked);
        self.looked = now;
        self.load.handle_look(share, over);
        let told = self.load.poll_tell();
        if let (Some(share), Some(out)) = (told, &mut self.out)
            && let Err(error) = out.tell(share)
        {
            warn!(%error, "other nodes do not hear how busy this one is");
            self.out = None;
        }
    }

    /// Smoothed, 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        self.load.share()
    }
}

impl Out {
    fn open(shared: &Shared) -> Result<Self, PublishError> {
        let broadcast = shared.relay.publish(&path(shared.node_id))?;
        let options = TrackOptions {
            priority: priority::CURSOR,
            keep: Duration::ZERO,
        };
        let track = broadcast.track(TRACK, options)?;
        broadcast.announce()?;
        Ok(Self {
            track,
            _broadcast: broadcast,
        })
    }

    fn tell(&mut self, share: f64) -> Result<(), PublishError> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share is within 0 and 1"
        )]
        let percent = (share * 100.0).round() as u8;
        let payload = Bytes::copy_from_slice(&[percent]);
        self.track.write(Place::NewGroup, Duration::ZERO, payload)?;
        self.track.finish_group();
        Ok(())
    }
}

/// Keeps `load` at what `node` says of itself, 0 to 1, until `stop`; at 0 while nothing is heard. A
/// loop to be spawned.
pub(crate) async fn hear(
    shared: Arc<Shared>,
    node: NodeId,
    load: watch::Sender<f64>,
    stop: CancellationToken,
) {
    let path = path(node);
    let hearing = async {
        loop {
            let asked = shared.relay.subscribe(&path, TRACK, NEWEST);
            if let Ok(Ok(said)) = tokio::time::timeout(SUBSCRIBE_MAX, asked).await {
                listen(said, &load).await;
                load.send_replace(0.0);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    // Told to stop, it has nothing to say.
    let _ = stop.run_until_cancelled(hearing).await;
}

/// Ends with the subscription. What cannot be a percentage is nothing that a node of ours says.
async fn listen(mut said: Subscription, load: &watch::Sender<f64>) {
    while let Ok(Some(frame)) = said.next().await {
        match frame.payload[..] {
            [percent @ 0..=100] => load.send_replace(f64::from(percent) / 100.0),
            _ => return,
        };
    }
}
