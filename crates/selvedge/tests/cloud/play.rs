//! Playing: pictures, keys, clipboard, logs, leaving and returning, moving.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::ErrorCode;
use api::session::{Outcome, ScreenSize, SessionState};
use api::terminal::{ByeReason, Status};
use model::input::{InputEvent, InputSeq};
use model::manifest::OnMove;

use crate::support::cloud::{Cloud, TWO_SITES, manifest, probe, probe_path};
use crate::support::player::{EVEN, ODD, Player, background, keys_in};
use crate::support::{soon, until};

/// The longest time without a new picture that a change of place may cost.
const GAP_MAX: Duration = Duration::from_millis(300);

/// Keys that are pressed one after the other.
const KEYS: u32 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_changes_the_picture_and_the_app_can_be_followed() {
    let cloud = Cloud::start(TWO_SITES, &[]).await;
    let said = format!("echo the app says hello; exec {}", probe_path().display());
    let text = manifest("talks", &["sh", "-c", &said], "");
    cloud
        .deploy(text.replace("'text'", "'text'\nresizable = true"))
        .await;
    let size = Some(ScreenSize {
        width: 1280,
        height: 720,
    });
    let player = Player::start_sized(&cloud, "talks", "berlin", size).await;
    assert_eq!(player.ticket.host_site.as_str(), "frankfurt");
    assert_eq!(player.ticket.entry.site.as_str(), "frankfurt");

    // Keys, and the number of the event in the picture.
    player
        .picture("an even picture", |it| background(it, EVEN))
        .await;
    player.press("KeyA").await;
    let odd = player
        .picture("an odd picture", |it| background(it, ODD))
        .await;
    assert_eq!(keys_in(&odd), 1);
    assert!(odd.input_seq >= InputSeq(1), "{:?}", odd.input_seq);
    // Every single one, however fast they come.
    for _ in 0..KEYS {
        player.press("Enter").await;
    }
    player.counted(1 + KEYS).await;

    // Pings go the whole emulated way; reports arrive where the rate is decided.
    let ping = soon("a pong", player.terminal.ping()).await.unwrap();
    assert!(ping.as_secs_f64() * 1e3 >= 0.8 * player.ticket.round_trip_ms);
    until("a measured round trip in the list", async || {
        let session = cloud.client.session(player.session).await.unwrap();
        let measured = session.quality.round_trip_ms > 0.0;
        (measured && session.state == SessionState::Active).then_some(())
    })
    .await;

    // The screen follows the window.
    let resize = |seq| InputEvent::Resize {
        seq,
        width: 1024,
        height: 600,
    };
    player.terminal.send(resize).unwrap();
    // On a machine that is too busy the picture is smaller, of the same shape.
    player
        .picture("the new shape", |it| it.width * 600 == it.height * 1024)
        .await;
    let hello = player.terminal.status_that(|it| match it {
        Status::Hello(hello) => Some((hello.width, hello.height)).filter(|it| *it == (1024, 600)),
        _ => None,
    });
    soon("a hello with the new size", hello).await.unwrap();

    let logs = cloud.run(&["session", "logs", &player.session.to_string()]);
    let logs = String::from_utf8(logs.stdout).unwrap();
    assert!(logs.contains("the app says hello"), "{logs:?}");
    drop(player);
    cloud.end().await;
}

/// A picture is there before most apps have drawn anything, and people type at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_pressed_before_the_app_has_its_window_is_not_lost() {
    let cloud = Cloud::start(&["frankfurt"], &[]).await;
    let late = format!("sleep 0.5; exec {}", probe_path().display());
    let text = manifest("late", &["sh", "-c", &late], "");
    cloud.deploy(text).await;
    let player = Player::start(&cloud, "late", "frankfurt").await;
    player.press("KeyA").await;
    player.counted(1).await;
    drop(player);
    cloud.end().await;
}

/// What waits for somebody does not know how large their window will be.
#[tokio::test(flavor = "multi_thread")]
async fn a_warm_app_has_the_size_of_the_window_from_the_first_picture() {
    let cloud = Cloud::start(&["frankfurt"], &[]).await;
    let text = probe("warm", &[], "");
    let text = text.replace(
        "[screen]",
        "[placement]\nwarm = 1\n[screen]\nresizable = true",
    );
    cloud.deploy(text).await;
    until("a warm instance", async || {
        let nodes = cloud.client.nodes().await.unwrap().items;
        nodes.iter().any(|it| it.warm > 0).then_some(())
    })
    .await;
    let app = cloud.part("frankfurt", "app", None).await;
    let size = Some(ScreenSize {
        width: 1024,
        height: 600,
    });
    let player = Player::start_sized(&cloud, "warm", "frankfurt", size).await;
    assert!(cloud.parts("frankfurt", "app").contains(&app));
    let picture = player.terminal.picture().unwrap();
    assert_eq!(picture.width * 600, picture.height * 1024);
    player.press("KeyA").await;
    drop(player);
    cloud.end().await;
}

/// An unmodified xterm as a person uses it: paste by Shift+Insert, and a program in it that copies.
#[tokio::test(flavor = "multi_thread")]
async fn the_clipboard_goes_both_ways() {
    let cloud = Cloud::start(&["frankfurt"], &[]).await;
    // Copies what it reads, as OSC 52 says it, with something of its own before.
    let copies = r#"while read -r line; do printf '\033]52;c;%s\a' "$(printf 'back: %s' "$line" | base64)"; done"#;
    let command = [
        "xterm",
        "-u8",
        "-xrm",
        "*selectToClipboard: true",
        "-xrm",
        "*allowWindowOps: true",
        "-e",
        "sh",
        "-c",
        copies,
    ];
    cloud.deploy(manifest("copies", &command, "")).await;
    let player = Player::start(&cloud, "copies", "frankfurt").await;
    // Without a window manager the keys go to the window under the pointer, once there is one.
    player.terminal.move_to(0.1, 0.1).unwrap();
    let text = "grüße 42";
    until("the text with a word before it", async || {
        let copied = |seq| InputEvent::Clipboard {
            seq,
            text: text.to_owned(),
        };
        player.terminal.send(copied).unwrap();
        for (code, down) in [
            ("ShiftLeft", true),
            ("Insert", true),
            ("Insert", false),
            ("ShiftLeft", false),
            ("Enter", true),
            ("Enter", false),
        ] {
            player.terminal.key(code, down).unwrap();
        }
        let back = player.terminal.status_that(|it| match it {
            Status::Clipboard { text } => text.strip_prefix("back: ").map(str::to_owned),
            _ => None,
        });
        let back = tokio::time::timeout(Duration::from_secs(2), back).await;
        let back = back.ok()?.unwrap();
        (back == text).then_some(())
    })
    .await;
    drop(player);
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_returns_in_time_finds_the_app_as_it_was() {
    let cloud = Cloud::start(&["frankfurt"], &[]).await;
    let grace = Duration::from_secs(3);
    let rule = format!("reconnect_grace_secs = {}", grace.as_secs());
    cloud.deploy(probe("waits", &[], &rule)).await;
    let player = Player::start(&cloud, "waits", "berlin").await;
    player.counted(0).await;
    for _ in 0..3 {
        player.press("KeyA").await;
    }
    let app = cloud.part("frankfurt", "app", None).await;
    let screen = cloud.part("frankfurt", "screen", None).await;
    let (epoch, token) = (player.ticket.epoch, player.ticket.token.clone());

    let away = player.leave();
    let left = Instant::now();
    until("a session that waits", async || {
        let session = cloud.client.session(away.session).await.unwrap();
        (session.state == SessionState::Waiting).then_some(())
    })
    .await;
    let player = away.back().await;
    assert!(left.elapsed() < grace, "the machine is too slow to tell");
    player.counted(3).await;
    assert_eq!(player.ticket.epoch, epoch);
    assert_ne!(player.ticket.token, token);
    assert_eq!(cloud.parts("frankfurt", "app"), [app]);

    // Nobody comes back: everything ends, and the center knows.
    let away = player.leave();
    let left = Instant::now();
    until("no process", async || {
        cloud.leftovers().is_empty().then_some(())
    })
    .await;
    assert!(left.elapsed() >= grace, "{:?}", left.elapsed());
    assert_eq!(cloud.parts("frankfurt", "screen"), [0; 0], "{screen}");
    let gone = until("a session that is gone", async || {
        away.client.session(away.session).await.err()
    })
    .await;
    assert_eq!(gone.code(), Some(ErrorCode::NotFound));
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_stays_enters_elsewhere_without_a_gap() {
    let cloud = Cloud::start(TWO_SITES, &[]).await;
    cloud.deploy(probe("stays", &["--animate"], "")).await;
    let mut player = Player::start(&cloud, "stays", "berlin").await;
    player.counted(0).await;
    for _ in 0..2 {
        player.press("KeyA").await;
    }
    let app = cloud.part("frankfurt", "app", None).await;
    let usual = usual_gap(&player).await;
    let begun = Instant::now();
    let moved = player.move_to("tokyo", None).await;
    player.shows_more(30).await;
    let gap = player.shown.longest_gap(begun);
    println!("longest gap {gap:?}, {usual:?} before");
    assert!(gap <= GAP_MAX.max(2 * usual), "{gap:?}, {usual:?} before");

    assert_eq!(moved.outcome, Outcome::Entry, "{}", moved.why);
    assert!(moved.why.contains("Shanghai"), "{}", moved.why);
    assert_eq!(player.ticket.host_site.as_str(), "frankfurt");
    assert_eq!(player.ticket.entry.site.as_str(), "shanghai");
    let offer = moved.offer.expect("Shanghai would be much nearer");
    assert_eq!(offer.site.as_str(), "shanghai");
    assert!(offer.there_ms < offer.here_ms);
    player.counted(2).await;
    player.press("KeyA").await;
    player.counted(3).await;
    assert_eq!(cloud.parts("frankfurt", "app"), [app]);
    // Over Shanghai to Frankfurt and back, not by some shorter way.
    let ping = soon("a pong", player.terminal.ping()).await.unwrap();
    assert!(ping.as_secs_f64() * 1e3 >= 0.8 * player.ticket.round_trip_ms);

    // What was offered can be had, in the same session.
    let moved = player.move_to("tokyo", Some(OnMove::Restart)).await;
    assert_eq!(moved.outcome, Outcome::Restarted);
    assert_eq!(player.ticket.host_site.as_str(), "shanghai");
    player.counted(0).await;

    // An operator moves the terminal, which is told, and follows by the ticket it was given.
    let id = player.session.to_string();
    let ran = cloud.run(&["session", "move", &id, "--place", "Berlin"]);
    assert!(ran.status.success(), "{ran:?}");
    let told = player.terminal.status_that(|it| match it {
        Status::Ticket { ticket, why, .. } => Some((ticket.clone(), why.clone())),
        _ => None,
    });
    let (ticket, why) = soon("a ticket", told).await.unwrap();
    assert_eq!(ticket.entry.site.as_str(), "frankfurt");
    assert!(why.contains("Frankfurt"), "{why}");
    let epoch = player.ticket.epoch;
    let changed = player.change_over(*ticket);
    soon("the change", changed).await.unwrap();
    assert_eq!(player.ticket.epoch, epoch);
    player.press("KeyA").await;
    player.counted(1).await;
    drop(player);
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_restarts_keeps_the_session_and_the_picture() {
    let cloud = Cloud::start(TWO_SITES, &[]).await;
    let manifest = probe("restarts", &["--animate"], "on_move = 'restart'");
    cloud.deploy(manifest).await;
    let mut player = Player::start(&cloud, "restarts", "berlin").await;
    player.counted(0).await;
    player.press("KeyA").await;
    let (session, epoch) = (player.session, player.ticket.epoch);
    let old = Arc::clone(&player.terminal);
    let usual = usual_gap(&player).await;
    let begun = Instant::now();
    let moved = player.move_to("tokyo", None).await;
    player.shows_more(30).await;
    let gap = player.shown.longest_gap(begun);
    println!("longest gap {gap:?}, {usual:?} before");
    assert!(gap <= GAP_MAX.max(2 * usual), "{gap:?}, {usual:?} before");

    assert_eq!(moved.outcome, Outcome::Restarted, "{}", moved.why);
    assert_eq!(player.ticket.session, session);
    assert_eq!(player.ticket.epoch, epoch.next());
    for site in [&player.ticket.host_site, &player.ticket.entry.site] {
        assert_eq!(site.as_str(), "shanghai");
    }
    player.counted(0).await;
    player.press("KeyA").await;
    player.counted(1).await;

    // The old instance waits for its terminal to leave, and goes then.
    drop(old);
    until("no process in Frankfurt", async || {
        let apps = cloud.parts("frankfurt", "app");
        let screens = cloud.parts("frankfurt", "screen");
        (apps.is_empty() && screens.is_empty()).then_some(())
    })
    .await;
    assert_eq!(cloud.parts("shanghai", "app").len(), 1);
    let view = cloud.client.session(session).await.unwrap();
    assert_eq!(view.host_site.as_str(), "shanghai");
    assert_eq!(view.epoch, epoch.next());

    // A closed session says so, and leaves nothing.
    player.client.close_session(session).await.unwrap();
    let bye = player.terminal.status_that(|it| match it {
        Status::Bye { reason, text } => Some((*reason, text.clone())),
        _ => None,
    });
    let (reason, text) = soon("a goodbye", bye).await.unwrap();
    assert_eq!(reason, ByeReason::Closed);
    assert!(!text.is_empty());
    until("no process", async || {
        cloud.leftovers().is_empty().then_some(())
    })
    .await;
    cloud.end().await;
}

/// The longest gap of a picture that moves all the time, when nothing happens: what this machine
/// cannot do better now is no fault of a move.
async fn usual_gap(player: &Player) -> Duration {
    let begun = Instant::now();
    player.shows_more(30).await;
    player.shown.longest_gap(begun)
}
