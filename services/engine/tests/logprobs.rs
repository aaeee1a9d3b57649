//! Log-probabilities: those of the model, the same however they are asked for, and as an independent implementation has
//! them.

mod support;

use std::{fs, sync::Arc, thread};

use csd_engine::{Engine, Weights};
use csd_level::{Error, Level, Logprobs, LogprobsRequest, Sampling, Token};
use serde::Deserialize;

use support::{bundled, engine, fixture, request, wait};

const TOP: usize = 5;

/// What is said of the tokens from position `from` on, the review's own last, and how many positions were found again.
fn score(
    engine: &Engine,
    session: u64,
    context: &[Token],
    draft: &[Token],
    from: usize,
) -> (Vec<Logprobs>, usize) {
    let mut review = request(session, context, draft);
    review.logprobs = Some(LogprobsRequest {
        alternatives: TOP,
        from,
    });
    let verdict = wait(engine.verify(review)).expect("an answer");
    let written = verdict.accepted + usize::from(verdict.next.is_some());
    assert_eq!(verdict.logprobs.len(), context.len() - from + written);
    assert_eq!(
        verdict.timings.rows,
        context.len() + draft.len() - verdict.timings.cached
    );
    (verdict.logprobs, verdict.timings.cached)
}

fn text(len: u32, step: u32) -> Vec<Token> {
    (0..len).map(|i| (i * step + 5) % 4000).collect()
}

#[test]
fn pieces_reviews_and_neighbours_change_no_bit() {
    for weights in [Weights::F32, Weights::Q8_0] {
        let engine = Arc::new(engine(bundled("tiny/draft"), weights, 2));
        let tokens = text(200, 13);
        let (mut whole, cached) = score(&engine, 1, &tokens, &[], 1);
        assert_eq!((whole.len(), cached), (200, 0));
        let next = whole.pop().expect("its own token");

        // In pieces, each from where the last one ended: what was read before is found again.
        let mut pieces = Vec::new();
        for (from, to) in [(1, 30), (30, 31), (31, 150), (150, 200)] {
            let (mut piece, cached) = score(&engine, 2, &tokens[..to], &[], from);
            piece.truncate(to - from);
            pieces.extend(piece);
            assert_eq!(cached, from - 1);
        }
        assert_eq!(pieces, whole);

        // As a draft, under penalties and a bias that change the choice, beside others.
        let callers = (0..4u32).map(|caller| {
            let engine = engine.clone();
            thread::spawn(move || {
                score(
                    &engine,
                    10 + u64::from(caller),
                    &text(90, 17 + caller),
                    &[],
                    1,
                )
                .0
            })
        });
        let callers: Vec<_> = callers.collect();
        let best = next.top[0].0;
        let mut review = request(3, &tokens, &[best, best]);
        review.logprobs = Some(LogprobsRequest {
            alternatives: TOP,
            from: 200,
        });
        review.call.sampling = Arc::new(Sampling {
            repetition_penalty: 1.5,
            logit_bias: vec![(best, 90.0)],
            ..Sampling::default()
        });
        let verdict = wait(engine.verify(review)).expect("an answer");
        assert_eq!((verdict.accepted, verdict.logprobs.len()), (2, 3));
        assert_eq!(verdict.logprobs[0], next);
        for (caller, thread) in (0..).zip(callers) {
            let together = thread.join().expect("no panic");
            let alone = score(
                &engine,
                20 + u64::from(caller),
                &text(90, 17 + caller),
                &[],
                1,
            )
            .0;
            assert_eq!(together, alone);
        }
    }
}

#[test]
fn what_cannot_be_scored_is_refused() {
    let engine = engine(bundled("tiny/mini"), Weights::F32, 1);
    for (alternatives, from, named) in [
        (21, 1, "logprobs.alternatives"),
        (0, 0, "logprobs.from"),
        (0, 4, "logprobs.from"),
    ] {
        let mut review = request(1, &[5, 6, 7], &[]);
        review.logprobs = Some(LogprobsRequest { alternatives, from });
        match wait(engine.verify(review)) {
            Err(Error::Invalid { field, .. }) => assert_eq!(field, named),
            other => panic!("{other:?}"),
        }
    }
}

/// What `fixtures/logprobs.py` recorded of one text.
#[derive(Deserialize)]
struct Recorded {
    tokens: Vec<Token>,
    /// Of every token but the first.
    logprobs: Vec<f32>,
    /// The best tokens at each of these positions, and theirs.
    top: Vec<Vec<(Token, f32)>>,
}

#[test]
fn they_are_those_of_transformers() {
    let engine = engine(bundled("tiny/target"), Weights::F32, 2);
    let lines = fs::read_to_string(fixture("logprobs.jsonl")).expect("the recorded lines");
    for line in lines.lines() {
        let recorded: Recorded = serde_json::from_str(line).expect("a recorded line");
        let (ours, _) = score(&engine, 1, &recorded.tokens, &[], 1);
        assert_eq!(recorded.logprobs.len(), recorded.tokens.len() - 1);
        for ((ours, logprob), top) in ours.iter().zip(&recorded.logprobs).zip(&recorded.top) {
            // Sums in another order: the logits of both differ by some 1e-5.
            assert!((ours.token - logprob).abs() < 2e-4, "{ours:?} {logprob}");
            for ((_, a), (_, b)) in ours.top.iter().zip(top) {
                assert!((a - b).abs() < 2e-4, "{ours:?} {top:?}");
            }
            if top[0].1 - top[1].1 > 1e-3 {
                assert_eq!(ours.top[0].0, top[0].0);
            }
        }
    }
}
