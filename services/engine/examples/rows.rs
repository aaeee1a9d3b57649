//! What a review of k rows costs over some contexts, what reading a prompt costs, and what a model takes in memory.
//!
//! `cargo run --release -p csd-engine --example rows -- MODEL [f32|bf16|q8_0|q4_k] [THREADS, all if not said] [DEVICE]`
//!
//! One row is also told as the share of this machine's read bandwidth, measured beside it, at which it reads the weights
//! (an embedding that is not the output layer too counts as read, though it is not).

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use csd_engine::{Device, Engine, Settings, Weights};
use csd_kernel::read_bandwidth;
use csd_level::{Call, Context, Draft, DraftToken, Lenience, Level, Sampling, VerifyRequest};

const ROWS: [usize; 9] = [1, 2, 4, 6, 8, 12, 16, 24, 32];
const CONTEXTS: [usize; 3] = [200, 1024, 2000];
/// Tokens of the prompt that is read.
const PROMPT: usize = 512;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A review of a context of `len` tokens, which differ from the `first` on, and a draft.
fn request(first: usize, len: usize, draft: usize) -> VerifyRequest {
    let draft = (0..draft as u32).map(|i| DraftToken::bare(50 + i, 1));
    let context = (0..len).map(|i| 100 + ((first + i * (1 + first % 7)) % 200) as u32);
    VerifyRequest {
        call: Call {
            context: Context::new(context.collect()),
            sampling: Arc::new(Sampling::default()),
            session: 1,
            stream: 0,
            tenant: None,
            timeout: Duration::from_secs(60),
        },
        draft: Draft {
            tokens: draft.collect(),
            ..Draft::default()
        },
        lenience: Lenience::NONE,
        logprobs: None,
    }
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Milliseconds of the forward and of the whole call, the median of many.
fn review(engine: &Engine, context: usize, rows: usize) -> Result<(f64, f64), csd_level::Error> {
    let (mut forwards, mut calls) = (Vec::new(), Vec::new());
    // The first call reads the prompt.
    wait(engine.verify(request(0, context, rows - 1)))?;
    let began = Instant::now();
    while forwards.len() < 5 || began.elapsed() < Duration::from_millis(700) {
        let call = Instant::now();
        let verdict = wait(engine.verify(request(0, context, rows - 1)))?;
        calls.push(call.elapsed());
        forwards.push(verdict.timings.forward);
    }
    Ok((median(&mut forwards), median(&mut calls)))
}

#[expect(clippy::print_stdout, reason = "it is what the program is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("which model?")?;
    let weights: Weights = arguments.next().as_deref().unwrap_or("f32").parse()?;
    let all = || thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments
        .next()
        .map_or_else(|| Ok(all()), |text| text.parse())?;
    let device: Device = arguments.next().as_deref().unwrap_or("cpu").parse()?;
    let began = Instant::now();
    let engine = Engine::load(Settings {
        weights,
        threads,
        device,
        ..Settings::new("model", model)
    })?;
    println!("loaded in {:.2} s", began.elapsed().as_secs_f64());
    peak();
    let weights = engine.weight_bytes();
    // Of the processor's memory: there is none to compare a device's with.
    let bandwidth = (device == Device::Cpu).then(|| read_bandwidth(threads, weights));
    if let Some(bandwidth) = bandwidth {
        println!("measured read bandwidth: {bandwidth:.1} GB/s");
    }
    let most = engine.description().context;
    for context in CONTEXTS.into_iter().filter(|context| context + 32 <= most) {
        let (one, _) = review(&engine, context, 1)?;
        let read = weights as f64 / one / 1e6;
        match bandwidth {
            Some(bandwidth) => {
                println!(
                    "context {context}: one row reads {:.2} of the bandwidth",
                    read / bandwidth
                );
            }
            None => println!("context {context}: one row reads {read:.1} GB/s"),
        }
        for rows in ROWS {
            let (forward, call) = review(&engine, context, rows)?;
            println!(
                "{rows:3} rows: forward {forward:8.3} ms ({:.2}), call {call:8.3} ms",
                forward / one
            );
        }
    }
    let mut prompts = Vec::new();
    for first in 1..=5 {
        let verdict = wait(engine.verify(request(first, PROMPT, 0)))?;
        prompts.push(verdict.timings.forward);
    }
    let prompt = median(&mut prompts);
    println!(
        "a prompt of {PROMPT}: {prompt:.1} ms, {:.0} tokens/s",
        PROMPT as f64 / prompt * 1e3
    );
    let cache = engine.gauges().cache_bytes;
    println!(
        "weights {:.1} MB, cache {:.1} MB",
        weights as f64 / 1e6,
        cache as f64 / 1e6
    );
    Ok(())
}

/// Prints the most memory that this process has held, where the system tells.
#[expect(clippy::print_stdout, reason = "it is what the program is for")]
fn peak() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|line| line.starts_with("VmHWM")) {
        println!("peak memory {}", line["VmHWM:".len()..].trim());
    }
}
