//! How exact the emulated network is.

use std::time::Duration;

use model::Bitrate;

use super::{Flags, Line, Progress};
use crate::wan::measure::{Load, Measured, engine_time, measure};
use crate::wan::{Link, Wan};

const PACKETS_PER_SEC: u32 = 5_000;

/// As many proxies as a development cloud of three sites has, and then some.
const MANY: u32 = 150;

const TIME: Duration = Duration::from_secs(5);

/// Measures delay, loss, rate and the engine's use of the processor.
///
/// # Errors
/// When sockets cannot be had.
pub fn run(_: &Flags, progress: Progress<'_>) -> anyhow::Result<Vec<Line>> {
    let wan = Wan::start(1)?;
    let mut lines = Vec::new();

    progress("one link of 20 ms, 5,000 packets/s, 5 s");
    let one = vec![Link::from_delay(Duration::from_millis(20))];
    let before = engine_time()?;
    let measured = measure(&wan, &load(one, TIME))?;
    let used = engine_time()? - before;
    delay_lines("one link", &measured, &mut lines);
    lines.push(
        Line::lower("engine", "core", used.as_secs_f64() / TIME.as_secs_f64())
            .note("at 5,000 packets/s"),
    );

    progress("150 links of 1 to 150 ms, 5,000 packets/s in all, 5 s");
    let many = (1..=MANY).map(|it| Link::from_delay(Duration::from_millis(it.into())));
    let measured = measure(&wan, &load(many.collect(), TIME))?;
    delay_lines("150 links", &measured, &mut lines);

    progress("5 % loss, 5,000 packets/s, 5 s");
    let lossy = Link {
        loss: 0.05,
        ..Link::default()
    };
    let measured = measure(&wan, &load(vec![lossy], TIME))?;
    let lost = 1.0 - measured.received as f64 / measured.sent as f64;
    let line = Line::lower("loss, off by", "points", (lost * 100.0 - 5.0).abs()).goal(0.5);
    lines.push(line.note(format!(
        "{:.2} % of packets lost, asked for 5 %",
        lost * 100.0
    )));

    progress("20 Mbit/s under 48 Mbit/s of load, 5 s");
    let narrow = Link {
        rate: Some(Bitrate::kbps(20_000)),
        ..Link::default()
    };
    let measured = measure(&wan, &load(vec![narrow], TIME))?;
    let mbps = measured.received_bps / 1e6;
    let line = Line::lower("rate, off by", "%", (mbps / 20.0 - 1.0).abs() * 100.0).goal(1.0);
    lines.push(line.note(format!("{mbps:.2} Mbit/s passed, asked for 20")));

    progress("nothing at all, 2 s");
    let before = engine_time()?;
    std::thread::sleep(Duration::from_secs(2));
    let used = (engine_time()? - before).as_secs_f64() / 2.0;
    lines.push(Line::lower("engine, idle", "core", used).goal(0.0001));
    Ok(lines)
}

fn load(links: Vec<Link>, time: Duration) -> Load {
    Load {
        links,
        packets_per_sec: PACKETS_PER_SEC,
        time,
    }
}

fn delay_lines(name: &str, measured: &Measured, lines: &mut Vec<Line>) {
    let ms = |quantile| measured.error_nanos.value_at_quantile(quantile) as f64 / 1e6;
    let line = |what, value| Line::lower(format!("{name}: delay error, {what}"), "ms", value);
    lines.push(line("p50", ms(0.5)).goal(0.5));
    lines.push(line("p99", ms(0.99)).goal(0.5));
    let worst = line("max", ms(1.0));
    lines.push(worst.note("other programs' system calls on the same cores show here"));
    let missing = measured.sent.saturating_sub(measured.received);
    let line = Line::lower(format!("{name}: packets missing"), "", missing as f64);
    lines.push(line.goal(0.0).note(format!("of {}", measured.sent)));
}
