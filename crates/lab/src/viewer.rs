//! A viewer of a live event without a window: it enters as a browser would, subscribes to cameras and
//! renditions, and gives out what arrives.

use std::time::{Duration, Instant};

use api::live::{self, CameraInfo, WatchTicket};
use bytes::Bytes;
use model::picture::Header;
use model::{AppName, CameraName};
use moq_net::{Client, Error as MediaError, group, origin, track};
pub use render::decoder::Decoder;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::terminal::connect::{Line, VERSIONS, dial, run};
use crate::terminal::{CertificateHash, TerminalError, table};

/// Pictures are worth less than sound and words.
const PRIORITY: u8 = 100;

/// A connected viewer. Leaves when dropped.
pub struct Viewer {
    event: AppName,
    line: Line,
    found: origin::Producer,
}

/// A picture, or a packet of sound, as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Which group it is in; the first of a group can be decoded alone.
    pub group: u64,
    /// The event's clock: since 1970.
    pub timestamp: Duration,
    /// As it was sent, with the header of a picture.
    pub payload: Bytes,
}

impl Arrived {
    /// The header and the data of a picture; `None` if it is none.
    pub fn picture(&self) -> Option<(Header, &[u8])> {
        Header::split(&self.payload)
    }
}

impl Viewer {
    /// Enters with a ticket, at `address` if that is given: a line to the entry that is emulated.
    ///
    /// # Errors
    /// When the entry cannot be reached or does not let us in.
    pub async fn connect(
        ticket: &WatchTicket,
        address: Option<&str>,
    ) -> Result<Self, TerminalError> {
        let pin = ticket.entry.certificate_sha256.as_deref();
        let pin: CertificateHash = pin.ok_or(TerminalError::NoPin)?.parse()?;
        let address = address.unwrap_or(&ticket.entry.address);
        let quic = dial(address, pin, VERSIONS[0]).await?;
        let quic = web_transport_quinn::Session::raw(quic);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (mine, found) = (table(&tasks, &stop), table(&tasks, &stop));
        let client = Client::new()
            .with_cost(1)
            .with_publisher(&mine)
            .with_subscriber(found.clone())
            .with_path(format!("/moq?watch={}", ticket.token));
        let (session, driver) = client.connect_lite(Instant::now(), quic).await?;
        run(&tasks, &stop, driver);
        Ok(Self {
            event: ticket.event.name.clone(),
            line: Line::new(session, stop, tasks),
            found,
        })
    }

    /// Subscribes to a camera's track: `video`, `video/<rendition>`, `audio`. What is older than
    /// `max_age` is passed over. Waits until the camera is on air: give it a deadline.
    ///
    /// # Errors
    /// When the session is over or there is no such track.
    pub async fn watch(
        &self,
        camera: &CameraName,
        track: &str,
        max_age: Duration,
    ) -> Result<View, TerminalError> {
        self.subscribe(&live::broadcast(&self.event, camera), track, max_age)
            .await
    }

    /// Subscribes to any path at all, as an attacker would.
    ///
    /// # Errors
    /// As [`watch`](Self::watch).
    pub async fn subscribe(
        &self,
        path: &str,
        track: &str,
        max_age: Duration,
    ) -> Result<View, TerminalError> {
        let broadcast = self.found.consume().routed_broadcast(path).await?;
        let wanted = track::Subscription::default()
            .with_priority(PRIORITY)
            .with_max_age(max_age);
        let groups = broadcast.track(track)?.subscribe(wanted).await?;
        Ok(View {
            groups: groups.ordered(),
            open: None,
        })
    }

    /// How a camera is coded, once it has said how its picture is.
    ///
    /// # Errors
    /// As [`watch`](Self::watch), and when what it says is not understood.
    pub async fn info(&self, camera: &CameraName) -> Result<CameraInfo, TerminalError> {
        let mut view = self.watch(camera, "info", Duration::from_secs(10)).await?;
        loop {
            let said = view.next().await.ok_or(TerminalError::Over)?;
            let info: CameraInfo = serde_json::from_slice(&said.payload)
                .map_err(|error| TerminalError::Setup(error.to_string()))?;
            if info.video.is_some() {
                return Ok(info);
            }
        }
    }

    /// Waits until the entry closes the session, and says why.
    pub async fn closed(&self) -> MediaError {
        self.line.closed().await
    }

    /// Leaves, and waits until that has been said.
    pub async fn close(self) {
        self.line.close().await;
    }
}

/// A track that is being received.
pub struct View {
    groups: track::Ordered,
    open: Option<group::Consumer>,
}

impl View {
    /// What arrived next, the newest group before all; `None` when the track is over.
    pub async fn next(&mut self) -> Option<Arrived> {
        loop {
            if self.open.is_none() {
                self.open = Some(self.groups.next_group().await.ok()??);
            }
            let group = self.open.as_mut()?;
            match group.read_frame().await {
                Ok(Some(frame)) => {
                    return Some(Arrived {
                        group: group.sequence,
                        timestamp: frame.timestamp.into(),
                        payload: frame.payload,
                    });
                }
                // Complete, or broken off because it grew too old: on to the next.
                Ok(None) | Err(_) => self.open = None,
            }
        }
    }
}
