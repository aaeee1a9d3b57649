//! `csd models`: looking at checkpoints, and making one larger.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use csd_engine::Checkpoint;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Look at checkpoints, and make one larger.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  csd models inspect models/tiny/target
  csd models enlarge models/tiny/target /tmp/large-target")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the shape of a checkpoint: a Hugging Face folder or a GGUF file.
    Inspect {
        /// The folder or file.
        path: PathBuf,
    },
    /// Write a checkpoint that computes the same function at a larger cost.
    ///
    /// The hidden size becomes four times as large, layers and feed-forward width what is asked for; what is added
    /// contributes nothing, so every logit stays what it was, while every weight is read and multiplied. A small model
    /// thus stands in for a large one where speed is measured.
    Enlarge {
        /// A Hugging Face folder with bf16 weights.
        source: PathBuf,
        /// The folder to write.
        destination: PathBuf,
        /// Layers to have.
        #[arg(long, default_value_t = 12)]
        layers: usize,
        /// Width of the feed-forward networks.
        #[arg(long, default_value_t = 4096)]
        ffn: usize,
    },
}

/// Looks or writes.
pub(crate) async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Inspect { path } => inspect(&Checkpoint::open(&path)?),
        Command::Enlarge {
            source,
            destination,
            layers,
            ffn,
        } => enlarge(&source, &destination, layers, ffn),
    }
}

/// How many weights a checkpoint has, by its shapes.
pub(super) fn weights(checkpoint: &Checkpoint) -> usize {
    let config = &checkpoint.config;
    let attention = 2 * (config.query_width() + config.kv_width()) * config.hidden;
    let feed_forward = 3 * config.hidden * config.ffn;
    let embeddings = config.embeddings * config.hidden * if config.tied { 1 } else { 2 };
    config.layers * (attention + feed_forward) + embeddings
}

fn inspect(checkpoint: &Checkpoint) -> Result<()> {
    let config = &checkpoint.config;
    output::line(format_args!(
        "architecture  {:?}
layers        {} × {}
heads         {} (key/value {}) of {}
feed-forward  {}
vocabulary    {} ({} rows{})
context       {}
end tokens    {:?}
weights       {:.1} M
token map     {}
fingerprint   {}",
        config.architecture,
        config.layers,
        config.hidden,
        config.heads,
        config.kv_heads,
        config.head_dim,
        config.ffn,
        checkpoint.tokens.vocabulary,
        config.embeddings,
        if config.tied { ", tied" } else { "" },
        config.context,
        config.end_tokens,
        weights(checkpoint) as f64 / 1e6,
        checkpoint.tokens.fingerprint,
        checkpoint.fingerprint()?,
    ))
}

fn enlarge(source: &Path, destination: &Path, layers: usize, ffn: usize) -> Result<()> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}",
    )?);
    let written = csd_engine::enlarge(source, destination, layers, ffn, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let written = written?;
    output::line(format_args!(
        "{}: {:.1} M parameters, {:.0} MB",
        destination.display(),
        written.parameters as f64 / 1e6,
        written.bytes as f64 / 1e6,
    ))
}
