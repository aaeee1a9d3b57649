//! Is a confidence worth its name? Measured on what the bundled target really writes.

use csd_maxgram::{Bigrams, Guess, Index, Options, Recall, Token, propose};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");

/// Each guess that was reached (all before it were right), and whether it was right.
fn reached(kind: &str) -> Vec<(Guess, bool)> {
    let table = std::fs::read(format!("{MODELS}/tiny/bigram.json")).expect("the bundled table");
    let bigrams = Bigrams::from_json(&table).expect("the bundled table");
    let golden =
        std::fs::read_to_string(format!("{MODELS}/golden.jsonl")).expect("the recorded texts");
    let mut reached = Vec::new();
    for line in golden.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record");
        if record["kind"] != kind {
            continue;
        }
        let mut index = Index::default();
        index.extend(&tokens(&record["prompt_ids"]));
        let text = tokens(&record["greedy"]);
        for place in 0..text.len() {
            let options = Options {
                room: 16,
                min_confidence: 0.0,
                ends: vec![0],
            };
            for (guess, &token) in propose(&index, Recall::default(), &bigrams, &options)
                .into_iter()
                .zip(&text[place..])
            {
                reached.push((guess, guess.token == token));
                if guess.token != token {
                    break;
                }
            }
            index.extend(&text[place..=place]);
        }
    }
    reached
}

fn tokens(list: &serde_json::Value) -> Vec<Token> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|id| id.as_u64().expect("a token") as Token)
        .collect()
}

fn share(guesses: &[(Guess, bool)], of: impl Fn(&Guess) -> bool) -> (usize, f32, f32) {
    let chosen: Vec<_> = guesses.iter().filter(|(guess, _)| of(guess)).collect();
    let mean = |value: &dyn Fn(&(Guess, bool)) -> f32| {
        chosen.iter().map(|item| value(item)).sum::<f32>() / chosen.len() as f32
    };
    (
        chosen.len(),
        mean(&|item| f32::from(u8::from(item.1))),
        mean(&|item| item.0.confidence),
    )
}

#[test]
fn on_code_a_confidence_is_the_share_that_proves_right() {
    let guesses = reached("code");
    for (low, high) in [(0.0, 0.3), (0.3, 0.6), (0.6, 0.8), (0.8, 0.9), (0.9, 1.0)] {
        let (count, right, expected) =
            share(&guesses, |guess| (low..high).contains(&guess.confidence));
        println!(
            "confidence {low} to {high}: {count} guesses, {right:.2} right, {expected:.2} expected"
        );
        assert!(count >= 100);
        assert!(
            (right - expected).abs() <= 0.15,
            "{low} to {high}: {right} right, {expected} expected"
        );
    }
}

/// Numbers repeat by accident, so arithmetic is harder than the estimate says; the order must still hold.
#[test]
fn on_arithmetic_more_confidence_is_right_more_often() {
    let guesses = reached("math");
    let (count, unsure, _) = share(&guesses, |guess| guess.confidence < 0.3);
    let (more, sure, _) = share(&guesses, |guess| guess.confidence >= 0.9);
    println!(
        "under 0.3: {count} guesses, {unsure:.2} right; from 0.9: {more} guesses, {sure:.2} right"
    );
    assert!(count >= 100 && more >= 100);
    assert!(sure > unsure + 0.5);
}
