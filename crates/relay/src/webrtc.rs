//! WebRTC for the tools that speak it: OBS and browsers publish by WHIP, browsers and players watch
//! by WHEP. One UDP port for all of them, told apart by the name that each is given in its answer.
//!
//! Invariants: a datagram that belongs to no session costs a look into two tables and nothing else;
//! an address belongs to a session only after it has shown the session's password; sessions, their
//! queues and the words that they may say are bounded; who falls silent is gone after [`IDLE`].
//!
//! Deliberately elsewhere: HTTP and who may (the edge), which view a viewer receives
//! (`logic::oneview`), what may be published ([`crate::ingest`]). The library's types stay inside.

mod address;
mod offer;
mod peer;
mod play;
mod publish;
mod table;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::ice::IceCreds;
use str0m::{Candidate, Rtc, RtcConfig};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::access::Refusal;

pub use play::{Player, ROOM, Told};

use peer::Peer;
use table::{Datagram, Row, Table};

/// Sessions at a time, of both kinds. Each viewer costs an encryption of its own: more is more than a
/// node's cores do.
const SESSIONS_MAX: usize = 1_024;

/// Viewers among them: however many there are, cameras get in.
const VIEWERS_MAX: usize = 896;

/// Silence for so long is the end of a session, and the time that it has to begin. Browsers say
/// something every few seconds whatever else they do.
pub const IDLE: Duration = Duration::from_secs(15);

/// Datagrams between the socket and a session's task, which takes them at once or is stuck: a second
/// at 10 Mbit/s.
const QUEUE: usize = 1_024;

/// Larger than any packet that is one.
const DATAGRAM_MAX: usize = 2_048;

/// The longest offer, in bytes. Those of browsers with everything have 10,000.
pub const OFFER_MAX: usize = 64 << 10;

/// Frames that may wait for one that is missing: half a second, in which it has been asked for again
/// more than once.
const REORDERED_FRAMES: usize = 15;

/// Packets of picture kept to be sent again, and on their way out: a group at its start goes out in
/// one burst, and one of 2 s at 5 Mbit/s has so many.
const SENT_PACKETS: usize = 2_048;

/// Lips and sound are told apart at 45 ms: the clocks are told well before they drift so far.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Why an offer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Whoever asks may not: answer 401.
    #[error("{0}")]
    Refused(Refusal),
    /// Nothing that is offered can be taken: answer 406.
    #[error("{0}")]
    NotAcceptable(Refusal),
    /// It is no offer that can be understood: answer 400.
    #[error("the offer cannot be understood: {0}")]
    Malformed(String),
    /// There are too many sessions: answer 503.
    #[error("too many sessions")]
    Full,
}

/// What goes back to who offered.
#[derive(Debug)]
pub struct Answer {
    /// The answer itself.
    pub sdp: String,
    /// What the session is called: whoever knows it may end it. 128 random bits.
    pub id: String,
}

/// Takes WebRTC sessions on one socket. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct WebRtc(Arc<Hub>);

struct Hub {
    socket: UdpSocket,
    table: Mutex<Table>,
    crypto: Arc<CryptoProvider>,
    /// One for all sessions of this process; each answer carries its fingerprint.
    certificate: DtlsCert,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl WebRtc {
    /// Prepares to take sessions on a socket. Their tasks run on `tracker` and end with `stop`.
    pub fn new(
        socket: UdpSocket,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, io::Error> {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = crypto.dtls_provider.generate_certificate();
        Ok(Self(Arc::new(Hub {
            socket,
            table: Mutex::new(Table::default()),
            certificate: certificate
                .ok_or_else(|| io::Error::other("no certificate could be made"))?,
            crypto,
            tracker,
            stop,
        })))
    }

    /// Where the socket is bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.socket.local_addr()
    }

    /// Carries datagrams to their sessions until it is stopped.
    pub async fn run(&self) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            let received = tokio::select! {
                received = self.0.socket.recv_from(&mut buffer) => received,
                () = self.0.stop.cancelled() => return,
            };
            match received {
                Ok((length, remote)) => self.0.lock().route(remote, &buffer[..length]),
                // A port that is gone comes back as an error of the next receive: not ours to mend.
                Err(error) => {
                    warn!(%error, "cannot receive by WebRTC");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    /// Ends a session. Says whether there was one.
    pub fn end(&self, id: &str) -> bool {
        self.0.lock().stop(id)
    }

    /// What each session is called by those who opened it.
    pub fn labels(&self) -> Vec<String> {
        self.0.lock().labels()
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What every session has: few and short retries, one certificate, no codecs yet.
    fn config(&self) -> RtcConfig {
        RtcConfig::new()
            .set_crypto_provider(Arc::clone(&self.crypto))
            .set_dtls_cert(self.certificate.clone())
            .set_ice_lite(true)
            .set_reordering_size_video(REORDERED_FRAMES)
            .set_send_buffer_video(SENT_PACKETS)
            .set_rtcp_report_interval_audio(REPORT_EVERY)
            .set_rtcp_report_interval_video(REPORT_EVERY)
            .set_sctp_max_message_size(play::WORDS_MAX)
            .clear_codecs()
    }

    /// Answers an offer, if there are less than `most` sessions. The peer has its place in the table, and holds it until it is dropped.
    fn answer(
        self: &Arc<Self>,
        config: RtcConfig,
        offer: &str,
        candidate: SocketAddr,
        label: String,
        most: usize,
    ) -> Result<(Answer, Peer), NotTaken> {
        let names = Names::draw()?;
        let credentials = IceCreds {
            ufrag: names.name.clone(),
            pass: names.password,
        };
        let now = Instant::now();
        let mut rtc = config.set_local_ice_credentials(credentials).build(now);
        let host = Candidate::host(candidate, "udp").map_err(malformed)?;
        rtc.add_local_candidate(host);
        let sdp = accept(&mut rtc, offer)?;
        let (queue_tx, queue) = mpsc::channel(QUEUE);
        let stop = self.stop.child_token();
        let row = Row::new(names.name, label, queue_tx, stop.clone());
        if !self.lock().insert(names.id.clone(), row, most) {
            return Err(NotTaken::Full);
        }
        let peer = Peer::new(
            rtc,
            Arc::clone(self),
            names.id.clone(),
            queue,
            candidate,
            stop,
        );
        let answer = Answer {
            sdp: offer::in_step(&sdp.to_sdp_string()),
            id: names.id,
        };
        Ok((answer, peer))
    }
}

fn accept(rtc: &mut Rtc, offer: &str) -> Result<SdpAnswer, NotTaken> {
    let offer = offer::prepare(offer).map_err(|it| NotTaken::Malformed(it.to_owned()))?;
    let offer = SdpOffer::from_sdp_string(&offer).map_err(malformed)?;
    rtc.sdp_api().accept_offer(offer).map_err(malformed)
}

fn malformed(error: impl std::fmt::Display) -> NotTaken {
    NotTaken::Malformed(error.to_string())
}

/// What a session is called, each by another: the library draws such names from a generator that can
/// be guessed, so we draw them.
struct Names {
    /// In its address, for its owner.
    id: String,
    /// In its datagrams, for everybody who sees them.
    name: String,
    /// Proves that a datagram is of who has the answer.
    password: String,
}

impl Names {
    fn draw() -> Result<Self, NotTaken> {
        let mut bytes = [0; 40];
        getrandom::fill(&mut bytes).map_err(|_| NotTaken::Full)?;
        let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect();
        Ok(Self {
            id: hex(&bytes[..16]),
            name: hex(&bytes[16..24]),
            password: hex(&bytes[24..]),
        })
    }
}
