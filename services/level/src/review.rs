//! The review rules.
//!
//! A review looks at the raw logits of every drafted position and of the one after the draft, accepts the longest valid
//! prefix, and adds one token of the reviewing level. Row i is decided by its own logits, the tokens before it and the
//! position alone, so a review of many tokens decides as that many reviews of one.

use crate::{
    DraftToken, Logprobs, Proposal, Rule, Token, VerifyRequest,
    choice::choose,
    elementary::ln,
    logits::{Penalised, Processor, keep_top_k, normalise},
    noise::{Noise, Purpose},
};

/// How many tokens a drafter's proposal distribution keeps in rejection sampling.
pub const PROPOSAL_TOKENS: usize = 64;

/// A verdict before its timings are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How many drafted tokens were accepted.
    pub accepted: usize,
    /// The reviewer's own token after them; absent when the accepted draft ends the text.
    pub next: Option<DraftToken>,
    /// The reviewer's probability of each accepted token.
    pub probabilities: Vec<f32>,
    /// What it would have written instead of each, as far as it can tell.
    pub runners_up: Vec<Option<Token>>,
    /// Of the accepted tokens and `next`, if asked for.
    pub logprobs: Vec<Logprobs>,
}

/// What one row says.
enum Decision {
    Accept {
        runner_up: Option<Token>,
    },
    Own {
        token: Token,
        gap: f32,
        runner_up: Option<Token>,
        proposal: Proposal,
    },
}

/// Reviews a draft.
///
/// `rows` yields the raw logits of positions `context.len() ..= context.len() + draft.len()`, in order, and is asked for
/// no more than are needed; each has at least `vocabulary` entries, those beyond are padding.
pub fn review<'l>(
    request: &VerifyRequest,
    vocabulary: usize,
    rows: impl IntoIterator<Item = &'l mut [f32]>,
) -> Outcome {
    let call = &request.call;
    let mut processor = Processor::new(&call.sampling, &call.context);
    let mut outcome = Outcome {
        accepted: 0,
        next: None,
        probabilities: Vec::new(),
        runners_up: Vec::new(),
        logprobs: Vec::new(),
    };
    let mut shaped = Vec::new();
    let mut raw = Vec::new();
    for (index, row) in rows.into_iter().take(request.draft.len() + 1).enumerate() {
        let real = vocabulary.min(row.len());
        if request.logprobs.is_some() {
            raw.clear();
            raw.extend_from_slice(&row[..real]);
        }
        let penalised = processor.penalise(&mut row[..real]);
        processor.shape(&penalised, &mut shaped);
        let drafted = request.draft.tokens.get(index);
        let decision = match call.sampling.rule {
            Rule::Coupled => coupled(request, index, drafted, &penalised, &shaped),
            Rule::Rejection => rejection(request, index, drafted, &mut shaped),
        };
        let written = match (&decision, drafted) {
            (Decision::Own { token, .. }, _) => Some(*token),
            (Decision::Accept { .. }, drafted) => drafted.map(|drafted| drafted.id),
        };
        if let (Some(asked), Some(token)) = (request.logprobs, written) {
            let logprobs = Logprobs::of(&raw, token, asked.alternatives);
            outcome.logprobs.push(logprobs);
        }
        match (decision, drafted) {
            (Decision::Accept { runner_up }, Some(drafted)) => {
                outcome.accepted += 1;
                outcome.runners_up.push(runner_up);
                outcome
                    .probabilities
                    .push(penalised.probability(drafted.id));
                if call.sampling.is_end(drafted.id) {
                    return outcome;
                }
                processor.push(drafted.id);
            }
            (
                Decision::Own {
                    token,
                    gap,
                    runner_up,
                    proposal,
                },
                _,
            ) => {
                let probability = penalised.probability(token);
                outcome.next = Some(DraftToken {
                    id: token,
                    probability,
                    gap,
                    runner_up,
                    author: 0,
                    reviewers: 0,
                    proposal,
                });
                return outcome;
            }
            (Decision::Accept { .. }, None) => return outcome,
        }
    }
    outcome
}

/// Accept while the reviewer's own draw agrees; between drafters also what lenience lets pass.
fn coupled(
    request: &VerifyRequest,
    index: usize,
    drafted: Option<&DraftToken>,
    penalised: &Penalised<'_>,
    shaped: &[f32],
) -> Decision {
    let call = &request.call;
    let position = call.context.len() + index;
    let noise = (call.sampling.temperature > 0.0)
        .then(|| Noise::new(call.sampling.seed, position, Purpose::Coupling));
    let choice = choose(shaped, noise);
    if let Some(drafted) = drafted {
        let passes = request.lenience.is_loose()
            && penalised.probability(drafted.id) > drafted.probability / request.lenience.factor();
        if choice.token == drafted.id {
            let runner_up = choice.runner_up;
            return Decision::Accept { runner_up };
        }
        if passes {
            let runner_up = Some(choice.token);
            return Decision::Accept { runner_up };
        }
    }
    Decision::Own {
        token: choice.token,
        gap: choice.gap,
        runner_up: choice.runner_up,
        proposal: Proposal::OneHot,
    }
}

/// Accept x with min(1, p(x)/q(x)), else draw from the residual.
fn rejection(
    request: &VerifyRequest,
    index: usize,
    drafted: Option<&DraftToken>,
    shaped: &mut [f32],
) -> Decision {
    let call = &request.call;
    let position = call.context.len() + index;
    let noise = |purpose| Noise::new(call.sampling.seed, position, purpose);
    let Some(drafted) = drafted else {
        // A drafter that writes alone draws from a truncated distribution, which then *is* its proposal.
        let proposes = call.stream > 0 && request.draft.is_empty();
        if proposes {
            keep_top_k(shaped, PROPOSAL_TOKENS);
        }
        normalise(shaped, call.sampling.temperature);
        let token = draw(shaped, noise(Purpose::Own(call.stream)).uniform()).unwrap_or_default();
        let proposal = if proposes {
            pairs(shaped)
        } else {
            Proposal::OneHot
        };
        return Decision::Own {
            token,
            gap: log_odds(shaped),
            runner_up: None,
            proposal,
        };
    };
    normalise(shaped, call.sampling.temperature);
    let p = shaped.get(drafted.id as usize).copied().unwrap_or(0.0);
    let q = match &drafted.proposal {
        Proposal::OneHot => 1.0,
        Proposal::Pairs(pairs) => pairs
            .iter()
            .find(|(token, _)| *token == drafted.id)
            .map_or(0.0, |&(_, q)| q),
    };
    let accept = noise(Purpose::Accept(call.stream)).uniform() * f64::from(q) < f64::from(p);
    if accept && p > 0.0 {
        return Decision::Accept { runner_up: None };
    }
    let gap = log_odds(shaped);
    let subtract = |shaped: &mut [f32], token: Token, q: f32| {
        if let Some(p) = shaped.get_mut(token as usize) {
            *p = (*p - q).max(0.0);
        }
    };
    match &drafted.proposal {
        Proposal::OneHot => subtract(shaped, drafted.id, 1.0),
        Proposal::Pairs(pairs) => pairs
            .iter()
            .for_each(|&(token, q)| subtract(shaped, token, q)),
    }
    let token = draw(shaped, noise(Purpose::Residual(call.stream)).uniform());
    let token = token.unwrap_or_else(|| likeliest(drafted));
    Decision::Own {
        token,
        gap,
        runner_up: None,
        proposal: Proposal::OneHot,
    }
}

/// What stands in for a residual of which rounding has left nothing: p and q are the same then, but for that.
fn likeliest(drafted: &DraftToken) -> Token {
    let Proposal::Pairs(pairs) = &drafted.proposal else {
        return drafted.id;
    };
    let likeliest = pairs.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    likeliest.map_or(drafted.id, |&(token, _)| token)
}

/// Draws from weights by their running sum in order of token id; nothing, where all are 0.
fn draw(weights: &[f32], uniform: f64) -> Option<Token> {
    let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    let mut left = uniform * total;
    let mut last = None;
    for (token, &weight) in (0u32..).zip(weights) {
        if weight > 0.0 {
            last = Some(token);
            left -= f64::from(weight);
            if left < 0.0 {
                break;
            }
        }
    }
    last
}

fn pairs(probabilities: &[f32]) -> Proposal {
    Proposal::Pairs(
        (0u32..)
            .zip(probabilities)
            .filter(|(_, p)| **p > 0.0)
            .map(|(token, &p)| (token, p))
            .collect(),
    )
}

/// The logarithm of the best probability over the second best, at most 100.
fn log_odds(probabilities: &[f32]) -> f32 {
    let best = choose(probabilities, None);
    let first = probabilities
        .get(best.token as usize)
        .copied()
        .unwrap_or(0.0);
    let second = first - best.gap;
    if second < f32::MIN_POSITIVE {
        100.0
    } else {
        (ln(f64::from(first)) - ln(f64::from(second))).min(100.0) as f32
    }
}
