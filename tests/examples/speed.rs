//! Tokens per second of plans against the target alone: arms interleaved prompt by prompt in one run, so that a noisy
//! machine disturbs all alike, and ratios with their 95 % intervals.
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::{fs, time::Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use csd_tests::{Up, enlarged::enlarged, ids, process, prompts};
use indicatif::ProgressIterator as _;
use serde_json::{Value, json};

/// Measures plans against the target alone.
#[derive(Parser)]
struct Args {
    /// The cascade file.
    #[arg(long, default_value = "config/tiny-q8.toml")]
    cascade: String,
    /// Put the bundled target, enlarged to about 308 million parameters, in the target's place.
    #[arg(long)]
    enlarge: bool,
    /// Prompts of each kind.
    #[arg(long, default_value_t = 12)]
    prompts: usize,
    /// Leave out the first prompts of each kind (those that a plan was tuned on).
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// Tokens a text at most.
    #[arg(long, default_value_t = 64)]
    max_tokens: usize,
    /// Write on after the end of a text.
    #[arg(long)]
    ignore_eos: bool,
    /// 0, 0.7, 1, …
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// Further plans to measure: JSON as in a request's `cascade` field, or a preset's name.
    #[arg(long = "plan")]
    plans: Vec<String>,
}

/// Seconds a token of one arm, prompt by prompt.
struct Arm {
    name: String,
    plan: Option<Value>,
    seconds: Vec<f64>,
    tokens: usize,
    target_calls: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let cascade = if args.enlarge {
        enlarged(&args.cascade)?
    } else {
        args.cascade.clone()
    };
    let up = Up::start(&cascade)?;
    let given = args
        .plans
        .iter()
        .map(|text| serde_json::from_str(text).unwrap_or_else(|_| json!(text)));
    let arm = |name: String, plan| Arm {
        name,
        plan,
        seconds: Vec::new(),
        tokens: 0,
        target_calls: 0,
    };
    for kind in ["math", "code"] {
        let mut arms = vec![
            arm("target alone".into(), Some(json!("off"))),
            arm("the file's plan".into(), None),
        ];
        arms.extend(given.clone().map(|plan| arm(plan.to_string(), Some(plan))));
        let lines: Vec<_> = prompts::golden()?
            .into_iter()
            .filter(|line| line.kind == kind)
            .collect();
        for (number, line) in lines
            .iter()
            .skip(args.skip)
            .take(args.prompts)
            .enumerate()
            .progress()
        {
            let mut expected = Vec::new();
            let count = arms.len();
            for turn in 0..count {
                let arm = &mut arms[(turn + number) % count];
                let tokens = measure(&up, &args, &line.prompt, arm)?;
                if expected.is_empty() {
                    expected = tokens.clone();
                }
                ensure!(tokens == expected, "{} wrote another text", arm.name);
            }
        }
        report(kind, &arms);
    }
    let target = up.level("target")?;
    let status = fs::read_to_string(format!("/proc/{}/status", target.pid))?;
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .context("no VmHWM")?;
    println!(
        "target's worker: {}",
        peak.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    ensure!(process::runs(target.pid), "the target's worker died");
    Ok(())
}

fn measure(up: &Up, args: &Args, prompt: &str, arm: &mut Arm) -> Result<Vec<u32>> {
    let mut body = json!({
        "prompt": prompt, "max_tokens": args.max_tokens, "temperature": args.temperature, "seed": 1,
        "ignore_eos": args.ignore_eos, "return_token_ids": true,
    });
    if let Some(plan) = &arm.plan {
        body["cascade"] = plan.clone();
    }
    let started = Instant::now();
    let answer = up.complete(&body)?;
    let seconds = started.elapsed().as_secs_f64();
    let tokens = ids(&answer["choices"][0]["token_ids"]);
    arm.seconds.push(seconds / tokens.len().max(1) as f64);
    arm.tokens += tokens.len();
    arm.target_calls += answer["cascade"]["calls"]["target"].as_u64().unwrap_or(0);
    Ok(tokens)
}

fn report(kind: &str, arms: &[Arm]) {
    println!("\n{kind}: {} prompts", arms[0].seconds.len());
    println!(
        "{:44} {:>9} {:>15} {:>24}",
        "plan", "tokens/s", "tokens per call", "against the target alone"
    );
    for arm in arms {
        let mean = arm.seconds.iter().sum::<f64>() / arm.seconds.len() as f64;
        let logs: Vec<f64> = arms[0]
            .seconds
            .iter()
            .zip(&arm.seconds)
            .map(|(base, own)| (base / own).ln())
            .collect();
        let count = logs.len() as f64;
        let centre = logs.iter().sum::<f64>() / count;
        let variance =
            logs.iter().map(|log| (log - centre).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let half = 1.96 * (variance / count).sqrt();
        let (low, high) = ((centre - half).exp(), (centre + half).exp());
        let per_call = arm.tokens as f64 / arm.target_calls.max(1) as f64;
        println!(
            "{:44} {:9.1} {per_call:15.2} {:8.2} ({low:.2} … {high:.2})",
            arm.name,
            1.0 / mean,
            centre.exp()
        );
    }
}
