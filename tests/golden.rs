//! The target alone writes what an independent implementation recorded.

use csd_tests::{Up, ids, prompts};
use serde_json::json;

/// Below this difference of the two largest logits another order of summation may pick the other token.
const TIE: f64 = 1e-3;

#[test]
fn the_target_alone_writes_the_recorded_tokens() {
    let up = Up::start("config/tiny.toml").expect("the bundled cascade comes up");
    for (number, line) in prompts::golden()
        .expect("recorded prompts")
        .iter()
        .enumerate()
    {
        let answer = up
            .complete(&json!({
                "prompt": line.prompt, "max_tokens": line.greedy.len(), "temperature": 0,
                "cascade": "off", "return_token_ids": true,
            }))
            .expect("an answer");
        let tokens = ids(&answer["choices"][0]["token_ids"]);
        assert_eq!(
            answer["usage"]["prompt_tokens"],
            line.prompt_ids.len(),
            "line {number}: the prompt's tokens"
        );
        let apart = tokens
            .iter()
            .zip(&line.greedy)
            .position(|(ours, theirs)| ours != theirs);
        if let Some(step) = apart {
            assert!(
                line.margin[step] < TIE,
                "line {number} differs at step {step} (margin {})",
                line.margin[step]
            );
            eprintln!(
                "line {number}: a tie at step {step} (margin {})",
                line.margin[step]
            );
        } else {
            assert_eq!(tokens.len(), line.greedy.len(), "line {number}");
        }
    }
}
