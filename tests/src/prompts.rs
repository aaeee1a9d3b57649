//! Texts to continue: the recorded ones, and as many more as wanted.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{ids, root};

/// A prompt whose continuation an independent implementation has recorded.
#[derive(Debug)]
pub struct Golden {
    /// `code` or `math`.
    pub kind: String,
    /// The text.
    pub prompt: String,
    /// Its token ids.
    pub prompt_ids: Vec<u32>,
    /// The greedy continuation.
    pub greedy: Vec<u32>,
    /// Difference of the two largest logits at each step of it.
    pub margin: Vec<f64>,
}

/// The lines of `models/golden.jsonl`.
///
/// # Errors
/// When the file is missing or malformed.
pub fn golden() -> Result<Vec<Golden>> {
    let text = fs::read_to_string(root().join("models/golden.jsonl"))?;
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line)?;
        Ok(Golden {
            kind: value["kind"].as_str().context("kind")?.to_owned(),
            prompt: value["prompt"].as_str().context("prompt")?.to_owned(),
            prompt_ids: ids(&value["prompt_ids"]),
            greedy: ids(&value["greedy"]),
            margin: value["margin"]
                .as_array()
                .context("margin")?
                .iter()
                .filter_map(Value::as_f64)
                .collect(),
        })
    };
    text.lines().map(parse).collect()
}

/// `count` prompts: the recorded ones, then arithmetic problems and pieces of this workspace's own sources in turn.
///
/// # Errors
/// When the recorded ones or the sources cannot be read.
pub fn many(count: usize) -> Result<Vec<String>> {
    let recorded = golden()?;
    let (code, math): (Vec<_>, Vec<_>) = recorded.into_iter().partition(|line| line.kind == "code");
    let mut prompts = Vec::new();
    // Kinds alternate from the start, so that a short list holds both.
    for index in 0..math.len().max(code.len()) {
        prompts.extend(code.get(index).map(|line| line.prompt.clone()));
        prompts.extend(math.get(index).map(|line| line.prompt.clone()));
    }
    let sources = sources()?;
    for index in 0.. {
        if prompts.len() >= count {
            break;
        }
        prompts.push(if index % 2 == 0 {
            problem(index as u64)
        } else {
            sources[(index / 2 * 7) % sources.len()].clone()
        });
    }
    prompts.truncate(count);
    Ok(prompts)
}

/// An arithmetic problem of the form that the bundled family was trained on.
fn problem(number: u64) -> String {
    let mut state = number
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(12345);
    let mut roll = |limit: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let names = ["Grace", "Liam", "Zoe", "Maya", "Victor", "Ada", "Chloe"];
    let things = ["eggs", "apples", "balloons", "oranges", "books", "coins"];
    let places = ["garden", "market", "school", "farm"];
    let (first, second) = (names[roll(7) as usize], names[roll(7) as usize]);
    let (thing, place) = (things[roll(6) as usize], places[roll(4) as usize]);
    let (a, b, c) = (40 + roll(50), 2 + roll(18), 2 + roll(18));
    let question = match roll(3) {
        0 => format!(
            "There are {a} {thing} at the {place}. {first} takes {b} {thing} and {second} takes {c} {thing}. How many {thing} are left?"
        ),
        1 => format!(
            "{first} collected {a} {thing} on Monday. On Tuesday {first} collected {b} more {thing} than on Monday. How many {thing} did {first} collect in total?"
        ),
        _ => format!(
            "{first} has {a} {thing}. {first} buys {b} more {thing} at the {place} and then gives {c} {thing} to {second}. How many {thing} does {first} have now?"
        ),
    };
    format!("<|user|>\n{question}\n<|assistant|>\n")
}

/// Pieces of Rust, thirty lines each.
fn sources() -> Result<Vec<String>> {
    let mut pieces = Vec::new();
    for folder in [
        "services/level/src",
        "orchestrator/cascade/src",
        "config/src",
        "services/kernel/src",
    ] {
        let mut files: Vec<_> = fs::read_dir(root().join(folder))?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.sort();
        for file in files
            .iter()
            .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        {
            let text = fs::read_to_string(file)?;
            let lines: Vec<&str> = text.lines().collect();
            pieces.extend(lines.chunks_exact(30).map(|piece| piece.join("\n") + "\n"));
        }
    }
    Ok(pieces)
}
