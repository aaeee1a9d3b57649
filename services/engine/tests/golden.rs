//! The bundled target writes what an independent implementation wrote.

mod support;

use std::fs;

use csd_engine::Weights;
use csd_level::Level;
use serde::Deserialize;

use support::{bundled, engine, request, wait, write};

#[derive(Deserialize)]
struct Line {
    prompt_ids: Vec<u32>,
    greedy: Vec<u32>,
    margin: Vec<f32>,
}

fn lines() -> Vec<Line> {
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

#[test]
fn the_target_alone_writes_the_recorded_tokens() {
    let engine = engine(bundled("tiny/target"), Weights::F32, 2);
    for line in lines().iter().step_by(12) {
        let ours = write(&engine, &line.prompt_ids, line.greedy.len(), |_| Vec::new());
        assert_equal(line, &ours);
    }
}

#[test]
fn reviews_of_good_and_bad_drafts_write_them_too() {
    let engine = engine(bundled("tiny/target"), Weights::F32, 1);
    for line in lines().iter().skip(3).step_by(16) {
        let ours = write(&engine, &line.prompt_ids, line.greedy.len(), |done| {
            let end = (done + 7).min(line.greedy.len());
            let mut draft = line.greedy[done.min(end)..end].to_vec();
            if let Some(token) = draft.get_mut(done % 7) {
                *token = 17;
            }
            draft
        });
        assert_equal(line, &ours);
    }
    let gauges = engine.gauges();
    assert!(gauges.accepted > 0 && gauges.accepted < gauges.drafted);
    assert_eq!((gauges.in_flight, gauges.queued), (0, 0));
}

/// Steps at which the model's own token, after the recorded ones before it, is the recorded one; and all steps.
fn agreement(weights: Weights, every: usize) -> (usize, usize) {
    let engine = engine(bundled("tiny/target"), weights, 2);
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

#[test]
fn eight_bit_weights_choose_the_same_token_nearly_everywhere() {
    let (agreed, steps) = agreement(Weights::Q8_0, 10);
    println!("{agreed} of {steps}");
    assert!(agreed * 100 >= steps * 97, "{agreed} of {steps}");
}

#[test]
#[ignore = "all lines take minutes on a busy machine; the others stand for them"]
fn every_recorded_line() {
    let engine = engine(bundled("tiny/target"), Weights::F32, 2);
    for line in &lines() {
        let ours = write(&engine, &line.prompt_ids, line.greedy.len(), |_| Vec::new());
        assert_equal(line, &ours);
    }
}
