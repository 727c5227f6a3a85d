//! The benches and the one language they speak.
//!
//! A bench measures and says what its figures should be; it does not fail because of them. Only
//! `--check` turns a goal that is not reached into an exit code.

mod cloud;
pub mod play;
pub mod relay;
pub mod tree;
mod usage;
pub mod view;
pub mod wan;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;

/// All benches. Each is run by `selvedge-bench <name>`, best from a release build.
pub static BENCHES: &[Bench] = &[
    Bench {
        name: "play",
        about: "how it is to use an app: key to picture, first picture, processor and memory",
        flags: &[],
        run: play::run,
    },
    Bench {
        name: "relay",
        about: "what a relay costs: processor for what it carries, time, memory; ours and upstream's",
        flags: &["only", "watchers"],
        run: relay::run,
    },
    Bench {
        name: "tree",
        about: "trees over the round trips of 242 cities: routed overlay, two-level hierarchy, star",
        flags: &["dir"],
        run: tree::run,
    },
    Bench {
        name: "view",
        about: "how it is to walk around a live event: switches, gaps, stalls, bytes, a crowd",
        flags: &["trace", "only", "viewers"],
        run: view::run,
    },
    Bench {
        name: "wan",
        about: "how exact the emulated network is: delay, loss, rate, its own use of the processor",
        flags: &[],
        run: wan::run,
    },
];

/// Something that can be measured.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// How it is called.
    pub name: &'static str,
    /// What it measures, in one line.
    pub about: &'static str,
    /// The flags it takes, each with a value: `--dir PATH` is `dir`.
    pub flags: &'static [&'static str],
    /// Measures. It says what it is doing through the last argument.
    pub run: Run,
}

/// What a bench does: measure.
pub type Run = fn(&Flags, Progress<'_>) -> anyhow::Result<Vec<Line>>;

/// The values of a bench's flags, by name without the hyphens.
pub type Flags = BTreeMap<&'static str, String>;

/// Where a bench says what it is doing, for a person who waits.
pub type Progress<'a> = &'a dyn Fn(&str);

impl Bench {
    /// The bench of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        BENCHES.iter().find(|it| it.name == name)
    }

    /// Measures and reports.
    ///
    /// # Errors
    /// When there is nothing to report because the bench itself failed.
    pub fn report(&self, flags: &Flags, progress: Progress<'_>) -> anyhow::Result<Report> {
        Ok(Report {
            bench: self.name,
            machine: machine(),
            lines: (self.run)(flags, progress)?,
        })
    }
}

/// What a bench found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Which bench.
    pub bench: &'static str,
    /// On what: processor, cores, memory, kernel, kind of build.
    pub machine: String,
    /// The figures.
    pub lines: Vec<Line>,
}

impl Report {
    /// Whether every figure is where it should be.
    pub fn met(&self) -> bool {
        self.lines.iter().all(|it| it.met)
    }
}

/// Which way a figure should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// The less the better.
    Lower,
    /// The more the better.
    Higher,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What was measured.
    pub name: String,
    /// In what.
    pub unit: &'static str,
    /// How much.
    pub value: f64,
    /// How much it should be at most or at least; `None` where the figure is for information.
    pub goal: Option<f64>,
    /// Which of the two.
    pub better: Better,
    /// Whether the goal is reached. True without a goal.
    pub met: bool,
    /// What one has to know to understand the figure. May be empty.
    pub note: String,
}

impl Line {
    /// A figure that should be small, for information.
    pub fn lower(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self::new(name.into(), unit, value, Better::Lower)
    }

    /// A figure that should be large, for information.
    pub fn higher(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self::new(name.into(), unit, value, Better::Higher)
    }

    /// Sets what the figure should be. A figure that is not a number reaches no goal.
    #[must_use]
    pub fn goal(self, goal: f64) -> Self {
        let met = match self.better {
            Better::Lower => self.value <= goal,
            Better::Higher => self.value >= goal,
        };
        Self {
            goal: Some(goal),
            met,
            ..self
        }
    }

    /// Says what one has to know to understand the figure.
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }

    fn new(name: String, unit: &'static str, value: f64, better: Better) -> Self {
        Self {
            name,
            unit,
            value,
            goal: None,
            better,
            met: true,
            note: String::new(),
        }
    }
}

/// As a table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.bench, self.machine)?;
        let head = ["figure", "value", "goal", "met", "note"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head)
            .chain(self.lines.iter().map(row))
            .collect();
        let width = |column: usize| rows.iter().map(|it| it[column].chars().count()).max();
        let widths: Vec<_> = (0..4).map(|it| width(it).unwrap_or(0)).collect();
        for row in &rows {
            let line = format!(
                "{:<name$}  {:>value$}  {:>goal$}  {:<met$}  {}",
                row[0],
                row[1],
                row[2],
                row[3],
                row[4],
                name = widths[0],
                value = widths[1],
                goal = widths[2],
                met = widths[3],
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn row(line: &Line) -> [String; 5] {
    let sign = match line.better {
        Better::Lower => "≤",
        Better::Higher => "≥",
    };
    let unit = line.unit;
    let (goal, met) = match line.goal {
        Some(goal) => (
            format!("{sign} {} {unit}", short(goal)),
            if line.met { "yes" } else { "NO" },
        ),
        None => (String::new(), ""),
    };
    [
        line.name.clone(),
        format!("{} {unit}", short(line.value)),
        goal,
        met.to_owned(),
        line.note.clone(),
    ]
}

/// Three digits or so: more would pretend.
fn short(value: f64) -> String {
    let decimals = match value.abs() {
        it if it >= 100.0 || it == 0.0 => 0,
        it if it >= 10.0 => 1,
        it if it >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Where what is made once is kept.
fn cache_dir() -> anyhow::Result<PathBuf> {
    let absolute = |name| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|it| it.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let cache = cache.context("neither HOME nor XDG_CACHE_HOME is set")?;
    Ok(cache.join("selvedge"))
}

/// A socket that hundreds of viewers share: as much waits in it as the system allows.
fn endpoint() -> anyhow::Result<quinn::Endpoint> {
    use rustix::net::sockopt;
    /// Some pictures for each of a few hundred.
    const BUFFER: usize = 4 << 20;
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
    sockopt::set_socket_send_buffer_size(&socket, BUFFER)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime);
    Ok(endpoint?)
}

/// What the figures were measured on, without a name that would tell whose it is.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        text.lines()
            .find(|it| it.starts_with(name))
            .and_then(|it| Some(it.split_once(':')?.1.trim().to_owned()))
    };
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory_kib = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|it| it.split_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or(0.0);
    let build = if cfg!(debug_assertions) {
        "debug build"
    } else {
        "release build"
    };
    format!(
        "{}, {cores} cores, {:.0} GiB, Linux {}, {build}",
        processor.unwrap_or_else(|| "unknown processor".to_owned()),
        memory_kib / f64::from(1 << 20),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_or_not() {
        assert!(Line::lower("a", "ms", 1.0).goal(1.0).met);
        assert!(!Line::lower("a", "ms", 1.1).goal(1.0).met);
        assert!(Line::higher("a", "frames", 30.0).goal(29.0).met);
        assert!(!Line::higher("a", "frames", 28.0).goal(29.0).met);
        assert!(!Line::lower("a", "ms", f64::NAN).goal(1.0).met);
        assert!(Line::lower("a", "ms", 9.0).met);
    }

    #[test]
    fn the_language_is_as_agreed() {
        let report = Report {
            bench: "tea",
            machine: "a kettle".to_owned(),
            lines: vec![
                Line::lower("time to boil", "s", 170.5).goal(180.0),
                Line::higher("cups", "cups", 0.5).goal(4.0).note("it leaks"),
                Line::lower("noise", "dB", 61.25),
            ],
        };
        assert!(!report.met());
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            concat!(
                r#"{"bench":"tea","machine":"a kettle","lines":["#,
                r#"{"name":"time to boil","unit":"s","value":170.5,"goal":180.0,"better":"lower","met":true,"note":""},"#,
                r#"{"name":"cups","unit":"cups","value":0.5,"goal":4.0,"better":"higher","met":false,"note":"it leaks"},"#,
                r#"{"name":"noise","unit":"dB","value":61.25,"goal":null,"better":"lower","met":true,"note":""}]}"#
            )
        );
        assert_eq!(
            report.to_string(),
            "tea on a kettle\n\
             figure           value      goal  met  note\n\
             time to boil     170 s   ≤ 180 s  yes\n\
             cups          0.5 cups  ≥ 4 cups  NO   it leaks\n\
             noise          61.2 dB\n"
        );
    }

    #[test]
    fn benches_have_names_of_their_own() {
        for bench in BENCHES {
            assert!(std::ptr::eq(Bench::find(bench.name).unwrap(), bench));
        }
    }
}
