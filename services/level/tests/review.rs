//! The review rules over scripted logits: a review of many tokens decides as that many reviews of one, lenience passes
//! what it should, and agreement under coupling is at least what theory says.

use std::{sync::Arc, time::Duration};

use csd_level::{
    Call, Context, Draft, DraftRequest, DraftToken, Lenience, Level, Logprobs, LogprobsRequest,
    Proposal, Rule, Sampling, Token, VerifyRequest, scripted::ScriptedLevel,
};
use proptest::prelude::*;

const VOCABULARY: usize = 30;

fn level() -> ScriptedLevel {
    ScriptedLevel::new("level", VOCABULARY, 1, 2, 1.0)
}

fn call(tokens: Vec<Token>, sampling: &Sampling) -> Call {
    let context = Context::from_parts(tokens, 1).expect("a prompt of one token");
    Call {
        context,
        sampling: Arc::new(sampling.clone()),
        session: 0,
        stream: 0,
        tenant: None,
        timeout: Duration::from_secs(1),
    }
}

fn request(
    tokens: Vec<Token>,
    draft: &[Token],
    sampling: &Sampling,
    lenience: Lenience,
) -> VerifyRequest {
    let tokens_of = |ids: &[Token]| ids.iter().map(|&id| DraftToken::bare(id, 1)).collect();
    VerifyRequest {
        call: call(tokens, sampling),
        draft: Draft {
            tokens: tokens_of(draft),
            ..Draft::default()
        },
        lenience,
        logprobs: None,
    }
}

/// The level's own next token.
fn next(tokens: &[Token], sampling: &Sampling) -> Token {
    let review = request(tokens.to_vec(), &[], sampling, Lenience::NONE);
    pollster::block_on(level().verify(review))
        .expect("a verdict")
        .next
        .expect("a token")
        .id
}

proptest! {
    #[test]
    fn many_at_once_decide_as_one_by_one(
        context in prop::collection::vec(0u32..30, 1..6),
        mut draft in prop::collection::vec(0u32..30, 0..8),
        follow in 0usize..8,
        temperature in prop_oneof![Just(0.0f32), Just(0.7), Just(1.3)],
        top_k in prop_oneof![Just(None), (1u32..30).prop_map(Some)],
        top_p in prop_oneof![Just(1.0f32), 0.1f32..1.0],
        min_p in prop_oneof![Just(0.0f32), 0.0f32..0.5],
        penalties in (prop_oneof![Just(1.0f32), 0.8f32..1.5], prop_oneof![Just(0.0f32), -1.0f32..1.0]),
        min_tokens in 0u32..6,
        seed in any::<u64>(),
    ) {
        let sampling = Sampling {
            temperature, top_k, top_p, min_p, seed, min_tokens,
            repetition_penalty: penalties.0, frequency_penalty: penalties.1,
            end_tokens: vec![0], logit_bias: vec![(3, 1.5)], ..Sampling::default()
        };
        // The first tokens of the draft are what the level itself would write, so that some are accepted.
        let mut tokens = context.clone();
        for token in draft.iter_mut().take(follow) {
            *token = next(&tokens, &sampling);
            tokens.push(*token);
        }
        let mut review = request(context.clone(), &draft, &sampling, Lenience::NONE);
        review.logprobs = Some(LogprobsRequest { alternatives: 4, from: 1 });
        let verdict = pollster::block_on(level().verify(review)).expect("a verdict");

        let mut one_by_one = context;
        let mut accepted = 0;
        let mut own = None;
        for index in 0..=draft.len() {
            let token = next(&one_by_one, &sampling);
            one_by_one.push(token);
            if draft.get(index) != Some(&token) {
                own = Some(token);
                break;
            }
            accepted += 1;
            if token == 0 {
                break;
            }
        }
        prop_assert_eq!(verdict.accepted, accepted);
        prop_assert_eq!(verdict.next.map(|token| token.id), own);
        prop_assert_eq!(verdict.probabilities.len(), accepted);
        // Whatever chose the tokens, what is said of them are the raw logits, from the first position that has any.
        let text = &one_by_one;
        let expected = (1..text.len())
            .map(|position| Logprobs::of(&level().logits(&text[..position]), text[position], 4));
        prop_assert_eq!(verdict.logprobs, expected.collect::<Vec<_>>());
    }
}

#[test]
fn lenience_passes_exactly_what_is_likely_enough() {
    let sampling = Sampling::default();
    let logits = level().logits(&[7]);
    let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
    let best = next(&[7], &sampling);
    for (id, logit) in (0u32..).zip(&logits) {
        let p = logit.exp() / sum;
        for factor in [1.0, 2.0, 8.0, 40.0] {
            let mut review = request(
                vec![7],
                &[id],
                &sampling,
                Lenience::new(factor).expect("at least 1"),
            );
            review.draft.tokens[0].probability = 0.9;
            let verdict = pollster::block_on(level().verify(review)).expect("a verdict");
            let threshold = 0.9 / factor;
            if (p - threshold).abs() > 1e-4 {
                let passes = id == best || (factor > 1.0 && p > threshold);
                assert_eq!(
                    verdict.accepted == 1,
                    passes,
                    "token {id}, p = {p}, lenience {factor}"
                );
            }
        }
    }
}

#[test]
fn a_lenience_below_one_cannot_be_built() {
    for factor in [0.99, 0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(Lenience::new(factor).is_err(), "{factor}");
    }
}

#[test]
fn coupled_levels_agree_as_often_as_theory_promises() {
    let (one, other) = (level(), ScriptedLevel::new("other", VOCABULARY, 1, 77, 3.0));
    let softmax = |logits: Vec<f32>| {
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        logits
            .into_iter()
            .map(|logit| f64::from(logit).exp() / sum)
            .collect::<Vec<f64>>()
    };
    let (mut agreed, mut promised) = (0.0, 0.0);
    let count = 20_000;
    for seed in 0..count {
        let sampling = Sampling {
            temperature: 1.0,
            seed,
            ..Sampling::default()
        };
        let tokens = vec![5, (seed % 29) as u32];
        let (p, q) = (softmax(one.logits(&tokens)), softmax(other.logits(&tokens)));
        let distance = p.iter().zip(&q).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0;
        promised += (1.0 - distance) / (1.0 + distance);
        let drawn = |level: &ScriptedLevel| {
            let review = request(tokens.clone(), &[], &sampling, Lenience::NONE);
            pollster::block_on(level.verify(review))
                .expect("a verdict")
                .next
                .expect("a token")
                .id
        };
        agreed += f64::from(u8::from(drawn(&one) == drawn(&other)));
    }
    let (agreed, promised) = (agreed / count as f64, promised / count as f64);
    assert!(
        agreed > promised - 0.015,
        "agreed {agreed}, promised at least {promised}"
    );
    assert!(
        agreed < 0.99,
        "the levels are too alike for this test to say anything"
    );
}

#[test]
fn coupled_draws_follow_the_distribution() {
    let mut counts = [0u32; VOCABULARY];
    let count = 60_000u32;
    for seed in 0..count {
        let sampling = Sampling {
            temperature: 1.0,
            seed: u64::from(seed),
            ..Sampling::default()
        };
        counts[next(&[7], &sampling) as usize] += 1;
    }
    let logits = level().logits(&[7]);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    let statistic: f64 = logits
        .iter()
        .zip(counts)
        .map(|(&logit, seen)| {
            let mean = f64::from(logit).exp() / sum * f64::from(count);
            (f64::from(seen) - mean).powi(2) / mean
        })
        .sum();
    // The 0.9999 quantile of chi-square with 29 degrees of freedom is 66.
    assert!(statistic < 66.0, "{statistic}");
}

#[test]
fn a_refused_token_is_never_replaced_by_one_that_the_level_would_not_write() {
    let sampling = Sampling {
        temperature: 1.0,
        top_k: Some(1),
        rule: Rule::Rejection,
        ..Sampling::default()
    };
    let only = next(&[7, 8], &sampling);
    // A token that its own proposal denies: of p, which is that proposal, nothing is left.
    let stranger = (only + 1) % VOCABULARY as Token;
    let mut request = request(vec![7, 8], &[stranger], &sampling, Lenience::NONE);
    request.draft.tokens[0].proposal = Proposal::Pairs(vec![(only, 1.0)]);
    let verdict = pollster::block_on(level().verify(request)).expect("a verdict");
    assert_eq!(verdict.accepted, 0);
    assert_eq!(verdict.next.map(|next| next.id), Some(only));
}

#[test]
fn a_lone_drafter_ships_the_distribution_it_drew_from() {
    let sampling = Sampling {
        temperature: 1.0,
        rule: Rule::Rejection,
        ..Sampling::default()
    };
    let mut call = call(vec![7], &sampling);
    call.stream = 1;
    let ask = DraftRequest {
        call,
        wanted: 3,
        room: 3,
        assist: 0,
        lenience: Lenience::NONE,
        prospects: None,
    };
    let draft = pollster::block_on(level().draft(ask)).expect("a draft");
    assert_eq!(draft.len(), 3);
    for token in &draft.tokens {
        let Proposal::Pairs(pairs) = &token.proposal else {
            panic!("{:?}", token.proposal)
        };
        let mass: f32 = pairs.iter().map(|(_, q)| q).sum();
        assert!((mass - 1.0).abs() < 1e-4 && pairs.iter().any(|(id, _)| *id == token.id));
    }
}
