//! Plans on other hardware: what the bundled models write, on virtual time, where forwards and links take what is said.
//!
//! Every token is a model's own; only times are said. Nothing sleeps, and nobody's load disturbs it: every figure is the
//! same at every run. Fixed plans are chosen on one half of the prompts, the planner learns on it, and all are scored on
//! the other half.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

mod family;
mod plans;
mod remembered;
mod world;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use csd_tests::prompts::{self, Golden};

use self::{
    family::Family,
    world::{Arm, Lessons, World},
};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    Arithmetic,
    ArithmeticLong,
    Code,
}

impl Workload {
    fn prompts(self, golden: &[Golden], most: usize) -> Vec<&Golden> {
        let kind = if self == Self::Code { "code" } else { "math" };
        let prompts = golden.iter().filter(|line| line.kind == kind);
        prompts.take(most).collect()
    }
}

/// A way to draft.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Nobody drafts.
    Target,
    /// One neural drafter that writes token by token.
    TwoModel,
    /// Max-Gram directly under the target.
    MaxGram,
    /// Any of them, and levels that review what the next smaller one writes; waiting for the target or drafting beside it.
    Chain,
    /// Plans chosen while the text is written.
    Planner,
}

/// Compares plans on hardware that is not here, on virtual time.
#[derive(Parser)]
struct Args {
    /// What is written.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "arithmetic,arithmetic-long,code"
    )]
    workload: Vec<Workload>,
    /// What the planner has learnt on instead: its workload changes, then.
    #[arg(long, value_enum)]
    learnt_on: Option<Workload>,
    /// Prompts of each, at most 40.
    #[arg(long, default_value_t = 40)]
    prompts: usize,
    /// Ways to halve them: each is searched and scored anew, and what is printed is the mean of all.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    halves: u8,
    /// 0, 0.7, 1, …
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Milliseconds of a forward of target, draft and mini; the default is the regime of the paper.
    #[arg(long, value_delimiter = ',', default_value = "30,3,1")]
    forward: Vec<f64>,
    /// Rows of a forward that cost what one does, and as many more as much again; the default is a GPU's.
    #[arg(long, default_value_t = 33)]
    rows: usize,
    /// Milliseconds of a forward of the target by its rows, from one row on, as measured on some box, in place of the first
    /// time of --forward; as many rows more cost as much again.
    #[arg(long, value_delimiter = ',')]
    staircase: Vec<f64>,
    /// Levels compute one at a time, as on one box.
    #[arg(long)]
    one_host: bool,
    /// Milliseconds to each level and back.
    #[arg(long, value_delimiter = ',', default_value = "0.2")]
    round_trip: Vec<f64>,
    /// The target is where texts are written: only its drafters are behind links.
    #[arg(long)]
    near_target: bool,
    /// Who writes.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "target,two-model,max-gram,planner"
    )]
    arm: Vec<Way>,
}

/// As the command line writes it.
fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or(String::new(), |value| value.get_name().to_owned())
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(
        args.forward.len() == 3,
        "--forward: give three times, as 30,3,1"
    );
    let family = Family::load(args.rows)?;
    let golden = prompts::golden()?;
    println!(
        "virtual time: forwards of {:?} ms, {} rows for the price of one; temperature {}",
        args.forward, args.rows, args.temperature
    );
    println!(
        "{:16} {:>8} {:13} {:42} {:>8} {:>7} {:>7} {:>8}  each half's tokens/s",
        "workload", "link ms", "arm", "K", "tokens/s", "target", "a round", "takes ms"
    );
    for &workload in &args.workload {
        let prompts = workload.prompts(&golden, args.prompts);
        ensure!(prompts.len() > 1, "one prompt cannot be halved");
        let lessons = args.learnt_on.map(|other| Lessons {
            workload: other,
            prompts: other.prompts(&golden, args.prompts),
        });
        for &round_trip in &args.round_trip {
            let world = World::new(&family, &args, workload, round_trip)?;
            let arms = args.arm.iter();
            let arms = arms.map(|&way| world.arm(way, &prompts, args.halves, lessons.as_ref()));
            let arms: Vec<Arm> = arms.collect::<Result<_>>()?;
            let alone = arms.iter().find(|arm| arm.way == Way::Target);
            let workload = name(workload);
            for arm in &arms {
                let times = alone.map_or_else(String::new, |alone| {
                    format!("{:.2}x", arm.pace.rate() / alone.pace.rate())
                });
                println!(
                    "{workload:16} {round_trip:8} {:13} {:42} {:8.1} {times:>7} {:7.2} {:8.1}  {}",
                    name(arm.way),
                    arm.k,
                    arm.pace.rate(),
                    arm.pace.tokens as f64 / arm.pace.rounds as f64,
                    arm.pace.seconds * 1e3 / arm.pace.rounds as f64,
                    arm.halves(),
                );
            }
        }
    }
    Ok(())
}
