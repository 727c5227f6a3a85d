//! Renders the event to try: `selvedge-arena --out DIR`, then tells where its cameras stand.
//!
//! Exit codes: 0 it is there, 2 it is not.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program: data on stdout, speech on stderr"
)]

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use lab::arena::{self, Event, Progress, Settings};

const HELP: &str = "\
usage: selvedge-arena --out DIR [--cameras N] [--seconds S] [--size WxH] [--kbps N] [--json]
       selvedge-arena --manifest [--cameras N]
Renders a small football match, seen by cameras all around it, into DIR, unless it is there.
    --json       print the cameras as JSON instead of a table
    --manifest   render nothing; print the event's manifest
";

/// How often a log hears of progress; a terminal hears of it all the time.
const TOLD_EVERY: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let Some(request) = Request::parse(args)? else {
        print!("{HELP}");
        return Ok(());
    };
    let Some(out) = &request.out else {
        print!("{}", arena::manifest(&Event::plan(&request.settings)?));
        return Ok(());
    };
    let mut teller = Teller::new();
    let event = arena::prepare(out, &request.settings, &mut |it| teller.tell(it))?;
    teller.end();
    if request.json {
        println!("{}", serde_json::to_string_pretty(&event)?);
    } else {
        table(&event);
    }
    Ok(())
}

fn table(event: &Event) {
    println!("camera  bearing  at x,y,z in m            file");
    for camera in &event.cameras {
        let [x, y, z] = camera.position;
        println!(
            "{:<7} {:>6.1}°  {x:>7.2} {y:>7.2} {z:>6.2}   {} ({})",
            camera.name,
            camera.bearing_degrees(),
            event.dir.join(&camera.file).display(),
            camera.title
        );
    }
}

#[derive(Debug)]
struct Request {
    /// `None`: only the manifest is wanted.
    out: Option<PathBuf>,
    settings: Settings,
    json: bool,
}

impl Request {
    /// `None` asks for help.
    fn parse(mut args: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let (mut out, mut settings) = (None, Settings::default());
        let (mut json, mut manifest) = (false, false);
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            let number = |it: String| it.parse().with_context(|| format!("{it} is no number"));
            match arg.as_str() {
                "--help" | "-h" => return Ok(None),
                "--json" => json = true,
                "--manifest" => manifest = true,
                "--out" => out = Some(PathBuf::from(value()?)),
                "--cameras" => settings.cameras = number(value()?)?,
                "--seconds" => settings.seconds = number(value()?)?,
                "--kbps" => settings.video_kbps = number(value()?)?,
                "--size" => {
                    let size = value()?;
                    let (width, height) = size.split_once('x').context("--size takes WxH")?;
                    settings.width = number(width.to_owned())?;
                    settings.height = number(height.to_owned())?;
                }
                _ => bail!("unknown argument {arg}\n{HELP}"),
            }
        }
        if out.is_some() == manifest {
            bail!("one of --out DIR and --manifest is needed");
        }
        Ok(Some(Self {
            out,
            settings,
            json,
        }))
    }
}

/// Says how far it is.
struct Teller {
    started_at: Instant,
    told: Option<(Instant, u32)>,
    terminal: bool,
}

impl Teller {
    fn new() -> Self {
        Self {
            started_at: Instant::now(),
            told: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn tell(&mut self, progress: Progress) -> ControlFlow<()> {
        let percent = progress.done * 100 / progress.total;
        let due = match self.told {
            None => true,
            Some((_, told)) if self.terminal => percent != told,
            Some((at, _)) => at.elapsed() >= TOLD_EVERY,
        };
        if due && progress.done < progress.total {
            let end = if self.terminal { '\r' } else { '\n' };
            eprint!("rendering: {percent} % of {} frames{end}", progress.total);
            self.told = Some((Instant::now(), percent));
        }
        ControlFlow::Continue(())
    }

    fn end(&self) {
        if self.told.is_some() {
            eprintln!(
                "rendered in {:.1} s",
                self.started_at.elapsed().as_secs_f32()
            );
        }
    }
}
