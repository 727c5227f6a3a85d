use super::*;

#[test]
fn the_first_picture_is_small_and_gets_better_step_by_step() {
    let mut eager = Eager::fresh();
    eager.expect("c0/low ~c30 ~c330");
    for it in 1..=30 {
        eager.report(it * 200, 5, 3_000);
    }
    let steps: Vec<&str> = eager.past.iter().map(|it| it.1.as_str()).collect();
    assert_eq!(steps, ["c0/low", "c0/medium", "c0/high"]);
    assert!(eager.past[2].0 <= 3_000, "{:?}", eager.past);
}

#[test]
fn a_link_that_falls_is_followed_at_once_and_tried_again_with_care() {
    let mut eager = Eager::new();
    let t = eager.begin() + 200;
    eager.report(t, 400, 900);
    eager.expect("c0/low ~c30 ~c330");
    let fell = t;
    // It carries medium, and no more: high fails each time it is tried.
    let mut tried = Vec::new();
    for it in 1..600 {
        let at = fell + it * 200;
        let high = eager.wish.view.as_ref().unwrap().rendition.as_str() == "high";
        if high {
            tried.push(at - fell);
            eager.report(at, 300, 1_400);
        } else {
            eager.report(at, 10, 1_000);
        }
    }
    let pauses: Vec<u64> = tried.windows(2).map(|it| it[1] - it[0]).collect();
    assert!((3..12).contains(&tried.len()), "{tried:?}");
    assert!(pauses.windows(2).all(|it| it[1] >= it[0]), "{pauses:?}");
    assert!(pauses.last().unwrap() >= &30_000, "{pauses:?}");
}

#[test]
fn a_late_frame_counts_once() {
    let mut eager = Eager::new();
    let t = eager.begin() + 200;
    for it in 0..3 {
        eager.report(t + it * 200, 200, 2_500);
    }
    eager.expect("c0/medium ~c30 ~c330");
}

#[test]
fn a_decoder_that_does_not_follow_counts_like_a_link() {
    let mut eager = Eager::new();
    let report = Report {
        throughput: Bitrate::kbps(2_500),
        late: ms(0),
        decode_queue: 9,
        round_trip: ms(20),
    };
    let at = eager.at(eager.begin() + 200);
    eager.viewer.handle_report(&report, at);
    assert_ne!(
        eager.viewer.poll_wish().unwrap().view,
        Some(feed("c0/high"))
    );
}

#[test]
fn nobody_gets_more_than_fits_their_window_unless_they_zoom() {
    let mut eager = Eager::new();
    let t = eager.begin() + 1_000;
    eager.viewer.handle_window(240, eager.at(t));
    eager.drain(t);
    eager.expect("c0/low ~c30 ~c330");
    eager.zoom(t + 500, 0.0, 1.9);
    eager.expect("c0/medium ~c30 ~c330");
    eager.zoom(t + 900, 0.0, 4.0);
    eager.expect("c0/high ~c30 ~c330");
}

#[test]
fn a_better_form_that_does_not_come_is_not_tried_again_at_once() {
    let mut eager = Eager::new();
    let t = eager.begin() + 1_000;
    eager.viewer.handle_shown(&feed("c0/medium"), eager.at(t));
    eager.viewer.handle_failure(&feed("c0/high"), eager.at(t));
    eager.drain(t);
    eager.expect("c0/medium ~c30 ~c330");
    eager.report(t + 200, 0, 1_000);
    eager.expect("c0/medium ~c30 ~c330");
}
