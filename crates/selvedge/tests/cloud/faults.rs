//! What breaks, and what the person at the terminal sees of it.

use std::time::{Duration, Instant};

use api::ErrorCode;
use api::node::NodeStatus;
use api::session::{Outcome, SessionState};
use api::terminal::{AppState, ByeReason, Status};
use rustix::process::Signal;

use crate::support::cloud::{Cloud, TWO_SITES, probe};
use crate::support::player::Player;
use crate::support::{processes, soon, until};

/// From the death of a node to a picture from another.
const RESCUE_MAX: Duration = Duration::from_secs(5);

/// A picture of 30 a second goes on all the time when no gap is longer, also on a busy machine.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// An app that crashes this often within a minute is left alone.
const CRASHES_MAX: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn when_an_edge_dies_its_terminals_go_on_elsewhere() {
    let cloud = Cloud::start(TWO_SITES, &["--no-restart"]).await;
    cloud.deploy(probe("falls", &["--animate"], "")).await;
    let mut player = Player::start(&cloud, "falls", "berlin").await;
    player.counted(0).await;
    player.press("KeyA").await;
    let epoch = player.ticket.epoch;
    assert_eq!(player.ticket.host_site.as_str(), "frankfurt");

    let killed = Instant::now();
    processes::signal(cloud.site("frankfurt").pid, Signal::KILL);
    player.lost().await;
    let noticed = killed.elapsed();
    let renewed = player.recover().await;
    let rescued = killed.elapsed();
    println!("noticed after {noticed:?}, a picture after {rescued:?}");
    assert!(rescued <= RESCUE_MAX, "{rescued:?}");

    assert_eq!(renewed.outcome, Outcome::Restarted);
    for word in ["Frankfurt stopped answering", "Shanghai"] {
        assert!(renewed.why.contains(word), "{}", renewed.why);
    }
    assert_eq!(player.ticket.host_site.as_str(), "shanghai");
    assert_eq!(player.ticket.entry.site.as_str(), "shanghai");
    assert_eq!(player.ticket.epoch, epoch.next());
    player.counted(0).await;
    player.press("KeyA").await;
    player.counted(1).await;

    // An operator reads the same, and sees which node is gone.
    let explained = cloud.client.explain(player.session).await.unwrap();
    let last = &explained.decisions[0];
    assert!(last.cause.contains("stopped answering"), "{last:?}");
    let nodes = cloud.client.nodes().await.unwrap().items;
    let lost = nodes.iter().find(|it| it.site.as_str() == "frankfurt");
    assert_eq!(lost.unwrap().status, NodeStatus::Silent);
}

/// The terminal enters in Shanghai, the app runs in Frankfurt; the way in between dies, not the app.
#[tokio::test(flavor = "multi_thread")]
async fn when_only_the_entry_dies_the_app_goes_on() {
    let cloud = Cloud::start(TWO_SITES, &["--no-restart"]).await;
    cloud.deploy(probe("enters", &["--animate"], "")).await;
    let mut player = Player::start(&cloud, "enters", "berlin").await;
    player.counted(0).await;
    player.press("KeyA").await;
    player.move_to("tokyo", None).await;
    assert_eq!(player.ticket.entry.site.as_str(), "shanghai");

    let killed = Instant::now();
    processes::signal(cloud.site("shanghai").pid, Signal::KILL);
    player.lost().await;
    let renewed = player.recover().await;
    let rescued = killed.elapsed();
    println!("a picture after {rescued:?}");
    assert!(rescued <= RESCUE_MAX, "{rescued:?}");
    assert_eq!(renewed.outcome, Outcome::Entry, "{}", renewed.why);
    assert_eq!(player.ticket.entry.site.as_str(), "frankfurt");
    player.counted(1).await;
    drop(player);
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_comes_back_ends_what_its_crash_left() {
    let mut cloud = Cloud::start(&["frankfurt"], &[]).await;
    cloud.deploy(probe("left", &[], "")).await;
    let mut player = Player::start(&cloud, "left", "berlin").await;
    player.counted(0).await;
    player.press("KeyA").await;
    let app = cloud.part("frankfurt", "app", None).await;
    let screen = cloud.part("frankfurt", "screen", None).await;
    let epoch = player.ticket.epoch;

    processes::signal(cloud.site("frankfurt").pid, Signal::KILL);
    let back = cloud.event("restarted").await;
    assert_eq!(back["name"], "edge-frankfurt");
    // It is ready: nothing of before runs any more.
    assert!(!processes::runs(app), "the app outlived the restart");
    assert!(!processes::runs(screen), "the screen outlived the restart");

    player.lost().await;
    let renewed = player.recover().await;
    assert_eq!(renewed.outcome, Outcome::Restarted);
    assert!(renewed.why.contains("Frankfurt"), "{}", renewed.why);
    assert_eq!(player.ticket.epoch, epoch.next());
    player.counted(0).await;
    assert_ne!(cloud.part("frankfurt", "app", None).await, app);
    drop(player);
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_center_dies_the_picture_goes_on() {
    let mut cloud = Cloud::start(TWO_SITES, &[]).await;
    cloud.deploy(probe("alone", &["--animate"], "")).await;
    let player = Player::start(&cloud, "alone", "berlin").await;
    player.counted(0).await;
    player.press("KeyA").await;
    let (session, epoch) = (player.session, player.ticket.epoch);
    let before = cloud.client.status().await.unwrap();

    player.shows_more(1).await;
    let killed = Instant::now();
    processes::signal(cloud.ready.pids.center, Signal::KILL);
    assert_eq!(cloud.event("exited").await["name"], "center");
    player.press("KeyA").await;
    assert_eq!(cloud.event("restarted").await["name"], "center");
    until("a session that is known and active", async || {
        let known = cloud.client.session(session).await.ok()?;
        assert_eq!((known.epoch, known.id), (epoch, session));
        (known.state == SessionState::Active).then_some(())
    })
    .await;
    player.shows_more(10).await;
    let pause = player.shown.longest_gap(killed);
    println!("longest gap {pause:?} while the center was away");
    assert!(pause <= PAUSE_MAX, "{pause:?}");

    // Nothing that was wanted is forgotten.
    let after = cloud.client.status().await.unwrap();
    assert_eq!(
        (after.apps, after.nodes, after.sessions),
        (before.apps, before.nodes, before.sessions)
    );
    assert!(after.revision >= before.revision);
    let renewed = player.renew(None).await.unwrap();
    assert_eq!(renewed.outcome, Outcome::Same, "{}", renewed.why);
    let mut player = player;
    let changed = player.change_over(renewed.ticket);
    soon("the change", changed).await.unwrap();
    player.counted(2).await;
    drop(player);
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_or_a_screen_that_crashes_comes_back_until_it_is_too_much() {
    let cloud = Cloud::start(&["frankfurt"], &[]).await;
    cloud.deploy(probe("crashes", &[], "")).await;
    let player = Player::start(&cloud, "crashes", "berlin").await;
    player.counted(0).await;
    player.press("KeyA").await;
    player.counted(1).await;
    let mut app = cloud.part("frankfurt", "app", None).await;
    let mut screen = cloud.part("frankfurt", "screen", None).await;

    // The app: its screen stays, and so does the connection.
    processes::signal(app, Signal::KILL);
    let why = told_of_restart(&player, "the app").await;
    assert!(why.contains("signal"), "{why}");
    app = cloud.part("frankfurt", "app", Some(app)).await;
    runs_again(&player).await;
    assert_eq!(cloud.parts("frankfurt", "screen"), [screen]);

    // The screen: the app goes with it.
    processes::signal(screen, Signal::KILL);
    told_of_restart(&player, "the screen").await;
    screen = cloud.part("frankfurt", "screen", Some(screen)).await;
    app = cloud.part("frankfurt", "app", Some(app)).await;
    runs_again(&player).await;
    assert!(processes::runs(screen));

    // One crash is one restart, whatever went down with it.
    let logs = player.client.logs(player.session).await.unwrap().lines;
    let restarts = logs.iter().filter(|it| it.contains("starting it again"));
    assert_eq!(restarts.count(), 2, "{logs:?}");

    // Too often: it is left, and the person is told why.
    for _ in 3..CRASHES_MAX {
        processes::signal(app, Signal::KILL);
        app = cloud.part("frankfurt", "app", Some(app)).await;
    }
    processes::signal(app, Signal::KILL);
    let bye = player.terminal.status_that(|it| match it {
        Status::Bye { reason, text } => Some((*reason, text.clone())),
        _ => None,
    });
    let (reason, text) = soon("a goodbye", bye).await.unwrap();
    assert_eq!(reason, ByeReason::Failed);
    assert!(text.contains(&format!("crash {CRASHES_MAX}")), "{text}");
    let failed = player.terminal.status_that(|it| match it {
        Status::App { state, why } => Some(why.clone()).filter(|_| *state == AppState::Failed),
        _ => None,
    });
    assert!(soon("a failure", failed).await.unwrap().is_some());
    until("no process", async || {
        cloud.leftovers().is_empty().then_some(())
    })
    .await;
    let gone = until("a session that is gone", async || {
        player.client.session(player.session).await.err()
    })
    .await;
    assert_eq!(gone.code(), Some(ErrorCode::NotFound));
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_end_tells_the_terminal_and_leaves_nothing() {
    let cloud = Cloud::start(TWO_SITES, &["--no-restart"]).await;
    cloud.deploy(probe("ends", &["--animate"], "")).await;
    let mut player = Player::start(&cloud, "ends", "berlin").await;
    let epoch = player.ticket.epoch;

    // One node that is shut down: its terminals are told, and find another.
    processes::signal(cloud.site("frankfurt").pid, Signal::TERM);
    assert_eq!(goodbye(&player).await, ByeReason::Draining);
    let renewed = player.recover().await;
    assert_eq!(renewed.outcome, Outcome::Restarted);
    assert_eq!(player.ticket.host_site.as_str(), "shanghai");
    assert_eq!(player.ticket.epoch, epoch.next());
    until("no process in Frankfurt", async || {
        let left = processes::of_node(&cloud.site("frankfurt").node);
        left.is_empty().then_some(())
    })
    .await;

    // All of it, with an app that runs.
    assert_eq!(cloud.parts("shanghai", "app").len(), 1);
    let pids: Vec<u32> = cloud.ready.sites.iter().map(|it| it.pid).collect();
    let center = cloud.ready.pids.center;
    cloud.end().await;
    for pid in pids.into_iter().chain([center]) {
        assert!(!processes::runs(pid), "{pid} runs");
    }
    assert_eq!(goodbye(&player).await, ByeReason::Draining);
}

/// Waits until the terminal is told that the session ends here.
async fn goodbye(player: &Player) -> ByeReason {
    let bye = player.terminal.status_that(|it| match it {
        Status::Bye { reason, .. } => Some(*reason),
        _ => None,
    });
    soon("a goodbye", bye).await.unwrap()
}

/// Waits until the terminal is told that something crashed, and returns the words.
async fn told_of_restart(player: &Player, what: &str) -> String {
    let told = player.terminal.status_that(|it| match it {
        Status::App { state, why } => {
            let why = why.clone().filter(|it| it.starts_with(what));
            why.filter(|_| *state == AppState::Restarting)
        }
        _ => None,
    });
    soon("words about a crash", told).await.unwrap()
}

/// Waits until the app is there anew, and obeys.
async fn runs_again(player: &Player) {
    until("an app that runs", async || {
        let (state, _) = player.app_state().await;
        (state == AppState::Running).then_some(())
    })
    .await;
    player.counted(0).await;
    player.press("KeyA").await;
    player.counted(1).await;
}
