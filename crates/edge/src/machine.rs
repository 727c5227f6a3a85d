//! What this machine has, and what it lacks.

use std::time::Duration;

use model::{Bytes, Resources};

/// Pictures that one core encodes at once: a 720p game takes about a fifth of a core.
const ENCODERS_PER_CORE: u32 = 4;

/// What is taken where the system does not say how much memory there is.
const MEMORY_UNKNOWN: Bytes = Bytes::mb(2_000);

/// What this machine has for sessions: all of its cores, and the memory that is free now.
pub(crate) fn capacity() -> Resources {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    Resources {
        cpu_millis: cores.saturating_mul(1_000),
        memory: available_memory().unwrap_or(MEMORY_UNKNOWN),
        encoders: cores.saturating_mul(ENCODERS_PER_CORE),
    }
}

/// What this machine cannot do, in words for a person.
pub(crate) fn lacks() -> Vec<String> {
    let mut lacks = Vec::new();
    if runtime::find_program("Xvfb").is_none() {
        lacks.push("no screens: Xvfb is not installed (Debian: apt install xvfb)".to_owned());
    }
    if runtime::find_program("pulseaudio").is_none() {
        lacks.push(
            "no sound: PulseAudio is not installed (Debian: apt install pulseaudio)".to_owned(),
        );
    }
    if render::encoder::simd() == render::encoder::Simd::Missing {
        lacks.push(
            "slow pictures: OpenH264 was built without nasm and encodes 2.5 times slower \
             (install nasm, then build again after `cargo clean -p openh264-sys2`)"
                .to_owned(),
        );
    }
    lacks
}

/// Threads for one picture. A second one halves the time to encode it, at a tenth more work: worth
/// it only where cores are to spare.
pub(crate) fn encoder_threads() -> u8 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores >= 4 { 2 } else { 1 }
}

fn available_memory() -> Option<Bytes> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|it| it.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(Bytes::new(kib.checked_mul(1024)?))
}

/// Measures how busy the machine's cores are between two looks.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    last: Option<Ticks>,
}

#[derive(Clone, Copy, Debug)]
struct Ticks {
    busy: u64,
    total: u64,
}

impl Busy {
    /// Share of the cores in use since the last look, 0 to 1.
    pub(crate) fn look(&mut self) -> f64 {
        let Some(now) = ticks() else { return 0.0 };
        let last = self.last.replace(now);
        let Some(last) = last else { return 0.0 };
        let total = now.total.saturating_sub(last.total);
        let busy = now.busy.saturating_sub(last.busy);
        if total == 0 {
            return 0.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "ticks of one second on any machine fit a double exactly"
        )]
        (busy as f64 / total as f64).clamp(0.0, 1.0)
    }
}

fn ticks() -> Option<Ticks> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> = text
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .map_while(|it| it.parse().ok())
        .collect();
    let total = fields.iter().take(8).sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some(Ticks {
        busy: u64::saturating_sub(total, idle),
        total,
    })
}

/// Processor time of this process so far.
pub(crate) fn own_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|it| it.parse::<u64>().ok())
        .sum();
    // Linux counts in hundredths of a second whatever its own clock (USER_HZ).
    Duration::from_millis(ticks * 10)
}
