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
use lab::arena::{self, Camera, CameraState, Event, Progress, Publisher, Settings};

const HELP: &str = "\
usage: selvedge-arena --out DIR [--cameras N] [--seconds S] [--size WxH] [--kbps N] [--json]
       selvedge-arena --out DIR --publish URL [--cameras N] ...
       selvedge-arena --manifest [--cameras N]
Renders a small football match, seen by cameras all around it, into DIR, unless it is there.
    --json       print the cameras as JSON instead of a table
    --publish    then send it until killed, each camera to URL with its name for {camera},
                 as in rtmp://127.0.0.1:1935/arena/{camera}
    --manifest   render nothing; print the event's manifest
";

/// How often a log hears of progress; a terminal hears of it all the time.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// How often it is looked whether a camera does something else.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The same clocks each time.
const SEED: u64 = 1;

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
    match &request.publish {
        Some(target) => publish(&event, target),
        None => Ok(()),
    }
}

/// Sends until it is killed. Its ffmpegs read from it, so they end when it does.
fn publish(event: &Event, target: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(async {
        let to = |camera: &Camera| target.replace("{camera}", &camera.name);
        let publisher = Publisher::start(event, to, SEED)?;
        let mut told: Vec<Option<CameraState>> = vec![None; event.cameras.len()];
        loop {
            for (index, camera) in event.cameras.iter().enumerate() {
                let state = publisher.state(index).map(|it| it.borrow().clone());
                if state != told[index] {
                    eprintln!("{}: {}", camera.name, words(state.as_ref()));
                    told[index] = state;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
}

fn words(state: Option<&CameraState>) -> String {
    match state {
        Some(CameraState::Waiting { why }) => format!("waiting: {why}"),
        Some(CameraState::Sending) => "sending".to_owned(),
        Some(CameraState::Starting) => "starting".to_owned(),
        Some(CameraState::Off) | None => "off".to_owned(),
    }
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
    publish: Option<String>,
}

impl Request {
    /// `None` asks for help.
    fn parse(mut args: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let (mut out, mut settings) = (None, Settings::default());
        let (mut json, mut manifest, mut publish) = (false, false, None);
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            let number = |it: String| it.parse().with_context(|| format!("{it} is no number"));
            match arg.as_str() {
                "--help" | "-h" => return Ok(None),
                "--json" => json = true,
                "--manifest" => manifest = true,
                "--publish" => publish = Some(value()?),
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
            publish,
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
