//! `csd completions`: what a shell needs to complete the command line.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

/// Print the completions of a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  csd completions bash > ~/.local/share/bash-completion/completions/csd
  csd completions zsh > \"${fpath[1]}/_csd\"
  csd completions fish > ~/.config/fish/completions/csd.fish")]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints them.
pub(crate) async fn run(args: Args) -> Result<()> {
    let mut text = Vec::new();
    generate(args.shell, &mut crate::Csd::command(), "csd", &mut text);
    crate::output::write(&text)
}
