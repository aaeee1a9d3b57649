//! The recording: what `csd bench --record` writes and `csd plan` reads.
//!
//! JSON, one object a line: first the header, then texts and arms in any order, each under its own name:
//!
//! ```text
//! {"header": {"version": 1, "subject": "tiny", …, "levels": [{"name": "target", "forward_ms": [[1, 11.8], [7, 14.2]], …}, …]}}
//! {"text": {"prompt": [5, 81, …], "tokens": [7, 7, …], "choices": {"draft": {"ids": [7, 9, …], "gaps": […], "probabilities": […]}, …}}}
//! {"arm": {"name": "target alone", "plan": "off", "tokens_per_second": 81.2, "low": 79.0, "high": 83.1, "tokens_per_call": 1.0}}
//! ```

mod lines;

use std::{collections::BTreeMap, path::PathBuf};

use csd_level::Token;
use serde::{Deserialize, Serialize};

pub use lines::TraceError;

/// The version of the format that this crate writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// A recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// What was recorded.
    pub header: Header,
    /// The target's own texts, at least two.
    pub texts: Vec<Text>,
    /// What was measured on them.
    pub arms: Vec<Arm>,
}

/// What was recorded, and what it cost.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
    /// The cascade.
    pub subject: String,
    /// The machine that measured.
    pub machine: String,
    /// What was written.
    pub workload: String,
    /// How tokens were drawn.
    pub temperature: f32,
    /// Tokens that a text might have at most.
    pub max_tokens: usize,
    /// Tokens that ended a text, ascending.
    pub end_tokens: Vec<Token>,
    /// Tokens of the map that all levels share, …
    pub vocabulary: usize,
    /// … and its fingerprint.
    pub token_map: String,
    /// What a text took besides its rounds, in milliseconds.
    pub text_ms: f64,
    /// What a round took besides the calls of levels that it waited for, in milliseconds.
    pub round_ms: f64,
    /// Target first.
    pub levels: Vec<Level>,
}

/// A level, and what its calls cost.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Level {
    /// Its name.
    pub name: String,
    /// A model, or Max-Gram, which stands last.
    pub kind: Kind,
    /// Where it computes: levels of one host compute one forward at a time.
    pub host: String,
    /// Rows of a review that cost little more than one; no draft for it is longer than one less.
    pub rows: usize,
    /// Whether it has a Max-Gram in its process.
    pub assisted: bool,
    /// The bigrams of its Max-Gram, or of Max-Gram itself.
    pub bigram: Option<PathBuf>,
    /// How a model's weights are held: `f32`, `bf16`, `q8_0`, `q4_k`.
    pub dtype: String,
    /// Milliseconds of a forward by rows, rows ascending. Max-Gram has none: what it takes is part of `queue_ms`.
    pub forward_ms: Vec<(usize, f64)>,
    /// Milliseconds that a call was at the level and did not compute.
    pub queue_ms: f64,
    /// Milliseconds of a call on its way, there and back.
    pub round_trip_ms: f64,
}

/// What sort of level it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A model.
    Neural,
    /// Max-Gram.
    Statistical,
}

/// A text of the target alone.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Text {
    /// What it was to go on from.
    pub prompt: Vec<Token>,
    /// What it wrote.
    pub tokens: Vec<Token>,
    /// What each drafter with a model would have written at each position, given the text before.
    pub choices: BTreeMap<String, Choices>,
}

/// A level's own tokens along a text, and how sure it was: as many of each as the text has tokens.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Choices {
    /// The tokens.
    pub ids: Vec<Token>,
    /// By how much the best perturbed score exceeded the second best.
    pub gaps: Vec<f32>,
    /// The level's probability of each.
    pub probabilities: Vec<f32>,
}

/// A way to write the texts, as it was measured. Tokens per second are geometric means over texts, the ends a 95 % interval.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Arm {
    /// What it is called.
    pub name: String,
    /// The plan as a request asks for it.
    pub plan: Asked,
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
    /// Tokens for each call of the target.
    pub tokens_per_call: f64,
}

/// A plan as a request asks for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Asked {
    /// `"off"`, `"auto"`, or a preset.
    Named(String),
    /// A matrix.
    Matrix {
        /// Start thresholds: rows are reviewers, columns drafters.
        k: Vec<Vec<u32>>,
        /// Looseness between drafters.
        #[serde(default = "strict")]
        lenience: f32,
        /// Whether the levels draft on while the target reviews.
        #[serde(default)]
        pipelined: bool,
    },
}

fn strict() -> f32 {
    1.0
}
