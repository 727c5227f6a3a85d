//! What strangers try.

use std::time::Duration;

use api::ErrorCode;
use api::app::DeployApp;
use api::error::ErrorBody;
use api::session::{MoveSession, RenewTicket};
use model::Terminal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::support::{PATIENCE, TestCenter, code, create_test, manifest};

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_nothing_opens() {
    let center = TestCenter::start().await;
    let _nodes = center.cloud().await;
    let session = center.create(Terminal::default()).await.session;
    for client in [
        center.stranger(),
        center.stranger().with_token("guess"),
        center.stranger().with_token(""),
        center.stranger().with_token("x".repeat(4_000)),
    ] {
        let unauthorized = ErrorCode::Unauthorized;
        assert_eq!(code(client.status().await), unauthorized);
        assert_eq!(code(client.sites().await), unauthorized);
        assert_eq!(code(client.nodes().await), unauthorized);
        assert_eq!(code(client.apps().await), unauthorized);
        assert_eq!(code(client.sessions().await), unauthorized);
        assert_eq!(code(client.create_join_token().await), unauthorized);
        let deploy = DeployApp {
            manifest: manifest("evil", ""),
        };
        assert_eq!(code(client.deploy(&deploy).await), unauthorized);
        let app = "test".parse().unwrap();
        assert_eq!(code(client.remove_app(&app).await), unauthorized);
        assert!(client.events().await.err().unwrap().code() == Some(unauthorized));
        for refused in [
            code(client.session(session).await),
            code(client.logs(session).await),
            code(client.close_session(session).await),
        ] {
            assert!(matches!(
                refused,
                ErrorCode::Unauthorized | ErrorCode::Forbidden
            ));
        }
    }
    // Public all the same.
    assert_eq!(center.stranger().places().await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_its_own_session_only() {
    let center = TestCenter::start().await;
    let _nodes = center.cloud().await;
    let mine = center.create(Terminal::default()).await;
    let yours = center.create(Terminal::default()).await;
    let client = center.stranger().with_token(&mine.key);
    client.session(mine.session).await.unwrap();
    let forbidden = ErrorCode::Forbidden;
    let other = yours.session;
    assert_eq!(code(client.session(other).await), forbidden);
    assert_eq!(code(client.explain(other).await), forbidden);
    assert_eq!(code(client.logs(other).await), forbidden);
    let renew = RenewTicket::default();
    assert_eq!(code(client.renew(other, &renew).await), forbidden);
    let to = MoveSession::default();
    assert_eq!(code(client.move_session(other, &to).await), forbidden);
    assert_eq!(code(client.close_session(other).await), forbidden);
    assert_eq!(code(client.sessions().await), ErrorCode::Unauthorized);
    let create = create_test(Terminal::default());
    client.create_session(&create).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_app_is_for_those_with_the_token() {
    let center = TestCenter::start().await;
    let private = "name = \"test\"\nkind = \"stream\"\ncommand = [\"true\"]";
    center.deploy(private).await;
    let _node = center.node("frankfurt").await;
    center.wait_for_app("test", 1).await;
    let create = create_test(Terminal::default());
    let refused = center.stranger().create_session(&create).await;
    assert_eq!(code(refused), ErrorCode::Unauthorized);
    center.client().create_session(&create).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_not_kept() {
    let center = TestCenter::start().await;
    let _nodes = center.cloud().await;
    let key = center.create(Terminal::default()).await.key;
    let token = center.join_token().await;
    let (_, secret) = token.split_once('.').unwrap();
    let (directory, _) = center.stop().await;
    let stored = std::fs::read(directory.path().join("center/center.redb")).unwrap();
    let holds = |secret: &str| {
        let mut windows = stored.windows(secret.len());
        windows.any(|it| it == secret.as_bytes())
    };
    assert!(holds("key_hash"), "the right file was read");
    assert!(!holds(&key));
    assert!(!holds(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_is_said_in_json() {
    let center = TestCenter::start().await;
    // Each by a connection of its own: one that said too much is closed under whoever comes next.
    let unpooled = reqwest::Client::builder().pool_max_idle_per_host(0);
    let http = unpooled.build().unwrap();
    let url = |path: &str| format!("{}{path}", center.base());
    let long = "x".repeat(300_000);
    let json = |path: &str, body: &str| {
        let request = http.post(url(path)).body(body.to_owned());
        request.header("content-type", "application/json")
    };
    let token = crate::support::admin_token(center.directory.path());
    let cases = [
        (http.get(url("/nothing")), 404, ErrorCode::NotFound),
        (
            http.get(url("/console/../../etc/passwd")),
            404,
            ErrorCode::NotFound,
        ),
        (
            http.get(url("/console/%2e%2e/Cargo.toml")),
            404,
            ErrorCode::NotFound,
        ),
        (
            http.get(url("/play/Not%20A%20Name")),
            404,
            ErrorCode::NotFound,
        ),
        (http.delete(url("/v1/discover")), 405, ErrorCode::BadRequest),
        (http.post(url("/v1/events")), 405, ErrorCode::BadRequest),
        (http.post(url("/v1/discover")), 400, ErrorCode::BadRequest),
        (json("/v1/discover", "{"), 400, ErrorCode::BadRequest),
        (
            json("/v1/discover", "{\"app\":7}"),
            400,
            ErrorCode::BadRequest,
        ),
        (
            json("/v1/discover", "{\"app\":\"test\",\"colour\":1}"),
            400,
            ErrorCode::BadRequest,
        ),
        (
            json(
                "/v1/sessions",
                "{\"app\":\"test\",\"terminal\":{\"position\":{\"lat\":900,\"lon\":0}}}",
            ),
            400,
            ErrorCode::BadRequest,
        ),
        (json("/v1/discover", &long), 413, ErrorCode::TooLarge),
        (
            http.get(url("/v1/nodes/zebra")).bearer_auth(&token),
            400,
            ErrorCode::BadRequest,
        ),
        (
            http.get(url("/v1/sessions/ffff")).bearer_auth(&token),
            404,
            ErrorCode::NotFound,
        ),
    ];
    for (request, status, code) in cases {
        let response = request.send().await.unwrap();
        let path = response.url().path().to_owned();
        assert_eq!(response.status(), status, "{path}");
        let body: ErrorBody = response.json().await.expect(&path);
        assert_eq!(body.error.code, code, "{path}");
        assert!(!body.error.message.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_both_ports_harms_nobody() {
    let center = TestCenter::start().await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in [0, 1, 20, 64, 1_200, 1_400] {
        for byte in [0x00, 0x40, 0xc0, 0xff] {
            let _ = udp.send_to(&vec![byte; length], center.address).await;
        }
    }
    for garbage in [
        &[0_u8; 2_000][..],
        &[0xff; 2_000],
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
    ] {
        let mut tcp = TcpStream::connect(center.address).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        tcp.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // An answer or none, but an end.
        let read = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut answer)).await;
        assert!(read.is_ok());
        assert!(answer.len() < 1_000);
    }
    let huge = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(200_000)
    );
    let mut tcp = TcpStream::connect(center.address).await.unwrap();
    let _ = tcp.write_all(huge.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");

    center.client().status().await.unwrap();
    let _node = center.node("frankfurt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_are_cut_off() {
    let center = TestCenter::start().await;
    let mut slow = TcpStream::connect(center.address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    let head = async {
        let begun = std::time::Instant::now();
        let mut answer = Vec::new();
        let read = slow.read_to_end(&mut answer);
        let _ = tokio::time::timeout(PATIENCE, read).await.expect("cut off");
        assert!(begun.elapsed() > Duration::from_secs(5));
    };
    tokio::join!(head, slow_body(&center));
}

/// A body that never ends is cut off, too.
async fn slow_body(center: &TestCenter) {
    let mut slow = TcpStream::connect(center.address).await.unwrap();
    let head = "POST /v1/discover HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 1000\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 32];
    let read = slow.read(&mut answer);
    let length = tokio::time::timeout(PATIENCE, read).await.expect("cut off");
    assert!(answer.starts_with(b"HTTP/1.1 503"), "{length:?}");
}
