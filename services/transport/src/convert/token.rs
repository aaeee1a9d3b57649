//! Drafted tokens, the same in requests and in answers.

use csd_level::{DraftToken, Error, Proposal, Result, Token};
use csd_proto::v1;

use super::{to_level, within};

/// Sums of 32-bit floats in different orders differ a little; probabilities may miss 1 by this much.
const TOLERANCE: f32 = 1e-3;

pub(super) fn to_wire(token: DraftToken) -> v1::DraftToken {
    let proposal = match token.proposal {
        Proposal::OneHot => Vec::new(),
        Proposal::Pairs(pairs) => pairs
            .into_iter()
            .map(|(token, probability)| v1::Mass { token, probability })
            .collect(),
    };
    v1::DraftToken {
        id: token.id,
        probability: token.probability,
        gap: token.gap,
        author: u32::from(token.author),
        reviewers: token.reviewers,
        proposal,
        runner_up: token.runner_up,
    }
}

/// Checks all tokens of `field`.
pub(super) fn all_from_wire(
    field: &str,
    wire: Vec<v1::DraftToken>,
    vocabulary: usize,
) -> Result<Vec<DraftToken>> {
    let places = 0usize..;
    places
        .zip(wire)
        .map(|(place, token)| {
            from_wire(token, vocabulary)
                .map_err(|error| within(&format!("{field}[{place}]"), error))
        })
        .collect()
}

/// Checks one token; fields are named from here on.
pub(super) fn from_wire(wire: v1::DraftToken, vocabulary: usize) -> Result<DraftToken> {
    let id = known("id", wire.id, vocabulary)?;
    let probability = likelihood("probability", wire.probability)?;
    if wire.gap.is_nan() {
        return Err(Error::invalid("gap", "is not a number"));
    }
    let runner_up = wire.runner_up;
    let runner_up = runner_up.map(|token| known("runner_up", token, vocabulary));
    Ok(DraftToken {
        id,
        probability,
        gap: wire.gap,
        runner_up: runner_up.transpose()?,
        author: to_level("author", wire.author)?,
        reviewers: wire.reviewers,
        proposal: proposal(id, wire.proposal, vocabulary)?,
    })
}

fn proposal(id: Token, wire: Vec<v1::Mass>, vocabulary: usize) -> Result<Proposal> {
    if wire.is_empty() {
        return Ok(Proposal::OneHot);
    }
    let field = "proposal";
    let mut pairs: Vec<(Token, f32)> = Vec::with_capacity(wire.len());
    let mut sum = 0.0;
    for mass in wire {
        let token = known(field, mass.token, vocabulary)?;
        if pairs.last().is_some_and(|&(before, _)| before >= token) {
            return Err(Error::invalid(field, "must ascend by token"));
        }
        let probability = likelihood(field, mass.probability)?;
        sum += probability;
        pairs.push((token, probability));
    }
    if (sum - 1.0).abs() > TOLERANCE {
        return Err(Error::invalid(
            field,
            format!("must add up to 1, got {sum}"),
        ));
    }
    let drawn = pairs.binary_search_by_key(&id, |&(token, _)| token);
    if !drawn.is_ok_and(|place| pairs[place].1 > 0.0) {
        let reason = format!("has no mass on {id}, which is said to be drawn from it");
        return Err(Error::invalid(field, reason));
    }
    Ok(Proposal::Pairs(pairs))
}

/// A token id inside the vocabulary.
pub(super) fn known(field: &str, token: Token, vocabulary: usize) -> Result<Token> {
    if token as usize >= vocabulary {
        let reason = format!("{token} is outside the vocabulary of {vocabulary}");
        return Err(Error::invalid(field, reason));
    }
    Ok(token)
}

/// A probability.
pub(super) fn likelihood(field: &str, value: f32) -> Result<f32> {
    if !(0.0..=1.0 + TOLERANCE).contains(&value) {
        let reason = format!("must be a probability, got {value}");
        return Err(Error::invalid(field, reason));
    }
    Ok(value)
}
