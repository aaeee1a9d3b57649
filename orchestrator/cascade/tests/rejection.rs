//! Rejection sampling keeps the target's distribution: chi-square against the target's own probabilities, with a check
//! that the test has the power to catch a wrong rule.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use csd_cascade::{
    Cascade, Drafting, Limits, Plan, Request, Session, Strategy,
    strategy::{Drafted, Manner, Situation, Turn},
};
use csd_level::{
    BoxFuture, Context, Description, Error, Level, Proposal, Prospects, Result, Rule, Sampling,
    Token, Verdict, VerifyRequest,
    clock::Stopped,
    prospects::{BANDS, PRICED},
    scripted::ScriptedLevel,
};

const VOCABULARY: usize = 6;
const LENGTH: usize = 3;
const SAMPLES: u64 = 40_000;
const LIMITS: Limits = Limits {
    draft_timeout: Duration::from_secs(1),
    verify_timeout: Duration::from_secs(1),
};

fn target() -> ScriptedLevel {
    ScriptedLevel::new("target", VOCABULARY, 3, 3, 1.0)
}

fn drafter(own: u64, disagreement: f32) -> ScriptedLevel {
    ScriptedLevel::new("drafter", VOCABULARY, 3, own, disagreement)
}

fn sampling(seed: u64) -> Sampling {
    Sampling {
        temperature: 1.0,
        seed,
        rule: Rule::Rejection,
        ..Sampling::default()
    }
}

/// A wrong rule on purpose: the target is told that every proposal was certain to be what it is, twice over.
struct Gullible(ScriptedLevel);

impl Level for Gullible {
    fn description(&self) -> Arc<Description> {
        self.0.description()
    }

    fn verify(&self, mut request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        for token in &mut request.draft.tokens {
            if let Proposal::Pairs(pairs) = &mut token.proposal {
                pairs.iter_mut().for_each(|(_, q)| *q *= 0.5);
            }
        }
        self.0.verify(request)
    }
}

/// The statistic of the observed texts against the exact distribution of the target's, and its degrees of freedom.
fn chi_square(cascade: &Arc<Cascade>, strategy: &Arc<dyn Strategy>) -> (f64, usize) {
    let prompt = vec![2, 4];
    let mut observed: HashMap<Vec<Token>, u64> = HashMap::new();
    for seed in 0..SAMPLES {
        let session = Arc::new(Session::ready(seed, cascade.levels().len()));
        let mut request = Request {
            context: Context::new(prompt.clone()),
            sampling: Arc::new(sampling(seed)),
            logprobs: None,
            tenant: None,
            session,
        };
        let mut drafting = Drafting::new(strategy.clone());
        while request.context.generated().len() < LENGTH {
            let left = LENGTH - request.context.generated().len();
            let round = pollster::block_on(cascade.round(&request, &mut drafting, left))
                .expect("the target lives");
            request
                .context
                .extend(round.tokens.iter().map(|token| token.id));
        }
        *observed
            .entry(request.context.generated().to_vec())
            .or_default() += 1;
    }
    let mut expected = vec![(Vec::new(), 1.0f64)];
    for _ in 0..LENGTH {
        expected = expected
            .into_iter()
            .flat_map(|(text, p): (Vec<Token>, f64)| {
                let logits = target().logits(&[prompt.clone(), text.clone()].concat());
                let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
                (0..VOCABULARY).map(move |x| {
                    (
                        [text.clone(), vec![x as Token]].concat(),
                        p * f64::from(logits[x]).exp() / sum,
                    )
                })
            })
            .collect();
    }
    let (mut statistic, mut cells, mut rest) = (0.0, 0, (0.0, 0.0));
    for (text, p) in expected {
        let (count, mean) = (
            observed.get(&text).copied().unwrap_or(0) as f64,
            p * SAMPLES as f64,
        );
        if mean < 8.0 {
            rest = (rest.0 + count, rest.1 + mean);
            continue;
        }
        statistic += (count - mean).powi(2) / mean;
        cells += 1;
    }
    if rest.1 > 8.0 {
        statistic += (rest.0 - rest.1).powi(2) / rest.1;
        cells += 1;
    }
    (statistic, cells - 1)
}

/// The 0.9999 quantile, by Wilson and Hilferty's approximation.
fn limit(freedom: usize) -> f64 {
    let k = freedom as f64;
    k * (1.0 - 2.0 / (9.0 * k) + 3.719 * (2.0 / (9.0 * k)).sqrt()).powi(3)
}

fn check(levels: Vec<Arc<dyn Level>>, k: &[Vec<u32>], pipelined: bool) -> (f64, f64) {
    let plan = Plan::matrix(k, 1.0, levels.len() - 1)
        .expect("a good matrix")
        .with_pipelining(pipelined);
    against(levels, Arc::new(plan))
}

/// The statistic of what levels write by a strategy, and what it must stay under.
fn against(levels: Vec<Arc<dyn Level>>, strategy: Arc<dyn Strategy>) -> (f64, f64) {
    let cascade = Cascade::new(levels, LIMITS, Arc::new(Stopped)).expect("one token map");
    let (statistic, freedom) = chi_square(&Arc::new(cascade), &strategy);
    (statistic, limit(freedom))
}

#[test]
fn two_levels_keep_the_targets_distribution() {
    let (statistic, limit) = check(
        vec![Arc::new(target()), Arc::new(drafter(8, 3.0))],
        &[vec![2]],
        false,
    );
    assert!(statistic < limit, "{statistic} ≥ {limit}");
}

#[test]
fn three_levels_keep_the_targets_distribution() {
    let levels: Vec<Arc<dyn Level>> = vec![
        Arc::new(target()),
        Arc::new(drafter(8, 2.0)),
        Arc::new(drafter(9, 4.0)),
    ];
    for pipelined in [false, true] {
        let k = [vec![1, 1], vec![0, 1]];
        let (statistic, limit) = check(levels.clone(), &k, pipelined);
        assert!(statistic < limit, "{statistic} ≥ {limit}, {pipelined}");
    }
}

/// Has its drafter write at most two tokens, and leave some out by their gaps.
#[derive(Default)]
struct Choosy {
    /// Drafts by their length.
    drafts: [AtomicU64; 3],
}

impl Strategy for Choosy {
    fn next(&self, situation: &Situation<'_>) -> Option<Turn> {
        // The rule must hold whatever is left out: here those that it is sure of, for the first is not among them.
        let mut own = [0.2; BANDS];
        own[0] = 1.0;
        let prospects = Prospects {
            own,
            shares: [1.0 / BANDS as f32; BANDS],
            assistant: [0.0; BANDS],
            forward: 0.0,
            rows: [0.5; PRICED],
        };
        let wanted = situation.room.min(2);
        (situation.draft.is_empty() && !situation.ended.contains(1)).then_some(Turn {
            level: 1,
            wanted,
            room: wanted,
            manner: Manner::Write {
                assist: 0,
                prospects: Some(prospects),
            },
        })
    }

    fn drafted(&self, report: &Drafted<'_>) {
        self.drafts[report.tokens.len()].fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn leaving_tokens_out_by_their_gaps_keeps_the_targets_distribution() {
    let levels: Vec<Arc<dyn Level>> = vec![Arc::new(target()), Arc::new(drafter(8, 2.0))];
    let choosy = Arc::new(Choosy::default());
    let (statistic, limit) = against(levels, choosy.clone());
    let drafts = choosy
        .drafts
        .each_ref()
        .map(|count| count.load(Ordering::Relaxed));
    assert!(drafts.iter().all(|&count| count > 100), "{drafts:?}");
    assert!(statistic < limit, "{statistic} ≥ {limit}");
}

#[test]
fn a_wrong_rule_is_caught() {
    let (statistic, limit) = check(
        vec![Arc::new(Gullible(target())), Arc::new(drafter(8, 3.0))],
        &[vec![2]],
        false,
    );
    assert!(
        statistic > limit,
        "{statistic} < {limit}: the test has no power"
    );
}

#[test]
fn loose_reviews_are_refused_by_name() {
    let levels: Vec<Arc<dyn Level>> = vec![Arc::new(target()), Arc::new(drafter(8, 3.0))];
    let cascade = Cascade::new(levels, LIMITS, Arc::new(Stopped)).expect("one token map");
    let plan = Plan::matrix(&[vec![2]], 2.0, 1).expect("a good matrix");
    let mut drafting = Drafting::new(Arc::new(plan));
    let session = Arc::new(Session::ready(0, 2));
    let request = Request {
        context: Context::new(vec![1]),
        sampling: Arc::new(sampling(1)),
        logprobs: None,
        tenant: None,
        session,
    };
    let error = pollster::block_on(Arc::new(cascade).round(&request, &mut drafting, 4))
        .expect_err("refused");
    assert!(
        matches!(&error, Error::Invalid { field, .. } if field == "cascade.lenience"),
        "{error:?}"
    );
}
