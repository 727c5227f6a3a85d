//! The other end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{DatagramRecv, Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;

pub(crate) struct Native {
    pub(crate) rtc: Rtc,
    pub(crate) picture: Mid,
    pub(crate) sound: Mid,
    pub(crate) offer: String,
    pending: Option<SdpPendingOffer>,
    socket: UdpSocket,
    address: SocketAddr,
    /// Datagrams that are lost on their way here: one in so many.
    pub(crate) loses: Option<u64>,
    received: u64,
}

impl Native {
    pub(crate) async fn new(direction: Direction) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let every = Duration::from_millis(200);
        let mut rtc = RtcConfig::new()
            .set_rtcp_report_interval_audio(every)
            .set_rtcp_report_interval_video(every)
            .build(Instant::now());
        let host = Candidate::host(address, "udp").unwrap();
        rtc.add_local_candidate(host);
        let mut change = rtc.sdp_api();
        let picture = change.add_media(MediaKind::Video, direction, None, None, None);
        let sound = change.add_media(MediaKind::Audio, direction, None, None, None);
        change.add_channel("view".to_owned());
        let (offer, pending) = change.apply().unwrap();
        Self {
            rtc,
            picture,
            sound,
            offer: offer.to_sdp_string(),
            pending: Some(pending),
            socket,
            address,
            loses: None,
            received: 0,
        }
    }

    pub(crate) fn accept(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        let pending = self.pending.take().unwrap();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    }

    /// What happens next, if it does before `until`.
    pub(crate) async fn next(&mut self, until: Instant) -> Option<Event> {
        let mut buffer = [0; 2_048];
        loop {
            let wake = match self.rtc.poll_output().unwrap() {
                Output::Transmit(it) => {
                    let sent = self.socket.send_to(&it.contents, it.destination);
                    sent.await.unwrap();
                    continue;
                }
                Output::Event(event) => return Some(event),
                Output::Timeout(wake) => wake,
            };
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    let (length, source) = received.unwrap();
                    self.received += 1;
                    if self.loses.is_some_and(|it| self.received.is_multiple_of(it)) {
                        continue;
                    }
                    let contents = DatagramRecv::try_from(&buffer[..length]).unwrap();
                    let receive = Receive {
                        proto: Protocol::Udp,
                        source,
                        destination: self.address,
                        contents,
                    };
                    self.rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
                }
                () = tokio::time::sleep_until(wake.min(until).into()) => {
                    let now = Instant::now();
                    self.rtc.handle_input(Input::Timeout(now)).unwrap();
                    if now >= until {
                        return None;
                    }
                }
            }
        }
    }

    pub(crate) async fn connected(&mut self) {
        let until = Instant::now() + super::LIMIT;
        while !matches!(
            self.next(until).await.expect("it connects"),
            Event::Connected
        ) {}
    }
}
