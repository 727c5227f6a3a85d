//! `selvedge completion`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;

#[derive(Debug, Args)]
#[command(after_help = "\
For bash: selvedge completion bash > ~/.local/share/bash-completion/completions/selvedge
For zsh:  selvedge completion zsh > \"${fpath[1]}/_selvedge\"
For fish: selvedge completion fish > ~/.config/fish/completions/selvedge.fish")]
pub(super) struct CompletionArgs {
    /// For this shell
    shell: Shell,
}

impl CompletionArgs {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "selvedge", &mut script);
        io::stdout()
            .write_all(&script)
            .context("write the script to stdout")?;
        Ok(ExitCode::SUCCESS)
    }
}
