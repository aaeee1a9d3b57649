//! Many clients for a long time: every text is the target's own, nobody is refused but with 429, memory stands still, and
//! what clients leave behind is dropped at every level at once.
//!
//! Prints a line a minute and a table at the end; fails when any of this does not hold.

#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::{
    fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use clap::Parser;
use csd_tests::{Up, ids, process, prompts, root};
use serde_json::{Value, json};

/// Keeps a cascade busy.
#[derive(Parser)]
struct Args {
    /// Clients at once.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// How long.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Different texts.
    #[arg(long, default_value_t = 60)]
    prompts: usize,
    /// Tokens a text.
    #[arg(long, default_value_t = 48)]
    max_tokens: usize,
    /// The cascade file.
    #[arg(default_value = "config/tiny.toml")]
    cascade: String,
}

/// By how much a process may grow after the second minute.
const GROWTH: f64 = 1.05;
/// How long what cancelled clients leave behind may be seen.
const DROPPED: Duration = Duration::from_secs(1);
const LEVELS: [&str; 4] = ["target", "draft", "mini", "maxgram"];

/// A request and the tokens that the target alone has written for it.
struct Text {
    body: Value,
    expected: Vec<u32>,
}

/// What all clients share.
struct Shared<'a> {
    up: &'a Up,
    texts: Vec<Text>,
    over: AtomicBool,
    /// Half of the clients are to leave, in the middle of what they do.
    leave: AtomicBool,
    left: AtomicU64,
    texts_done: AtomicU64,
    tokens: AtomicU64,
    refused: AtomicU64,
    failures: Mutex<Vec<String>>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let up = Up::start(&crowded(&args)?)?;
    let texts = record(&up, &args)?;
    println!("{} texts recorded from the target alone", texts.len());
    let shared = Shared {
        up: &up,
        texts,
        over: AtomicBool::new(false),
        leave: AtomicBool::new(false),
        left: AtomicU64::new(0),
        texts_done: AtomicU64::new(0),
        tokens: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        failures: Mutex::default(),
    };
    thread::scope(|scope| {
        for number in 0..args.clients {
            let shared = &shared;
            scope.spawn(move || client(shared, number));
        }
        let watched = watch(&shared, &args);
        shared.over.store(true, Relaxed);
        watched
    })?;
    ensure!(
        process::wait(DROPPED, || idle(&up)),
        "levels work on, and nobody is there"
    );
    let failures = shared.failures.into_inner();
    let failures = failures.unwrap_or_else(PoisonError::into_inner);
    ensure!(
        failures.is_empty(),
        "{} failures: {}",
        failures.len(),
        failures[0]
    );
    println!("passed");
    Ok(())
}

/// A copy of the cascade file that lets all clients run at once, so that each has work at every level.
fn crowded(args: &Args) -> Result<String> {
    let file = root().join(&args.cascade);
    let models = file.parent().unwrap_or(root()).join("../models");
    let text =
        fs::read_to_string(&file)?.replace("\"../models/", &format!("\"{}/", models.display()));
    let copy = root().join("target/soak.toml");
    let limits = format!("\n[limits]\nconcurrent_requests = {}\n", args.clients);
    fs::write(&copy, text + &limits)?;
    Ok(copy.display().to_string())
}

/// What the target alone writes, greedy and sampled.
fn record(up: &Up, args: &Args) -> Result<Vec<Text>> {
    let prompts = prompts::many(args.prompts)?;
    let mut texts = Vec::new();
    for (seed, prompt) in prompts.into_iter().enumerate() {
        let temperature = [0.0, 0.7, 1.0][seed % 3];
        let body = json!({
            "prompt": prompt, "max_tokens": args.max_tokens, "temperature": temperature, "seed": seed,
            "return_token_ids": true,
        });
        let mut alone = body.clone();
        alone["cascade"] = json!("off");
        let answer = up.complete(&alone)?;
        texts.push(Text {
            body,
            expected: ids(&answer["choices"][0]["token_ids"]),
        });
    }
    Ok(texts)
}

/// One text after the other.
fn client(shared: &Shared<'_>, number: usize) {
    let mut turn = number * 7;
    while !shared.over.load(Relaxed) {
        turn += 1;
        let ended = if leaves(number) && shared.leave.load(Relaxed) {
            Ok(Ended::Left)
        } else {
            one(shared, number, turn)
        };
        match ended {
            Ok(Ended::Written) => {}
            Ok(Ended::Left) => {
                shared.left.fetch_add(1, Relaxed);
                break;
            }
            Err(error) => shared.fail(format!("client {number}: {error:#}")),
        }
    }
}

/// How a request ended for its client.
enum Ended {
    Written,
    Left,
}

/// Clients with an even number stream, and leave in the middle of it when half of all are to leave.
fn one(shared: &Shared<'_>, number: usize, turn: usize) -> Result<Ended> {
    let text = &shared.texts[turn % shared.texts.len()];
    let written = if leaves(number) {
        let stays = |_: usize, _: &Value| !shared.leave.load(Relaxed);
        let stream = match shared.up.stream_while(&text.body, stays) {
            Err(error) if error.to_string().starts_with("429") => return refused(shared),
            stream => stream?,
        };
        if let Some(error) = stream.error {
            bail!("{error}");
        }
        if !stream.done {
            return Ok(Ended::Left);
        }
        stream.token_ids
    } else {
        let (status, answer) = (shared.up).post("/v1/completions", &text.body.to_string())?;
        if status == 429 {
            return refused(shared);
        }
        ensure!(status == 200, "{status}: {answer}");
        ids(&answer["choices"][0]["token_ids"])
    };
    ensure!(
        written == text.expected,
        "another text: {}: {written:?} instead of {:?}",
        text.body,
        text.expected
    );
    shared.texts_done.fetch_add(1, Relaxed);
    shared.tokens.fetch_add(written.len() as u64, Relaxed);
    Ok(Ended::Written)
}

fn leaves(number: usize) -> bool {
    number.is_multiple_of(2)
}

fn refused(shared: &Shared<'_>) -> Result<Ended> {
    shared.refused.fetch_add(1, Relaxed);
    thread::sleep(Duration::from_secs(1));
    Ok(Ended::Written)
}

/// Looks at memory and gauges until the time is over, then has half of the clients leave.
fn watch(shared: &Shared<'_>, args: &Args) -> Result<()> {
    let up = shared.up;
    let mut processes: Vec<(String, u32)> = vec![("orchestrator".into(), up.pid())];
    processes.extend(
        up.levels()
            .into_iter()
            .map(|level| (level.level, level.pid)),
    );
    let whole = Duration::from_secs_f64(args.minutes * 60.0);
    let settled = whole / 5; // the second of ten minutes
    let begun = Instant::now();
    let mut memory: Vec<Memory> = processes.iter().map(|_| Memory::default()).collect();
    let mut shown = Duration::ZERO;
    while begun.elapsed() < whole {
        thread::sleep(Duration::from_secs(1));
        for ((_, pid), memory) in processes.iter().zip(&mut memory) {
            let now = process::resident(*pid)?;
            if begun.elapsed() < settled {
                memory.settled = memory.settled.max(now);
            } else {
                memory.most = memory.most.max(now);
            }
            memory.last = now;
        }
        if begun.elapsed() - shown >= Duration::from_secs(60) {
            shown = begun.elapsed();
            println!("{}", shared.line(shown));
        }
    }
    println!("{}", shared.line(begun.elapsed()));
    println!(
        "{:14}{:>14}{:>14}{:>14}",
        "resident MiB", "settled", "most later", "last"
    );
    for ((name, _), memory) in processes.iter().zip(&memory) {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (settled, most, last) = (mib(memory.settled), mib(memory.most), mib(memory.last));
        println!("{name:14}{settled:14.1}{most:14.1}{last:14.1}");
        if most > settled * GROWTH {
            shared.fail(format!("{name} grew from {settled:.1} to {most:.1} MiB"));
        }
    }

    let before = means(up)?;
    shared.leave.store(true, Relaxed);
    let half = (args.clients as u64).div_ceil(2);
    let patience = Duration::from_secs(60);
    ensure!(
        process::wait(patience, || shared.left.load(Relaxed) == half),
        "clients do not leave"
    );
    let gone = Instant::now();
    let rest = (args.clients as u64 - half) as f64;
    let dropped = process::wait(DROPPED, || texts(up).is_ok_and(|texts| texts <= rest));
    println!(
        "half left: their texts were dropped after {:.0} ms",
        gone.elapsed().as_secs_f64() * 1e3
    );
    ensure!(
        dropped,
        "texts of clients that left go on: {:?} of {rest}",
        texts(up)
    );
    let after = means(up)?;
    println!(
        "{:10}{:>18}{:>18}{:>18}{:>18}",
        "", "in flight before", "after", "cache use before", "after"
    );
    for ((level, before), (_, after)) in before.iter().zip(&after) {
        println!(
            "{level:10}{:18.2}{:18.2}{:17.2}%{:17.2}%",
            before.calls,
            after.calls,
            before.cache * 100.0,
            after.cache * 100.0
        );
    }
    Ok(())
}

/// A process's resident bytes.
#[derive(Default)]
struct Memory {
    /// Most until it should have settled.
    settled: u64,
    /// Most after that.
    most: u64,
    last: u64,
}

/// What a level was busy with, on average.
#[derive(Default)]
struct Busy {
    calls: f64,
    cache: f64,
}

/// Texts that the orchestrator has.
fn texts(up: &Up) -> Result<f64> {
    let metrics = up.metrics()?;
    Ok(metrics.sum("csd_num_requests_running", &[]) + metrics.sum("csd_num_requests_waiting", &[]))
}

/// What the levels are busy with over some seconds.
fn means(up: &Up) -> Result<Vec<(&'static str, Busy)>> {
    const TIMES: usize = 40;
    let mut means = LEVELS.map(|level| (level, Busy::default()));
    for _ in 0..TIMES {
        for (level, mean) in &mut means {
            let now = now(up, level)?;
            mean.calls += now.calls / TIMES as f64;
            mean.cache += now.cache / TIMES as f64;
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(means.into())
}

fn now(up: &Up, level: &str) -> Result<Busy> {
    let metrics = up.level_metrics(level)?;
    Ok(Busy {
        calls: metrics.sum("csd_num_requests_running", &[])
            + metrics.sum("csd_num_requests_waiting", &[]),
        cache: metrics.sum("csd_kv_cache_usage_ratio", &[]),
    })
}

/// Whether no level has anything to do.
fn idle(up: &Up) -> bool {
    let idle = |level: &&str| now(up, level).is_ok_and(|now| now.calls + now.cache == 0.0);
    LEVELS.iter().all(idle)
}

impl Shared<'_> {
    fn fail(&self, what: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push(what);
    }

    fn line(&self, after: Duration) -> String {
        let tokens = self.tokens.load(Relaxed);
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        format!(
            "{:5.1} min  {:6} texts  {tokens:8} tokens  {:6.0} tokens/s  {} refused (429)  {} failures",
            after.as_secs_f64() / 60.0,
            self.texts_done.load(Relaxed),
            tokens as f64 / after.as_secs_f64(),
            self.refused.load(Relaxed),
            failures.len(),
        )
    }
}
