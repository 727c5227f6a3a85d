//! Cameras as media sessions: a real node, real publishers, and some that mean harm.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use logic::playout::Pace;
use model::media::Coding;
use model::picture::Header;
use relay::camera::{AUDIO_TRACK, INFO_TRACK, VIDEO_TRACK};
use relay::client::{Client, Closed, Door};
use relay::ingest::{Admitted, Limits, input};
use relay::media::{Ended, Publication, VideoCodec, VideoConfig, publication};
use relay::publish::{Broadcast, Place, Track, TrackOptions};
use relay::publisher::{FindWay, Found, NoWay, Outcome, Publisher, Told};
use relay::subscribe::Preferences;
use relay::{Authorize, CameraGrant, Grant, Hop, NodePeer, Refusal, Relay, RelayConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::harness::{KEY, Taken, Tool, X264, soon, source, words};
use crate::road::{Quality, Road};

const PATH: &str = "live/match/north";

/// Lets in who has the key, and gives out what is published.
struct Rules {
    limits: Limits,
    publications: mpsc::Sender<Publication>,
}

impl Authorize for Rules {
    fn terminal(&self, path: &str, _: SocketAddr) -> Result<Grant, Refusal> {
        if path != format!("/moq?publish={KEY}") {
            return Err(Refusal("the stream key is wrong".into()));
        }
        let (sink, publication) = publication();
        self.publications
            .try_send(publication)
            .map_err(|_| Refusal("nobody takes it".into()))?;
        Ok(Grant {
            camera: Some(CameraGrant {
                path: PATH.to_owned(),
                admitted: Admitted {
                    sink,
                    limits: self.limits.clone(),
                },
            }),
            ..Grant::default()
        })
    }

    fn node(&self, _: &quinn::Connection) -> Result<NodePeer, Refusal> {
        Err(Refusal("no node".into()))
    }
}

struct Node {
    relay: Relay,
    door: Door,
    publications: mpsc::Receiver<Publication>,
    endpoint: quinn::Endpoint,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Node {
    fn start(limits: Limits) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = relay::transport::server_config(tls).unwrap();
        let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let (tx, publications) = mpsc::channel(4);
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let config = RelayConfig {
            hop: Hop::try_from(1).unwrap(),
            authorize: Arc::new(Rules {
                limits,
                publications: tx,
            }),
            connections_max: 8,
        };
        let relay = Relay::new(config, tracker.clone(), stop.clone());
        let (serving, at) = (relay.clone(), endpoint.clone());
        tracker.spawn(async move { serving.serve(at).await });
        let client = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        Self {
            door: Door {
                address: endpoint.local_addr().unwrap().to_string(),
                path: format!("/moq?publish={KEY}"),
                tls: client,
            },
            relay,
            publications,
            endpoint,
            tracker,
            stop,
        }
    }

    async fn publication(&mut self) -> Publication {
        soon("a publisher", self.publications.recv()).await.unwrap()
    }

    /// As a process that is killed.
    async fn die(self) {
        self.endpoint.close(0_u32.into(), b"");
        self.stop.cancel();
        self.tracker.close();
        soon("its end", self.tracker.wait()).await;
    }
}

/// The doors to try, one after the other; the last one stays.
#[derive(Clone)]
struct Doors(Arc<Mutex<Vec<Door>>>);

impl FindWay for Doors {
    type Error = &'static str;

    fn find(&self, lost: bool) -> BoxFuture<'_, Result<Found, NoWay<&'static str>>> {
        async move {
            let mut doors = self.0.lock().unwrap();
            if lost && doors.len() > 1 {
                doors.remove(0);
            }
            let door = doors.first().cloned().ok_or(NoWay::Never("no door"))?;
            Ok(Found {
                door,
                broadcast: PATH.to_owned(),
            })
        }
        .boxed()
    }
}

/// ffmpeg's output through a publisher.
struct Publishing {
    outcome: tokio::task::JoinHandle<Outcome<&'static str>>,
    told: mpsc::Receiver<Told>,
    stop: CancellationToken,
    _tool: Tool,
}

impl Publishing {
    fn start(doors: &[&Door], pace: Pace, how: &[Vec<String>]) -> Self {
        let mut tool = Tool::start(how);
        let (sink, publication) = publication();
        let admitted = Admitted {
            sink,
            limits: Limits::default(),
        };
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let output = tool.output();
        tasks.spawn(input::read(output, None, admitted, stop.clone()));
        let (tx, told) = mpsc::channel(1_000);
        let doors = doors.iter().map(|it| (*it).clone()).collect();
        let publisher = Publisher {
            ways: Doors(Arc::new(Mutex::new(doors))),
            pace,
            told: tx,
            stop: stop.clone(),
        };
        Self {
            outcome: tasks.spawn(publisher.run(publication)),
            told,
            stop,
            _tool: tool,
        }
    }

    async fn hears(&mut self, what: &str, is: impl Fn(&Told) -> bool) {
        soon(what, async {
            while !is(&self.told.recv().await.expect("it runs")) {}
        })
        .await;
    }

    async fn outcome(self) -> Outcome<&'static str> {
        soon("the outcome", self.outcome).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_picture_and_sound_arrives_in_order_and_the_end_is_confirmed() {
    for (name, how) in [
        ("TS", format!("{X264} -c:a aac -f mpegts pipe:1")),
        (
            "MP4",
            format!(
                "{X264} -c:a libopus -strict -2 -f mp4 -movflags \
                 +frag_every_frame+delay_moov+default_base_moof pipe:1"
            ),
        ),
    ] {
        let mut node = Node::start(Limits::default());
        let mut publishing =
            Publishing::start(&[&node.door], Pace::Live, &[source(4), words(&how)]);
        let mut publication = node.publication().await;
        let taken = Taken::all(&mut publication).await;
        publishing.hears("on air", |it| *it == Told::OnAir).await;
        assert!(
            matches!(publishing.outcome().await, Outcome::Done),
            "{name}"
        );
        assert_eq!((taken.ended, taken.lost), (Some(Ended::Done), 0), "{name}");
        assert!(
            taken.pictures.len() >= 95,
            "{name}: {}",
            taken.pictures.len()
        );
        assert_eq!((taken.video.len(), taken.audio.len()), (1, 1), "{name}");
        assert_eq!((taken.video[0].width, taken.video[0].height), (320, 240));
        assert!(taken.pictures[0].keyframe);
        let increase = |it: &[relay::media::Sample]| {
            // What a decoder skips at the start may lie at its very beginning.
            it.windows(2).all(|it| it[0].timestamp <= it[1].timestamp)
        };
        assert!(
            increase(&taken.pictures) && increase(&taken.sounds),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_takes_as_long_as_it_is() {
    let mut node = Node::start(Limits::default());
    let fast = source(3).into_iter().filter(|it| it != "-re").collect();
    let how = format!("{X264} -c:a aac -f mpegts pipe:1");
    let began = Instant::now();
    let publishing = Publishing::start(&[&node.door], Pace::Recorded, &[fast, words(&how)]);
    let taken = Taken::all(&mut node.publication().await).await;
    assert!(matches!(publishing.outcome().await, Outcome::Done));
    assert!(
        began.elapsed() > Duration::from_millis(2_800),
        "{:?}",
        began.elapsed()
    );
    assert_eq!((taken.pictures.len(), taken.lost), (75, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_is_replaced_and_pictures_go_on_with_a_keyframe() {
    let mut first = Node::start(Limits::default());
    let mut second = Node::start(Limits::default());
    let how = format!("{X264} -c:a aac -f mpegts pipe:1");
    let doors = [&first.door, &second.door];
    let mut publishing = Publishing::start(&doors, Pace::Live, &[source(60), words(&how)]);
    let mut before = first.publication().await;
    let mut taken = Taken::default();
    while taken.pictures.len() < 20 {
        taken.take(&mut before).await;
    }
    first.die().await;
    publishing
        .hears("the loss", |it| matches!(it, Told::Lost { .. }))
        .await;
    let mut after = second.publication().await;
    let mut again = Taken::default();
    while again.pictures.len() < 20 || again.sounds.is_empty() {
        assert!(again.take(&mut after).await);
    }
    assert!(again.pictures[0].keyframe);
    assert_eq!(again.video, taken.video);
    publishing.stop.cancel();
    assert!(matches!(publishing.outcome().await, Outcome::Done));
}

/// A line that takes half of what the camera sends, and one that goes dark.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_narrow_line_does_not_take_is_lost_whole_groups_at_a_time() {
    let mut node = Node::start(Limits::default());
    let mut other = Node::start(Limits::default());
    let narrow = Quality {
        delay: Duration::from_millis(20),
        bytes_per_ms: Some(44),
    };
    let road = Road::to(node.endpoint.local_addr().unwrap(), narrow).await;
    let door = Door {
        address: road.address.to_string(),
        ..node.door.clone()
    };
    let how = format!("{X264} -c:a aac -f mpegts pipe:1");
    let doors = [&door, &other.door];
    let mut publishing = Publishing::start(&doors, Pace::Live, &[source(120), words(&how)]);
    let mut publication = node.publication().await;
    let (mut began, mut lost, mut behind, mut taken) = (None, 0, Duration::ZERO, Taken::default());
    while lost < 6 {
        let pictures = taken.pictures.len();
        assert!(taken.take(&mut publication).await);
        assert_eq!(taken.ended, None);
        let Some(picture) = taken.pictures.get(pictures) else {
            continue;
        };
        let (at, first) = *began.get_or_insert((Instant::now(), picture.timestamp));
        behind = behind.max(at.elapsed().saturating_sub(picture.timestamp - first));
        if taken.lost > lost {
            assert!(picture.keyframe, "after a loss a keyframe comes first");
            lost = taken.lost;
        }
    }
    println!(
        "lost {lost} groups of {}, at most {behind:?} behind",
        taken.pictures.len()
    );
    assert!(behind < Duration::from_secs(15), "{behind:?}");
    let increase = taken
        .pictures
        .windows(2)
        .all(|it| it[0].timestamp < it[1].timestamp);
    assert!(increase, "in order");

    road.go_dark();
    publishing
        .hears("the loss", |it| matches!(it, Told::Lost { .. }))
        .await;
    let mut after = other.publication().await;
    let mut again = Taken::default();
    while again.pictures.len() < 10 {
        assert!(again.take(&mut after).await);
    }
    publishing.stop.cancel();
    assert!(matches!(publishing.outcome().await, Outcome::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_is_told_in_words() {
    let h264 = Limits {
        video: vec![VideoCodec::H264],
        ..Limits::default()
    };
    let vp9 = "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 10 -an -f mp4 \
        -movflags +frag_every_frame+delay_moov+default_base_moof pipe:1";
    let node = Node::start(h264);
    let publishing = Publishing::start(&[&node.door], Pace::Live, &[source(60), words(vp9)]);
    let outcome = publishing.outcome().await;
    let Outcome::Refused(said) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(said.contains("VP9 is not taken: send H.264"), "{said}");

    let wrong = Door {
        path: "/moq?publish=guess".to_owned(),
        ..node.door.clone()
    };
    let how = format!("{X264} -an -f mpegts pipe:1");
    let publishing = Publishing::start(&[&wrong], Pace::Live, &[source(60), words(&how)]);
    let outcome = publishing.outcome().await;
    assert!(
        matches!(&outcome, Outcome::Refused(said) if said == "the stream key is wrong"),
        "{outcome:?}"
    );
}

/// A publisher that does as it likes.
struct Hand {
    client: Client,
    info: Track,
    video: Track,
    _audio: Track,
    _broadcast: Broadcast,
}

impl Hand {
    async fn open(door: &Door, path: &str) -> Self {
        let client = soon("the door", Client::connect(door)).await.unwrap();
        let broadcast = client.publish(path).unwrap();
        let track = |name| {
            let options = TrackOptions {
                priority: 0,
                keep: Duration::from_secs(5),
            };
            broadcast.track(name, options).unwrap()
        };
        let (mut info, video, audio) = (track(INFO_TRACK), track(VIDEO_TRACK), track(AUDIO_TRACK));
        broadcast.announce().unwrap();
        let coding = Coding {
            video: Some(VideoConfig {
                codec: VideoCodec::H264,
                codec_string: String::new(),
                width: 0,
                height: 0,
            }),
            audio: None,
        };
        let coding = serde_json::to_vec(&coding).unwrap();
        info.write(Place::NewGroup, Duration::ZERO, coding.into())
            .unwrap();
        Self {
            client,
            info,
            video,
            _audio: audio,
            _broadcast: broadcast,
        }
    }

    async fn refused(&self) -> String {
        match soon("the words", self.client.closed()).await {
            Closed::Refused(words) => words,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_gets_words_for_what_is_no_picture_and_nothing_else_of_the_node() {
    let mut node = Node::start(Limits::default());
    // Somebody else's camera, in the table that everybody sees.
    let other = node.relay.publish("live/match/south").unwrap();
    other.announce().unwrap();

    let mut hand = Hand::open(&node.door, PATH).await;
    let mut publication = node.publication().await;
    assert!(hand.video.demand().wanted().await);
    let header = Header::of_camera(true, 320, 240).to_bytes();
    let nonsense = [&header[..], b"nonsense"].concat();
    hand.video
        .write(Place::NewGroup, Duration::ZERO, nonsense.into())
        .unwrap();
    let said = hand.refused().await;
    assert!(said.contains("is not H.264 with start codes"), "{said}");
    let taken = Taken::all(&mut publication).await;
    assert_eq!(taken.ended, Some(Ended::Refused(said)));

    let mut hand = Hand::open(&node.door, PATH).await;
    hand.info
        .write(Place::NewGroup, Duration::ZERO, "no json".into())
        .unwrap();
    let said = hand.refused().await;
    assert!(said.contains("`info` is not JSON"), "{said}");
    drop(node.publication().await);

    // Another camera's name goes nowhere, and its own is in no table.
    let _elsewhere = Hand::open(&node.door, "live/match/south").await;
    let mine = Hand::open(&node.door, PATH).await;
    assert!(mine.video.demand().wanted().await, "its own is read");
    assert!(!_elsewhere.video.demand().is_wanted());
    let preferences = Preferences {
        priority: 0,
        max_age: Duration::ZERO,
    };
    let read = node.relay.subscribe(PATH, VIDEO_TRACK, preferences);
    let read = tokio::time::timeout(Duration::from_millis(300), read).await;
    assert!(
        read.is_err(),
        "somebody could read it before it was checked"
    );
    drop(other);
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Trusts every certificate.
#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("tls 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
