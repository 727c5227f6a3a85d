//! What somebody tries who means harm.

use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use api::ErrorCode;
use api::app::DeployApp;
use api::client::{Client, ClientError};
use api::session::{MoveSession, Outcome, SessionState, Ticket};
use api::terminal::Status;
use lab::terminal::{CertificateHash, Picture, Terminal, TerminalError, Transport, WayIn};
use mesh::authority::Authority;
use mesh::token::SessionClaims;
use model::Epoch;
use model::input::{InputEvent, InputSeq};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::cloud::{Cloud, probe};
use crate::support::player::Player;
use crate::support::stranger::{Stranger, dial, pester};
use crate::support::{processes, soon, until};

/// Events of a flood: what a hand does in an hour.
const FLOOD: u32 = 10_000;

/// How long the flood lasts.
const FLOOD_TIME: Duration = Duration::from_secs(1);

const BOTH: [Transport; 2] = [Transport::Quic, Transport::WebTransport];

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_its_own_session_and_nothing_else() {
    let cloud = Cloud::start(&["frankfurt"], &[]).await;
    cloud.deploy(probe("mine", &["--animate"], "")).await;
    let mine = Player::start(&cloud, "mine", "berlin").await;
    let theirs = Player::start(&cloud, "mine", "berlin").await;
    mine.counted(0).await;
    theirs.counted(0).await;

    // With my token at their names: let in, and nothing is there.
    let mut intruders = Vec::new();
    for transport in BOTH {
        let mut way = WayIn::new(&theirs.ticket, transport).unwrap();
        way.token = mine.ticket.token.clone();
        let intruder = soon("the way in", Terminal::connect(&way)).await.unwrap();
        intruder.key("KeyA", true).unwrap();
        intruders.push(intruder);
    }
    // My next epoch is not mine either.
    let mut way = WayIn::new(&mine.ticket, Transport::Quic).unwrap();
    way.epoch = Epoch(mine.ticket.epoch.0 + 1);
    let early = soon("the way in", Terminal::connect(&way)).await.unwrap();
    intruders.push(early);

    // A client that claims whatever it likes: their input, both screens.
    let stranger = Stranger::enter(&mine.ticket).await;
    let (my_root, their_root) = (root(&mine.ticket), root(&theirs.ticket));
    let claims = [
        stranger.claim(&format!("{their_root}/input/ab"), "events"),
        stranger.claim(&format!("{my_root}/inputs/ab"), "events"),
        stranger.claim(&format!("{my_root}/screen"), "video"),
        stranger.claim(&format!("{their_root}/screen"), "video"),
    ];
    for claim in &claims {
        claim.write(key_down());
    }
    // What is granted does arrive, and what was claimed before would have.
    let own = stranger.claim(&format!("{my_root}/input/ab"), "events");
    own.write(key_down());
    mine.counted(1).await;
    theirs.press("KeyB").await;
    theirs.counted(1).await;

    // Both pictures are the apps' own, also for who comes now.
    let newcomer = WayIn::new(&mine.ticket, Transport::Quic).unwrap();
    let newcomer = soon("the way in", Terminal::connect(&newcomer)).await;
    let newcomer = newcomer.unwrap();
    let picture = soon("a picture", newcomer.picture_that(|_| true)).await;
    assert_eq!(picture.unwrap().width, 1280);
    mine.shows_more(30).await;
    theirs.shows_more(30).await;
    for player in [&mine, &theirs] {
        assert_eq!(player.terminal.statistics().broken, 0);
    }
    for intruder in &intruders {
        let seen = intruder.statistics();
        assert_eq!((seen.frames, seen.cursors, seen.sound_packets), (0, 0, 0));
    }
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_good_token_and_the_right_certificate_open_the_door() {
    let cloud = Cloud::start(&["frankfurt"], &[]).await;
    let player = Player::start(&cloud, "probe", "berlin").await;
    let ticket = &player.ticket;
    let claims = |expires_unix_ms| SessionClaims {
        session: ticket.session,
        epoch: ticket.epoch,
        app: Some(ticket.app.clone()),
        expires_unix_ms,
    };
    let now = SystemTime::now();
    let ours = Authority::load_or_create(&cloud.data_of("center"), now).unwrap();
    let theirs = Authority::load_or_create(&cloud.home().join("forger"), now).unwrap();
    let (payload, signature) = ticket.token.split_once('.').unwrap();
    let mut turned = signature.chars();
    let first = if turned.next() == Some('A') { 'B' } else { 'A' };
    // The signer itself is good: this token is taken.
    let good = ours.signer().sign(&claims(ticket.expires_unix_ms));
    let way = with_token(ticket, &good, Transport::WebTransport);
    soon("the way in", Terminal::connect(&way)).await.unwrap();
    for (what, token) in [
        ("expired", ours.signer().sign(&claims(1_000))),
        ("forged", theirs.signer().sign(&claims(u64::MAX))),
        ("changed", format!("{payload}.{first}{}", turned.as_str())),
        ("cut", payload.to_owned()),
        ("empty", String::new()),
        ("long", "A".repeat(100_000)),
    ] {
        // As a browser does it.
        let way = with_token(ticket, &token, Transport::WebTransport);
        let refused = soon(what, Terminal::connect(&way)).await;
        assert!(refused.is_err(), "{what} was let in");
        // A native terminal learns of it a little later.
        let way = with_token(ticket, &token, Transport::Quic);
        if let Ok(terminal) = soon(what, Terminal::connect(&way)).await {
            soon(what, terminal.closed()).await;
            let nothing = soon(what, terminal.picture_that(|_| true)).await;
            assert!(matches!(nothing, Err(TerminalError::Over)), "{what}");
        }
        // By WebSocket, where a long address is no address.
        let status = websocket(&ticket.entry.address, &token).await;
        let refused = ["403", "431", "414"];
        assert!(refused.contains(&status.as_str()), "{what}: {status}");
    }

    for transport in BOTH {
        let mut way = WayIn::new(ticket, transport).unwrap();
        way.certificate_sha256 = CertificateHash([7; 32]);
        let refused = soon("a refusal", Terminal::connect(&way)).await;
        assert!(matches!(refused, Err(TerminalError::Connect(_))));
    }

    // Who is no node is not taken for one, neither by other nodes nor by the center.
    let edge = cloud.site("frankfurt").address.parse().unwrap();
    let center = cloud.ready.center.trim_start_matches("http://");
    let center = center.parse().unwrap();
    for (address, alpn) in [(edge, "selvedge-relay/1"), (center, "selvedge-link/1")] {
        if let Ok(connection) = soon(alpn, dial(address, alpn.as_bytes())).await {
            soon(alpn, connection.closed()).await;
        }
    }
    player.counted(0).await;
    player.press("KeyA").await;
    player.counted(1).await;
    drop(player);
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_commands_the_center_without_its_token() {
    let cloud = Cloud::start(&["frankfurt"], &[]).await;
    let mine = Player::start(&cloud, "probe", "berlin").await;
    let theirs = Player::start(&cloud, "probe", "berlin").await;
    cloud
        .deploy(probe("private", &[], "").replace("public = true", "public = false"))
        .await;
    let anybody = Client::new(&cloud.ready.center, None).unwrap();
    let guessed = anybody.with_token("guessed");
    // A session's key is good for this session alone.
    for client in [&anybody, &guessed, &mine.client] {
        for code in commands(client).await {
            assert_eq!(code, ErrorCode::Unauthorized);
        }
        for code in steers(client, &theirs).await {
            let refused = [ErrorCode::Unauthorized, ErrorCode::Forbidden];
            assert!(
                refused.contains(&code) || code == ErrorCode::NotFound,
                "{code:?}"
            );
        }
        let create = api::session::CreateSession {
            app: "private".parse().unwrap(),
            terminal: model::Terminal::default(),
            screen: None,
        };
        let created = client.create_session(&create).await;
        assert_eq!(refusal(created), ErrorCode::Unauthorized);
    }
    assert!(mine.client.session(mine.session).await.is_ok());
    let sessions = cloud.client.sessions().await.unwrap().items;
    assert_eq!(sessions.len(), 2);
    let apps = cloud.client.apps().await.unwrap().items;
    assert!(apps.iter().any(|it| it.name.as_str() == "probe"));
    drop((mine, theirs));

    // A join token lets one machine in.
    let token = cloud.client.create_join_token().await.unwrap().token;
    let mut first = Edge::start(&cloud, "first", &token);
    until("a second node", async || {
        let nodes = cloud.client.nodes().await.unwrap().items;
        (nodes.len() == 2).then_some(())
    })
    .await;
    let mut second = Edge::start(&cloud, "second", &token);
    until("words that refuse it", async || {
        second
            .log()
            .contains("the join token is not good")
            .then_some(())
    })
    .await;
    assert_eq!(cloud.client.nodes().await.unwrap().items.len(), 2);
    first.end().await;
    second.end().await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_at_every_door_stops_nobody() {
    let cloud = Cloud::start(&["frankfurt"], &["--no-restart"]).await;
    cloud.deploy(probe("goes-on", &["--animate"], "")).await;
    let mut player = Player::start(&cloud, "goes-on", "berlin").await;
    player.counted(0).await;
    let edge = cloud.site("frankfurt");
    let center = cloud.ready.center.trim_start_matches("http://");
    let nodes = cloud.client.nodes().await.unwrap().items;
    // The way that the player itself uses, some others, and both services directly.
    let others = nodes[0].endpoints.iter().map(|it| it.address.as_str());
    let doors = others.take(3).chain([
        player.ticket.entry.address.as_str(),
        edge.address.as_str(),
        center,
    ]);
    soon("garbage", pester(doors)).await;

    player.press("KeyA").await;
    player.counted(1).await;
    player.shows_more(10).await;
    assert!(processes::runs(edge.pid) && processes::runs(cloud.ready.pids.center));
    // New ones come in by the same doors.
    let renewed = player.renew(None).await.unwrap();
    assert_eq!(renewed.outcome, Outcome::Same);
    soon("the change", player.change_over(renewed.ticket))
        .await
        .unwrap();
    let other = Player::start(&cloud, "goes-on", "tokyo").await;
    other.counted(0).await;
    drop((player, other));
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hand_is_so_wild_that_the_session_dies() {
    let cloud = Cloud::start(&["frankfurt"], &["--no-restart"]).await;
    let player = Player::start(&cloud, "probe", "berlin").await;
    player.counted(0).await;

    // 10,000 events in a second: the last of them is obeyed like the first.
    let begun = tokio::time::Instant::now();
    for number in 0..FLOOD {
        let place = f64::from(number % 100) / 100.0;
        #[expect(clippy::cast_possible_truncation, reason = "a share of one")]
        let place = place as f32;
        player.terminal.move_to(place, place).unwrap();
        let due = begun + FLOOD_TIME.mul_f64(f64::from(number) / f64::from(FLOOD));
        tokio::time::sleep_until(due).await;
    }
    player.press("KeyA").await;
    player.counted(1).await;

    // A clipboard larger than any may be, through the front door.
    let text = "x".repeat(1 << 20);
    let copied = |seq| InputEvent::Clipboard { seq, text };
    player.terminal.send(copied).unwrap();
    let text = "y".repeat(600 << 10);
    let typed = |seq| InputEvent::Text { seq, text };
    player.terminal.send(typed).unwrap();
    player.press("KeyA").await;
    player.counted(2).await;

    // Nonsense by the own, rightful way.
    let stranger = Stranger::enter(&player.ticket).await;
    let input = format!("{}/input", root(&player.ticket));
    let events = stranger.claim(&format!("{input}/ab"), "events");
    let control = stranger.claim(&format!("{input}/cd"), "control");
    for frame in wild_frames() {
        events.write(frame.clone());
        control.write(frame);
    }
    player.press("KeyA").await;
    until("three keys, or more that were wild", async || {
        let picture = player.terminal.picture()?;
        (crate::support::player::keys_in(&picture) >= 3).then_some(())
    })
    .await;
    // More connections than one person has.
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(Stranger::enter(&player.ticket).await);
    }
    let claims: Vec<_> = crowd
        .iter()
        .enumerate()
        .map(|(number, it)| it.claim(&format!("{input}/{number:x}f"), "events"))
        .collect();
    claims.iter().for_each(|it| it.write(key_down()));
    let ping = soon("a pong", player.terminal.ping()).await;
    ping.unwrap();
    drop((claims, crowd, events, control, stranger));

    let session = cloud.client.session(player.session).await.unwrap();
    assert_eq!(session.state, SessionState::Active);
    assert_eq!(session.epoch, player.ticket.epoch);
    assert!(processes::runs(cloud.site("frankfurt").pid));
    drop(player);
    cloud.end().await;
}

/// A screen's size is the app's own affair unless its manifest says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_resizes_an_app_that_does_not_let_them() {
    let cloud = Cloud::start(&["frankfurt"], &[]).await;
    let text = probe("follows", &[], "");
    let text = text.replace("[screen]", "[screen]\nresizable = true");
    cloud.deploy(text).await;
    cloud.deploy(probe("firm", &[], "")).await;
    let firm = Player::start(&cloud, "firm", "berlin").await;
    let follows = Player::start(&cloud, "follows", "berlin").await;
    firm.counted(0).await;
    follows.counted(0).await;
    for player in [&firm, &follows] {
        for side in 0..200 {
            let resize = |seq| InputEvent::Resize {
                seq,
                width: 400 + side,
                height: 300 + side,
            };
            player.terminal.send(resize).unwrap();
        }
        let last = |seq| InputEvent::Resize {
            seq,
            width: 640,
            height: 400,
        };
        player.terminal.send(last).unwrap();
    }
    // Where it is allowed the last wish holds, and those before it cost next to nothing.
    let fits = |it: &Picture| it.width * 400 == it.height * 640;
    follows.picture("the new shape", fits).await;
    assert!(follows.terminal.statistics().keyframes < 50);

    // Where it is not nothing happened, though the session has heard it.
    soon("a pong", firm.terminal.ping()).await.unwrap();
    for keys in 1..=3 {
        firm.press("KeyA").await;
        firm.counted(keys).await;
    }
    let picture = firm.terminal.picture().unwrap();
    assert_eq!(picture.width * 720, picture.height * 1280);
    assert_eq!(firm.terminal.statistics().lost_groups, 0);
    let told = firm.terminal.status_that(|it| match it {
        Status::Hello(hello) => Some((hello.width, hello.height, hello.resizable)),
        _ => None,
    });
    let told = soon("a hello", told).await.unwrap();
    assert_eq!(told, (1280, 720, false));
    drop((firm, follows));
    cloud.end().await;
}

/// The names of a session's broadcasts begin so.
fn root(ticket: &Ticket) -> String {
    format!("s/{}/{}", ticket.session, ticket.epoch)
}

fn with_token(ticket: &Ticket, token: &str, transport: Transport) -> WayIn {
    let mut way = WayIn::new(ticket, transport).unwrap();
    way.token = token.to_owned();
    way
}

fn key_down() -> Vec<u8> {
    let down = InputEvent::Key {
        seq: InputSeq(1),
        code: "KeyA".into(),
        down: true,
    };
    serde_json::to_vec(&[down]).unwrap()
}

/// Frames that are no input, and some that nearly are.
fn wild_frames() -> Vec<Vec<u8>> {
    let release = r#"{"t":"release"}"#;
    vec![
        Vec::new(),
        vec![0xff; 1_000],
        vec![b'['; 100_000],
        b"null".to_vec(),
        format!("[{}]", vec![release; 5_000].join(",")).into_bytes(),
        br#"[{"t":"move","seq":4294967295,"x":1e30,"y":-1e30}]"#.to_vec(),
        br#"[{"t":"relative","seq":1,"dx":1e38,"dy":-1e38}]"#.to_vec(),
        br#"[{"t":"wheel","seq":1,"dx":1e38,"dy":-1e38}]"#.to_vec(),
        br#"[{"t":"button","seq":1,"button":255,"down":true}]"#.to_vec(),
        br#"[{"t":"key","seq":1,"code":"NoSuchKey","down":true}]"#.to_vec(),
        br#"[{"t":"gamepad","seq":1,"button":255,"down":true}]"#.to_vec(),
        br#"{"t":"ping","id":1,"at":1e308}"#.to_vec(),
        br#"{"t":"report","received":4294967295,"lost":4294967295,"late_ms":-1e38,"decode_queue":4294967295,"round_trip_ms":1e38,"window_ms":0,"bytes":4294967295}"#.to_vec(),
        vec![b'x'; 3 << 20],
    ]
}

/// What only an operator may do, each tried once; the codes of the refusals.
async fn commands(client: &Client) -> Vec<ErrorCode> {
    let app = "probe".parse().unwrap();
    let deploy = DeployApp {
        manifest: probe("harm", &[], ""),
    };
    vec![
        refusal(client.status().await),
        refusal(client.sites().await),
        refusal(client.nodes().await),
        refusal(client.create_join_token().await),
        refusal(client.apps().await),
        refusal(client.releases(&app).await),
        refusal(client.deploy(&deploy).await),
        refusal(client.remove_app(&app).await),
        refusal(client.sessions().await),
        refusal(client.events().await.map(drop)),
    ]
}

/// What only an operator and its own terminal may do with a session.
async fn steers(client: &Client, player: &Player) -> Vec<ErrorCode> {
    let session = player.session;
    let renew = api::session::RenewTicket::default();
    vec![
        refusal(client.session(session).await),
        refusal(client.explain(session).await),
        refusal(client.logs(session).await),
        refusal(client.renew(session, &renew).await),
        refusal(client.move_session(session, &MoveSession::default()).await),
        refusal(client.close_session(session).await),
    ]
}

#[track_caller]
fn refusal<T>(answer: Result<T, ClientError>) -> ErrorCode {
    let error = answer.err().expect("this must be refused");
    error.code().expect("a refusal")
}

/// Asks for a WebSocket by plain HTTP; the status of the answer.
async fn websocket(address: &str, token: &str) -> String {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "GET /moq?token={token} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    let answer = soon("an answer", asking).await.unwrap();
    let status = answer.split(' ').nth(1);
    status.unwrap_or_default().to_owned()
}

/// An edge that somebody started by hand.
struct Edge {
    process: Child,
    log: std::path::PathBuf,
}

impl Edge {
    fn start(cloud: &Cloud, name: &str, join: &str) -> Self {
        let log = cloud.home().join(format!("{name}.log"));
        let center = cloud.ready.center.trim_start_matches("http://");
        let data = cloud.home().join(name);
        let mut command = cloud.command(&["edge", "--json", "--listen", "127.0.0.1:0"]);
        command
            .args(["--site", name, "--site-position", "1,2", "--center", center])
            .arg("--data-dir")
            .arg(data)
            .env("SELVEDGE_JOIN", join)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap());
        Self {
            process: command.spawn().unwrap(),
            log,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn end(&mut self) {
        processes::signal(self.process.id(), rustix::process::Signal::TERM);
        until("the end of an edge", async || {
            self.process.try_wait().unwrap()
        })
        .await;
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
