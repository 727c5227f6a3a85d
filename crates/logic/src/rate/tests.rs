//! The control against a simulated link, and against terminals that say strange things.

mod simulation;

use simulation::*;

use super::*;

const PIXELS: u32 = 1_280 * 720;
const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

#[test]
fn a_link_that_shrinks_is_followed() {
    for (to_kbps, one_way) in [
        (6_000, 10),
        (4_000, 10),
        (3_000, 120),
        (1_500, 40),
        (800, 20),
    ] {
        for seed in 1..4 {
            let shrinks = 33 * SEC;
            let samples =
                Simulation::new(move |t| kbps(if t < shrinks { 12_000 } else { to_kbps }))
                    .one_way(one_way * MS)
                    .seed(seed)
                    .run(60 * SEC);
            // What is sent before anybody can know takes so much longer to pass: the reports tell
            // after a round trip, and then no more than 400 ms are let on the way.
            let factor = u32::try_from(12_000 / to_kbps).unwrap();
            let bound = factor * (600 * MS + 2 * one_way * MS);
            let label = format!("{to_kbps} kbit/s, {one_way} ms, seed {seed}");

            let worst = max_queue(&samples, shrinks..);
            assert!(worst < bound, "{label}: a queue of {worst:?}");
            let target = |it: &Target| it.bitrate <= kbps(to_kbps);
            let took = first_after(&samples, shrinks, target) - shrinks;
            assert!(took < bound, "{label}: took {took:?}");
            let later = max_queue(&samples, shrinks + bound + SEC..);
            assert!(later < 500 * MS, "{label}: still a queue of {later:?}");
            let used = utilisation(&samples, shrinks + bound + 3 * SEC..);
            assert!(used > 0.7, "{label}: {:.0} % used", used * 100.0);
        }
    }
}

#[test]
fn a_steady_link_is_used_well_and_in_time() {
    for link_kbps in [500, 1_000, 2_500, 8_000, 15_000] {
        for one_way in [2, 20, 100] {
            for seed in 1..4 {
                let samples = Simulation::new(move |_| kbps(link_kbps))
                    .one_way(one_way * MS)
                    .seed(seed)
                    .run(90 * SEC);
                let label = format!("{link_kbps} kbit/s, {one_way} ms, seed {seed}");
                let used = utilisation(&samples, 20 * SEC..);
                assert!(used >= 0.85, "{label}: {:.0} % used", used * 100.0);
                // A frame takes up to its interval to pass, a keyframe a few of them.
                let interval = samples[samples.len() - 1].target.frame_rate.interval();
                let p95 = queue_quantile(&samples, 20 * SEC.., 0.95);
                assert!(p95 < 100 * MS + 2 * interval, "{label}: p95 queue {p95:?}");
                let worst = max_queue(&samples, 20 * SEC..);
                assert!(worst < 200 * MS + 8 * interval, "{label}: queue {worst:?}");
            }
        }
    }
}

#[test]
fn a_steady_link_does_not_oscillate() {
    for link_kbps in [1_000, 4_000, 12_000] {
        let samples = Simulation::new(move |_| kbps(link_kbps)).run(180 * SEC);
        let cuts = cuts(&samples, 60 * SEC..);
        assert!(cuts <= 6, "{link_kbps}: {cuts} cuts in two minutes");
        let rungs = rung_changes(&samples, 60 * SEC..);
        assert!(rungs <= 2, "{link_kbps}: {rungs} changes of rate or size");
    }
}

#[test]
fn a_link_that_grows_is_full_again_in_time() {
    for one_way in [5, 60] {
        let samples = Simulation::new(|t| {
            kbps(match t.as_secs() {
                0..20 => 10_000,
                20..40 => 1_200,
                _ => 10_000,
            })
        })
        .one_way(one_way * MS)
        .run(90 * SEC);
        let back = samples
            .iter()
            .find(|it| it.at > 40 * SEC && it.target.bitrate >= kbps(7_500))
            .expect("never back");
        let took = back.at - 40 * SEC;
        assert!(took < 15 * SEC, "{one_way} ms one way: {took:?}");
    }
}

#[test]
fn the_ceiling_is_reached_where_nothing_is_in_the_way() {
    let samples = Simulation::new(|_| kbps(1_000_000)).run(30 * SEC);
    let full = samples
        .iter()
        .find(|it| it.target.bitrate == Limits::default().ceiling)
        .expect("never at the ceiling");
    assert!(full.at < 12 * SEC, "took {:?}", full.at);
    assert_eq!(cuts(&samples, Duration::ZERO..), 0);
}

#[test]
fn a_very_thin_link_has_fewer_then_smaller_pictures_and_gets_them_back() {
    let samples = Simulation::new(|t| kbps(if t < 40 * SEC { 450 } else { 10_000 })).run(90 * SEC);
    let thin = sample_at(&samples, 35 * SEC);
    assert_eq!(thin.target.frame_rate, FrameRate::fps(15));
    assert_ne!(thin.target.scale, Scale::Full);
    let wide = sample_at(&samples, 80 * SEC);
    assert_eq!(wide.target.frame_rate, FrameRate::fps(60));
    assert_eq!(wide.target.scale, Scale::Full);
    // Size comes back first, then pictures.
    let full = first_after(&samples, 40 * SEC, |it| it.scale == Scale::Full);
    let fast = first_after(&samples, 40 * SEC, |it| it.frame_rate > FrameRate::fps(15));
    assert!(full <= fast);
}

#[test]
fn keyframes_are_no_alarm() {
    let samples = Simulation::new(|_| kbps(9_000))
        .limits(Limits {
            start: kbps(5_000),
            ceiling: kbps(5_000),
            ..Limits::default()
        })
        .keyframes(4 * SEC, 12)
        .run(60 * SEC);
    assert_eq!(cuts(&samples, Duration::ZERO..), 0);
}

#[test]
fn a_quiet_screen_proves_nothing() {
    let samples = Simulation::new(|_| kbps(3_000))
        .limits(Limits {
            start: kbps(2_000),
            ..Limits::default()
        })
        .activity(|t| if t < 60 * SEC { 0.02 } else { 1.0 })
        .run(90 * SEC);
    assert!(
        samples
            .iter()
            .filter(|it| it.at < 60 * SEC)
            .all(|it| it.target.bitrate == kbps(2_000))
    );
    let worst = max_queue(&samples, 60 * SEC..);
    assert!(worst < 600 * MS, "a queue of {worst:?} after waking");
}

#[test]
fn jitter_and_single_losses_leave_most_of_the_link() {
    for seed in 1..5 {
        let jittery = Simulation::new(|_| kbps(8_000))
            .jitter(20 * MS)
            .seed(seed)
            .run(90 * SEC);
        let used = utilisation(&jittery, 30 * SEC..);
        assert!(used > 0.6, "jitter: {:.0} % used", used * 100.0);

        let lossy = Simulation::new(|_| kbps(8_000))
            .one_way(25 * MS)
            .loss_permille(5)
            .seed(seed)
            .run(90 * SEC);
        let used = utilisation(&lossy, 30 * SEC..);
        assert!(used > 0.5, "loss: {:.0} % used", used * 100.0);
    }
}

#[test]
fn silence_halves_once_and_speech_brings_it_back() {
    let start = Instant::now();
    let limits = Limits {
        start: kbps(4_000),
        ceiling: kbps(4_000),
        ..Limits::default()
    };
    let mut rate = Rate::new(limits, PIXELS, start);
    assert_eq!(rate.poll_timeout(), None, "a terminal may take its time");
    let mut now = start;
    let speak = |rate: &mut Rate, now: &mut Instant, times| {
        for _ in 0..times {
            *now += 200 * MS;
            rate.handle_frame(Bytes::new(80_000), *now);
            rate.handle_receipt(&good(80_000), *now);
        }
    };
    speak(&mut rate, &mut now, 5);
    assert_eq!(rate.target().bitrate, kbps(4_000));
    assert_eq!(rate.poll_timeout(), Some(now + SEC));
    for _ in 0..50 {
        now += 200 * MS;
        rate.handle_timeout(now);
    }
    assert_eq!(rate.target().bitrate, kbps(2_000));
    assert_eq!(rate.view(), View::Silent);
    assert_eq!(rate.poll_timeout(), None);
    speak(&mut rate, &mut now, 15);
    assert!(rate.target().bitrate >= kbps(3_600));
    assert_eq!(rate.view(), View::Clear);
}

#[test]
fn who_comes_back_gets_what_was_good_before() {
    let start = Instant::now();
    let limits = Limits {
        start: kbps(4_000),
        ceiling: kbps(4_000),
        ..Limits::default()
    };
    let mut rate = Rate::new(limits, PIXELS, start);
    rate.handle_frame(Bytes::new(80_000), start + 100 * MS);
    rate.handle_receipt(&good(80_000), start + 200 * MS);
    rate.handle_timeout(start + 5 * SEC);
    assert_eq!(rate.target().bitrate, kbps(2_000));
    rate.handle_join(start + 30 * SEC);
    assert_eq!(rate.target().bitrate, kbps(3_680));
    assert_eq!(rate.poll_timeout(), None, "it may take its time again");
}

#[test]
fn a_blocked_link_is_not_fed() {
    let start = Instant::now();
    let mut rate = Rate::new(Limits::default(), PIXELS, start);
    for step in 1..=20 {
        let now = start + step * 200 * MS;
        rate.handle_frame(Bytes::new(20_000), now);
        let nothing = Receipt {
            window: 200 * MS,
            ..Receipt::default()
        };
        rate.handle_receipt(&nothing, now);
    }
    assert!(rate.target().bitrate <= kbps(1_500));
}

#[test]
fn a_queue_closes_the_way_and_a_new_way_is_open() {
    let start = Instant::now();
    let mut rate = Rate::new(Limits::default(), PIXELS, start);
    let mut now = start;
    for _ in 0..5 {
        now += 200 * MS;
        rate.handle_frame(Bytes::new(20_000), now);
        let one = Receipt {
            received: 1,
            ..good(20_000)
        };
        rate.handle_receipt(&one, now);
        assert!(rate.is_open(now));
    }
    // From now on nothing arrives.
    for _ in 0..10 {
        now += 50 * MS;
        assert!(rate.is_open(now));
        rate.handle_frame(Bytes::new(20_000), now);
    }
    now += 200 * MS;
    assert!(!rate.is_open(now), "there is a queue");
    rate.handle_join(now);
    assert!(rate.is_open(now), "a keyframe must not wait for the past");
    rate.handle_receipt(&good(20_000), now + 200 * MS);
    assert!(rate.is_open(now + 200 * MS));
}

#[test]
fn who_comes_from_afar_has_time_to_ask_for_frames() {
    let start = Instant::now();
    let mut rate = Rate::new(Limits::default(), PIXELS, start);
    rate.handle_join(start);
    let nothing = Receipt {
        received: 0,
        ..good(0)
    };
    for frame in 1..=27 {
        let now = start + frame * 33 * MS;
        rate.handle_frame(Bytes::new(2_000), now);
        if frame % 6 == 0 {
            rate.handle_receipt(&nothing, now);
        }
        assert!(rate.is_open(now), "after {:?}", now - start);
    }
}

/// A terminal knows of a group that broke off, not of how many frames it would have had.
#[test]
fn frames_that_nobody_mentions_do_not_close_the_way() {
    for unmentioned in [1, 5, 40] {
        let start = Instant::now();
        let mut rate = Rate::new(Limits::default(), PIXELS, start);
        let mut now = start;
        let mut play = |sent: u32, received: u32, lost: u32| {
            for _ in 0..sent {
                rate.handle_frame(Bytes::new(2_000), now);
            }
            now += 200 * MS;
            let receipt = Receipt {
                received,
                lost,
                ..good(u64::from(received) * 2_000)
            };
            rate.handle_receipt(&receipt, now);
            rate.is_open(now)
        };
        for _ in 0..10 {
            assert!(play(12, 12, 0));
        }
        assert!(play(12 + unmentioned, 12, 1));
        // The screen rests, and would change once a second.
        let mut open = true;
        for window in 0..50 {
            let changes = u32::from(open && window % 5 == 4);
            open = play(changes, changes, 0);
            assert!(open || window < 8, "{unmentioned}: closed at {window}");
        }
    }
}

#[test]
fn a_link_that_collapses_and_comes_back_is_fresh_again_at_once() {
    for one_way in [5, 40, 120] {
        for seed in 1..4 {
            let (breaks, mends) = (30 * SEC, 32 * SEC);
            let samples = Simulation::new(move |t| {
                let broken = (breaks..mends).contains(&t);
                kbps(if broken { 300 } else { 8_000 })
            })
            .one_way(one_way * MS)
            .seed(seed)
            .run(60 * SEC);
            let label = format!("{one_way} ms, seed {seed}");
            let worst = max_queue(&samples, breaks..);
            assert!(worst < 2_200 * MS, "{label}: a queue of {worst:?}");
            // What was on its way passes first.
            let after = max_queue(&samples, mends + SEC..);
            assert!(after < 300 * MS, "{label}: still a queue of {after:?}");
            let back = samples
                .iter()
                .find(|it| it.at > mends && it.target.bitrate >= kbps(4_000))
                .expect("never back");
            let took = back.at - mends;
            assert!(took < 20 * SEC, "{label}: half the rate after {took:?}");
        }
    }
}

#[test]
fn a_slow_decoder_gets_fewer_frames_and_later_more() {
    let start = Instant::now();
    let limits = Limits {
        start: kbps(8_000),
        ..Limits::default()
    };
    let mut rate = Rate::new(limits, PIXELS, start);
    let mut now = start;
    let mut seen = vec![60];
    // It can decode 24 pictures a second.
    let mut queue = 0i64;
    for _ in 0..300 {
        now += 200 * MS;
        let fps = i64::from(rate.target().frame_rate.as_fps());
        queue = (queue + (fps - 24) / 5).clamp(0, 60);
        rate.handle_frame(Bytes::new(100_000), now);
        let receipt = Receipt {
            decode_queue: u32::try_from(queue).unwrap(),
            ..good(100_000)
        };
        rate.handle_receipt(&receipt, now);
        seen.push(rate.target().frame_rate.as_fps());
    }
    let at_most_20 = seen.iter().filter(|it| **it <= 20).count();
    assert!(at_most_20 > 230, "{at_most_20} of 300 windows: {seen:?}");
    for _ in 0..700 {
        now += 200 * MS;
        rate.handle_frame(Bytes::new(100_000), now);
        rate.handle_receipt(&good(100_000), now);
    }
    assert_eq!(rate.target().frame_rate, FrameRate::fps(60));
}

#[test]
fn the_target_is_told_when_it_changes() {
    let start = Instant::now();
    let mut rate = Rate::new(Limits::default(), PIXELS, start);
    assert_eq!(rate.poll_target(), Some(rate.target()));
    assert_eq!(rate.poll_target(), None);
    rate.handle_resize(3_840 * 2_160);
    let told = rate
        .poll_target()
        .expect("a larger screen gets fewer frames");
    assert!(told.frame_rate < FrameRate::fps(60));
}

/// Whatever a terminal says, and whenever, the target stays within its limits.
#[test]
fn nonsense_moves_nothing_out_of_its_limits() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let limits = Limits {
            start: Bitrate::bps(random.below(30_000_000)),
            floor: Bitrate::bps(random.below(1_000_000)),
            ceiling: Bitrate::bps(random.below(40_000_000)),
            frame_rate: FrameRate::fps(u32::try_from(random.below(130)).unwrap()),
        };
        let floor = limits.floor.min(limits.ceiling);
        let mut now = Instant::now();
        let mut rate = Rate::new(limits, PIXELS, now);
        for _ in 0..400 {
            now += Duration::from_millis(random.below(1_500));
            match random.below(9) {
                0 => rate.handle_timeout(now),
                2 => rate.handle_join(now),
                1 => rate.handle_frame(Bytes::new(random.wild()), now),
                _ => rate.handle_receipt(&random.receipt(), now),
            }
            let (target, _) = (rate.target(), rate.is_open(now));
            assert!(
                target.bitrate >= floor && target.bitrate <= limits.ceiling,
                "seed {seed}: {target:?}"
            );
            assert!(target.frame_rate <= limits.frame_rate);
        }
    }
}

fn kbps(kbps: u64) -> Bitrate {
    Bitrate::kbps(kbps)
}

fn good(bytes: u64) -> Receipt {
    Receipt {
        window: 200 * MS,
        received: 12,
        bytes: Bytes::new(bytes),
        late: 5 * MS,
        round_trip: 20 * MS,
        ..Receipt::default()
    }
}
