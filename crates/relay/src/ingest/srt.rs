//! SRT: MPEG-TS over UDP with repeats, for cameras on lines that lose packets. The stream id names
//! camera and key: `publish:<event>/<camera>:<key>`.
//!
//! SRT has no place for words. Who is refused gets a number that its tools show, as HTTP has them
//! (400: the stream id names no camera; 403: refused; 503: not now); the words are in our log, and
//! in the publication's end if there was a publication.
//!
//! The library stays inside this file and is exactly pinned: see `docs/adr`.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sapflow_srt::crypto::{CryptoConfig, KeySize};
use sapflow_srt::{CloseReason, Config, ConnId, Event, Listener, RejectCode};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::address::Address;
use super::ts::Ts;
use super::{Admit, Admitted, Asked, Gateway, Limits};
use crate::access::Refusal;
use crate::media::{Ended, Published, Sink};

/// The port that tools use in their examples.
pub const PORT: u16 = 9_000;

/// Cameras at a time, as many as by RTMP.
const CONNECTIONS_MAX: usize = 256;

/// Handshakes answered a second: each camera needs two.
const HANDSHAKES_PER_SEC: u32 = 200;

/// Packets of one camera that wait for their time: 2 s at 40 Mbit/s.
const BUFFER_PACKETS: usize = 8_192;

/// Silence for so long is a broken connection.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// The decision may have to be fetched from the center. Below the time after which tools give up
/// by themselves there is no use in more.
const ADMIT_WITHIN: Duration = Duration::from_secs(3);

/// Packets between the socket and a camera's task, which takes them at once or is stuck: a second
/// at 10 Mbit/s.
const QUEUE: usize = 1_024;

/// Larger than any packet that is one.
const DATAGRAM_MAX: usize = 2_048;

/// How to take cameras.
#[derive(Clone)]
pub struct SrtConfig {
    /// How long a packet that was lost has to be sent again; a camera that asks for more gets more.
    /// Default 120 ms.
    pub latency: Duration,
    /// What cameras encrypt with, 10 to 79 bytes; without it nothing is encrypted, which they must
    /// then not try.
    pub passphrase: Option<String>,
}

impl Default for SrtConfig {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(120),
            passphrase: None,
        }
    }
}

/// A passphrase must have 10 to 79 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SRT passphrase does not have 10 to 79 bytes")]
pub struct InvalidPassphrase;

impl SrtConfig {
    fn listener(self) -> Result<Config, InvalidPassphrase> {
        let crypto = self.passphrase.map(|passphrase| {
            // What tools choose if they are not told.
            CryptoConfig::new(passphrase.into_bytes(), KeySize::Aes128)
        });
        let crypto = crypto.transpose().map_err(|_| InvalidPassphrase)?;
        Ok(Config {
            latency: self.latency,
            max_connections: CONNECTIONS_MAX,
            handshakes_per_second: HANDSHAKES_PER_SEC,
            buffer_packets: BUFFER_PACKETS,
            peer_idle: IDLE_MAX,
            accept_timeout: ADMIT_WITHIN + Duration::from_secs(1),
            require_encryption: crypto.is_some(),
            crypto,
            allow_plaintext: false,
        })
    }
}

/// A socket that cameras may publish to.
pub struct Srt {
    socket: UdpSocket,
    listener: Listener,
    admit: Arc<dyn Admit>,
    tracker: TaskTracker,
    stop: CancellationToken,
    cameras: BTreeMap<ConnId, Camera>,
    decided_tx: mpsc::Sender<Decided>,
    decided_rx: mpsc::Receiver<Decided>,
}

/// A camera whose publication is under way.
struct Camera {
    remote: SocketAddr,
    packets: mpsc::Sender<Packet>,
}

enum Packet {
    Data(Vec<u8>),
    Closed(Ended),
}

enum Decided {
    Admission(ConnId, SocketAddr, Result<Admitted, Refusal>),
    /// We end it: what came cannot be taken, or nobody takes it.
    Over(ConnId),
}

enum Next {
    Datagram(usize, SocketAddr),
    Failed(io::Error),
    Decided(Decided),
    Timer,
    Stop,
}

impl Srt {
    /// Prepares to take cameras on a socket.
    pub fn new(
        socket: UdpSocket,
        config: SrtConfig,
        admit: Arc<dyn Admit>,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, InvalidPassphrase> {
        // One for each camera's decision and one for its end.
        let (decided_tx, decided_rx) = mpsc::channel(2 * CONNECTIONS_MAX);
        Ok(Self {
            socket,
            listener: Listener::new(config.listener()?, Instant::now()),
            admit,
            tracker,
            stop,
            cameras: BTreeMap::new(),
            decided_tx,
            decided_rx,
        })
    }

    /// Takes cameras until it is stopped.
    pub async fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            match self.next(&mut buffer).await {
                Next::Datagram(length, remote) => {
                    let datagram = &buffer[..length];
                    self.listener
                        .handle_datagram(Instant::now(), remote, datagram);
                }
                // A port that is gone comes back as an error of the next receive: not ours to mend.
                Next::Failed(error) => {
                    warn!(%error, "cannot receive by SRT");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Next::Decided(decided) => self.handle_decided(decided),
                Next::Timer => {}
                Next::Stop => break,
            }
            self.listener.handle_timeout(Instant::now());
            self.drain().await;
        }
        let open: Vec<ConnId> = self.cameras.keys().copied().collect();
        open.into_iter().for_each(|id| self.close(id));
        self.drain().await;
    }

    async fn next(&mut self, buffer: &mut [u8]) -> Next {
        let wake = self.listener.poll_timeout();
        let timer = async {
            match wake {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = self.socket.recv_from(buffer) => match received {
                Ok((length, remote)) => Next::Datagram(length, remote),
                Err(error) => Next::Failed(error),
            },
            Some(decided) = self.decided_rx.recv() => Next::Decided(decided),
            () = timer => Next::Timer,
            () = self.stop.cancelled() => Next::Stop,
        }
    }

    async fn drain(&mut self) {
        while let Some(event) = self.listener.poll_event() {
            self.handle_event(event);
        }
        while let Some((remote, datagram)) = self.listener.poll_transmit() {
            // Lost here or further on is the same: the other side asks again.
            let _ = self.socket.send_to(&datagram, remote).await;
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connect {
                id,
                peer,
                stream_id,
            } => self.ask(id, peer, &stream_id),
            Event::Data { id, payload } => {
                let Some(camera) = self.cameras.get(&id) else {
                    return;
                };
                if let Err(mpsc::error::TrySendError::Full(_)) =
                    camera.packets.try_send(Packet::Data(payload))
                {
                    warn!(remote = %camera.remote, "an SRT camera sends more than is taken");
                    self.close(id);
                }
            }
            Event::Closed { id, reason, stats } => {
                let Some(camera) = self.cameras.remove(&id) else {
                    return;
                };
                info!(remote = %camera.remote, ?reason, ?stats, "SRT publisher is gone");
                let ended = match reason {
                    Some(CloseReason::Shutdown) => Ended::Done,
                    _ => Ended::Broken("nothing came for 10 seconds".to_owned()),
                };
                // Full or gone: then it ends by the queue's end.
                let _ = camera.packets.try_send(Packet::Closed(ended));
            }
        }
    }

    /// Has it decided whether a camera may publish.
    fn ask(&mut self, id: ConnId, remote: SocketAddr, stream_id: &[u8]) {
        let stream_id = String::from_utf8_lossy(stream_id);
        let address = match Address::parse_stream_id(&stream_id) {
            Ok(address) => address,
            Err(refusal) => {
                info!(%remote, why = %refusal, "SRT publisher refused");
                self.listener.reject(id, RejectCode::http(400));
                return;
            }
        };
        let asked = Asked {
            gateway: Gateway::Srt,
            event: address.event,
            camera: address.camera,
            key: address.key,
            remote: Some(remote),
        };
        info!(?asked, "SRT publisher");
        let (admit, decided) = (Arc::clone(&self.admit), self.decided_tx.clone());
        self.tracker.spawn(async move {
            // Not in time: the listener forgets it, and the tool tries again.
            if let Ok(admission) = timeout(ADMIT_WITHIN, admit.admit(asked)).await {
                let _ = decided
                    .send(Decided::Admission(id, remote, admission))
                    .await;
            }
        });
    }

    fn handle_decided(&mut self, decided: Decided) {
        match decided {
            Decided::Admission(id, remote, Ok(admitted)) => {
                if !self.listener.accept(id, Instant::now()) {
                    // It did not wait, or has another passphrase.
                    info!(%remote, "SRT publisher is gone before it began");
                    return;
                }
                let (packets, queue) = mpsc::channel(QUEUE);
                self.cameras.insert(id, Camera { remote, packets });
                let (over, stop) = (self.decided_tx.clone(), self.stop.clone());
                self.tracker.spawn(async move {
                    let ended = publish(queue, admitted, stop).await;
                    if let Ended::Refused(why) = ended {
                        info!(%remote, why, "SRT publisher refused");
                    }
                    let _ = over.send(Decided::Over(id)).await;
                });
            }
            Decided::Admission(id, remote, Err(refusal)) => {
                info!(%remote, why = %refusal, "SRT publisher refused");
                self.listener.reject(id, RejectCode::http(403));
            }
            Decided::Over(id) => self.close(id),
        }
    }

    /// Ends a camera's connection, if it is still there. Its publication ends by its queue.
    fn close(&mut self, id: ConnId) {
        if self.cameras.remove(&id).is_some() {
            self.listener.close(id, Instant::now());
        }
    }
}

/// Takes one camera's packets until they end.
async fn publish(
    queue: mpsc::Receiver<Packet>,
    admitted: Admitted,
    stop: CancellationToken,
) -> Ended {
    let Admitted { sink, limits } = admitted;
    let ended = tokio::select! {
        ended = take(queue, &sink, limits) => ended,
        () = sink.closed() => Ended::Refused(sink.why().to_string()),
        () = stop.cancelled() => Ended::Refused("this node is going down".to_owned()),
    };
    // Nobody may be there to hear it.
    let _ = sink.send(Published::Ended(ended.clone())).await;
    ended
}

async fn take(mut queue: mpsc::Receiver<Packet>, sink: &Sink, limits: Limits) -> Ended {
    let mut ts = Ts::new(limits);
    loop {
        let (taken, ended) = match queue.recv().await {
            Some(Packet::Data(payload)) => (ts.handle(&payload), None),
            Some(Packet::Closed(ended)) => (ts.finish(), Some(ended)),
            None => {
                return Ended::Refused("more comes than is taken: lower the bitrate".to_owned());
            }
        };
        while let Some(published) = ts.poll() {
            if sink.send(published).await.is_err() {
                return Ended::Refused(sink.why().to_string());
            }
        }
        if let Err(fault) = taken {
            return Ended::Refused(fault.to_string());
        }
        if let Some(ended) = ended {
            return ended;
        }
    }
}
