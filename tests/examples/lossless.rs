//! Compares the text of every plan with the target's own over many prompts, temperatures and weight types, and prints a
//! table. Fails at the first difference.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use anyhow::{Result, ensure};
use clap::Parser;
use csd_tests::{
    Up,
    lossless::{Sampling, Tally, compare},
    plans, prompts,
};
use indicatif::ProgressIterator as _;

/// Checks that every plan writes the target's own text.
#[derive(Parser)]
struct Args {
    /// How many prompts.
    #[arg(long, default_value_t = 200)]
    prompts: usize,
    /// Tokens a text.
    #[arg(long, default_value_t = 32)]
    max_tokens: usize,
    /// Cascade files.
    #[arg(default_values = ["config/tiny.toml", "config/tiny-q8.toml"])]
    cascades: Vec<String>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let prompts = prompts::many(args.prompts)?;
    for cascade in &args.cascades {
        let up = Up::start(cascade)?;
        let mut tallies: Vec<Tally> = plans::all().iter().map(|_| Tally::default()).collect();
        for (number, prompt) in prompts.iter().enumerate().progress() {
            for temperature in [0.0, 0.7, 1.0] {
                let sampling = Sampling {
                    temperature,
                    seed: number as u64,
                    max_tokens: args.max_tokens,
                };
                compare(&up, prompt, sampling, &mut tallies)?;
            }
        }
        ensure!(
            tallies.iter().all(|tally| tally.texts == tallies[0].texts),
            "a plan was left out"
        );
        println!(
            "{cascade}: {} prompts × 3 temperatures, every text equal to the target's own",
            prompts.len()
        );
        println!(
            "{:24} {:>7} {:>9} {:>13} {:>17}",
            "plan", "texts", "tokens", "target calls", "tokens per call"
        );
        for ((name, _), tally) in plans::all().iter().zip(&tallies) {
            let per_call = tally.tokens as f64 / tally.target_calls.max(1) as f64;
            println!(
                "{name:24} {:7} {:9} {:13} {per_call:17.2}",
                tally.texts, tally.tokens, tally.target_calls
            );
        }
    }
    Ok(())
}
