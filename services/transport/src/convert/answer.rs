//! What a level answers, and whether that can be an answer to what it was asked.

use std::time::Duration;

use csd_level::{
    Draft, DraftToken, Error, Pair, Result, Statistics, Timings, Token, Verdict, VerifyRequest,
};
use csd_proto::v1;

use super::{logprobs, present, to_level, to_u32, token, within};

/// The answering level and its Max-Gram: nobody else writes or reviews inside a call.
const INNER_LEVELS: u8 = 2;

/// A draft.
pub fn draft_to_wire(draft: Draft) -> v1::DraftResponse {
    let pairs = draft.inner.pairs.into_iter();
    v1::DraftResponse {
        tokens: draft.tokens.into_iter().map(token::to_wire).collect(),
        calls: draft.inner.calls,
        pairs: pairs
            .map(|((reviewer, drafter), pair)| v1::Pair {
                reviewer: u32::from(reviewer),
                drafter: u32::from(drafter),
                drafts: pair.drafts,
                drafted: pair.drafted,
                accepted: pair.accepted,
                per_position: pair.per_position,
            })
            .collect(),
        timings: Some(timings_to_wire(draft.timings)),
    }
}

/// Checks a draft of at most `room` tokens from a level of `vocabulary` tokens.
///
/// # Errors
/// [`Error::Invalid`] naming the field that cannot be an answer.
pub fn draft(wire: v1::DraftResponse, room: usize, vocabulary: usize) -> Result<Draft> {
    if wire.tokens.len() > room {
        let reason = format!("{} are more than the {room} asked for", wire.tokens.len());
        return Err(Error::invalid("tokens", reason));
    }
    let tokens = token::all_from_wire("tokens", wire.tokens, vocabulary)?;
    for token in &tokens {
        inner_level("tokens.author", u32::from(token.author))?;
        if token.reviewers >> INNER_LEVELS != 0 {
            let reason = format!("{:b} names levels outside the call", token.reviewers);
            return Err(Error::invalid("tokens.reviewers", reason));
        }
    }
    if wire.calls.len() > usize::from(INNER_LEVELS) {
        return Err(Error::invalid("calls", "counts levels outside the call"));
    }
    if let Some(calls) = wire.calls.iter().find(|&&calls| calls > MOST) {
        let reason = format!("at most {MOST} in one call, got {calls}");
        return Err(Error::invalid("calls", reason));
    }
    let mut inner = Statistics {
        calls: wire.calls,
        ..Statistics::default()
    };
    for pair in wire.pairs {
        let reviewer = inner_level("pairs.reviewer", pair.reviewer)?;
        let drafter = inner_level("pairs.drafter", pair.drafter)?;
        let counted = counted(pair)?;
        if inner.pairs.insert((reviewer, drafter), counted).is_some() {
            return Err(Error::invalid("pairs", "names a pair twice"));
        }
    }
    Ok(Draft {
        tokens,
        inner,
        timings: timings(present("timings", wire.timings)?),
    })
}

/// A verdict on these tokens.
pub fn verdict_to_wire(verdict: Verdict, drafted: &[Token]) -> v1::VerifyResponse {
    let accepted = drafted.iter().zip(verdict.runners_up);
    v1::VerifyResponse {
        accepted: to_u32(verdict.accepted),
        runners_up: accepted
            .map(|(&token, runner_up)| runner_up.unwrap_or(token))
            .collect(),
        next: verdict.next.map(token::to_wire),
        probabilities: verdict.probabilities,
        timings: Some(timings_to_wire(verdict.timings)),
        logprobs: verdict
            .logprobs
            .into_iter()
            .map(logprobs::to_wire)
            .collect(),
    }
}

/// Checks that a level of `vocabulary` tokens can have answered `asked` with this verdict.
///
/// # Errors
/// [`Error::Invalid`] naming the field that cannot be an answer.
pub fn verdict(
    wire: v1::VerifyResponse,
    asked: &VerifyRequest,
    vocabulary: usize,
) -> Result<Verdict> {
    let draft: Vec<Token> = asked.draft.ids().collect();
    let accepted = wire.accepted as usize;
    if accepted > draft.len() {
        let reason = format!("{accepted} of {} drafted tokens", draft.len());
        return Err(Error::invalid("accepted", reason));
    }
    if wire.probabilities.len() != accepted {
        let reason = format!("{} for {accepted} tokens", wire.probabilities.len());
        return Err(Error::invalid("probabilities", reason));
    }
    for &probability in &wire.probabilities {
        token::likelihood("probabilities", probability)?;
    }
    let runners_up = runners_up(wire.runners_up, &draft[..accepted], vocabulary)?;
    let next = wire
        .next
        .map(|next| own_token(next, vocabulary))
        .transpose()?;
    let ended = draft[..accepted]
        .last()
        .is_some_and(|&last| asked.call.sampling.is_end(last));
    if next.is_some() == ended {
        let reason = if ended {
            "goes on after the end of the text"
        } else {
            "is missing"
        };
        return Err(Error::invalid("next", reason));
    }
    let scored = asked.logprobs.map_or(0, |logprobs| {
        let context = asked.call.context.len().saturating_sub(logprobs.from);
        context + accepted + usize::from(next.is_some())
    });
    let logprobs = logprobs::all_from_wire(wire.logprobs, asked.logprobs, scored, vocabulary)?;
    Ok(Verdict {
        accepted,
        next,
        probabilities: wire.probabilities,
        runners_up,
        logprobs,
        timings: timings(present("timings", wire.timings)?),
    })
}

/// What the level would have written instead of each of these tokens.
fn runners_up(
    wire: Vec<Token>,
    accepted: &[Token],
    vocabulary: usize,
) -> Result<Vec<Option<Token>>> {
    if wire.is_empty() {
        return Ok(vec![None; accepted.len()]);
    }
    if wire.len() != accepted.len() {
        let reason = format!("{} for {} tokens", wire.len(), accepted.len());
        return Err(Error::invalid("runners_up", reason));
    }
    let runner_up = |(runner_up, accepted): (Token, &Token)| {
        let runner_up = token::known("runners_up", runner_up, vocabulary)?;
        Ok(Some(runner_up).filter(|runner_up| runner_up != accepted))
    };
    wire.into_iter().zip(accepted).map(runner_up).collect()
}

fn own_token(wire: v1::DraftToken, vocabulary: usize) -> Result<DraftToken> {
    let token = token::from_wire(wire, vocabulary).map_err(|error| within("next", error))?;
    if token.author != 0 || token.reviewers != 0 {
        let reason = "a reviewing level adds its own token, which nobody has reviewed";
        return Err(Error::invalid("next.author", reason));
    }
    Ok(token)
}

fn inner_level(field: &str, number: u32) -> Result<u8> {
    let level = to_level(field, number)?;
    if level >= INNER_LEVELS {
        let reason = format!("is 0 or 1 inside a call, got {level}");
        return Err(Error::invalid(field, reason));
    }
    Ok(level)
}

/// Positions that an inner review may count: no draft is longer.
const POSITIONS: usize = 255;
/// What a call may count of anything, so that sums of counts stay counts.
const MOST: u64 = u32::MAX as u64;

fn counted(wire: v1::Pair) -> Result<Pair> {
    if wire.per_position.len() > POSITIONS {
        let reason = format!(
            "at most {POSITIONS} positions, got {}",
            wire.per_position.len()
        );
        return Err(Error::invalid("pairs.per_position", reason));
    }
    if wire.drafted > MOST {
        let reason = format!("at most {MOST} in one call, got {}", wire.drafted);
        return Err(Error::invalid("pairs.drafted", reason));
    }
    let sum = wire
        .per_position
        .iter()
        .fold(0u64, |sum, &count| sum.saturating_add(count));
    if wire.accepted > wire.drafted || sum != wire.accepted {
        let reason = format!(
            "{} drafted, {} accepted, {sum} over all positions do not agree",
            wire.drafted, wire.accepted
        );
        return Err(Error::invalid("pairs.accepted", reason));
    }
    if wire.drafts > wire.drafted {
        let reason = format!("{} drafts of {} tokens", wire.drafts, wire.drafted);
        return Err(Error::invalid("pairs.drafts", reason));
    }
    Ok(Pair {
        drafts: wire.drafts,
        drafted: wire.drafted,
        accepted: wire.accepted,
        per_position: wire.per_position,
    })
}

fn timings_to_wire(timings: Timings) -> v1::Timings {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    v1::Timings {
        queue_ns: nanoseconds(timings.queue),
        forward_ns: nanoseconds(timings.forward),
        rows: to_u32(timings.rows),
        batch: to_u32(timings.batch),
        cached: to_u32(timings.cached),
    }
}

fn timings(wire: v1::Timings) -> Timings {
    Timings {
        queue: Duration::from_nanos(wire.queue_ns),
        forward: Duration::from_nanos(wire.forward_ns),
        rows: wire.rows as usize,
        batch: wire.batch as usize,
        cached: wire.cached as usize,
    }
}
