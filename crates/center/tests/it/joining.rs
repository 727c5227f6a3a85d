//! Who may join, and what a node is told.

use api::link::ToCenter;
use api::node::NodeStatus;
use model::{Epoch, SessionId};

use crate::support::{ScriptedNode, TestCenter, eventually, manifest, terminal};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_one_machine_in_once() {
    let center = TestCenter::start().await;
    let token = center.join_token().await;
    let (first, second) = (
        ScriptedNode::new("frankfurt"),
        ScriptedNode::new("frankfurt"),
    );
    first.join(center.address, &token).await;
    let refused = second.try_join(center.address, &token).await.unwrap_err();
    let text = format!("{refused:?}");
    assert!(text.contains("works once"), "{text}");
    second
        .join(center.address, &center.join_token().await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_share_a_token_let_one_in() {
    let center = TestCenter::start().await;
    let token = center.join_token().await;
    let nodes: Vec<_> = (0..4).map(|_| ScriptedNode::new("frankfurt")).collect();
    let joins = nodes.iter().map(|it| it.try_join(center.address, &token));
    let joined = futures::future::join_all(joins).await;
    assert_eq!(joined.iter().filter(|it| it.is_ok()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_joined_may_come_again_without_a_token_but_only_to_the_same_site() {
    let center = TestCenter::start().await;
    let node = center.node("frankfurt").await;
    let authority = node.authority();
    node.ask_to_join(center.address, authority, None)
        .await
        .unwrap();
    node.renew_certificate().await;

    let stranger = ScriptedNode::new("frankfurt");
    stranger
        .ask_to_join(center.address, authority, None)
        .await
        .unwrap_err();
    stranger
        .ask_to_join(center.address, authority, Some("guess".into()))
        .await
        .unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_know_releases_and_peers_in_growing_generations() {
    let center = TestCenter::start().await;
    let frankfurt = center.node("frankfurt").await;
    let shanghai = center.node("shanghai").await;
    let plan = eventually("the peer is known", async || {
        let plan = frankfurt.plan();
        (plan.peers.len() == 1).then_some(plan)
    })
    .await;
    assert_eq!(plan.peers[0].node, shanghai.id());
    assert_eq!(plan.peers[0].address, "shanghai.example:8");
    assert_eq!(plan.releases, []);

    center.deploy(&manifest("test", "")).await;
    let second = eventually("the release is known", async || {
        let plan = shanghai.plan();
        (plan.releases.len() == 1).then_some(plan)
    })
    .await;
    assert!(second.generation > plan.generation);

    // A peer that is silent for a moment stays a peer.
    shanghai.disconnect();
    center
        .wait_for_status(shanghai.id(), NodeStatus::Silent)
        .await;
    center
        .deploy(&manifest("test", "[screen]\nwidth = 640\n"))
        .await;
    let third = eventually("the next release is known", async || {
        let plan = frankfurt.plan();
        (plan.releases.first()?.number.0 == 2).then_some(plan)
    })
    .await;
    assert_eq!(third.peers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_holds_what_it_does_not_own_is_told_to_stop() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, _] = &center.cloud().await;
    let near = terminal(&[(frankfurt, 10), (shanghai, 30)]);
    let created = center.create(near.clone()).await;

    frankfurt.disconnect();
    center
        .wait_for_status(frankfurt.id(), NodeStatus::Silent)
        .await;
    let mine = center.stranger().with_token(&created.key);
    let renew = api::session::RenewTicket {
        terminal: near,
        lost_entry: Some(frankfurt.id()),
    };
    let renewed = mine.renew(created.session, &renew).await.unwrap();
    assert_eq!(renewed.ticket.epoch, Epoch(2));

    let stop = frankfurt.connect(center.address).await;
    assert_eq!(stop, [(created.session, Epoch(1))]);

    // A closed one that a node has not heard of is stopped by and by.
    shanghai.pretend(SessionId(7), Epoch(3));
    eventually("the stray is stopped", async || {
        (!shanghai.holds(SessionId(7), 3)).then_some(())
    })
    .await;
    assert!(shanghai.holds(created.session, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_link_of_a_node_replaces_the_older() {
    let center = TestCenter::start().await;
    let [frankfurt, ..] = &center.cloud().await;
    let created = center.create(terminal(&[(frankfurt, 10)])).await;
    frankfurt.connect(center.address).await;
    center
        .wait_for_status(frankfurt.id(), NodeStatus::Ready)
        .await;
    let logs = center.client().logs(created.session).await.unwrap();
    assert_eq!(logs.lines.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_may_not_say_is_refused_in_words() {
    let center = TestCenter::start().await;
    let node = center.node("frankfurt").await;
    for garbage in [
        &b""[..],
        b"{",
        b"null",
        b"{\"ask\":\"everything\"}",
        &[0xff; 4096],
    ] {
        let error = node.say(garbage).await.unwrap_err();
        assert!(error.to_string().contains("not understood"), "{error}");
    }
    let other = ScriptedNode::new("shanghai").hello();
    let hello = serde_json::to_vec(&ToCenter::Hello(Box::new(other))).unwrap();
    let error = node.say(&hello).await.unwrap_err();
    assert!(error.to_string().contains("site frankfurt"), "{error}");
    let views = center.client().sites().await.unwrap().items;
    assert_eq!(views.len(), 1);
}
