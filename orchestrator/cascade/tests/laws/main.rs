//! The laws of the cascade: whatever the drafters, the plan and the faults, the text is the target's own.

mod beside;
mod cast;

use std::{sync::Arc, time::Duration};

use csd_cascade::{
    Cascade, Drafting, Gate, Limits, Plan, Planner, Request, Session, Strategy,
    world::{Price, Time, Timed},
};
use csd_level::{
    Context, DraftToken, Error, Level, Logprobs, Sampling, Statistics, Token, clock::Stopped,
    scripted::ScriptedLevel,
};
use proptest::prelude::*;

use crate::cast::{Curious, VOCABULARY, Walk, Wary, drafter, target};

const LIMITS: Limits = Limits {
    draft_timeout: Duration::from_secs(1),
    verify_timeout: Duration::from_secs(1),
};

/// Writes `wanted` tokens; gates that close are opened again after `heal` rounds.
async fn write(
    cascade: &Arc<Cascade>,
    strategy: Arc<dyn Strategy>,
    sampling: &Sampling,
    wanted: usize,
    heal: usize,
) -> (Vec<Token>, Statistics, Vec<DraftToken>) {
    let session = Arc::new(Session::ready(1, cascade.levels().len()));
    let mut request = Request {
        context: Context::new(vec![5, 6, 7]),
        sampling: Arc::new(sampling.clone()),
        logprobs: Some(3),
        tenant: None,
        session,
    };
    let mut drafting = Drafting::new(strategy);
    let (mut statistics, mut tokens) = (Statistics::default(), Vec::new());
    for round in 0.. {
        let left = wanted - tokens.len();
        let ended = tokens
            .last()
            .is_some_and(|last: &DraftToken| sampling.is_end(last.id));
        if left == 0 || ended {
            break;
        }
        let done = cascade.round(&request, &mut drafting, left).await;
        let done = done.expect("the target lives");
        assert!(!done.tokens.is_empty() && done.tokens.len() <= left);
        assert_eq!(done.logprobs.len(), done.tokens.len());
        for (token, logprobs) in done.tokens.iter().zip(&done.logprobs) {
            let raw = target().logits(request.context.tokens());
            assert_eq!(*logprobs, Logprobs::of(&raw, token.id, 3));
            request.context.extend([token.id]);
        }
        statistics.merge(&done.statistics, |level| level);
        tokens.extend(done.tokens);
        if heal > 0 && round % heal == 0 {
            cascade.gates().iter().for_each(|gate: &Arc<Gate>| {
                gate.open();
            });
        }
    }
    (
        tokens.iter().map(|token| token.id).collect(),
        statistics,
        tokens,
    )
}

fn cascade(levels: Vec<Arc<dyn Level>>) -> Arc<Cascade> {
    Arc::new(Cascade::new(levels, LIMITS, Arc::new(Stopped)).expect("one token map"))
}

/// For a text behind a prompt of one token.
fn request(session: Session) -> Request {
    Request {
        context: Context::new(vec![1]),
        sampling: Arc::default(),
        logprobs: None,
        tenant: None,
        session: Arc::new(session),
    }
}

fn alone(sampling: &Sampling, wanted: usize) -> Vec<Token> {
    let cascade = cascade(vec![Arc::new(target())]);
    pollster::block_on(write(&cascade, Arc::new(Plan::off(0)), sampling, wanted, 0)).0
}

prop_compose! {
    fn plans()(entries in prop::collection::vec(0u32..9, 6), lenience in prop_oneof![Just(1.0f32), 1.0f32..6.0], pipelined: bool) -> Plan {
        let k = vec![vec![entries[0], entries[1], entries[2]], vec![0, entries[3], entries[4]], vec![0, 0, entries[5]]];
        Plan::matrix(&k, lenience, 3).expect("a good matrix").with_pipelining(pipelined)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_drafters_any_plan_any_faults_the_same_text(
        plan in plans(),
        way in 0..4,
        disagreements in (0.0f32..6.0, 0.0f32..6.0),
        slips in 2u32..6,
        faults in prop::collection::vec(0u8..12, 0..6),
        temperature in prop_oneof![Just(0.0f32), Just(0.7), Just(1.0)],
        top_p in prop_oneof![Just(1.0f32), Just(0.8)],
        presence in prop_oneof![Just(0.0f32), Just(0.6)],
        seed in any::<u64>(),
        heal in 0usize..4,
        prices in prop::collection::vec((0.1f64..9.0, 0.0f64..3.0), 4),
    ) {
        let sampling = Sampling { temperature, top_p, presence_penalty: presence, seed, end_tokens: vec![0], ..Sampling::default() };
        let levels: Vec<Arc<dyn Level>> = vec![
            Arc::new(target()),
            drafter("draft", disagreements.0, faults.clone()),
            drafter("mini", disagreements.1, faults),
            Arc::new(Walk(slips)),
        ];
        let strategy: Arc<dyn Strategy> = match way {
            0 => Arc::new(plan),
            1 => Arc::new(Wary(plan)),
            2 => Arc::new(Curious::default()),
            _ => Arc::new(Arc::new(Planner::new(4)).text(temperature)),
        };
        let time = Time::default();
        let levels = levels.into_iter().zip(&prices).map(|(level, &(forward, link))| -> Arc<dyn Level> {
            Arc::new(Timed::new(level, Price::ms(forward, 4, link), &time))
        });
        let cascade = Cascade::new(levels.collect(), LIMITS, Arc::new(time.clone())).expect("one token map");
        let text = time.run(write(&Arc::new(cascade), strategy, &sampling, 60, heal));
        let (tokens, statistics, written) = text.expect("everyone waits for time");
        prop_assert_eq!(&tokens, &alone(&sampling, 60));
        // Every token has an author among the levels; one that another level wrote was accepted by the target.
        for token in &written {
            prop_assert!(token.author <= 3);
            prop_assert!(token.author == 0 || token.reviewers & 1 == 1);
        }
        let kept: u64 = statistics.pairs.iter().filter(|((reviewer, _), _)| *reviewer == 0).map(|(_, pair)| pair.accepted).sum();
        let by_target = written.iter().filter(|token| token.author == 0).count() as u64;
        prop_assert_eq!(kept + by_target, written.len() as u64);
        for pair in statistics.pairs.values() {
            prop_assert_eq!(pair.per_position.iter().sum::<u64>(), pair.accepted);
            prop_assert!(pair.accepted <= pair.drafted);
        }
    }
}

#[test]
fn a_prompt_is_scored_in_any_pieces() {
    let cascade = cascade(vec![Arc::new(target())]);
    let request = Request {
        context: Context::new(vec![5, 6, 7, 5, 9, 2, 30]),
        sampling: Arc::default(),
        logprobs: Some(2),
        tenant: None,
        session: Arc::new(Session::ready(1, 1)),
    };
    let score = |positions| {
        let score = pollster::block_on(cascade.score(&request, positions));
        score.expect("the target lives").0
    };
    let whole = score(1..7);
    assert_eq!(whole.len(), 6);
    for cut in 2..7 {
        assert_eq!([score(1..cut), score(cut..7)].concat(), whole);
    }
    let tokens = request.context.tokens();
    let last = Logprobs::of(&target().logits(&tokens[..6]), 30, 2);
    assert_eq!(whole.last(), Some(&last));
}

#[test]
fn a_perfect_drafter_saves_calls_of_the_target() {
    let levels: Vec<Arc<dyn Level>> = vec![Arc::new(target()), Arc::new(target())];
    let cascade = cascade(levels);
    let plan = Plan::matrix(&[vec![4]], 1.0, 1).expect("a good matrix");
    let (tokens, statistics, _) =
        pollster::block_on(write(&cascade, Arc::new(plan), &Sampling::default(), 50, 0));
    assert_eq!(tokens, alone(&Sampling::default(), 50));
    assert_eq!(statistics.calls_of(0), 10);
    assert_eq!(statistics.calls_of(1), 40);
    assert_eq!(statistics.pairs[&(0, 1)].per_position, [10, 10, 10, 10]);
}

#[test]
fn a_failed_drafter_costs_one_call_and_is_stepped_over() {
    let dead = ScriptedLevel::new("draft", VOCABULARY, 1, 1, 1.0)
        .with_fault(Arc::new(|_| Some(Error::DeadlineExceeded)));
    let levels: Vec<Arc<dyn Level>> = vec![Arc::new(target()), Arc::new(dead.clone())];
    let cascade = cascade(levels);
    let plan = Plan::matrix(&[vec![4]], 1.0, 1).expect("a good matrix");
    let (tokens, statistics, _) =
        pollster::block_on(write(&cascade, Arc::new(plan), &Sampling::default(), 20, 0));
    assert_eq!(tokens.len(), 20);
    assert_eq!(statistics.calls_of(0), 20);
    assert_eq!(dead.calls(), 1);
    assert!(!cascade.gates()[1].is_open());
}

#[test]
fn the_targets_error_is_the_rounds_error() {
    let dead = target().with_fault(Arc::new(|_| Some(Error::Unavailable("gone".into()))));
    let cascade = cascade(vec![Arc::new(dead)]);
    let request = request(Session::ready(1, 1));
    let error =
        pollster::block_on(cascade.round(&request, &mut Drafting::new(Arc::new(Plan::off(0))), 4))
            .expect_err("the target is gone");
    assert_eq!(error, Error::Unavailable("gone".into()));
}

#[test]
fn levels_of_different_tokenizers_are_refused_by_name() {
    let stranger = ScriptedLevel::new("draft", VOCABULARY + 1, 1, 1, 1.0);
    let Err(error) = Cascade::new(
        vec![Arc::new(target()), Arc::new(stranger)],
        LIMITS,
        Arc::new(Stopped),
    ) else {
        panic!("accepted")
    };
    assert!(error.to_string().contains("\"draft\""), "{error}");
}

#[test]
fn a_drafter_that_has_not_read_the_prompt_is_not_waited_for() {
    let drafter = target();
    let cascade = cascade(vec![Arc::new(target()), Arc::new(drafter.clone())]);
    let plan = Plan::matrix(&[vec![4]], 1.0, 1).expect("a good matrix");
    let mut drafting = Drafting::new(Arc::new(plan));
    let request = request(Session::new(1, 2));
    pollster::block_on(cascade.round(&request, &mut drafting, 9)).expect("a round");
    assert_eq!(drafter.calls(), 0);
    pollster::block_on(cascade.prefill(1, &request)).expect("a prefill");
    pollster::block_on(cascade.round(&request, &mut drafting, 9)).expect("a round");
    assert!(drafter.calls() > 1);
}
