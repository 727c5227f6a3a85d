//! The headless terminal against a host that is made of the media library alone.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::terminal::{ByeReason, Status};
use lab::terminal::{CertificateHash, Manner, Terminal, TerminalError, Transport, WayIn};
use lab::wan::{Link, Wan};
use model::input::{Control, InputEvent, InputSeq, Pong, Report};
use model::{Epoch, SessionId};
use moq_net::{Timestamp, broadcast, group, origin, track};
use tokio_util::task::TaskTracker;
use web_transport_quinn::proto::ConnectResponse;
use web_transport_quinn::{Request, Session};

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];

/// 64x48 pixels by OpenH264: a red keyframe, a green picture, a red one.
const PICTURES: [&str; 3] = [
    "000000016742c00d8c6847201e1108d40000000168ce3c800000000165b80004788c5000107f8e0007e3800083449c9\
     c9d75d75d75d75e",
    "0000000161e0007e47c6e280008264700010498e00020bb89f13e27cfe7f3f9fcfe7f3f9fc",
    "0000000161e000be47c6e2800083fc70003f1c00041a313e27c4f9fcfe7f3f9fcfe7f3f8",
];

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    const DEADLINE: Duration = Duration::from_secs(30);
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing within {DEADLINE:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_timed_until_its_picture() {
    for transport in [Transport::Quic, Transport::WebTransport] {
        let host = Host::start();
        let terminal = soon("terminal", Terminal::connect(&host.way(transport)))
            .await
            .unwrap();
        let first = terminal.picture_that(|it| it.shows(20, 20, RED));
        assert_eq!(
            soon("first picture", first).await.unwrap().input_seq,
            InputSeq(0)
        );

        let down = terminal.key("KeyA", true).unwrap();
        assert_eq!(down.seq, InputSeq(1));
        let answer = soon("answer", down.answered()).await.unwrap();
        assert!(answer.arrived <= answer.decoded);
        assert_eq!(answer.encode_time, Duration::from_micros(1_234));
        let green = terminal.picture().unwrap();
        assert!(green.shows(63, 47, GREEN), "{:?}", green.rgb(63, 47));
        assert_eq!(
            (green.width, green.height, green.input_seq),
            (64, 48, InputSeq(1))
        );
        // Two at once, answered by one picture.
        let (up, moved) = (
            terminal.key("KeyA", false).unwrap(),
            terminal.move_to(0.5, 0.5).unwrap(),
        );
        host.show(PICTURES[2], false, moved.seq);
        for sent in [up, moved] {
            soon("answer", sent.answered()).await.unwrap();
        }

        let ping = soon("pong", terminal.ping()).await.unwrap();
        assert_eq!(terminal.statistics().round_trip, Some(ping));
        let bye = terminal.status_that(|it| match it {
            Status::Bye { reason, .. } => Some(*reason),
            _ => None,
        });
        assert_eq!(soon("status", bye).await.unwrap(), ByeReason::Idle);
        let report = soon("report", host.report(|it| it.received > 0)).await;
        assert_eq!((report.lost, report.window_ms), (0, 200.0));

        let statistics = terminal.statistics();
        assert_eq!(
            (statistics.frames, statistics.keyframes, statistics.decoded),
            (3, 1, 3)
        );
        assert_eq!(
            (
                statistics.broken,
                statistics.lost_groups,
                statistics.overrun
            ),
            (0, 0, 0)
        );
        println!("{transport:?}: {statistics:?}, {answer:?}, ping {ping:?}");
        assert_eq!(host.events().len(), 3);
        soon("leaving", terminal.close()).await;
        soon("heard", host.left()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_picture_asks_for_a_keyframe() {
    let host = Host::start();
    let terminal = soon("terminal", Terminal::connect(&host.way(Transport::Quic)))
        .await
        .unwrap();
    soon("picture", terminal.picture_that(|it| it.shows(1, 1, RED)))
        .await
        .unwrap();
    host.show("00000001650000000001", false, InputSeq(0));
    soon("keyframe asked for", host.asked_keyframe()).await;
    host.show(PICTURES[0], true, InputSeq(9));
    soon(
        "again",
        terminal.picture_that(|it| it.input_seq == InputSeq(9)),
    )
    .await
    .unwrap();
    assert!(terminal.statistics().broken > 0);
}

/// Round trips from nothing to the first picture, over a network where they count.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_picture_needs_few_round_trips() {
    const ROUND_TRIP: Duration = Duration::from_millis(200);
    let host = Host::start();
    let wan = Wan::start(1).unwrap();
    let near = "127.0.0.1:0".parse().unwrap();
    let far = Some(host.address.parse().unwrap());
    let proxy = wan
        .proxy(near, far, Link::from_round_trip(ROUND_TRIP))
        .unwrap();
    for (transport, manner) in [
        (Transport::Quic, Manner::Patient),
        (Transport::WebTransport, Manner::Patient),
        (Transport::Quic, Manner::Eager),
        (Transport::WebTransport, Manner::Eager),
    ] {
        let mut way = host.way(transport);
        way.manner = manner;
        way.address = proxy.address().to_string();
        let terminal = soon("terminal", Terminal::connect(&way)).await.unwrap();
        soon("picture", terminal.picture_that(|_| true))
            .await
            .unwrap();
        let after = terminal.statistics().first_frame_after.unwrap();
        let round_trips = after.as_secs_f64() / ROUND_TRIP.as_secs_f64();
        let connected = terminal.statistics().connected_after;
        println!(
            "{transport:?}, {manner:?}: connected after {connected:?}, first picture after \
             {round_trips:.2} round trips",
        );
        let limit = if manner == Manner::Eager { 5.0 } else { 7.5 };
        assert!(round_trips < limit, "{round_trips}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_or_token_does_not_do() {
    let host = Host::start();
    for transport in [Transport::Quic, Transport::WebTransport] {
        let mut wrong_pin = host.way(transport);
        wrong_pin.certificate_sha256 = CertificateHash([7; 32]);
        let refused = soon("refusal", Terminal::connect(&wrong_pin)).await;
        assert!(matches!(refused, Err(TerminalError::Connect(_))));
    }
    let mut wrong_token = host.way(Transport::WebTransport);
    wrong_token.token = "wrong".into();
    let refused = soon("refusal", Terminal::connect(&wrong_token)).await;
    assert!(matches!(refused, Err(TerminalError::NotLetIn(_))));
    wrong_token.transport = Transport::Quic;
    let terminal = soon("terminal", Terminal::connect(&wrong_token))
        .await
        .unwrap();
    soon("refusal", terminal.closed()).await;
    let nothing = soon("nothing", terminal.picture_that(|_| true)).await;
    assert!(matches!(nothing, Err(TerminalError::Over)));
}

/// Publishes a screen, listens to the hand.
struct Host {
    address: String,
    pin: CertificateHash,
    state: Arc<State>,
    table: origin::Producer,
    _broadcast: broadcast::Producer,
}

struct State {
    start: Instant,
    video: track::Producer,
    group: Mutex<Option<group::Producer>>,
    pong: track::Producer,
    events: Mutex<Vec<InputEvent>>,
    controls: Mutex<Vec<Control>>,
}

impl Host {
    fn start() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let digest = ring::digest::digest(&ring::digest::SHA256, &certificate);
        let pin = CertificateHash(digest.as_ref().try_into().unwrap());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate],
                rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        tls.alpn_protocols = ["h3", "moq-lite-06"].map(|it| it.into()).to_vec();
        let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = endpoint.local_addr().unwrap().to_string();

        let (table, driver) = origin::Producer::new(origin::Config::default());
        TaskTracker::new().spawn(moq_net::time::run(driver));
        let screen = table.create_broadcast("s/7/1/screen").unwrap();
        let micro = || track::Info::default().with_timescale(moq_net::Timescale::MICRO);
        let state = Arc::new(State {
            start: Instant::now(),
            video: screen.create_track("video", micro()).unwrap(),
            group: Mutex::default(),
            pong: screen.create_track("pong", micro()).unwrap(),
            events: Mutex::default(),
            controls: Mutex::default(),
        });
        let status = screen.create_track("status", micro()).unwrap();
        let bye = Status::Bye {
            reason: ByeReason::Idle,
            text: String::new(),
        };
        one(&status, state.now(), serde_json::to_vec(&bye).unwrap());
        screen.announce(origin::Route::default()).unwrap();
        TaskTracker::new().spawn(serve(endpoint, table.clone(), status));
        TaskTracker::new().spawn(listen(table.clone(), Arc::clone(&state)));
        let host = Self {
            address,
            pin,
            state,
            table,
            _broadcast: screen,
        };
        host.show(PICTURES[0], true, InputSeq(0));
        host
    }

    fn way(&self, transport: Transport) -> WayIn {
        WayIn {
            address: self.address.clone(),
            certificate_sha256: self.pin,
            token: "right".into(),
            session: SessionId(7),
            epoch: Epoch(1),
            transport,
            manner: Manner::Patient,
            first_seq: InputSeq(1),
        }
    }

    fn show(&self, hex: &str, keyframe: bool, seq: InputSeq) {
        self.state.show(hex, keyframe, seq);
    }

    fn events(&self) -> Vec<InputEvent> {
        self.state.events.lock().unwrap().clone()
    }

    async fn control<T>(&self, mut wanted: impl FnMut(&Control) -> Option<T>) -> T {
        loop {
            let found = self
                .state
                .controls
                .lock()
                .unwrap()
                .iter()
                .find_map(&mut wanted);
            if let Some(found) = found {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn report(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        self.control(|it| match it {
            Control::Report(report) if wanted(report) => Some(*report),
            _ => None,
        })
        .await
    }

    async fn asked_keyframe(&self) {
        self.control(|it| matches!(it, Control::Keyframe).then_some(()))
            .await;
    }

    async fn left(&self) {
        let mut announced = self.table.consume().announced();
        let mut present = 0_i32;
        while let Some(update) = announced.next().await {
            if update.prefix.to_string().starts_with("s/7/1/input/") {
                present += if update.kind.is_active() { 1 } else { -1 };
            }
            // Nothing of it among what there is: it has gone already.
            if present == 0 && announced.try_next().is_none() {
                return;
            }
        }
    }
}

impl State {
    fn now(&self) -> Timestamp {
        Timestamp::try_from(self.start.elapsed()).unwrap()
    }

    fn show(&self, hex: &str, keyframe: bool, seq: InputSeq) {
        let mut frame = vec![u8::from(keyframe), 1, 64, 0, 48, 0, 0, 0];
        frame.extend_from_slice(&seq.0.to_le_bytes());
        frame.extend_from_slice(&1_234_u32.to_le_bytes());
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        frame.extend((0..hex.len()).step_by(2).map(byte));
        let mut group = self.group.lock().unwrap();
        if keyframe {
            if let Some(old) = group.take() {
                old.finish().unwrap();
            }
            *group = Some(self.video.append_group().unwrap());
        }
        group
            .as_mut()
            .unwrap()
            .write_frame(self.now(), frame)
            .unwrap();
    }

    fn event(&self, event: InputEvent) {
        if let InputEvent::Key {
            seq, down: true, ..
        } = &event
        {
            self.show(PICTURES[1], false, *seq);
        }
        self.events.lock().unwrap().push(event);
    }

    fn control(&self, control: Control) {
        if let Control::Ping { id, at } = control {
            let pong = serde_json::to_vec(&Pong { id, at }).unwrap();
            one(&self.pong, self.now(), pong);
        }
        self.controls.lock().unwrap().push(control);
    }
}

/// A group of one frame.
fn one(track: &track::Producer, at: Timestamp, frame: Vec<u8>) {
    let group = track.append_group().unwrap();
    group.clone().write_frame(at, frame).unwrap();
    group.finish().unwrap();
}

async fn serve(endpoint: quinn::Endpoint, table: origin::Producer, _status: track::Producer) {
    let tasks = TaskTracker::new();
    while let Some(incoming) = endpoint.accept().await {
        let table = table.clone();
        tasks.spawn(async move {
            let Ok(quic) = incoming.await else { return };
            let data = quic.handshake_data().unwrap();
            let data = data
                .downcast::<quinn::crypto::rustls::HandshakeData>()
                .unwrap();
            let web = data.protocol.as_deref() == Some(b"h3");
            let session = if web {
                let request = Request::accept(quic.clone()).await.unwrap();
                if request.url.query() != Some("token=right") {
                    request
                        .reject(web_transport_quinn::http::StatusCode::FORBIDDEN)
                        .await
                        .unwrap();
                    quic.closed().await;
                    return;
                }
                let response = ConnectResponse::OK.with_protocol("moq-lite-06");
                request.respond(response).await.unwrap()
            } else {
                Session::raw(quic)
            };

            let server = moq_net::Server::new();
            let handshake = server
                .accept_request_lite(Instant::now(), session)
                .await
                .unwrap();
            if !web && handshake.path() != "/moq?token=right" {
                handshake.close(moq_net::Error::Unauthorized);
                return;
            }
            let handshake = handshake
                .with_publisher(&table)
                .with_subscriber(table.clone());
            let (_session, driver) = handshake.ok().await.unwrap();
            moq_net::time::run(driver).await;
        });
    }
}

async fn listen(table: origin::Producer, state: Arc<State>) {
    let tasks = TaskTracker::new();
    let table = table.consume();
    let mut announced = table.announced();
    while let Some(update) = announced.next().await {
        let path = update.prefix.to_string();
        if !update.kind.is_active() || !path.starts_with("s/7/1/input/") {
            continue;
        }
        let wanted = || track::Subscription::default().with_max_age(Duration::from_secs(10));
        let input = table.routed_broadcast(path).await.unwrap();
        for name in ["events", "control"] {
            let (input, state) = (input.clone(), Arc::clone(&state));
            tasks.spawn(async move {
                let track = input.track(name).unwrap().subscribe(wanted());
                // A terminal may leave at once.
                let Ok(track) = track.await else { return };
                let mut groups = track.ordered();
                while let Ok(Some(mut group)) = groups.next_group().await {
                    while let Ok(Some(frame)) = group.read_frame().await {
                        if name == "events" {
                            let events: Vec<_> = serde_json::from_slice(&frame.payload).unwrap();
                            events.into_iter().for_each(|it| state.event(it));
                        } else {
                            state.control(serde_json::from_slice(&frame.payload).unwrap());
                        }
                    }
                }
            });
        }
    }
}
