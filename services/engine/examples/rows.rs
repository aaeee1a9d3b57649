//! What a review of k rows costs, and what a model takes in memory.
//!
//! `cargo run --release -p csd-engine --example rows -- MODEL [f32|q8_0|q4_k] [THREADS]`

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use csd_engine::{Engine, Settings, Weights};
use csd_level::{Call, Context, Draft, DraftToken, Lenience, Level, Sampling, VerifyRequest};

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

fn request(len: usize, draft: usize) -> VerifyRequest {
    let draft = (0..draft as u32).map(|i| DraftToken::bare(50 + i, 1));
    VerifyRequest {
        call: Call {
            context: Context::new((0..len as u32).map(|i| 100 + i % 200).collect()),
            sampling: Arc::new(Sampling::default()),
            session: 1,
            stream: 0,
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

#[expect(clippy::print_stdout, reason = "it is what the program is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("which model?")?;
    let weights = match arguments.next().as_deref() {
        None | Some("f32") => Weights::F32,
        Some("q8_0") => Weights::Q8_0,
        Some("q4_k") => Weights::Q4K,
        Some(other) => return Err(format!("{other}: f32, q8_0 or q4_k").into()),
    };
    let threads = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let began = Instant::now();
    let engine = Engine::load(Settings {
        weights,
        threads,
        ..Settings::new("model", model)
    })?;
    println!("loaded in {:.2} s", began.elapsed().as_secs_f64());
    let mut one = 0.0;
    for rows in [1, 2, 4, 8, 12, 16, 32] {
        let mut forwards = Vec::new();
        let mut calls = Vec::new();
        let began = Instant::now();
        while forwards.len() < 5 || began.elapsed() < Duration::from_millis(700) {
            let call = Instant::now();
            let verdict = wait(engine.verify(request(200, rows - 1)))?;
            calls.push(call.elapsed());
            forwards.push(verdict.timings.forward);
        }
        // The first call reads the prompt.
        forwards.remove(0);
        forwards.sort();
        calls.sort();
        let median = forwards[forwards.len() / 2].as_secs_f64() * 1e3;
        let call = calls[calls.len() / 2].as_secs_f64() * 1e3;
        one = if rows == 1 { median } else { one };
        println!(
            "{rows:3} rows: forward {median:8.3} ms ({:.2}), call {call:8.3} ms",
            median / one
        );
    }
    let (weights, cache) = (engine.weight_bytes(), engine.gauges().cache_bytes);
    println!(
        "weights {:.1} MB, cache {:.1} MB",
        weights as f64 / 1e6,
        cache as f64 / 1e6
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|line| line.starts_with("VmHWM")) {
        println!("{line}");
    }
    Ok(())
}
