//! The laws of the cascade: whatever the drafters, the plan and the faults, the text is the target's own.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use csd_cascade::{
    Cascade, Drafting, Gate, Limits, Plan, Planner, Request, Session, Strategy,
    strategy::{Manner, Situation, Turn},
    world::{Price, Time, Timed},
};
use csd_level::{
    BoxFuture, Clock as _, Context, Description, Draft, DraftRequest, DraftToken, Error, Kind,
    Lenience, Level, Logprobs, Result, Sampling, Statistics, Token, Verdict, VerifyRequest,
    clock::Stopped, scripted::ScriptedLevel,
};
use proptest::prelude::*;

const VOCABULARY: usize = 40;
const LIMITS: Limits = Limits {
    draft_timeout: Duration::from_secs(1),
    verify_timeout: Duration::from_secs(1),
};

/// A statistical level that proposes a fixed walk through the vocabulary, right now and then.
struct Walk(u32);

impl Level for Walk {
    fn description(&self) -> Arc<Description> {
        let mut description = (*target().description()).clone();
        description.kind = Kind::Statistical;
        description.name = "walk".into();
        Arc::new(description)
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        let script = ScriptedLevel::new("walk", VOCABULARY, 1, 99, 2.0);
        let mut draft = Draft::default();
        draft.inner.record_calls(0, 1);
        let mut tokens = request.call.context.tokens().to_vec();
        for i in 0..request.wanted.min(request.room) {
            let logits = script.logits(&tokens);
            let best = (0..VOCABULARY)
                .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
                .unwrap_or(0) as u32;
            let id = if (tokens.len() + i).is_multiple_of(self.0 as usize) {
                (best + 1) % VOCABULARY as u32
            } else {
                best
            };
            tokens.push(id);
            draft.tokens.push(DraftToken::bare(id, 0));
            if request.call.sampling.is_end(id) {
                break;
            }
        }
        Box::pin(async { Ok(draft) })
    }

    fn verify(&self, _: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async { Err(Error::Unsupported("drafts only".into())) })
    }
}

/// A drafter that always ends the text at once, and knows what should be there instead.
struct Hasty(Token);

impl Level for Hasty {
    fn description(&self) -> Arc<Description> {
        target().description()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        let logits = target().logits(request.call.context.tokens());
        let best = (0..VOCABULARY).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        let mut draft = Draft::default();
        draft.inner.record_calls(0, 1);
        draft.tokens.push(DraftToken {
            runner_up: best.map(|best| best as Token),
            ..DraftToken::bare(self.0, 0)
        });
        Box::pin(async { Ok(draft) })
    }

    fn verify(&self, _: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async { Err(Error::Unsupported("drafts only".into())) })
    }
}

/// A plan that prepares for the refusal of every token.
struct Wary(Plan);

impl Strategy for Wary {
    fn next(&self, situation: &Situation<'_>) -> Option<Turn> {
        Strategy::next(&self.0, situation)
    }

    fn lenience(&self, level: usize) -> Lenience {
        Strategy::lenience(&self.0, level)
    }

    fn pipelined(&self) -> bool {
        true
    }

    fn refusals(&self, _: &[Arc<Description>], draft: &[DraftToken]) -> Vec<usize> {
        (0..draft.len()).collect()
    }
}

/// Lets every level draft for nobody, and counts what it hears of that.
#[derive(Default)]
struct Curious {
    asked: AtomicUsize,
    heard: Mutex<Vec<(usize, usize)>>,
}

impl Strategy for Curious {
    fn next(&self, _: &Situation<'_>) -> Option<Turn> {
        None
    }

    fn audition(&self, situation: &Situation<'_>) -> Option<Turn> {
        let drafters = situation.levels.len() - 1;
        let wanted = situation.room.min(5);
        Some(Turn {
            level: 1 + self.asked.fetch_add(1, Ordering::Relaxed) % drafters,
            wanted,
            room: wanted,
            manner: Manner::Write {
                assist: 0,
                prospects: None,
            },
        })
    }

    fn auditioned(&self, tokens: &[DraftToken], accepted: usize) {
        let heard = (accepted, tokens.len());
        self.heard.lock().expect("no panic").push(heard);
    }
}

fn target() -> ScriptedLevel {
    ScriptedLevel::new("target", VOCABULARY, 1, 1, 1.0)
}

fn drafter(name: &str, disagreement: f32, faults: Vec<u8>) -> Arc<dyn Level> {
    let level = ScriptedLevel::new(
        name,
        VOCABULARY,
        1,
        1000 + disagreement.to_bits() as u64,
        disagreement,
    );
    Arc::new(level.with_fault(Arc::new(move |call| {
        if faults.is_empty() {
            return None;
        }
        match faults[call as usize % faults.len()] {
            0 => Some(Error::Unavailable("gone".into())),
            1 => Some(Error::DeadlineExceeded),
            2 => Some(Error::Busy {
                retry_after: Duration::from_millis(1),
            }),
            3 => Some(Error::Internal("broken".into())),
            _ => None,
        }
    })))
}

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
fn who_drafts_for_nobody_is_held_against_the_text_and_holds_nobody_up() {
    let time = Time::default();
    let timed = |level: ScriptedLevel, link| -> Arc<dyn Level> {
        Arc::new(Timed::new(Arc::new(level), Price::ms(10.0, 8, link), &time))
    };
    let stranger = ScriptedLevel::new("stranger", VOCABULARY, 1, 5, 9.0);
    let levels = vec![
        timed(target(), 0.0),
        timed(target(), 45.0),
        timed(stranger, 5.0),
    ];
    let cascade = Cascade::new(levels, LIMITS, Arc::new(time.clone())).expect("one token map");
    let curious = Arc::new(Curious::default());
    let text = time.run(write(
        &Arc::new(cascade),
        curious.clone(),
        &Sampling::default(),
        60,
        0,
    ));
    let (tokens, statistics, _) = text.expect("everyone waits for time");
    assert_eq!(tokens, alone(&Sampling::default(), 60));
    assert_eq!(time.now(), Duration::from_millis(600));
    assert!(statistics.calls_of(1) > 0 && statistics.calls_of(2) > 0);
    let heard = curious.heard.lock().expect("no panic");
    assert!(heard.contains(&(5, 5)), "the target's own: {heard:?}");
    assert!(heard.contains(&(0, 5)), "a stranger's: {heard:?}");
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
fn drafting_ahead_hides_behind_the_review() {
    let took = |pipelined: bool| {
        let time = Time::default();
        let level = |forward| -> Arc<dyn Level> {
            Arc::new(Timed::new(
                Arc::new(target()),
                Price::ms(forward, 64, 0.2),
                &time,
            ))
        };
        let cascade = Cascade::new(
            vec![level(30.0), level(3.0)],
            LIMITS,
            Arc::new(time.clone()),
        );
        let plan = Plan::matrix(&[vec![9]], 1.0, 1).expect("a good matrix");
        let cascade = Arc::new(cascade.expect("one token map"));
        let plan = plan.with_pipelining(pipelined);
        let text = time.run(write(
            &cascade,
            Arc::new(plan),
            &Sampling::default(),
            200,
            0,
        ));
        let text = text.expect("everyone waits for time");
        assert_eq!(text.0, alone(&Sampling::default(), 200));
        (time.now(), text.1.calls_of(0))
    };
    // Nine tokens at 3 ms and a review at 30 ms, one after the other or side by side (ten then: one is a guess).
    assert_eq!(took(false), (Duration::from_micros(20 * 57_400), 20));
    let (beside, reviews) = took(true);
    assert_eq!(reviews, 20);
    assert!(
        beside < Duration::from_micros(20 * 31_000 + 27_200),
        "{beside:?}"
    );
}

#[test]
fn a_refusal_that_was_prepared_for_is_no_reason_to_wait() {
    let took = |wary: bool| {
        let time = Time::default();
        let level = |level: Arc<dyn Level>, forward| -> Arc<dyn Level> {
            Arc::new(Timed::new(level, Price::ms(forward, 64, 0.2), &time))
        };
        let levels = vec![
            level(Arc::new(target()), 30.0),
            level(drafter("draft", 1.0, Vec::new()), 3.0),
        ];
        let cascade = Cascade::new(levels, LIMITS, Arc::new(time.clone()));
        let cascade = Arc::new(cascade.expect("one token map"));
        let plan = Plan::matrix(&[vec![4]], 1.0, 1).expect("a good matrix");
        let plan = plan.with_pipelining(true);
        let strategy: Arc<dyn Strategy> = match wary {
            true => Arc::new(Wary(plan)),
            false => Arc::new(plan),
        };
        let text = time.run(write(&cascade, strategy, &Sampling::default(), 200, 0));
        let text = text.expect("everyone waits for time");
        assert_eq!(text.0, alone(&Sampling::default(), 200));
        (time.now().as_secs_f64(), text.1.calls_of(0))
    };
    let (waiting, reviews) = took(false);
    let (prepared, same) = took(true);
    assert_eq!(same, reviews);
    // A draft takes 12.2 ms, which a round waits for whose draft was not foreseen.
    let each = |seconds: f64| seconds * 1e3 / reviews as f64;
    assert!(each(waiting) > 38.0, "{}", each(waiting));
    assert!(
        each(prepared) < each(waiting) - 2.0,
        "{} {}",
        each(prepared),
        each(waiting)
    );
}

#[test]
fn the_refusal_of_an_end_is_prepared_for_as_any_other() {
    let text = alone(&Sampling::default(), 20);
    let end = (0..VOCABULARY as Token).find(|token| !text.contains(token));
    let end = end.expect("a token that the target does not say");
    let sampling = Sampling {
        end_tokens: vec![end],
        ..Sampling::default()
    };
    let time = Time::default();
    let level = |level: Arc<dyn Level>, forward| -> Arc<dyn Level> {
        Arc::new(Timed::new(level, Price::ms(forward, 64, 0.2), &time))
    };
    let levels = vec![
        level(Arc::new(target()), 30.0),
        level(Arc::new(Hasty(end)), 3.0),
    ];
    let cascade = Cascade::new(levels, LIMITS, Arc::new(time.clone()));
    let cascade = Arc::new(cascade.expect("one token map"));
    let plan = Plan::matrix(&[vec![4]], 1.0, 1).expect("a good matrix");
    let strategy = Arc::new(Wary(plan.with_pipelining(true)));
    let written = time.run(write(&cascade, strategy, &sampling, 20, 0));
    assert_eq!(written.expect("everyone waits for time").0, text);
    // A review a token, of 30.2 ms; one draft, of 3.2 ms, is waited for: the last token has none.
    assert_eq!(time.now(), Duration::from_micros(20 * 30_200 + 3_200));
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
    let session = Arc::new(Session::ready(1, 1));
    let request = Request {
        context: Context::new(vec![1]),
        sampling: Arc::default(),
        logprobs: None,
        tenant: None,
        session,
    };
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
    let session = Arc::new(Session::new(1, 2));
    let request = Request {
        context: Context::new(vec![1]),
        sampling: Arc::default(),
        logprobs: None,
        tenant: None,
        session,
    };
    pollster::block_on(cascade.round(&request, &mut drafting, 9)).expect("a round");
    assert_eq!(drafter.calls(), 0);
    pollster::block_on(cascade.prefill(1, &request)).expect("a prefill");
    pollster::block_on(cascade.round(&request, &mut drafting, 9)).expect("a round");
    assert!(drafter.calls() > 1);
}
