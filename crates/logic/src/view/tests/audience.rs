use super::*;
use std::collections::BTreeMap;

fn sent(cameras: &[(&str, u64)]) -> BTreeMap<CameraName, model::Bytes> {
    let sent = cameras.iter();
    sent.map(|it| (name(it.0), model::Bytes::new(it.1 * 1_000)))
        .collect()
}

/// Tells what one viewer has been sent in all, in kilobytes, at each half second.
fn look(audience: &mut Audience, now: &mut Instant, cameras: &[(&str, u64)]) {
    *now += ms(500);
    audience.handle_look(BTreeMap::from([(7, sent(cameras))]), *now);
}

#[test]
fn what_a_viewer_turned_to_and_back_from_is_hot_while_they_may_turn_again() {
    let mut now = start();
    let mut audience = Audience::new(&twelve(), now);
    look(&mut audience, &mut now, &[("c0", 300), ("c90", 1)]);
    look(&mut audience, &mut now, &[("c0", 600), ("c90", 2)]);
    assert_eq!(audience.hot(4, now), [], "nobody has turned yet");
    // Both come while they swap; the smaller one is still hidden.
    look(&mut audience, &mut now, &[("c0", 900), ("c90", 52)]);
    look(&mut audience, &mut now, &[("c90", 352)]);
    assert_eq!(audience.hot(4, now), [], "nobody has come from c90 yet");
    // Back at c0, which is counted from nothing.
    look(&mut audience, &mut now, &[("c0", 300), ("c90", 360)]);
    assert_eq!(audience.hot(4, now), [name("c90")]);
    assert_eq!(audience.hot(0, now), []);
    // Who left needs nothing.
    now += ms(500);
    audience.handle_look(BTreeMap::new(), now);
    assert_eq!(audience.hot(4, now), []);
}

#[test]
fn sound_and_words_are_no_view_and_a_pause_is_no_turn() {
    let mut now = start();
    let mut audience = Audience::new(&twelve(), now);
    look(&mut audience, &mut now, &[("c0", 0), ("c30", 0)]);
    look(&mut audience, &mut now, &[("c0", 300), ("c30", 0)]);
    // The view is lost; what still comes is the sound of another camera.
    for kilobytes in 1..20 {
        look(
            &mut audience,
            &mut now,
            &[("c0", 300), ("c30", 4 * kilobytes)],
        );
    }
    look(&mut audience, &mut now, &[("c0", 600), ("c30", 84)]);
    look(&mut audience, &mut now, &[("c0", 900), ("c30", 88)]);
    assert_eq!(audience.hot(4, now), []);
}
