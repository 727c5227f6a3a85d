//! The link as it should be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh::link::{CallError, Link, MESSAGE_MAX, SILENCE_MAX};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::world::{PATIENCE, World, grant, join};

#[tokio::test]
async fn a_node_joins_links_and_both_sides_ask_each_other() {
    let world = World::new();
    let center = world.center("center");
    let identity = world.identity("node");
    let token = center.new_token().to_string().parse().unwrap();
    join(center.address, &identity, &token).await.unwrap();
    assert_eq!(identity.site().unwrap().as_str(), "frankfurt");

    let (link, _) = world.dial(center.address, &identity).await.unwrap();
    let answer = link.call(b"who am i", PATIENCE).await.unwrap();
    let expected = format!("node {} at frankfurt", identity.node_id());
    assert_eq!(answer, expected.as_bytes());

    let back = center.link_of(&identity).await;
    let answer = back.call(b"who am i", PATIENCE).await.unwrap();
    assert_eq!(answer, &b"the center"[..]);
    assert!(link.round_trip() < PATIENCE);
}

#[tokio::test]
async fn the_longest_message_and_the_empty_one_arrive() {
    let world = World::new();
    let center = world.center("center");
    let identity = world.member("node", center.authority());
    let (link, _) = world.dial(center.address, &identity).await.unwrap();
    for size in [0, 1, MESSAGE_MAX] {
        let message: Vec<u8> = (0..=255).cycle().take(size).collect();
        assert_eq!(link.call(&message, PATIENCE).await.unwrap(), message);
    }
}

#[tokio::test]
async fn many_requests_run_at_once() {
    let world = World::new();
    let center = world.center("center");
    let identity = world.member("node", center.authority());
    let (link, _) = world.dial(center.address, &identity).await.unwrap();
    // More than may be open at once: the rest must wait, not fail.
    let calls = (0..500_u32).map(|number| {
        let link = link.clone();
        world.tasks.spawn(async move {
            let request = number.to_be_bytes();
            link.call(&request, PATIENCE).await.unwrap() == request[..]
        })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap());
    }
}

#[tokio::test]
async fn notices_arrive_in_order() {
    let world = World::new();
    let center = world.center("center");
    let identity = world.member("node", center.authority());
    let (link, log) = world.dial(center.address, &identity).await.unwrap();
    let back = center.link_of(&identity).await;
    let sent: Vec<Vec<u8>> = (0..200_u32).map(|it| it.to_be_bytes().into()).collect();
    for notice in &sent {
        link.notify(notice, PATIENCE).await.unwrap();
        back.notify(notice, PATIENCE).await.unwrap();
    }
    assert_eq!(center.service.log.wait_for(sent.len()).await, sent);
    assert_eq!(log.wait_for(sent.len()).await, sent);
}

#[tokio::test]
async fn refusals_and_deadlines_are_told_apart() {
    let world = World::new();
    let center = world.center("center");
    let identity = world.member("node", center.authority());
    let (link, _) = world.dial(center.address, &identity).await.unwrap();

    let error = link.call(b"no", PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), "words for a person");
    let error = link.call(b"too much", PATIENCE).await.unwrap_err();
    assert!(matches!(error, CallError::Refused(_)), "{error}");
    let soon = Duration::from_millis(50);
    let error = link.call(b"never", soon).await.unwrap_err();
    assert!(matches!(error, CallError::Deadline(_)), "{error}");
    assert_eq!(
        link.call(b"still here", PATIENCE).await.unwrap(),
        "still here"
    );
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_noticed_within_two_seconds() {
    let world = World::new();
    let center = world.center("center");
    let identity = world.member("node", center.authority());
    let cut = CancellationToken::new();
    let between = proxy(&world, center.address, cut.clone()).await;
    let (link, _) = world.dial(between, &identity).await.unwrap();
    let back = center.link_of(&identity).await;

    // Alive for longer than the limit without a word of ours.
    let still = timeout(SILENCE_MAX + SILENCE_MAX / 2, link.closed()).await;
    assert!(still.is_err(), "{still:?}");

    let start = Instant::now();
    cut.cancel();
    for side in [&link, &back] {
        timeout(PATIENCE, side.closed()).await.unwrap();
    }
    // As for a process that was killed: nobody says goodbye.
    // Half a second for a machine that is busy with other work.
    let limit = SILENCE_MAX + Duration::from_millis(500);
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_last_link_dropped_closes_it_for_the_other_side() {
    let world = World::new();
    let center = world.center("center");
    let identity = world.member("node", center.authority());
    let (link, _) = world.dial(center.address, &identity).await.unwrap();
    let back = center.link_of(&identity).await;
    let clone = link.clone();
    drop(link);
    assert!(clone.call(b"still here", PATIENCE).await.is_ok());
    drop(clone);
    closes(&back).await;
}

#[tokio::test]
async fn a_center_that_stops_says_so_and_ends() {
    let world = World::new();
    let center = world.center("center");
    let identity = world.member("node", center.authority());
    let (link, _) = world.dial(center.address, &identity).await.unwrap();
    center.stop.cancel();
    let reason = closes(&link).await;
    assert!(reason.contains("stopping"), "{reason}");
    timeout(PATIENCE, center.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_from_the_next_link_on() {
    let world = World::new();
    let center = world.center("center");
    let identity = world.identity("node");
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    grant(center.authority(), &identity, an_hour_ago);
    let (old, _) = world.dial(center.address, &identity).await.unwrap();
    let before = center.link_of(&identity).await.peer().not_after;

    grant(center.authority(), &identity, SystemTime::now());
    center.authority().renew_own(SystemTime::now()).unwrap();
    let (new, _) = world.dial(center.address, &identity).await.unwrap();
    assert!(new.call(b"hello", PATIENCE).await.is_ok());
    assert!(old.call(b"hello", PATIENCE).await.is_ok());
    let after = center.link_of(&identity).await.peer().not_after;
    assert!(after > before + Duration::from_secs(3000));
}

pub(crate) async fn closes(link: &Link) -> String {
    timeout(PATIENCE, link.closed()).await.unwrap().to_string()
}

/// Forwards packets for one client until it is cut; then both sides hear nothing more.
async fn proxy(world: &World, to: SocketAddr, cut: CancellationToken) -> SocketAddr {
    let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    far.connect(to).await.unwrap();
    let address = near.local_addr().unwrap();
    let (near, far) = (Arc::new(near), Arc::new(far));
    let client = Arc::new(std::sync::OnceLock::new());
    let forth = {
        let (near, far, client) = (Arc::clone(&near), Arc::clone(&far), Arc::clone(&client));
        async move {
            let mut packet = [0; 2048];
            while let Ok((length, from)) = near.recv_from(&mut packet).await {
                client.get_or_init(|| from);
                let _ = far.send(&packet[..length]).await;
            }
        }
    };
    let back = async move {
        let mut packet = [0; 2048];
        while let Ok(length) = far.recv(&mut packet).await {
            if let Some(client) = client.get() {
                let _ = near.send_to(&packet[..length], client).await;
            }
        }
    };
    let stop = cut.clone();
    world
        .tasks
        .spawn(async move { cut.run_until_cancelled(forth).await });
    world
        .tasks
        .spawn(async move { stop.run_until_cancelled(back).await });
    address
}
