//! Moving: because the terminal moved, or because an operator says so.

use api::ErrorCode;
use api::link::{ReleaseWhy, ToNode};
use api::session::{MoveSession, Outcome};
use api::terminal::Status;
use model::Epoch;
use model::manifest::OnMove;

use crate::support::{Behaviour, ScriptedNode, TestCenter, code, terminal};

fn to(terminal: model::Terminal, mode: Option<OnMove>) -> MoveSession {
    MoveSession {
        terminal: Some(terminal),
        site: None,
        mode,
    }
}

/// Tickets that the node was asked to pass on.
fn told(node: &ScriptedNode) -> Vec<(Epoch, api::session::Ticket)> {
    let asked = node.asked().into_iter();
    asked
        .filter_map(|it| match it {
            ToNode::Tell { epoch, status, .. } => match *status {
                Status::Ticket { ticket, .. } => Some((epoch, *ticket)),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_stay_only_the_way_in_moves() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, _] = &center.cloud().await;
    let created = center
        .create(terminal(&[(frankfurt, 10), (shanghai, 200)]))
        .await;
    let travelled = to(terminal(&[(frankfurt, 210), (shanghai, 8)]), None);

    let mine = center.stranger().with_token(&created.key);
    let moved = mine
        .move_session(created.session, &travelled)
        .await
        .unwrap();
    assert_eq!(moved.outcome, Outcome::Entry);
    assert_eq!(moved.ticket.entry.node, shanghai.id());
    assert_eq!(moved.ticket.host_site.as_str(), "frankfurt");
    assert_eq!(moved.ticket.epoch, Epoch(1));
    assert_eq!(moved.offer.unwrap().site.as_str(), "shanghai");
    assert_eq!(told(frankfurt), [], "who asked reads the answer");
    let explained = mine.explain(created.session).await.unwrap();
    assert_eq!(explained.decisions[0].cause, "the terminal moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_move_reaches_the_terminal_by_its_host() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, _] = &center.cloud().await;
    let created = center
        .create(terminal(&[(frankfurt, 10), (shanghai, 200)]))
        .await;
    let travelled = to(terminal(&[(frankfurt, 210), (shanghai, 8)]), None);
    let client = center.client();
    let moved = client
        .move_session(created.session, &travelled)
        .await
        .unwrap();
    assert_eq!(told(frankfurt), [(Epoch(1), moved.ticket)]);

    // With `restart` the old host tells, and only then loses the session.
    let restart = MoveSession {
        mode: Some(OnMove::Restart),
        ..MoveSession::default()
    };
    let moved = client
        .move_session(created.session, &restart)
        .await
        .unwrap();
    assert_eq!(moved.outcome, Outcome::Restarted);
    assert_eq!(moved.ticket.epoch, Epoch(2));
    assert_eq!(moved.ticket.host_site.as_str(), "shanghai");
    assert!(shanghai.holds(created.session, 2));
    assert!(!frankfurt.holds(created.session, 1));
    let asked = frankfurt.asked();
    let [.., tell, release] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert!(matches!(
        tell,
        ToNode::Tell {
            epoch: Epoch(1),
            ..
        }
    ));
    let superseded = ReleaseWhy::Superseded;
    assert!(matches!(release, ToNode::Release { epoch: Epoch(1), why, .. } if *why == superseded));
    assert_eq!(told(frankfurt)[1], (Epoch(1), moved.ticket));

    // It is at the best place now.
    let again = client
        .move_session(created.session, &restart)
        .await
        .unwrap();
    assert_eq!(again.outcome, Outcome::Same);
    assert_eq!(again.ticket.epoch, Epoch(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_site_by_name() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, sao_paulo] = &center.cloud().await;
    let created = center
        .create(terminal(&[(frankfurt, 10), (shanghai, 200)]))
        .await;
    let mine = center.stranger().with_token(&created.key);
    let there = |site: &str, mode| MoveSession {
        terminal: None,
        site: Some(site.parse().unwrap()),
        mode: Some(mode),
    };

    let entry = there("shanghai", OnMove::Stay);
    let moved = mine.move_session(created.session, &entry).await.unwrap();
    assert_eq!(moved.outcome, Outcome::Entry);
    assert_eq!(moved.ticket.entry.node, shanghai.id());

    let host = there("sao-paulo", OnMove::Restart);
    let moved = mine.move_session(created.session, &host).await.unwrap();
    assert_eq!(moved.outcome, Outcome::Restarted);
    assert_eq!(moved.ticket.host_site.as_str(), "sao-paulo");
    assert!(sao_paulo.holds(created.session, 2));

    let nowhere = there("atlantis", OnMove::Restart);
    assert_eq!(
        code(mine.move_session(created.session, &nowhere).await),
        ErrorCode::NotFound
    );

    shanghai.behave(Behaviour::Full);
    let full = there("shanghai", OnMove::Restart);
    assert_eq!(
        code(mine.move_session(created.session, &full).await),
        ErrorCode::NoPlace
    );
    assert!(sao_paulo.holds(created.session, 2), "it stays where it is");
    assert_eq!(frankfurt.held(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_moves_at_once_leave_one_owner() {
    let center = TestCenter::start().await;
    let nodes = &center.cloud().await;
    let [frankfurt, shanghai, sao_paulo] = nodes;
    let created = center
        .create(terminal(&[(frankfurt, 10), (shanghai, 200)]))
        .await;
    let mine = center.stranger().with_token(&created.key);
    let east = to(
        terminal(&[(frankfurt, 210), (shanghai, 8), (sao_paulo, 300)]),
        Some(OnMove::Restart),
    );
    let south = to(
        terminal(&[(frankfurt, 210), (shanghai, 300), (sao_paulo, 8)]),
        Some(OnMove::Restart),
    );
    let (east, south) = tokio::join!(
        mine.move_session(created.session, &east),
        mine.move_session(created.session, &south),
    );
    let (east, south) = (east.unwrap(), south.unwrap());
    assert_ne!(east.ticket.epoch, south.ticket.epoch, "one after the other");
    let last = if east.ticket.epoch > south.ticket.epoch {
        east
    } else {
        south
    };
    let view = mine.session(created.session).await.unwrap();
    assert_eq!(view.epoch, last.ticket.epoch);
    let holding: Vec<_> = nodes.iter().flat_map(ScriptedNode::held).collect();
    assert_eq!(holding, [(created.session, last.ticket.epoch)]);
}
