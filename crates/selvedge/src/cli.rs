//! The command line: `selvedge <noun> <verb>`. One module for each noun.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::dev;
use crate::exit;
use crate::output::Output;
use crate::service::{self, CenterArgs, EdgeArgs};

mod app;
mod client;
mod completion;
mod explain;
mod live;
mod node;
mod place;
mod session;
mod site;
mod status;

use client::ClientArgs;

/// What every `--help` of the whole ends with, besides the exit codes.
const SETTINGS_HELP: &str = "\
Settings of center and edge come from flags, else from SELVEDGE_* variables, else from the file
of --config (or /etc/selvedge/selvedge.toml), else from defaults: --data-dir is SELVEDGE_DATA_DIR
is data_dir in [center] or [edge].

Commands that ask a center find the `selvedge dev` or `selvedge center` of this person by
themselves.";

/// An edge cloud that anyone can run
#[derive(Debug, Parser)]
#[command(name = "selvedge", version, disable_help_subcommand = true)]
#[command(after_help = format!("{SETTINGS_HELP}\n\n{}", exit::HELP))]
#[command(max_term_width = 100)]
pub(crate) struct Cli {
    /// Print data as JSON, for programs
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: a center and three edges on this machine, with the network between cities emulated
    Dev(dev::DevArgs),
    /// Run a center: API, console, dispatch
    Center(CenterArgs),
    /// Run an edge: one node of a site
    Edge(Box<EdgeArgs>),
    /// Apps: what tenants publish
    #[command(subcommand)]
    App(app::AppCommand),
    /// Sites: places with nodes
    #[command(subcommand)]
    Site(site::SiteCommand),
    /// Nodes: machines that run `selvedge edge`
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Sessions: terminals that use an app
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Live events: cameras, and keys to publish with
    #[command(subcommand)]
    Live(live::LiveCommand),
    /// Say how the cloud is
    Status(ClientArgs),
    /// Say why a session runs where it runs
    Explain(explain::ExplainArgs),
    /// Print a script that completes commands in a shell
    Completion(completion::CompletionArgs),
}

impl Cli {
    /// Runs the chosen command to its end.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let output = Output::new(self.json);
        match self.command {
            Command::Dev(args) => dev::run(args, output),
            Command::Center(args) => service::run_center(args, output),
            Command::Edge(args) => service::run_edge(*args, output),
            Command::App(command) => ask(command.run(output)),
            Command::Site(command) => ask(command.run(output)),
            Command::Node(command) => ask(command.run(output)),
            Command::Session(command) => ask(command.run(output)),
            Command::Live(live::LiveCommand::Publish(args)) => args.run(output),
            Command::Live(live::LiveCommand::Ask(command)) => ask(command.run(output)),
            Command::Status(args) => ask(status::run(args, output)),
            Command::Explain(args) => ask(args.run(output)),
            Command::Completion(args) => args.run(),
        }
    }
}

/// Runs a command that asks a center.
fn ask(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(command).map(|()| ExitCode::SUCCESS)
}

/// A command that only lists.
#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    client: ClientArgs,
}
