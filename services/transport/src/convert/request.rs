//! What a cascade asks.

use std::{sync::Arc, time::Duration};

use csd_level::{
    Call, Context, Draft, DraftRequest, Error, Lenience, Prospects, RememberRequest, Result, Rule,
    Sampling, Tenant, Token, VerifyRequest,
};
use csd_proto::v1;

use super::{at_least_one, logprobs, present, to_level, to_u32, token};

/// A request to draft.
pub fn draft_request_to_wire(request: DraftRequest) -> v1::DraftRequest {
    v1::DraftRequest {
        call: Some(call_to_wire(&request.call)),
        wanted: to_u32(request.wanted),
        room: to_u32(request.room),
        assist: to_u32(request.assist),
        lenience: request.lenience.factor(),
        prospects: request.prospects.map(prospects_to_wire),
    }
}

/// Checks a request to draft for a level of `vocabulary` tokens; the caller waits for `timeout`.
///
/// # Errors
/// [`Error::Invalid`] naming the field.
pub fn draft_request(
    wire: v1::DraftRequest,
    vocabulary: usize,
    timeout: Duration,
) -> Result<DraftRequest> {
    Ok(DraftRequest {
        call: call(wire.call, vocabulary, timeout)?,
        wanted: at_least_one("wanted", wire.wanted)?,
        room: at_least_one("room", wire.room)?,
        assist: wire.assist as usize,
        lenience: Lenience::new(wire.lenience)?,
        prospects: wire.prospects.map(prospects).transpose()?,
    })
}

fn prospects_to_wire(prospects: Prospects) -> v1::Prospects {
    v1::Prospects {
        own: prospects.own.to_vec(),
        assistant: prospects.assistant.to_vec(),
        shares: prospects.shares.to_vec(),
        forward: prospects.forward,
        rows: prospects.rows.to_vec(),
    }
}

fn prospects(wire: v1::Prospects) -> Result<Prospects> {
    let within = |field: &str, value: f32, most: f32| {
        if (0.0..=most).contains(&value) {
            return Ok(value);
        }
        let reason = format!("expected a number from 0 to {most}, found {value}");
        Err(Error::invalid(format!("prospects.{field}"), reason))
    };
    fn exactly<const N: usize>(
        field: &str,
        wire: Vec<f32>,
        within: impl Fn(&str, f32) -> Result<f32>,
    ) -> Result<[f32; N]> {
        let found = wire.len();
        let numbers = <[f32; N]>::try_from(wire).map_err(|_| {
            let reason = format!("expected {N} numbers, found {found}");
            Error::invalid(format!("prospects.{field}"), reason)
        })?;
        for number in numbers {
            within(field, number)?;
        }
        Ok(numbers)
    }
    let chance = |field: &str, value| within(field, value, 1.0);
    let tokens = |field: &str, value| within(field, value, f32::MAX);
    Ok(Prospects {
        own: exactly("own", wire.own, chance)?,
        shares: exactly("shares", wire.shares, chance)?,
        assistant: exactly("assistant", wire.assistant, chance)?,
        forward: tokens("forward", wire.forward)?,
        rows: exactly("rows", wire.rows, tokens)?,
    })
}

/// A request to review.
pub fn verify_request_to_wire(request: &VerifyRequest) -> v1::VerifyRequest {
    let draft = request.draft.tokens.iter().cloned();
    v1::VerifyRequest {
        call: Some(call_to_wire(&request.call)),
        draft: draft.map(token::to_wire).collect(),
        lenience: request.lenience.factor(),
        logprobs: request.logprobs.map(logprobs::request_to_wire),
    }
}

/// Checks a request to review for a level of `vocabulary` tokens; the caller waits for `timeout`.
///
/// What was counted while the draft was made stays with the caller: a review has no use for it.
///
/// # Errors
/// [`Error::Invalid`] naming the field.
pub fn verify_request(
    wire: v1::VerifyRequest,
    vocabulary: usize,
    timeout: Duration,
) -> Result<VerifyRequest> {
    let call = call(wire.call, vocabulary, timeout)?;
    let context = call.context.len();
    Ok(VerifyRequest {
        call,
        draft: Draft {
            tokens: token::all_from_wire("draft", wire.draft, vocabulary)?,
            ..Draft::default()
        },
        lenience: Lenience::new(wire.lenience)?,
        logprobs: wire
            .logprobs
            .map(|wire| logprobs::request(wire, context))
            .transpose()?,
    })
}

/// A text to remember.
pub fn remember_request_to_wire(request: &RememberRequest) -> v1::RememberRequest {
    v1::RememberRequest {
        tenant: request.tenant.number().to_vec(),
        tokens: request.text.tokens().to_vec(),
        prompt: to_u32(request.text.prompt_len()),
    }
}

/// Checks a text to remember for a level of `vocabulary` tokens; the caller waits for `timeout`.
///
/// # Errors
/// [`Error::Invalid`] naming the field.
pub fn remember_request(
    wire: v1::RememberRequest,
    vocabulary: usize,
    timeout: Duration,
) -> Result<RememberRequest> {
    Ok(RememberRequest {
        tenant: present("tenant", tenant("tenant", &wire.tenant)?)?,
        text: context("", wire.tokens, wire.prompt, vocabulary)?,
        timeout,
    })
}

fn call_to_wire(call: &Call) -> v1::Call {
    v1::Call {
        tokens: call.context.tokens().to_vec(),
        prompt: to_u32(call.context.prompt_len()),
        sampling: Some(sampling_to_wire(&call.sampling)),
        session: call.session,
        stream: u32::from(call.stream),
        tenant: call
            .tenant
            .map_or_else(Vec::new, |tenant| tenant.number().to_vec()),
    }
}

fn call(wire: Option<v1::Call>, vocabulary: usize, timeout: Duration) -> Result<Call> {
    let wire = present("call", wire)?;
    let sampling = sampling(present("call.sampling", wire.sampling)?)?.validated(vocabulary)?;
    Ok(Call {
        context: context("call.", wire.tokens, wire.prompt, vocabulary)?,
        sampling: Arc::new(sampling),
        session: wire.session,
        stream: to_level("call.stream", wire.stream)?,
        tenant: tenant("call.tenant", &wire.tenant)?,
        timeout,
    })
}

/// The fields `tokens` and `prompt` of a message that `prefix` names.
fn context(prefix: &str, tokens: Vec<Token>, prompt: u32, vocabulary: usize) -> Result<Context> {
    let field = format!("{prefix}tokens");
    for &token in &tokens {
        token::known(&field, token, vocabulary)?;
    }
    let len = tokens.len();
    Context::from_parts(tokens, prompt as usize).ok_or_else(|| {
        let reason = format!("{prompt} of {len} tokens cannot be the prompt");
        Error::invalid(format!("{prefix}prompt"), reason)
    })
}

/// No bytes are nobody.
fn tenant(field: &str, wire: &[u8]) -> Result<Option<Tenant>> {
    if wire.is_empty() {
        return Ok(None);
    }
    let number = wire.try_into().map_err(|_| {
        let reason = format!("must have 16 bytes or none, got {}", wire.len());
        Error::invalid(field, reason)
    })?;
    Ok(Some(Tenant::new(number)))
}

fn sampling_to_wire(sampling: &Sampling) -> v1::Sampling {
    let rule = match sampling.rule {
        Rule::Coupled => v1::Rule::Unspecified,
        Rule::Rejection => v1::Rule::Rejection,
    };
    let bias = |&(token, bias)| v1::Bias { token, bias };
    v1::Sampling {
        temperature: sampling.temperature,
        top_k: sampling.top_k.unwrap_or(0),
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        repetition_penalty: sampling.repetition_penalty,
        presence_penalty: sampling.presence_penalty,
        frequency_penalty: sampling.frequency_penalty,
        logit_bias: sampling.logit_bias.iter().map(bias).collect(),
        seed: sampling.seed,
        rule: rule.into(),
        end_tokens: sampling.end_tokens.clone(),
        min_tokens: sampling.min_tokens,
    }
}

/// Ranges are left to [`Sampling::validated`].
fn sampling(wire: v1::Sampling) -> Result<Sampling> {
    let rule = match v1::Rule::try_from(wire.rule) {
        Ok(v1::Rule::Unspecified) => Rule::Coupled,
        Ok(v1::Rule::Rejection) => Rule::Rejection,
        Err(_) => {
            let reason = format!("there is no rule {}", wire.rule);
            return Err(Error::invalid("call.sampling.rule", reason));
        }
    };
    let pair = |bias: v1::Bias| (bias.token, bias.bias);
    Ok(Sampling {
        temperature: wire.temperature,
        top_k: (wire.top_k > 0).then_some(wire.top_k),
        top_p: wire.top_p,
        min_p: wire.min_p,
        repetition_penalty: wire.repetition_penalty,
        presence_penalty: wire.presence_penalty,
        frequency_penalty: wire.frequency_penalty,
        logit_bias: wire.logit_bias.into_iter().map(pair).collect(),
        seed: wire.seed,
        rule,
        end_tokens: wire.end_tokens,
        min_tokens: wire.min_tokens,
    })
}
