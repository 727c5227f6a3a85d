//! The control against a simulated link, in virtual time: an encoder that keeps to its target on
//! average, a bottleneck with a queue without bound, a terminal that reports every 200 ms.

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
            match random.below(4) {
                0 => rate.handle_timeout(now),
                1 => rate.handle_frame(Bytes::new(random.wild()), now),
                _ => rate.handle_receipt(&random.receipt(), now),
            }
            let target = rate.target();
            assert!(
                target.bitrate >= floor && target.bitrate <= limits.ceiling,
                "seed {seed}: {target:?}"
            );
            assert!(target.frame_rate <= limits.frame_rate);
            assert!(rate.history.len() <= HISTORY_MAX);
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

struct Sample {
    at: Duration,
    target: Target,
    capacity: Bitrate,
    arrived: Bitrate,
    queue: Duration,
}

fn after(
    samples: &[Sample],
    range: std::ops::RangeFrom<Duration>,
) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(move |it| range.contains(&it.at))
}

fn max_queue(samples: &[Sample], range: std::ops::RangeFrom<Duration>) -> Duration {
    let queues = after(samples, range).map(|it| it.queue);
    queues.max().unwrap()
}

fn queue_quantile(
    samples: &[Sample],
    range: std::ops::RangeFrom<Duration>,
    quantile: f64,
) -> Duration {
    let mut queues: Vec<_> = after(samples, range).map(|it| it.queue).collect();
    queues.sort();
    #[expect(clippy::cast_possible_truncation, reason = "an index below the length")]
    let index = ((queues.len() - 1) as f64 * quantile) as usize;
    queues[index]
}

/// What arrived as a share of what could have.
fn utilisation(samples: &[Sample], range: std::ops::RangeFrom<Duration>) -> f64 {
    let ceiling = Limits::default().ceiling;
    let (mut arrived, mut possible) = (0, 0);
    for sample in after(samples, range) {
        arrived += sample.arrived.as_bps();
        possible += sample.capacity.min(ceiling).as_bps();
    }
    arrived as f64 / possible as f64
}

fn cuts(samples: &[Sample], range: std::ops::RangeFrom<Duration>) -> usize {
    let bitrates: Vec<_> = after(samples, range).map(|it| it.target.bitrate).collect();
    bitrates.windows(2).filter(|it| it[1] < it[0]).count()
}

fn rung_changes(samples: &[Sample], range: std::ops::RangeFrom<Duration>) -> usize {
    let rungs: Vec<_> = after(samples, range)
        .map(|it| (it.target.frame_rate, it.target.scale))
        .collect();
    rungs.windows(2).filter(|it| it[1] != it[0]).count()
}

fn sample_at(samples: &[Sample], at: Duration) -> &Sample {
    samples.iter().find(|it| it.at >= at).unwrap()
}

fn first_after(samples: &[Sample], at: Duration, wanted: impl Fn(&Target) -> bool) -> Duration {
    let found = samples.iter().find(|it| it.at > at && wanted(&it.target));
    found.expect("it never happened").at
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Small, middling, enormous.
    fn wild(&mut self) -> u64 {
        let shift = self.below(64);
        self.next() >> shift
    }

    fn receipt(&mut self) -> Receipt {
        let mut count = || u32::try_from(self.wild() & u64::from(u32::MAX)).unwrap();
        let (received, lost, decode_queue) = (count(), count(), count());
        Receipt {
            window: Duration::from_nanos(self.wild()),
            received: received >> 24,
            lost,
            late: Duration::from_nanos(self.wild()),
            decode_queue,
            round_trip: Duration::from_nanos(self.wild() >> 24),
            bytes: Bytes::new(self.wild()),
        }
    }
}

type OverTime<T> = Box<dyn Fn(Duration) -> T>;

struct Simulation {
    capacity: OverTime<Bitrate>,
    activity: OverTime<f64>,
    limits: Limits,
    one_way: Duration,
    jitter: Duration,
    loss_permille: u64,
    keyframes: (Duration, u32),
    /// Bytes that a keyframe had more than its share.
    debt: f64,
    random: Random,
}

impl Simulation {
    fn new(capacity: impl Fn(Duration) -> Bitrate + 'static) -> Self {
        Self {
            capacity: Box::new(capacity),
            activity: Box::new(|_| 1.0),
            limits: Limits::default(),
            one_way: 10 * MS,
            jitter: Duration::ZERO,
            loss_permille: 0,
            keyframes: (10 * SEC, 6),
            debt: 0.0,
            random: Random(1),
        }
    }

    fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    fn one_way(self, one_way: Duration) -> Self {
        Self { one_way, ..self }
    }

    fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    fn loss_permille(self, loss_permille: u64) -> Self {
        Self {
            loss_permille,
            ..self
        }
    }

    /// A keyframe so often, and so many times as large as other frames.
    fn keyframes(self, every: Duration, times: u32) -> Self {
        Self {
            keyframes: (every, times),
            ..self
        }
    }

    fn activity(self, activity: impl Fn(Duration) -> f64 + 'static) -> Self {
        Self {
            activity: Box::new(activity),
            ..self
        }
    }

    fn seed(self, seed: u64) -> Self {
        Self {
            random: Random(seed),
            ..self
        }
    }

    fn run(mut self, time: Duration) -> Vec<Sample> {
        let start = Instant::now();
        let mut rate = Rate::new(self.limits, PIXELS, start);
        let mut path = Path::default();
        let mut samples = Vec::new();
        let mut next_frame = Duration::ZERO;
        let mut next_keyframe = Duration::ZERO;
        let mut reports = VecDeque::<(Duration, Receipt)>::new();
        let mut at = Duration::ZERO;
        while at < time {
            let target = rate.target();
            if at >= next_frame {
                next_frame += target.frame_rate.interval();
                if rate.is_open(start + at) {
                    let size = self.frame(target, at, &mut next_keyframe);
                    rate.handle_frame(size, start + at);
                    path.queue.push_back((at, size.get() as f64 * 8.0));
                }
            }
            let capacity = (self.capacity)(at);
            path.pass(capacity, at, &mut self);
            if (at.as_millis() + 1).is_multiple_of(200) {
                let (receipt, sample) = path.report(&self, target, capacity, at);
                reports.push_back((at + self.one_way, receipt));
                samples.push(sample);
            }
            while let Some((_, receipt)) = reports.pop_front_if(|it| it.0 <= at) {
                rate.handle_receipt(&receipt, start + at);
            }
            rate.handle_timeout(start + at);
            at += MS;
        }
        samples
    }

    fn frame(&mut self, target: Target, at: Duration, next_keyframe: &mut Duration) -> Bytes {
        let noise = 70 + self.random.below(61);
        let fair = (target.bitrate * target.frame_rate.interval()).get();
        let fair = fair as f64;
        let size = if at >= *next_keyframe {
            *next_keyframe = at + self.keyframes.0;
            let size = fair * f64::from(self.keyframes.1);
            self.debt = size - fair;
            size
        } else {
            // An encoder makes up for a keyframe with smaller frames.
            let usual = fair * (self.activity)(at) * noise as f64 / 100.0;
            let saved = (usual / 2.0).min(self.debt);
            self.debt -= saved;
            usual - saved
        };
        #[expect(clippy::cast_possible_truncation, reason = "a frame is far below 2^63")]
        #[expect(clippy::cast_sign_loss, reason = "a size is positive")]
        let size = size as u64;
        Bytes::new(size.max(60))
    }
}

/// The bottleneck and what is behind it.
#[derive(Default)]
struct Path {
    /// When each frame was captured, and how many bits of it are still to pass.
    queue: VecDeque<(Duration, f64)>,
    head_bits: f64,
    /// When each frame was captured, when it arrives, its bits.
    flying: VecDeque<(Duration, Duration, f64)>,
    last_arrival: Duration,
    /// Delays of the last 10 s, with their arrival.
    delays: VecDeque<(Duration, Duration)>,
}

impl Path {
    fn pass(&mut self, capacity: Bitrate, at: Duration, simulation: &mut Simulation) {
        let mut budget = capacity.as_bps() as f64 / 1_000.0;
        while let Some((captured, bits)) = self.queue.front_mut() {
            if self.head_bits == 0.0 {
                self.head_bits = *bits;
            }
            if *bits > budget {
                *bits -= budget;
                break;
            }
            budget -= *bits;
            let (captured, bits) = (*captured, std::mem::take(&mut self.head_bits));
            self.queue.pop_front();
            let arrival = at + simulation.one_way + simulation.misfortune(bits);
            self.last_arrival = self.last_arrival.max(arrival);
            self.flying.push_back((captured, self.last_arrival, bits));
        }
    }

    fn report(
        &mut self,
        simulation: &Simulation,
        target: Target,
        capacity: Bitrate,
        at: Duration,
    ) -> (Receipt, Sample) {
        let mut late = Vec::new();
        let mut bits = 0.0;
        while let Some((captured, arrival, size)) = self.flying.pop_front_if(|it| it.1 <= at) {
            late.push(arrival - captured);
            self.delays.push_back((arrival, arrival - captured));
            bits += size;
        }
        while self
            .delays
            .pop_front_if(|it| it.0 + 10 * SEC < at)
            .is_some()
        {}
        late.sort();
        let base = self.delays.iter().map(|it| it.1).min().unwrap_or_default();
        let p95 = late.get((late.len() * 95 / 100).min(late.len().saturating_sub(1)));
        let waiting = self.queue.front().map_or(Duration::ZERO, |it| at - it.0);
        #[expect(clippy::cast_possible_truncation, reason = "far below 2^63")]
        #[expect(clippy::cast_sign_loss, reason = "a size is positive")]
        let bytes = Bytes::new((bits / 8.0) as u64);
        let receipt = Receipt {
            window: 200 * MS,
            received: u32::try_from(late.len()).unwrap(),
            lost: 0,
            late: p95.map_or(Duration::ZERO, |it| it.saturating_sub(base)),
            decode_queue: 0,
            round_trip: simulation.one_way * 2 + waiting,
            bytes,
        };
        let sample = Sample {
            at,
            target,
            capacity,
            arrived: rate_of(bytes, 200 * MS),
            queue: waiting,
        };
        (receipt, sample)
    }
}

impl Simulation {
    /// Jitter, and retransmission of packets that are lost.
    fn misfortune(&mut self, bits: f64) -> Duration {
        let nanos = u64::try_from(self.jitter.as_nanos()).unwrap();
        let jitter = Duration::from_nanos(self.random.below(nanos.max(1)));
        #[expect(clippy::cast_possible_truncation, reason = "a frame has few packets")]
        #[expect(clippy::cast_sign_loss, reason = "a size is positive")]
        let packets = (bits / 9_600.0).ceil() as u64;
        let lost = (0..packets).any(|_| self.random.below(1_000) < self.loss_permille);
        jitter
            + if lost {
                self.one_way * 5 / 2
            } else {
                Duration::ZERO
            }
    }
}
