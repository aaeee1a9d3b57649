//! Texts that are remembered change how soon later ones are written, and nothing else: through a Max-Gram of its own, and
//! through those inside the neural workers.

use std::time::Duration;

use csd_tests::{
    Up, ids,
    lossless::{Sampling, Tally, compare},
    plans, process, prompts,
    worker::changed,
};
use serde_json::{Value, json};

const LEVEL: &str = "kind = \"maxgram\"\n";

/// The bundled cascade with a memory at these places.
fn cascade(name: &str, changes: &[(&str, &str)]) -> String {
    changed("config/tiny.toml", name, changes).expect("a cascade file")
}

fn with_memory(line: &str) -> String {
    format!("{line}memory = {{ mib = 1 }}\n")
}

fn counted(up: &Up, level: &str, name: &str) -> f64 {
    up.level_metrics(level).expect("metrics").sum(name, &[])
}

/// Waits until a level remembers so many texts: it is told of them after the answer.
fn knows(up: &Up, level: &str, texts: f64) {
    let known = || counted(up, level, "csd_memory_texts") >= texts;
    assert!(process::wait(Duration::from_secs(10), known));
}

fn write(up: &Up, plan: &Value) -> (Vec<u32>, u64) {
    let prompt = prompts::many(1).expect("prompts").remove(0);
    let answer = up.complete(&json!({
        "prompt": prompt, "max_tokens": 64, "temperature": 0.7, "seed": 3, "ignore_eos": true,
        "return_token_ids": true, "cascade": plan,
    }));
    let answer = answer.expect("an answer");
    let calls = answer["cascade"]["calls"]["target"].as_u64();
    (
        ids(&answer["choices"][0]["token_ids"]),
        calls.expect("calls"),
    )
}

#[test]
fn a_second_writing_takes_fewer_rounds_and_is_the_same_text() {
    let up = Up::start(&cascade("memory", &[(LEVEL, &with_memory(LEVEL))])).expect("it comes up");
    let plan = json!({"k": [[0, 0, 10], [0, 0, 0], [0, 0, 0]]});
    let (alone, _) = write(&up, &json!("off"));
    let (first, rounds) = write(&up, &plan);
    knows(&up, "maxgram", 1.0);
    let (second, fewer) = write(&up, &plan);
    assert!(alone == first && first == second);
    assert!(fewer * 2 < rounds, "{fewer} rounds after {rounds}");
    knows(&up, "maxgram", 2.0);
    let count = |name: &str| counted(&up, "maxgram", name);
    let (asked, found) = (
        count("csd_memory_queries_total"),
        count("csd_memory_hits_total"),
    );
    assert!(found >= 40.0 && asked >= found, "{found} of {asked}");
    assert_eq!(count("csd_memory_evictions_total"), 0.0);
    let bytes = count("csd_memory_bytes");
    assert!(bytes > 0.0 && bytes <= f64::from(1 << 20), "{bytes}");
    assert_eq!(
        counted(&up, "draft", "csd_memory_bytes"),
        0.0,
        "off by default"
    );
}

#[test]
fn a_neural_worker_remembers_for_the_max_gram_inside_it() {
    let level = "name = \"mini\"\n";
    let up = Up::start(&cascade("assisted", &[(level, &with_memory(level))])).expect("it comes up");
    let plan = json!({"k": [[0, 8, 0], [0, 0, 0], [0, 0, 8]]});
    let (first, _) = write(&up, &plan);
    knows(&up, "mini", 1.0);
    let (second, _) = write(&up, &plan);
    assert_eq!(first, second);
    assert!(counted(&up, "mini", "csd_memory_hits_total") > 0.0);
}

#[test]
fn texts_are_the_targets_own_whatever_is_remembered() {
    let everywhere: Vec<_> = ["name = \"draft\"\n", "name = \"mini\"\n", LEVEL]
        .map(|line| (line, with_memory(line)))
        .into();
    let changes: Vec<_> = everywhere
        .iter()
        .map(|(line, with)| (*line, with.as_str()))
        .collect();
    let up = Up::start(&cascade("everywhere", &changes)).expect("it comes up");
    let mut tallies: Vec<Tally> = plans::all().iter().map(|_| Tally::default()).collect();
    for _ in 0..2 {
        for (number, prompt) in prompts::many(3).expect("prompts").iter().enumerate() {
            for temperature in [0.0, 1.0] {
                let sampling = Sampling {
                    temperature,
                    seed: 100 + number as u64,
                    max_tokens: 40,
                };
                compare(&up, prompt, sampling, &mut tallies).expect("the target's own text");
            }
        }
    }
    for level in ["draft", "mini", "maxgram"] {
        assert!(
            counted(&up, level, "csd_memory_hits_total") > 0.0,
            "{level}"
        );
    }
}
