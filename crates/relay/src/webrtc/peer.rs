//! One session: the library's machine, driven by the socket and the clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use str0m::media::{Media, Mid};
use str0m::net::{DatagramRecv, Protocol, Receive};
use str0m::{Event, IceConnectionState, Input, Output, Rtc, RtcError};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Datagram, Hub, IDLE};

/// One session. Its place in the table goes with it.
pub(super) struct Peer {
    pub(super) rtc: Rtc,
    hub: Arc<Hub>,
    id: String,
    queue: mpsc::Receiver<Datagram>,
    /// As whom the other side knows us.
    candidate: SocketAddr,
    heard: Instant,
    /// The last address that was learned.
    remote: Option<SocketAddr>,
    stop: CancellationToken,
}

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Over {
    #[error("it was ended here")]
    Stopped,
    #[error("nothing came for {IDLE:?}")]
    Silent,
    #[error("the other side has closed it")]
    Closed,
    #[error("the session broke")]
    Broken(#[from] RtcError),
}

impl Peer {
    pub(super) fn new(
        rtc: Rtc,
        hub: Arc<Hub>,
        id: String,
        queue: mpsc::Receiver<Datagram>,
        candidate: SocketAddr,
        stop: CancellationToken,
    ) -> Self {
        Self {
            rtc,
            hub,
            id,
            queue,
            candidate,
            heard: Instant::now(),
            remote: None,
            stop,
        }
    }

    /// Pictures and sounds that were agreed on, of those with these names.
    pub(super) fn media<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a Media> {
        let media = names.iter().map(|it| self.rtc.media(Mid::from(*it)));
        media.flatten().filter(|it| !it.disabled())
    }

    /// What happens next; `None` if nothing has before it was `due`. Safe to drop and call again.
    pub(super) async fn next(&mut self, due: Option<Instant>) -> Result<Option<Event>, Over> {
        loop {
            let wake = match self.rtc.poll_output()? {
                Output::Transmit(transmit) => {
                    // Lost here or further on is the same: the other side asks again.
                    let socket = &self.hub.socket;
                    let _ = socket.try_send_to(&transmit.contents, transmit.destination);
                    continue;
                }
                Output::Event(Event::IceConnectionStateChange(
                    IceConnectionState::Disconnected,
                )) => return Err(Over::Silent),
                Output::Event(Event::Closed) => return Err(Over::Closed),
                Output::Event(event) => return Ok(Some(event)),
                Output::Timeout(wake) => wake,
            };
            if !self.rtc.is_alive() {
                return Err(Over::Closed);
            }
            let silent = self.heard + IDLE;
            let first = due.map_or(wake, |it| it.min(wake)).min(silent);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Over::Stopped),
                Some(datagram) = self.queue.recv() => self.handle_datagram(&datagram)?,
                () = sleep_until(first.into()) => {
                    let now = Instant::now();
                    if now >= silent {
                        return Err(Over::Silent);
                    }
                    if now >= wake {
                        self.rtc.handle_input(Input::Timeout(now))?;
                    }
                    if due.is_some_and(|it| now >= it) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Says goodbye, as far as it can be said at once.
    pub(super) fn close(&mut self) {
        if self.rtc.close().is_err() {
            return;
        }
        // A goodbye is a handful of packets: more would be a machine that never rests.
        for _ in 0..64 {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(transmit)) => {
                    let socket = &self.hub.socket;
                    let _ = socket.try_send_to(&transmit.contents, transmit.destination);
                }
                Ok(Output::Event(_)) => {}
                Ok(Output::Timeout(_)) | Err(_) => return,
            }
        }
    }

    fn handle_datagram(&mut self, datagram: &Datagram) -> Result<(), RtcError> {
        let Ok(contents) = DatagramRecv::try_from(&datagram.data[..]) else {
            return Ok(());
        };
        let now = Instant::now();
        let input = Input::Receive(
            now,
            Receive {
                proto: Protocol::Udp,
                source: datagram.remote,
                destination: self.candidate,
                contents,
            },
        );
        if !self.rtc.accepts(&input) {
            return Ok(());
        }
        self.heard = now;
        if self.remote != Some(datagram.remote) {
            self.remote = Some(datagram.remote);
            self.hub.lock().learn(&self.id, datagram.remote);
        }
        self.rtc.handle_input(input)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        debug!(id = &self.id[..8], "a WebRTC session is over");
        self.hub.lock().remove(&self.id);
    }
}
