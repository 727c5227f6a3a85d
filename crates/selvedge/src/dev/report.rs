//! What `selvedge dev` says: a line for each step to people, a JSON object for each event to
//! programs.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use serde::Serialize;

use super::apps::Lack;
use super::keeper::Next;
use crate::output::{Output, colourful, say};

/// What there is when everything is ready. Its JSON is for tests and tools.
#[derive(Debug, Serialize)]
pub(super) struct Ready {
    /// The console with the operator's token: open it.
    pub(super) console: String,
    /// The center's address, for the API and `/play/<app>`.
    pub(super) center: String,
    /// The operator's token.
    pub(super) token: String,
    pub(super) sites: Vec<ReadySite>,
    pub(super) apps: Vec<ReadyApp>,
    pub(super) pids: Pids,
    /// Where everything is kept.
    pub(super) data_dir: String,
    /// What the nodes cannot do, in words.
    pub(super) warnings: Vec<String>,
}

/// The processes.
#[derive(Debug, Serialize)]
pub(super) struct Pids {
    pub(super) dev: u32,
    pub(super) center: u32,
    pub(super) edges: Vec<u32>,
}

#[derive(Debug, Serialize)]
pub(super) struct ReadySite {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) node: String,
    pub(super) pid: u32,
    /// Where the edge listens, without the emulated network.
    pub(super) address: String,
}

#[derive(Debug, Serialize)]
pub(super) struct ReadyApp {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) deployed: bool,
    /// Where to play or watch it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) play: Option<String>,
    /// Why it is not deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) install: Option<String>,
}

impl ReadyApp {
    pub(super) fn lacking(mut self, lack: Lack) -> Self {
        self.why = Some(lack.why);
        self.install = lack.install;
        self
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Ready(&'a Ready),
    Exited {
        name: &'a str,
        pid: Option<u32>,
        why: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        restart_in_ms: Option<u128>,
    },
    Restarted {
        name: &'a str,
        pid: u32,
        restarts: u32,
    },
}

/// Says what happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reporter {
    output: Output,
    /// Whether a person reads stderr: also beside JSON, when it is a terminal.
    talkative: bool,
    colourful: bool,
}

impl Reporter {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            talkative: output == Output::People || io::stderr().is_terminal(),
            colourful: colourful(&io::stderr()),
        }
    }

    /// Something begins.
    pub(super) fn heading(&self, text: &str) {
        if self.talkative {
            say(&format!("\n  {}\n", self.paint("1", text)));
        }
    }

    /// A step is done.
    pub(super) fn step(&self, what: &str, detail: &str) {
        if self.talkative {
            say(&format!("  {} {what:<12} {detail}", self.paint("32", "✓")));
        }
    }

    /// Something is not there, which is no failure.
    pub(super) fn absent(&self, what: &str, detail: &str) {
        if self.talkative {
            say(&format!("  {} {what:<12} {detail}", self.paint("33", "-")));
        }
    }

    /// Something needs attention.
    pub(super) fn warning(&self, text: &str) {
        say(&format!("  {} {text}", self.paint("33;1", "! warning:")));
    }

    /// Everything is ready.
    pub(super) fn ready(
        &self,
        ready: &Ready,
        took: Duration,
        thrown_away: bool,
    ) -> anyhow::Result<()> {
        self.output.data(&Line::Ready(ready), |_| {
            let mut text = format!("\n  Console  {}\n", ready.console);
            for app in &ready.apps {
                if let Some(play) = &app.play {
                    let verb = if play.contains("/watch/") {
                        "Watch"
                    } else {
                        "Play"
                    };
                    text.push_str(&format!("  {verb:<8} {play}\n"));
                }
            }
            text.push('\n');
            text
        })?;
        if self.talkative {
            let fate = if thrown_away {
                "thrown away at the end"
            } else {
                "kept"
            };
            say(&format!(
                "  Ready after {:.1} s. Data and logs are in {}, {fate}. Ctrl-C ends it.\n",
                took.as_secs_f64(),
                ready.data_dir
            ));
        }
        Ok(())
    }

    /// A child is gone.
    pub(super) fn exited(
        &self,
        name: &str,
        pid: Option<u32>,
        why: &str,
        log: &str,
        next: Next,
    ) -> anyhow::Result<()> {
        let restart_in = match next {
            Next::RestartIn(wait) => Some(wait),
            Next::GaveUp { .. } | Next::LeftDead => None,
        };
        let line = Line::Exited {
            name,
            pid,
            why,
            restart_in_ms: restart_in.map(|it| it.as_millis()),
        };
        if self.output == Output::Json {
            self.output.data(&line, |_| String::new())?;
        }
        let then = match next {
            Next::RestartIn(wait) => format!("starting it again in {} ms", wait.as_millis()),
            Next::GaveUp { crashes } => format!("it died {crashes} times in a row: giving up"),
            Next::LeftDead => "leaving it dead".to_owned(),
        };
        say(&format!(
            "  {} {name} died ({why}); {then}",
            self.paint("31", "✗")
        ));
        // Killed from outside there is nothing to learn from its log.
        if !log.is_empty() && !why.starts_with("signal") {
            let quoted: Vec<String> = log.lines().map(|it| format!("    | {it}")).collect();
            say(&quoted.join("\n"));
        }
        Ok(())
    }

    /// A child is back.
    pub(super) fn restarted(&self, name: &str, pid: u32, restarts: u32) -> anyhow::Result<()> {
        let line = Line::Restarted {
            name,
            pid,
            restarts,
        };
        if self.output == Output::Json {
            self.output.data(&line, |_| String::new())?;
        }
        self.step(name, "is back");
        Ok(())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colourful {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
