//! Coming back: to the same instance, or to a new one when its node is gone.

use std::time::Duration;

use api::link::ToNode;
use api::node::NodeStatus;
use api::session::{Outcome, RenewTicket, SessionState};
use model::Epoch;

use crate::support::{Behaviour, TestCenter, eventually, terminal};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_instance_while_its_node_is_up() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, _] = &center.cloud().await;
    let created = center
        .create(terminal(&[(frankfurt, 10), (shanghai, 200)]))
        .await;
    let mine = center.stranger().with_token(&created.key);

    let here = RenewTicket {
        terminal: terminal(&[(frankfurt, 10), (shanghai, 200)]),
        lost_entry: None,
    };
    let renewed = mine.renew(created.session, &here).await.unwrap();
    assert_eq!(renewed.outcome, Outcome::Same);
    assert_eq!(renewed.ticket.epoch, Epoch(1));
    assert_eq!(renewed.ticket.entry, created.ticket.entry);

    // The person has travelled: another way in, and a hint that another place would be better.
    let there = RenewTicket {
        terminal: terminal(&[(frankfurt, 210), (shanghai, 8)]),
        lost_entry: None,
    };
    shanghai.measure(frankfurt, 195.0);
    let renewed = eventually("the measured link is known", async || {
        let renewed = mine.renew(created.session, &there).await.unwrap();
        (renewed.ticket.round_trip_ms > 200.0).then_some(renewed)
    })
    .await;
    assert_eq!(renewed.ticket.entry.node, shanghai.id());
    assert_eq!(renewed.ticket.host_site.as_str(), "frankfurt");
    assert_eq!(renewed.ticket.epoch, Epoch(1));
    assert!((renewed.ticket.round_trip_ms - 203.0).abs() < 0.1);
    let offer = renewed.offer.unwrap();
    assert_eq!(offer.site.as_str(), "shanghai");
    assert!((offer.here_ms - 203.0).abs() < 0.1, "{offer:?}");
    assert!((offer.there_ms - 8.0).abs() < 0.1, "{offer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_lost_is_avoided_while_the_host_lives() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, _] = &center.cloud().await;
    let near = terminal(&[(frankfurt, 10), (shanghai, 30)]);
    let created = center.create(near.clone()).await;
    let mine = center.stranger().with_token(&created.key);
    let renew = RenewTicket {
        terminal: near,
        lost_entry: Some(frankfurt.id()),
    };
    let renewed = mine.renew(created.session, &renew).await.unwrap();
    assert_eq!(renewed.outcome, Outcome::Entry);
    assert_eq!(renewed.ticket.entry.node, shanghai.id());
    assert_eq!(renewed.ticket.host_site.as_str(), "frankfurt");
    assert_eq!(renewed.ticket.epoch, Epoch(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_without_a_word_is_noticed_and_its_session_starts_anew_elsewhere() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, _] = &center.cloud().await;
    let near = terminal(&[(frankfurt, 10), (shanghai, 30)]);
    let created = center.create(near.clone()).await;
    let mine = center.stranger().with_token(&created.key);

    frankfurt.kill();
    let died = std::time::Instant::now();
    // The terminal notices first, and does not wait for the center to do so.
    let renew = RenewTicket {
        terminal: near,
        lost_entry: Some(frankfurt.id()),
    };
    let renewed = mine.renew(created.session, &renew).await.unwrap();
    let took = died.elapsed();
    assert_eq!(renewed.outcome, Outcome::Restarted);
    assert_eq!(renewed.ticket.epoch, Epoch(2));
    assert_eq!(renewed.ticket.host_site.as_str(), "shanghai");
    assert_eq!(
        renewed.why,
        "Frankfurt stopped answering; The test was started anew in Shanghai"
    );
    assert!(shanghai.holds(created.session, 2));
    assert!(took < Duration::from_secs(4), "took {took:?}");

    center
        .wait_for_status(frankfurt.id(), NodeStatus::Silent)
        .await;
    let noticed = died.elapsed();
    assert!(
        noticed < Duration::from_secs(6),
        "noticed after {noticed:?}"
    );
    let explained = mine.explain(created.session).await.unwrap();
    assert_eq!(explained.decisions.len(), 2);
    assert_eq!(explained.decisions[0].cause, "Frankfurt stopped answering");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_flaps_restarts_nothing() {
    let center = TestCenter::start().await;
    let [frankfurt, ..] = &center.cloud().await;
    let near = terminal(&[(frankfurt, 10)]);
    let created = center.create(near.clone()).await;
    frankfurt.disconnect();
    center
        .wait_for_status(frankfurt.id(), NodeStatus::Silent)
        .await;
    let view = center.client().session(created.session).await.unwrap();
    assert_eq!(view.state, SessionState::Lost);

    let mine = center.stranger().with_token(&created.key);
    let renew = RenewTicket {
        terminal: near,
        lost_entry: None,
    };
    let (stop, renewed) = tokio::join!(
        frankfurt.connect(center.address),
        mine.renew(created.session, &renew),
    );
    assert_eq!(stop, []);
    let renewed = renewed.unwrap();
    assert_eq!(renewed.outcome, Outcome::Same, "{}", renewed.why);
    assert!(frankfurt.holds(created.session, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_anew_gets_its_session_back_as_a_new_instance() {
    let center = TestCenter::start().await;
    let [frankfurt, ..] = &center.cloud().await;
    let near = terminal(&[(frankfurt, 10)]);
    let created = center.create(near.clone()).await;
    let client = center.client();
    eventually("the session is active", async || {
        let view = client.session(created.session).await.unwrap();
        (view.state == SessionState::Active).then_some(())
    })
    .await;
    // Until the center would take its silence for a slow start.
    eventually("the session is lost", async || {
        frankfurt.forget();
        let view = client.session(created.session).await.unwrap();
        (view.state == SessionState::Lost).then_some(())
    })
    .await;
    let mine = center.stranger().with_token(&created.key);
    let renew = RenewTicket {
        terminal: near,
        lost_entry: None,
    };
    let renewed = mine.renew(created.session, &renew).await.unwrap();
    assert_eq!(renewed.outcome, Outcome::Restarted);
    assert_eq!(renewed.ticket.host_site.as_str(), "frankfurt");
    assert!(frankfurt.holds(created.session, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_get_one_new_instance() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, sao_paulo] = &center.cloud().await;
    let near = terminal(&[(frankfurt, 10), (shanghai, 30), (sao_paulo, 31)]);
    let created = center.create(near.clone()).await;
    frankfurt.kill();
    center
        .wait_for_status(frankfurt.id(), NodeStatus::Silent)
        .await;
    let mine = center.stranger().with_token(&created.key);
    let renew = RenewTicket {
        terminal: near,
        lost_entry: Some(frankfurt.id()),
    };
    let all = (0..8).map(|_| mine.renew(created.session, &renew));
    for renewed in futures::future::join_all(all).await {
        let renewed = renewed.unwrap();
        assert_eq!(renewed.outcome, Outcome::Restarted);
        assert_eq!(renewed.ticket.epoch, Epoch(2));
    }
    let asked = [shanghai.asked(), sao_paulo.asked()].concat();
    let confirmed = asked
        .iter()
        .filter(|it| matches!(it, ToNode::Confirm { .. }));
    assert_eq!(confirmed.count(), 1, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_dead_node_stays_when_nobody_can_take_it() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, sao_paulo] = &center.cloud().await;
    let near = terminal(&[(frankfurt, 10), (shanghai, 30), (sao_paulo, 31)]);
    let created = center.create(near.clone()).await;
    shanghai.behave(Behaviour::Broken);
    sao_paulo.behave(Behaviour::Broken);
    frankfurt.kill();
    center
        .wait_for_status(frankfurt.id(), NodeStatus::Silent)
        .await;

    let mine = center.stranger().with_token(&created.key);
    let renew = RenewTicket {
        terminal: near,
        lost_entry: Some(frankfurt.id()),
    };
    mine.renew(created.session, &renew).await.unwrap_err();
    let view = mine.session(created.session).await.unwrap();
    assert_eq!((view.host_node, view.epoch), (frankfurt.id(), Epoch(1)));

    // Epochs that were offered are used up.
    sao_paulo.behave(Behaviour::Willing);
    let renewed = mine.renew(created.session, &renew).await.unwrap();
    assert_eq!(renewed.ticket.host_site.as_str(), "sao-paulo");
    assert!(renewed.ticket.epoch > Epoch(3), "{:?}", renewed.ticket);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_shuts_down_loses_its_sessions_to_others() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, _] = &center.cloud().await;
    let near = terminal(&[(frankfurt, 10), (shanghai, 30)]);
    let created = center.create(near.clone()).await;
    frankfurt.drain();
    center
        .wait_for_status(frankfurt.id(), NodeStatus::Draining)
        .await;
    frankfurt.ended(created.session, Epoch(1)).await;
    let mine = center.stranger().with_token(&created.key);
    let renew = RenewTicket {
        terminal: near,
        lost_entry: None,
    };
    let renewed = mine.renew(created.session, &renew).await.unwrap();
    assert_eq!(renewed.outcome, Outcome::Restarted);
    assert_eq!(renewed.ticket.host_site.as_str(), "shanghai");
}
