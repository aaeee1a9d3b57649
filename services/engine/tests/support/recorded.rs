//! What an independent implementation wrote with the bundled target, and how ours is held to it.

use std::fs;

use csd_engine::Engine;
use csd_level::{Level, Token};
use serde::Deserialize;

use super::{bundled, request, wait, write};

/// A prompt, the target's greedy continuation, and by how much its choice led at each step.
#[derive(Deserialize)]
pub(crate) struct Line {
    prompt_ids: Vec<u32>,
    greedy: Vec<u32>,
    margin: Vec<f32>,
}

/// All of them.
pub(crate) fn lines() -> Vec<Line> {
    let text = fs::read_to_string(bundled("golden.jsonl")).expect("the recorded lines");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a recorded line"))
        .collect()
}

/// Where two sums in another order may legitimately pick the other token.
fn assert_equal(line: &Line, ours: &[u32]) {
    let differs = ours.iter().zip(&line.greedy).position(|(a, b)| a != b);
    if let Some(step) = differs {
        let margin = line.margin[step];
        assert!(margin < 1e-3, "step {step} differs at a margin of {margin}");
    }
}

/// Each of these lines is written as recorded, with the drafts that `guess` has behind so many tokens of it.
pub(crate) fn assert_written<'a>(
    engine: &Engine,
    lines: impl Iterator<Item = &'a Line>,
    guess: impl Fn(&Line, usize) -> Vec<Token>,
) {
    for line in lines {
        let (prompt, count) = (&line.prompt_ids, line.greedy.len());
        let ours = write(engine, prompt, count, |done| guess(line, done));
        assert_equal(line, &ours);
    }
}

/// No draft: the model writes token by token.
pub(crate) fn nothing(_: &Line, _: usize) -> Vec<Token> {
    Vec::new()
}

/// Seven tokens of the recorded text from `done` on, one of them wrong.
pub(crate) fn faulty(line: &Line, done: usize) -> Vec<Token> {
    let end = (done + 7).min(line.greedy.len());
    let mut draft = line.greedy[done.min(end)..end].to_vec();
    if let Some(token) = draft.get_mut(done % 7) {
        *token = 17;
    }
    draft
}

/// Steps at which the model's own token, after the recorded ones before it, is the recorded one; and all steps.
pub(crate) fn agreement(engine: &Engine, every: usize) -> (usize, usize) {
    let (mut agreed, mut steps) = (0, 0);
    for line in lines().iter().step_by(every) {
        let mut text = line.prompt_ids.clone();
        for &recorded in &line.greedy {
            let verdict = wait(engine.verify(request(1, &text, &[]))).expect("an answer");
            agreed += usize::from(verdict.next.is_some_and(|next| next.id == recorded));
            steps += 1;
            text.push(recorded);
        }
    }
    (agreed, steps)
}
