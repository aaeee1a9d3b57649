//! Log-probabilities, asked for and answered.

use csd_level::{Error, Logprobs, LogprobsRequest, Result, Token, logprobs::LEAST};
use csd_proto::v1;

use super::{to_u32, token};

pub(super) fn request_to_wire(request: LogprobsRequest) -> v1::LogprobsRequest {
    v1::LogprobsRequest {
        alternatives: to_u32(request.alternatives),
        from: to_u32(request.from),
    }
}

/// Checks a request over a context of `context` tokens.
pub(super) fn request(wire: v1::LogprobsRequest, context: usize) -> Result<LogprobsRequest> {
    let request = LogprobsRequest {
        alternatives: wire.alternatives as usize,
        from: wire.from as usize,
    };
    request.check(context)?;
    Ok(request)
}

pub(super) fn to_wire(logprobs: Logprobs) -> v1::Logprobs {
    let (top_tokens, top) = logprobs.top.into_iter().unzip();
    v1::Logprobs {
        token: logprobs.token,
        top_tokens,
        top,
    }
}

/// Checks what is said of `expected` positions.
pub(super) fn all_from_wire(
    wire: Vec<v1::Logprobs>,
    asked: Option<LogprobsRequest>,
    expected: usize,
    vocabulary: usize,
) -> Result<Vec<Logprobs>> {
    if wire.len() != expected {
        let reason = format!("{} for {expected} tokens", wire.len());
        return Err(Error::invalid("logprobs", reason));
    }
    let alternatives = asked.map_or(0, |asked| asked.alternatives.min(vocabulary));
    wire.into_iter()
        .map(|wire| from_wire(wire, alternatives, vocabulary))
        .collect()
}

fn from_wire(wire: v1::Logprobs, alternatives: usize, vocabulary: usize) -> Result<Logprobs> {
    const TOP: &str = "logprobs.top";
    let (ids, values) = (wire.top_tokens, wire.top);
    // Tokens without any probability are not named.
    if ids.len() > alternatives || values.len() != ids.len() {
        let reason = format!(
            "{} tokens and {} numbers where {alternatives} were asked for",
            ids.len(),
            values.len()
        );
        return Err(Error::invalid(TOP, reason));
    }
    if !values.is_sorted_by(|better, worse| better >= worse) {
        return Err(Error::invalid(TOP, "must descend"));
    }
    let pair =
        |(id, value): (Token, f32)| Ok((token::known(TOP, id, vocabulary)?, logprob(TOP, value)?));
    Ok(Logprobs {
        token: logprob("logprobs.token", wire.token)?,
        top: ids
            .into_iter()
            .zip(values)
            .map(pair)
            .collect::<Result<_>>()?,
    })
}

fn logprob(field: &str, value: f32) -> Result<f32> {
    if !(LEAST..=0.0).contains(&value) {
        let reason = format!("must be a finite log-probability, got {value}");
        return Err(Error::invalid(field, reason));
    }
    Ok(value)
}
