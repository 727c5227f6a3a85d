use super::*;

#[test]
fn a_hand_at_the_border_changes_nothing() {
    let mut eager = Eager::new();
    let t = eager.begin();
    eager.expect("c0/high ~c30 ~c330");
    for it in 0..100 {
        // Around the border at 15 degrees, slowly.
        let wobble = if it % 2 == 0 { 2.9 } else { -2.9 };
        eager.turn(t + 1_000 * (it + 1), 15.0 + wobble);
    }
    assert_eq!(eager.past, []);
    eager.turn(t + 200_000, 18.1);
    eager.expect("c30/high ~c60 ~c0");
    eager.turn(t + 210_000, 12.1);
    eager.expect("c30/high ~c60 ~c0");
    eager.turn(t + 220_000, 11.9);
    eager.expect("c0/high ~c30 ~c330");
}

#[test]
fn a_fast_hand_sees_the_smallest_form_and_a_resting_one_the_best() {
    let mut eager = Eager::new();
    let t = eager.begin() + 1_000;
    eager.drag(t, 1_000, 0.0, 90.0);
    let forms: Vec<&str> = eager.past.iter().map(|it| it.1.as_str()).collect();
    assert_eq!(forms, ["c30/low", "c60/low", "c90/low"]);
    eager.wait(t + 3_000);
    eager.expect("c90/high ~c120 ~c60");
    let (rested_at, _) = *eager.past.last().unwrap();
    assert!((1_250..1_500).contains(&(rested_at - t)), "{rested_at}");
}

#[test]
fn a_slow_hand_sees_a_form_in_between() {
    let mut eager = Eager::new();
    let t = eager.begin() + 1_000;
    eager.drag(t, 2_000, 0.0, 10.0);
    assert_eq!(eager.past.len(), 1);
    assert_eq!(eager.past[0].1, "c30/medium");
}

#[test]
fn what_the_hand_is_about_to_reach_is_made_ready() {
    let mut eager = Eager::new();
    let t = eager.begin() + 1_000;
    // 56 degrees a second reach 24 degrees in 440 ms: the border at 15, not the one at 45.
    eager.drag(t, 100, 0.0, 56.0);
    eager.expect("c0/high +c30/low ~c330");
    // 112 a second reach 49 degrees: one more.
    eager.drag(t + 120, 100, 6.0, 112.0);
    eager.expect("c0/high +c30/low +c60/low ~c330");
    // It turns back.
    eager.drag(t + 240, 200, 17.0, -112.0);
    assert!(eager.wish.warm.iter().any(|it| it.camera == name("c330")));
    eager.wait(t + 2_000);
    assert_eq!(eager.wish.warm, []);
}

#[test]
fn where_nothing_must_be_made_views_are_made_ready_later() {
    let mut eager = Eager::with(&three()[..1]);
    eager.report(0, 0, 5_000);
    // 60 degrees a second reach 8.4 degrees in 140 ms; with hysteresis the border is at 18.
    eager.drag(1_000, 100, 0.0, 60.0);
    eager.expect("c0/high ~c30 ~c330");
    eager.drag(1_120, 100, 7.0, 60.0);
    eager.expect("c0/high +c30/high ~c330");
}

#[test]
fn no_two_views_follow_each_other_faster_than_can_be_seen() {
    let mut eager = Eager::new();
    let t = eager.begin() + 1_000;
    eager.drag(t, 2_000, 0.0, 720.0);
    let times: Vec<u64> = eager.past.iter().map(|it| it.0).collect();
    assert!(times.len() > 10, "the picture follows");
    assert!(times.windows(2).all(|it| it[1] - it[0] >= 100), "{times:?}");
}

#[test]
fn when_a_camera_is_lost_the_next_one_takes_over() {
    let mut eager = Eager::new();
    let t = eager.begin() + 1_000;
    eager.turn(t, 2.0);
    let left: Vec<CameraName> = twelve().into_iter().map(|it| it.camera).collect();
    eager.viewer.handle_live(&left[1..], eager.at(t + 500));
    eager.drain(t + 500);
    eager.expect("c30/high ~c60 ~c330");
    eager.viewer.handle_live(&left, eager.at(t + 900));
    eager.drain(t + 900);
    eager.expect("c0/high ~c30 ~c330");
    eager.viewer.handle_live(&[], eager.at(t + 1_900));
    eager.drain(t + 1_900);
    eager.expect("nothing");
}

#[test]
fn a_chosen_camera_stays_until_the_hand_moves() {
    let mut eager = Eager::new();
    let t = eager.begin() + 1_000;
    eager.viewer.handle_choice(&name("c180"), eager.at(t));
    eager.drain(t);
    eager.expect("c180/low ~c210 ~c150");
    eager.wait(t + 2_000);
    eager.expect("c180/high ~c210 ~c150");
    eager.zoom(t + 3_000, 180.0, 2.0);
    eager.expect("c180/high ~c210 ~c150");
    eager.turn(t + 4_000, 150.0);
    eager.expect("c150/high ~c180 ~c120");
    eager
        .viewer
        .handle_choice(&name("nobody"), eager.at(t + 5_000));
    eager.drain(t + 5_000);
    eager.expect("c150/high ~c180 ~c120");
}

#[test]
fn cameras_at_one_place_do_not_flap_and_can_both_be_chosen() {
    let at = |camera: &str, degrees| Seat {
        camera: name(camera),
        bearing: Angle::degrees(degrees),
    };
    let start = start();
    let seats = [at("near", 10.0), at("far", 10.0), at("other", 190.0)];
    let mut viewer = Viewer::new(&seats, &three(), Angle::degrees(0.0), 720, start);
    let all = [name("near"), name("far"), name("other")];
    viewer.handle_live(&all, start);
    let camera = |viewer: &mut Viewer| viewer.poll_wish().unwrap().view.unwrap().camera;
    assert_eq!(camera(&mut viewer), name("far"), "the first by name");
    viewer.handle_choice(&name("near"), start + ms(500));
    assert_eq!(camera(&mut viewer), name("near"));
    for it in 0..20 {
        let gesture = Gesture {
            angle: Angle::degrees(f64::from(it)),
            zoom: 1.0,
        };
        viewer.handle_gesture(gesture, start + ms(1_000) * (it + 1));
        let wish = viewer.poll_wish();
        let view = wish.and_then(|it| it.view);
        assert!(view.is_none_or(|it| it.camera == name("near")));
    }
}

#[test]
fn a_camera_that_does_not_come_is_left_out_for_a_while() {
    let mut eager = Eager::new();
    let t = eager.begin() + 1_000;
    eager.turn(t, 29.0);
    eager.expect("c30/high ~c60 ~c0");
    // Back to what was seen before: the new one never came.
    eager
        .viewer
        .handle_shown(&feed("c0/high"), eager.at(t + 2_000));
    eager
        .viewer
        .handle_failure(&feed("c30/high"), eager.at(t + 2_000));
    eager.drain(t + 2_000);
    eager.expect("c0/high ~c60 ~c330");
    eager.wait(t + 5_100);
    eager.expect("c30/high ~c60 ~c0");
}

/// Whatever comes in whatever order: what is wished makes sense, and time goes on.
#[test]
fn wishes_make_sense_whatever_happens() {
    for seed in 1..=200 {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed);
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 16) % below
        };
        let mut eager = Eager::fresh();
        let mut live: Vec<CameraName> = twelve().into_iter().map(|it| it.camera).collect();
        let (mut at, mut angle) = (0, 0.0);
        for _ in 0..200 {
            at += next(60);
            let now = eager.at(at);
            match next(12) {
                0 => {
                    live.remove(usize::try_from(next(live.len() as u64)).unwrap());
                    if live.is_empty() {
                        live = twelve().into_iter().map(|it| it.camera).collect();
                    }
                    eager.viewer.handle_live(&live, now);
                }
                1 => eager
                    .viewer
                    .handle_choice(&name(&format!("c{}", 30 * next(13))), now),
                2 => eager.report(at, next(300), next(5_000)),
                3 => {
                    if let Some(view) = eager.wish.view.clone() {
                        eager.viewer.handle_failure(&view, now);
                    }
                }
                4 => eager.wait(at + next(1_000)),
                _ => {
                    angle += next(40) as f64 - 15.0;
                    eager.zoom(at, angle, next(9) as f64);
                }
            }
            at = at.max(eager.begin());
            eager.drain(at);
            check_sense(&eager, &live);
        }
        eager.wait(at + 10_000);
        assert!(eager.wish.view.is_some(), "somebody is live: seed {seed}");
        assert_eq!(eager.wish.warm, [], "seed {seed}");
        assert_eq!(eager.viewer.poll_timeout(), None, "seed {seed}");
    }
}

#[track_caller]
fn check_sense(eager: &Eager, live: &[CameraName]) {
    let wish = &eager.wish;
    assert!(wish.warm.len() <= WARM_MAX);
    let mut cameras: Vec<&CameraName> = wish.warm.iter().map(|it| &it.camera).collect();
    cameras.extend(wish.view.iter().map(|it| &it.camera));
    cameras.extend(&wish.near);
    assert!(cameras.iter().all(|it| live.contains(it)), "{wish:?}");
    let count = cameras.len();
    cameras.sort();
    cameras.dedup();
    assert_eq!(cameras.len(), count, "a camera is there twice: {wish:?}");
}
