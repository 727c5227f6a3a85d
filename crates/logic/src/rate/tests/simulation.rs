//! A link in virtual time: an encoder that keeps to its target on average, a bottleneck with a queue
//! without bound, a terminal that reports every 200 ms.

use std::collections::VecDeque;

use super::super::history::rate_of;
use super::*;

pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) target: Target,
    capacity: Bitrate,
    arrived: Bitrate,
    pub(super) queue: Duration,
}

pub(super) fn after(
    samples: &[Sample],
    range: std::ops::RangeFrom<Duration>,
) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(move |it| range.contains(&it.at))
}

pub(super) fn max_queue(samples: &[Sample], range: std::ops::RangeFrom<Duration>) -> Duration {
    let queues = after(samples, range).map(|it| it.queue);
    queues.max().unwrap()
}

pub(super) fn queue_quantile(
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
pub(super) fn utilisation(samples: &[Sample], range: std::ops::RangeFrom<Duration>) -> f64 {
    let ceiling = Limits::default().ceiling;
    let (mut arrived, mut possible) = (0, 0);
    for sample in after(samples, range) {
        arrived += sample.arrived.as_bps();
        possible += sample.capacity.min(ceiling).as_bps();
    }
    arrived as f64 / possible as f64
}

pub(super) fn cuts(samples: &[Sample], range: std::ops::RangeFrom<Duration>) -> usize {
    let bitrates: Vec<_> = after(samples, range).map(|it| it.target.bitrate).collect();
    bitrates.windows(2).filter(|it| it[1] < it[0]).count()
}

pub(super) fn rung_changes(samples: &[Sample], range: std::ops::RangeFrom<Duration>) -> usize {
    let rungs: Vec<_> = after(samples, range)
        .map(|it| (it.target.frame_rate, it.target.scale))
        .collect();
    rungs.windows(2).filter(|it| it[1] != it[0]).count()
}

pub(super) fn sample_at(samples: &[Sample], at: Duration) -> &Sample {
    samples.iter().find(|it| it.at >= at).unwrap()
}

pub(super) fn first_after(
    samples: &[Sample],
    at: Duration,
    wanted: impl Fn(&Target) -> bool,
) -> Duration {
    let found = samples.iter().find(|it| it.at > at && wanted(&it.target));
    found.expect("it never happened").at
}

pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Small, middling, enormous.
    pub(super) fn wild(&mut self) -> u64 {
        let shift = self.below(64);
        self.next() >> shift
    }

    pub(super) fn receipt(&mut self) -> Receipt {
        let mut count = || u32::try_from(self.wild() & u64::from(u32::MAX)).unwrap();
        let (received, lost, decode_queue) = (count(), count(), count());
        Receipt {
            window: Duration::from_nanos(self.wild()),
            received: received >> 24,
            lost,
            late: Duration::from_nanos(self.wild()),
            decode_queue,
            round_trip: Duration::from_nanos(self.wild()),
            bytes: Bytes::new(self.wild()),
        }
    }
}

type OverTime<T> = Box<dyn Fn(Duration) -> T>;

pub(super) struct Simulation {
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
    pub(super) fn new(capacity: impl Fn(Duration) -> Bitrate + 'static) -> Self {
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

    pub(super) fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    pub(super) fn one_way(self, one_way: Duration) -> Self {
        Self { one_way, ..self }
    }

    pub(super) fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    pub(super) fn loss_permille(self, loss_permille: u64) -> Self {
        Self {
            loss_permille,
            ..self
        }
    }

    /// A keyframe so often, and so many times as large as other frames.
    pub(super) fn keyframes(self, every: Duration, times: u32) -> Self {
        Self {
            keyframes: (every, times),
            ..self
        }
    }

    pub(super) fn activity(self, activity: impl Fn(Duration) -> f64 + 'static) -> Self {
        Self {
            activity: Box::new(activity),
            ..self
        }
    }

    pub(super) fn seed(self, seed: u64) -> Self {
        Self {
            random: Random(seed),
            ..self
        }
    }

    pub(super) fn run(mut self, time: Duration) -> Vec<Sample> {
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
