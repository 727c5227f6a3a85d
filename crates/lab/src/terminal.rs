//! A terminal without a window: it connects as a browser would, sends input, decodes the picture, and
//! says how long everything took.
//!
//! What it speaks is written down in `docs/protocol.md`. It reports how the picture arrives every
//! 200 ms, as every terminal must. What it measures from its own clock alone: a key is timed from
//! before it is written until the first picture that the app made knowing it has arrived, and has
//! been decoded.

pub(crate) mod connect;
mod eager;
mod hand;
mod picture;
mod report;
mod screen;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::session::Ticket;
use api::terminal::Status;
use model::input::{InputEvent, InputSeq};
use model::{Bytes, Epoch, SessionId};
use moq_net::Error as MediaError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use hand::{Answer, Sent};
pub use picture::Picture;

use connect::Line;
use hand::Hand;
use screen::Screen;

/// How a terminal reaches its entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Raw QUIC, as a native terminal does.
    #[default]
    Quic,
    /// WebTransport over HTTP/3, as a browser does.
    WebTransport,
}

/// How much a terminal asks before it subscribes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// It waits to hear that the screen is published, however long that takes, and what its tracks are
    /// like.
    #[default]
    Patient,
    /// It takes the ticket's word for it: two round trips less to the first picture. If the screen is
    /// not there yet, nothing will ever come.
    Eager,
}

/// Everything that a terminal needs to know to get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayIn {
    /// `host:port` of the entry.
    pub address: String,
    /// SHA-256 of the entry's certificate: nothing else is trusted.
    pub certificate_sha256: CertificateHash,
    /// Shown to the entry.
    pub token: String,
    /// The session.
    pub session: SessionId,
    /// Its epoch.
    pub epoch: Epoch,
    /// How.
    pub transport: Transport,
    /// And how politely.
    pub manner: Manner,
    /// The number of the first input event. Goes on where another connection of the same page stopped.
    pub first_seq: InputSeq,
}

impl WayIn {
    /// The way that a ticket describes.
    ///
    /// # Errors
    /// When the ticket pins no certificate: a headless terminal trusts no names.
    pub fn new(ticket: &Ticket, transport: Transport) -> Result<Self, TerminalError> {
        let pin = ticket.entry.certificate_sha256.as_deref();
        let certificate_sha256 = pin.ok_or(TerminalError::NoPin)?.parse()?;
        Ok(Self {
            address: ticket.entry.address.clone(),
            certificate_sha256,
            token: ticket.token.clone(),
            session: ticket.session,
            epoch: ticket.epoch,
            transport,
            manner: Manner::default(),
            first_seq: InputSeq(1),
        })
    }
}

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateHash(pub [u8; 32]);

impl fmt::Display for CertificateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for CertificateHash {
    type Err = TerminalError;

    fn from_str(text: &str) -> Result<Self, TerminalError> {
        let mut hash = [0; 32];
        if text.len() != 2 * hash.len() || !text.is_ascii() {
            return Err(TerminalError::BadPin);
        }
        for (byte, at) in hash.iter_mut().zip((0..text.len()).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| TerminalError::BadPin)?;
        }
        Ok(Self(hash))
    }
}

/// Why a terminal does not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// The ticket has no certificate hash.
    #[error("ticket pins no certificate")]
    NoPin,
    /// Not 64 hexadecimal digits.
    #[error("certificate hash is not 64 hexadecimal digits")]
    BadPin,
    /// The entry's name does not resolve.
    #[error("cannot find {address}")]
    Address {
        /// Whose.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No socket.
    #[error("cannot open a udp socket")]
    Socket(#[source] std::io::Error),
    /// The settings cannot be used.
    #[error("cannot set up quic: {0}")]
    Setup(String),
    /// The entry does not answer, or not with the pinned certificate.
    #[error("cannot connect")]
    Connect(#[source] quinn::ConnectionError),
    /// The entry does not want us.
    #[error("not let in")]
    NotLetIn(#[source] Box<web_transport_quinn::ClientError>),
    /// The media library gave up.
    #[error("media session failed")]
    Media(#[from] MediaError),
    /// The session is over.
    #[error("session is over")]
    Over,
}

/// What has come in so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// From the call of `connect` until the media session was up.
    pub connected_after: Duration,
    /// Until the first picture had arrived.
    pub first_frame_after: Option<Duration>,
    /// Until it had been decoded.
    pub first_picture_after: Option<Duration>,
    /// Pictures that arrived.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Their size.
    pub bytes: Bytes,
    /// Pictures that could be shown.
    pub decoded: u64,
    /// Pictures that broke the decoder.
    pub broken: u64,
    /// Pictures that were thrown away because the decoder was too slow.
    pub overrun: u64,
    /// Groups that never came or broke off.
    pub lost_groups: u64,
    /// Packets of sound.
    pub sound_packets: u64,
    /// Shapes of the pointer.
    pub cursors: u64,
    /// The longest time between two pictures that arrived.
    pub longest_gap: Duration,
    /// The last round trip to the app's node and back.
    pub round_trip: Option<Duration>,
}

/// A connected terminal. Leaves when dropped.
pub struct Terminal {
    line: Line,
    screen: Arc<Screen>,
    hand: Arc<Hand>,
    connected_after: Duration,
}

impl Terminal {
    /// Connects; pictures come when they come. Give it a deadline.
    ///
    /// # Errors
    /// When the entry cannot be reached, or does not let us in while connecting. It may also do so
    /// later: then [`Terminal::closed`] resolves.
    pub async fn connect(way: &WayIn) -> Result<Self, TerminalError> {
        let started = Instant::now();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let path = format!("s/{}/{}", way.session, way.epoch);
        let (mine, found) = (table(&tasks, &stop), table(&tasks, &stop));
        // Announced before anybody is there to hear it: the entry learns of it with our first packet.
        let hand = Arc::new(Hand::open(&mine, &path, way.first_seq)?);
        let wanted = format!("{path}/screen");
        let session = connect::connect(way, &wanted, &mine, &found, &tasks, &stop).await?;
        let connected_after = started.elapsed();
        let screen = Arc::new(Screen::new(started, Arc::clone(&hand)));
        screen.watch(&found, wanted, &tasks, &stop);
        tasks.spawn(report::run(Arc::clone(&screen), stop.clone()));
        Ok(Self {
            line: Line::new(session, stop, tasks),
            screen,
            hand,
            connected_after,
        })
    }

    /// Sends an event, which `event` makes of its number. The answer is the first picture that the app
    /// made knowing it.
    ///
    /// # Errors
    /// When the session is over.
    pub fn send(&self, event: impl FnOnce(InputSeq) -> InputEvent) -> Result<Sent, TerminalError> {
        self.hand.send(event)
    }

    /// Presses or releases a key by its W3C code.
    ///
    /// # Errors
    /// When the session is over.
    pub fn key(&self, code: &str, down: bool) -> Result<Sent, TerminalError> {
        let code = code.to_owned();
        self.send(|seq| InputEvent::Key { seq, code, down })
    }

    /// Moves the pointer to a fraction of the picture.
    ///
    /// # Errors
    /// When the session is over.
    pub fn move_to(&self, x: f32, y: f32) -> Result<Sent, TerminalError> {
        self.send(|seq| InputEvent::Move { seq, x, y })
    }

    /// Presses or releases a pointer button where the pointer is.
    ///
    /// # Errors
    /// When the session is over.
    pub fn button(&self, button: u8, down: bool) -> Result<Sent, TerminalError> {
        self.send(|seq| InputEvent::Button {
            seq,
            button,
            down,
            x: None,
            y: None,
        })
    }

    /// The number that the next event gets.
    pub fn next_seq(&self) -> InputSeq {
        self.hand.next_seq()
    }

    /// Measures the round trip to the app's node and back. Give it a deadline.
    ///
    /// # Errors
    /// When the session is over.
    pub async fn ping(&self) -> Result<Duration, TerminalError> {
        self.hand.ping().await
    }

    /// Asks for a keyframe.
    pub fn ask_keyframe(&self) {
        self.hand.ask_keyframe();
    }

    /// The last picture that was decoded.
    pub fn picture(&self) -> Option<Arc<Picture>> {
        self.screen.picture()
    }

    /// Waits until a picture has been decoded that `wanted` accepts, starting with the last one. Give
    /// it a deadline.
    ///
    /// # Errors
    /// When the session is over.
    pub async fn picture_that(
        &self,
        wanted: impl FnMut(&Picture) -> bool,
    ) -> Result<Arc<Picture>, TerminalError> {
        self.screen.picture_that(wanted).await
    }

    /// Waits for a status from which `wanted` makes something, starting with those that came already.
    /// Give it a deadline.
    ///
    /// # Errors
    /// When the session is over.
    pub async fn status_that<T>(
        &self,
        wanted: impl FnMut(&Status) -> Option<T>,
    ) -> Result<T, TerminalError> {
        self.screen.status_that(wanted).await
    }

    /// What has come in so far.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = self.screen.statistics();
        statistics.connected_after = self.connected_after;
        statistics.round_trip = self.hand.round_trip();
        statistics
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

/// A table of broadcasts, ours or found.
pub(crate) fn table(tasks: &TaskTracker, stop: &CancellationToken) -> moq_net::origin::Producer {
    let (table, driver) = moq_net::origin::Producer::new(moq_net::origin::Config::default());
    let stopped = stop.clone();
    tasks.spawn(async move {
        tokio::select! {
            _ = moq_net::time::run(driver) => {}
            () = stopped.cancelled() => {}
        }
    });
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_64_digits() {
        let text = format!("{:0>64}", "1fA0");
        let hash: CertificateHash = text.parse().unwrap();
        assert_eq!(hash.0[30..], [0x1f, 0xa0]);
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert!(bad.parse::<CertificateHash>().is_err(), "{bad}");
        }
    }
}
