//! Requests share the forwards of every level, prompts are read in pieces beside them, and what a client leaves behind is
//! dropped at every level at once.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use csd_tests::{Up, ids, metrics::Metrics, process};
use serde_json::{Value, json};

const CLIENTS: usize = 8;
const NEURAL: [&str; 3] = ["target", "draft", "mini"];
const LEVELS: [&str; 4] = ["target", "draft", "mini", "maxgram"];

/// Rows of a forward at most: its reviews, and beside them one piece of a prompt.
const MOST_ROWS: &str = "le=\"128\"";

fn body(seed: usize, max_tokens: usize) -> Value {
    let prompt = format!(
        "<|user|>\nThere are {} eggs at the garden. Grace takes 7 eggs. How many eggs are left?\n<|assistant|>\n",
        30 + seed
    );
    json!({
        "prompt": prompt, "max_tokens": max_tokens, "temperature": 0.7, "seed": seed, "return_token_ids": true,
        "ignore_eos": true, "cascade": {"k": [[6, 0, 2], [0, 3, 0], [0, 0, 4]]},
    })
}

fn levels<const N: usize>(up: &Up, names: [&str; N]) -> [Metrics; N] {
    names.map(|level| up.level_metrics(level).expect("metrics"))
}

#[test]
fn requests_share_forwards_and_leave_nothing_behind() {
    let up = Up::start("config/tiny.toml").expect("the cascade comes up");
    forwards_are_shared(&up);
    a_long_prompt_is_read_in_pieces(&up);
    clients_that_leave_are_forgotten(&up);
}

fn forwards_are_shared(up: &Up) {
    let alone: Vec<_> = (0..CLIENTS)
        .map(|seed| ids(&up.complete(&body(seed, 64)).expect("a text")["choices"][0]["token_ids"]))
        .collect();
    let before = levels(up, NEURAL);
    let begun = up.metrics().expect("metrics");
    let together: Vec<_> = thread::scope(|scope| {
        let texts: Vec<_> = (0..CLIENTS)
            .map(|seed| scope.spawn(move || up.complete(&body(seed, 64)).expect("a text")))
            .collect();
        texts
            .into_iter()
            .map(|text| ids(&text.join().expect("no panic")["choices"][0]["token_ids"]))
            .collect()
    });
    assert_eq!(together, alone, "company changes no text");
    let after = levels(up, NEURAL);
    let ended = up.metrics().expect("metrics");
    let written = "csd_generation_tokens_total";
    let tokens = ended.sum(written, &[]) - begun.sum(written, &[]);
    for ((level, before), after) in NEURAL.iter().zip(&before).zip(&after) {
        let grown =
            |name: &str, labels: &[&str]| after.sum(name, labels) - before.sum(name, labels);
        let forwards = grown("csd_forward_seconds_count", &[]);
        let calls = grown("csd_iteration_requests_sum", &[]);
        let shared = forwards - grown("csd_iteration_requests_bucket", &["le=\"1\""]);
        eprintln!(
            "{level}: {tokens} tokens, {forwards} forwards for {calls} parts of calls, {shared} of them shared"
        );
        assert!(
            shared > 0.0,
            "{level}: no forward had rows of several requests"
        );
        assert!(calls > forwards, "{level}");
        assert_eq!(
            after.sum("csd_iteration_tokens_bucket", &[MOST_ROWS]),
            after.sum("csd_iteration_tokens_count", &[]),
            "{level}: a forward of more rows than there may be"
        );
    }
    let forwards = |metrics: &Metrics| metrics.sum("csd_forward_seconds_count", &[]);
    assert!(forwards(&after[0]) - forwards(&before[0]) < tokens);
}

/// While a prompt of many pieces is read, another text goes on, and no forward holds the whole prompt.
fn a_long_prompt_is_read_in_pieces(up: &Up) {
    let reading = AtomicBool::new(true);
    let prompt: Vec<u32> = (0..900).map(|position| 300 + position % 700).collect();
    let long = json!({"prompt": prompt, "max_tokens": 1, "temperature": 0, "cascade": "off"});
    let before = up.level_metrics("target").expect("metrics");
    let beside = thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut beside = 0;
            let stream = up.stream(&body(3, 96), |_, _| {
                beside += usize::from(reading.load(Relaxed));
            });
            assert!(stream.expect("a stream").done);
            beside
        });
        up.complete(&long).expect("a text");
        reading.store(false, Relaxed);
        other.join().expect("no panic")
    });
    eprintln!(
        "{beside} rounds of another text beside a prompt of {} tokens",
        prompt.len()
    );
    assert!(beside > 1, "the other text stood still");
    let after = up.level_metrics("target").expect("metrics");
    assert_eq!(
        after.sum("csd_iteration_tokens_bucket", &[MOST_ROWS]),
        after.sum("csd_iteration_tokens_count", &[])
    );
    let forwards = "csd_forward_seconds_count";
    assert!(after.sum(forwards, &[]) - before.sum(forwards, &[]) >= 900.0 / 64.0);
}

/// Calls in progress or in a queue, and the share of caches they hold, at every level and at the door.
fn busy(up: &Up) -> f64 {
    let gauges = [
        "csd_num_requests_running",
        "csd_num_requests_waiting",
        "csd_kv_cache_usage_ratio",
    ];
    let of = |metrics: Metrics| {
        gauges
            .map(|gauge| metrics.sum(gauge, &[]))
            .iter()
            .sum::<f64>()
    };
    let levels = levels(up, LEVELS).map(of);
    levels.iter().sum::<f64>() + of(up.metrics().expect("metrics"))
}

fn clients_that_leave_are_forgotten(up: &Up) {
    let (streaming, leave) = (AtomicUsize::new(0), AtomicBool::new(false));
    let begun = up.metrics().expect("metrics");
    let left = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                let (streaming, leave) = (&streaming, &leave);
                scope.spawn(move || {
                    let stream = up.stream_while(&body(seed, 900), |number, _| {
                        streaming.fetch_add(usize::from(number == 0), Relaxed);
                        !leave.load(Relaxed)
                    });
                    assert!(
                        !stream.expect("a stream").done,
                        "it ended before it was left"
                    );
                })
            })
            .collect();
        let patience = Duration::from_secs(30);
        assert!(process::wait(patience, || streaming.load(Relaxed) == CLIENTS));
        assert!(process::wait(patience, || busy(up) > CLIENTS as f64));
        leave.store(true, Relaxed);
        for client in clients {
            client.join().expect("no panic");
        }
        Instant::now()
    });
    let idle = process::wait(Duration::from_secs(1), || busy(up) == 0.0);
    eprintln!(
        "every gauge at zero {:?} after the last client has left",
        left.elapsed()
    );
    assert!(idle, "{}", busy(up));
    let ended = up.metrics().expect("metrics");
    let abandoned = "csd_request_abandoned_total";
    assert_eq!(
        ended.sum(abandoned, &[]) - begun.sum(abandoned, &[]),
        CLIENTS as f64
    );
}
