//! The `csd` command: a cascade of language models that draft for each other, from one binary.
//!
//! In reading order:
//!
//! - [`commands`]: one file a command: worker, serve, up, generate, bench, plan, models, health, completions
//! - [`local`]: a whole cascade on this machine: the workers' processes and the orchestrator in this one
//! - [`supervisor`]: keeps a process for every level
//! - [`client`], [`completion`]: the other side of the API
//! - [`benchmark`]: arms, trials and statistics of `csd bench`
//! - [`forecast`]: what `csd plan` found out
//! - [`screen`], [`report`], [`table`], [`paint`], [`output`]: what is shown
//! - [`interrupt`]: being asked to stop
//!
//! Nothing is computed here: levels and cascade live in crates of their own. No command leaves a process behind.

mod benchmark;
mod client;
mod commands;
mod completion;
mod door;
mod forecast;
mod interrupt;
mod local;
mod output;
mod paint;
mod report;
mod screen;
mod supervisor;
mod table;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use crate::commands::{bench, completions, generate, health, models, plan, serve, up, worker};
use crate::interrupt::Interrupted;

/// What a shell expects of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Large language models that write faster together: small levels draft, the target reviews, and the text is the target's own.
#[derive(Debug, Parser)]
#[command(
    name = "csd",
    version,
    after_help = "\
Examples:
  csd generate \"fn main() {\"       write a text with the bundled models, and show who wrote what
  csd up                           serve them at http://127.0.0.1:8080 (OpenAI-compatible)
  csd bench                        measure plans against the target alone
  csd help COMMAND                 more about a command

Logs go to stderr; CSD_LOG=debug shows more of them. OTEL_EXPORTER_OTLP_ENDPOINT sends traces to a collector."
)]
struct Csd {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    Generate(generate::Args),
    Bench(bench::Args),
    Plan(plan::Args),
    Serve(serve::Args),
    Worker(worker::Args),
    Models(models::Args),
    Health(health::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let command = Csd::parse().command;
    let ended = runtime(&command)
        .build()
        .context("no threads to answer calls with")
        .and_then(|runtime| runtime.block_on(run(command)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// Where calls are answered.
///
/// A neural level computes on threads of its own, and Max-Gram answers one call after the other. What is left of a
/// worker's calls is little, and on more than one thread it would take longer: a call's tasks would wake each other across
/// cores that are busy with forwards.
fn runtime(command: &Command) -> Builder {
    let mut builder = match command {
        Command::Worker(_) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all();
    builder
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Up(args) => up::run(args).await,
        Command::Generate(args) => generate::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Plan(args) => plan::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Worker(args) => worker::run(args).await,
        Command::Models(args) => models::run(args).await,
        Command::Health(args) => health::run(args).await,
        Command::Completions(args) => completions::run(args).await,
    }
}

/// An error with its causes, in one line; many errors tell their cause themselves.
fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let cause = cause.to_string().trim_end().to_owned();
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}
