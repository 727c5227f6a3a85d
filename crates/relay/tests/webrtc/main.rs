//! WebRTC sessions against another implementation's end of them: the library's own machine, over real
//! sockets, with clocks that the test knows.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod native;
mod play;
mod publish;
mod strangers;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use relay::webrtc::WebRtc;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long anything may take on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(20);

/// A hub with its socket.
struct Node {
    webrtc: WebRtc,
    address: SocketAddr,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Node {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let webrtc = WebRtc::new(socket, tracker.clone(), stop.clone()).unwrap();
        let run = webrtc.clone();
        tracker.spawn(async move { run.run().await });
        Self {
            webrtc,
            address,
            stop,
            tracker,
        }
    }

    /// Everything ends when it is told to.
    async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        soon("the node ends", self.tracker.wait()).await;
    }
}

async fn soon<T>(what: &str, it: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(LIMIT, it).await;
    waited.unwrap_or_else(|_| panic!("not in time: {what}"))
}
