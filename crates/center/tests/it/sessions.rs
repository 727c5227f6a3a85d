//! Starting, seeing, ending.

use api::ErrorCode;
use api::link::{ReleaseWhy, ToNode};
use api::session::{Discover, SessionState};
use mesh::token::SessionClaims;
use model::{Epoch, Terminal};

use crate::support::{Behaviour, PLACES, TestCenter, code, create_test, eventually, terminal};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_starts_at_the_nearest_node_and_its_ticket_is_good_there() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, _sao_paulo] = &center.cloud().await;
    let near = terminal(&[(frankfurt, 12), (shanghai, 210)]);
    let created = center.create(near).await;

    assert_eq!(created.ticket.host_site.as_str(), "frankfurt");
    assert_eq!(created.ticket.entry.node, frankfurt.id());
    assert_eq!(created.ticket.entry.address, "frankfurt.example:9");
    assert_eq!(
        created.ticket.entry.websocket,
        "ws://frankfurt.example:9/moq"
    );
    assert!((created.ticket.round_trip_ms - 12.0).abs() < 0.1);
    assert!(frankfurt.holds(created.session, 1));

    // Any node can check the ticket without asking.
    let now = std::time::SystemTime::now();
    let claims = shanghai
        .verifier()
        .verify::<SessionClaims>(&created.ticket.token, now)
        .unwrap();
    assert_eq!(claims.session, created.session);
    assert_eq!(claims.epoch, Epoch(1));

    let explain = &created.explain;
    assert_eq!(explain.node, frankfurt.id());
    assert_eq!(explain.passed.len(), 2, "{explain:?}");
    assert!(explain.passed.iter().all(|it| !it.why.is_empty()));

    let mine = center.stranger().with_token(created.key);
    let view = eventually("the session is active", async || {
        let view = mine.session(created.session).await.unwrap();
        (view.state == SessionState::Active).then_some(view)
    })
    .await;
    assert_eq!(view.host_node, frankfurt.id());
    let explained = mine.explain(created.session).await.unwrap();
    assert_eq!(explained.decisions, [created.explain]);
    let logs = mine.logs(created.session).await.unwrap();
    assert_eq!(logs.lines.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_moves_on_to_the_next() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, sao_paulo] = &center.cloud().await;
    frankfurt.behave(Behaviour::Full);
    let measured = [(frankfurt, 12), (shanghai, 60), (sao_paulo, 300)];
    let created = center.create(terminal(&measured)).await;
    assert_eq!(created.ticket.host_site.as_str(), "shanghai");
    let mut passed = created.explain.passed.iter();
    let why = &passed.find(|it| it.node == frankfurt.id()).unwrap().why;
    assert!(why.contains("it is full"), "{why}");

    // The way in is still by the nearest.
    assert_eq!(created.ticket.entry.node, frankfurt.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_half_done_stays_when_nobody_can_serve() {
    let center = TestCenter::start().await;
    let nodes = &center.cloud().await;
    for node in nodes {
        node.behave(Behaviour::Broken);
    }
    let create = create_test(Terminal::default());
    let error = center.stranger().create_session(&create).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NoPlace));
    assert!(error.to_string().contains("no display"), "{error}");
    assert!(center.client().sessions().await.unwrap().items.is_empty());
    for node in nodes {
        assert_eq!(node.held(), []);
        let released = node.asked().into_iter().any(|it| {
            let cancelled = ReleaseWhy::Cancelled;
            matches!(it, ToNode::Release { why, .. } if why == cancelled)
        });
        assert!(released);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_fills_every_place_once() {
    let center = TestCenter::start().await;
    let nodes = &center.cloud().await;
    let client = center.stranger();
    let create = create_test(Terminal::default());
    let begun = std::time::Instant::now();
    let burst = (0..3 * PLACES + 6).map(|_| client.create_session(&create));
    let all = futures::future::join_all(burst).await;
    let took = begun.elapsed();
    let (created, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    println!("{} sessions in {took:?}", created.len());
    assert_eq!(created.len(), 3 * PLACES);
    for refused in refused {
        assert_eq!(code(refused), ErrorCode::NoPlace);
    }
    for node in nodes {
        assert_eq!(node.held().len(), PLACES);
    }
    let all = center.client().sessions().await.unwrap().items;
    assert_eq!(all.len(), 3 * PLACES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_somebody_or_its_node_says_so() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, _] = &center.cloud().await;
    let near = terminal(&[(frankfurt, 1)]);
    let closed = center.create(near.clone()).await;
    let ended = center.create(near).await;

    let mine = center.stranger().with_token(closed.key);
    mine.close_session(closed.session).await.unwrap();
    assert!(!frankfurt.holds(closed.session, 1));
    assert_eq!(
        code(mine.session(closed.session).await),
        ErrorCode::NotFound
    );

    // Somebody else's word, or a word about another time, does not count.
    shanghai.ended(ended.session, Epoch(1)).await;
    frankfurt.ended(ended.session, Epoch(7)).await;
    let client = center.client();
    client.session(ended.session).await.unwrap();
    frankfurt.ended(ended.session, Epoch(1)).await;
    assert_eq!(
        code(client.session(ended.session).await),
        ErrorCode::NotFound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_come_nearest_first_with_the_address_of_the_terminals_network() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, sao_paulo] = &center.cloud().await;
    let measured = [(frankfurt, 40), (shanghai, 9), (sao_paulo, 500)];
    let mut who = terminal(&measured);
    who.network = Some("test:berlin".parse().unwrap());
    let discover = Discover {
        app: "test".parse().unwrap(),
        terminal: who,
    };
    let found = center.stranger().discover(&discover).await.unwrap();
    let nodes: Vec<_> = found.candidates.iter().map(|it| it.entry.node).collect();
    assert_eq!(nodes, [shanghai.id(), frankfurt.id()]);
    assert_eq!(found.candidates[0].entry.address, "10.0.0.1:8");
    assert_eq!(found.rejected.len(), 1);
    assert_eq!(found.rejected[0].node, sao_paulo.id());
    assert!(
        found.rejected[0].why.contains("500 ms"),
        "{:?}",
        found.rejected
    );
}
