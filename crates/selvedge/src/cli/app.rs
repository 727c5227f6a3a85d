//! `selvedge app`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::Page;
use api::app::{AppView, DeployApp, Release};
use clap::Subcommand;
use model::manifest::{Live, Stream};
use model::{AppName, Manifest};
use serde::Serialize;

use super::ListArgs;
use super::client::ClientArgs;
use crate::config;
use crate::output::{Facts, Output, Table, ago, joined, megabytes, millis_of_core, say};

/// The manifest in an app's folder.
const MANIFEST: &str = "selvedge.toml";

/// How much of a command is shown to people, in characters. Some are shell scripts.
const COMMAND_MAX: usize = 80;

#[derive(Debug, Subcommand)]
pub(super) enum AppCommand {
    /// Publish an app, or a new release of it
    Deploy {
        /// Its folder, or its manifest
        #[arg(value_name = "PATH")]
        path: PathBuf,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List all apps
    List(ListArgs),
    /// Show one app and its releases
    Show {
        /// Its name
        app: AppName,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Remove an app and close its sessions
    Remove {
        /// Its name
        app: AppName,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// An app with its past.
#[derive(Debug, Serialize)]
struct AppAndReleases {
    #[serde(flatten)]
    app: AppView,
    releases: Vec<Release>,
}

/// What was removed.
#[derive(Debug, Serialize)]
struct Removed {
    removed: AppName,
}

impl AppCommand {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Deploy { path, client } => deploy(&path, &client, output).await,
            Self::List(args) => {
                let apps = args.client.connect()?.apps().await?;
                if apps.items.is_empty() {
                    say("No apps yet: `selvedge app deploy <folder>` publishes one.");
                }
                output.data(&apps, list)
            }
            Self::Show { app, client } => {
                let client = client.connect()?;
                let releases = client.releases(&app).await?.items;
                let app = client.app(&app).await?;
                output.data(&AppAndReleases { app, releases }, show)
            }
            Self::Remove { app, client } => {
                client.connect()?.remove_app(&app).await?;
                output.data(&Removed { removed: app }, |it| {
                    format!("removed {}", it.removed)
                })
            }
        }
    }
}

async fn deploy(path: &Path, client: &ClientArgs, output: Output) -> anyhow::Result<()> {
    let manifest = read_manifest(path)?;
    let app = client.connect()?.deploy(&DeployApp { manifest }).await?;
    let stream = app.release.manifest.stream();
    let requires = stream.map(|it| it.requires.join(", ")).unwrap_or_default();
    if app.sites.is_empty() && !requires.is_empty() {
        say(&format!(
            "No site has told yet that it has what {} requires: {requires}",
            app.name
        ));
    }
    output.data(&app, |it| {
        format!("deployed {} release {}", it.name, it.release.number)
    })
}

/// Reads a manifest and checks it here, where file, line and column can be named.
fn read_manifest(path: &Path) -> anyhow::Result<String> {
    let file = if path.is_dir() {
        path.join(MANIFEST)
    } else {
        path.to_owned()
    };
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    Manifest::read(&text).map_err(|error| config::in_file(&file, error))?;
    Ok(text)
}

/// A command in one line.
fn shortened(command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(COMMAND_MAX) {
        Some((at, _)) => format!("{} …", &line[..at]),
        None => line,
    }
}

fn list(apps: &Page<AppView>) -> String {
    let mut table = Table::new(&["app", "title", "release>", "sessions>", "sites"]);
    for app in &apps.items {
        table.row([
            app.name.to_string(),
            app.release.manifest.title().to_owned(),
            app.release.number.to_string(),
            app.sessions.to_string(),
            joined(&app.sites),
        ]);
    }
    table.render()
}

fn show(it: &AppAndReleases) -> String {
    let manifest = &it.app.release.manifest;
    let access = if manifest.access().public {
        "anyone"
    } else {
        "who holds a token"
    };
    let mut facts = Facts::default();
    facts
        .add("app", &it.app.name)
        .add("title", manifest.title())
        .add("kind", manifest.kind().as_str());
    match manifest {
        Manifest::Stream(stream) => show_stream(stream, &mut facts),
        Manifest::Live(live) => show_live(live, &mut facts),
    }
    facts
        .add("for", access)
        .add("sites", joined(&it.app.sites))
        .add("sessions", it.app.sessions);
    for release in &it.releases {
        let when = ago(release.created_unix_ms);
        facts.add("release", format!("{}, {when}", release.number));
    }
    facts.render()
}

fn show_stream(stream: &Stream, facts: &mut Facts) {
    let needs = stream.needs();
    facts
        .add("command", shortened(&stream.command.join(" ")))
        .add(
            "screen",
            format!("{}x{}", stream.screen.width, stream.screen.height),
        )
        .add(
            "takes",
            format!(
                "{} cores, {}",
                millis_of_core(needs.cpu_millis),
                megabytes(needs.memory)
            ),
        );
}

fn show_live(live: &Live, facts: &mut Facts) {
    let names: Vec<&str> = live.cameras.iter().map(|it| it.name.as_str()).collect();
    facts.add("cameras", names.join(", "));
    for rendition in &live.renditions {
        let form = format!(
            "{}, {} lines, {} frames/s, {}",
            rendition.name, rendition.height, rendition.max_fps, rendition.bitrate
        );
        facts.add("rendition", form);
    }
}
