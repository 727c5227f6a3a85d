//! A way to a node that takes its time, carries so much, and can go dark.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

/// What a road is like in each direction.
#[derive(Clone, Copy)]
pub(crate) struct Quality {
    pub delay: Duration,
    /// Bytes a millisecond; a packet waits at most 200 ms for its turn.
    pub bytes_per_ms: Option<u32>,
}

pub(crate) struct Road {
    pub address: SocketAddr,
    dark: Arc<AtomicBool>,
}

impl Road {
    pub(crate) async fn to(node: SocketAddr, quality: Quality) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        far.connect(node).await.unwrap();
        let road = Self {
            address: near.local_addr().unwrap(),
            dark: Arc::default(),
        };
        let tasks = TaskTracker::new();
        let (terminal_is, terminal) = watch::channel(None);
        let up = road.lane(&tasks, quality, {
            let far = far.clone();
            move |packet| drop(far.try_send(&packet))
        });
        let down = road.lane(&tasks, quality, {
            let near = near.clone();
            move |packet| {
                if let Some(terminal) = *terminal.borrow() {
                    drop(near.try_send_to(&packet, terminal));
                }
            }
        });
        tasks.spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok((size, from)) = near.recv_from(&mut buffer).await {
                terminal_is.send_replace(Some(from));
                let _ = up.try_send((Instant::now(), buffer[..size].to_vec()));
            }
        });
        tasks.spawn(async move {
            let mut buffer = vec![0; 65_536];
            loop {
                // Reports of closed ports are errors here, and pass.
                if let Ok(size) = far.recv(&mut buffer).await {
                    let _ = down.try_send((Instant::now(), buffer[..size].to_vec()));
                }
            }
        });
        road
    }

    pub(crate) fn go_dark(&self) {
        self.dark.store(true, Ordering::Relaxed);
    }

    fn lane(
        &self,
        tasks: &TaskTracker,
        quality: Quality,
        send: impl Fn(Vec<u8>) + Send + 'static,
    ) -> mpsc::Sender<(Instant, Vec<u8>)> {
        let (tx, mut rx) = mpsc::channel::<(Instant, Vec<u8>)>(10_000);
        let dark = self.dark.clone();
        tasks.spawn(async move {
            let mut free = Instant::now();
            while let Some((at, packet)) = rx.recv().await {
                free = free.max(at);
                if free - at > Duration::from_millis(200) || dark.load(Ordering::Relaxed) {
                    continue;
                }
                if let Some(rate) = quality.bytes_per_ms {
                    let size = u32::try_from(packet.len()).unwrap();
                    free += Duration::from_micros(u64::from(size) * 1_000 / u64::from(rate));
                }
                sleep_until(free + quality.delay).await;
                send(packet);
            }
        });
        tx
    }
}
