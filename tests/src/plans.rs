//! The plans that a text must survive, for the bundled cascade of three drafters.

use serde_json::{Value, json};

/// Every plan by name, the target alone first.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("target only", json!("off")),
        ("two-model", json!({"k": [[6, 0, 0], [0, 0, 0], [0, 0, 0]]})),
        (
            "vertical only",
            json!({"k": [[8, 0, 0], [0, 4, 0], [0, 0, 4]]}),
        ),
        (
            "vertical + horizontal",
            json!({"k": [[6, 4, 4], [0, 4, 2], [0, 0, 4]], "lenience": 2}),
        ),
        (
            "maxgram alone",
            json!({"k": [[0, 0, 10], [0, 0, 0], [0, 0, 0]]}),
        ),
        ("paper-mmlu", json!("paper-mmlu")),
        ("paper-mmlu-measured", json!("paper-mmlu-measured")),
        ("paper-llama", json!("paper-llama")),
        ("paper-small", json!("paper-small")),
    ]
}

/// The levels that must have been called for the plan to have run.
pub fn levels(name: &str) -> &'static [&'static str] {
    match name {
        "target only" => &["target"],
        "two-model" => &["target", "draft"],
        "vertical only" => &["target", "draft", "mini"],
        "maxgram alone" => &["target", "maxgram"],
        "paper-llama" | "paper-small" => &["target", "draft", "maxgram"],
        _ => &["target", "draft", "mini", "maxgram"],
    }
}
