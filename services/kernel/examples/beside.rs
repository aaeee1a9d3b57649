//! What does a forward cost beside its products? Prints microseconds a layer of attention, cache writes, norm,
//! rope and gated activation for 1, 8 and 16 rows at some context lengths.
//!
//! `cargo run --release -p csd-kernel --example beside -- [enlarged|target|draft|mini] [THREADS]`

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::time::{Duration, Instant};

use csd_kernel::{Cache, Compute, Heads};

/// How long each operation is repeated.
const REPEAT: Duration = Duration::from_millis(200);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let (hidden, ffn, heads) = match argument(0) {
        Some("target") => (
            384,
            1024,
            Heads {
                query: 6,
                kv: 2,
                dim: 64,
            },
        ),
        Some("draft") => (
            192,
            512,
            Heads {
                query: 3,
                kv: 1,
                dim: 64,
            },
        ),
        Some("mini") => (
            96,
            256,
            Heads {
                query: 3,
                kv: 1,
                dim: 32,
            },
        ),
        _ => (
            1536,
            4096,
            Heads {
                query: 24,
                kv: 8,
                dim: 64,
            },
        ),
    };
    let threads = argument(1)
        .and_then(|threads| threads.parse().ok())
        .unwrap_or(1);
    let compute = Compute::new(threads);
    println!(
        "hidden {hidden}, ffn {ffn}, {heads:?}, {threads} threads, {:?}",
        compute.isa()
    );
    println!("microseconds, best of many:");

    for rows in [1, 8, 16] {
        let width = heads.query * heads.dim;
        let numbers = |count: usize| -> Vec<f32> {
            (0..count)
                .map(|index| (index * 37 % 101) as f32 / 50.0 - 1.0)
                .collect()
        };
        for context in [16, 64, 256, 1024] {
            let mut cache = Cache::new(heads.kv, heads.dim);
            let row = numbers(heads.kv * heads.dim);
            (0..context + rows).for_each(|position| cache.write(position, &row, &row));
            let (q, mut out) = (numbers(rows * width), vec![0.0; rows * width]);
            let time =
                best(|| compute.attention(heads, &q, |row| (&cache, context + row), &mut out));
            let rate = (rows * width * (context + rows / 2) * 2) as f64 / time / 1e3;
            println!(
                "{rows:2} rows: attention over {context:4}: {time:8.2} ({rate:.1} G multiply-adds/s)"
            );
        }
        let mut cache = Cache::new(heads.kv, heads.dim);
        let row = numbers(heads.kv * heads.dim);
        let time = best(|| (0..rows).for_each(|position| cache.write(position, &row, &row)));
        println!("{rows:2} rows: cache writes        {time:8.2}");
        let (x, weight, mut out) = (
            numbers(rows * hidden),
            numbers(hidden),
            vec![0.0; rows * hidden],
        );
        println!(
            "{rows:2} rows: norm                {:8.2}",
            best(|| compute.rms_norm(&x, &weight, 1e-5, &mut out))
        );
        println!(
            "{rows:2} rows: residual            {:8.2}",
            best(|| compute.add(&mut out, &x))
        );
        let (up, mut gate) = (numbers(rows * ffn), numbers(rows * ffn));
        println!(
            "{rows:2} rows: gated activation    {:8.2}",
            best(|| compute.silu_gate(&mut gate, &up))
        );
        let (angles, mut q) = (numbers(heads.dim / 2), numbers(rows * width));
        let rope = || {
            q.chunks_mut(width)
                .for_each(|row| compute.rope(row, heads.dim, &angles, &angles))
        };
        println!("{rows:2} rows: rope of the queries {:8.2}", best(rope));
    }
}

/// Microseconds of the fastest call.
fn best(mut call: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed() < REPEAT {
        let start = Instant::now();
        call();
        best = best.min(start.elapsed().as_secs_f64() * 1e6);
    }
    best
}
