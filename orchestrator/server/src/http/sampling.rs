//! The fields that say how tokens are chosen, and where a text ends.

use csd_level::{Rule, Sampling, Token};
use serde_json::Value;

use super::fields::{Fields, named};
use crate::{Failure, Orchestrator, error::Result, random};

/// Stop strings of one request, and the characters of each.
const STOPS: usize = 16;
const STOP_LEN: usize = 1024;

/// Sampling as a request asks for it.
pub(super) fn parse(fields: &mut Fields, orchestrator: &Orchestrator) -> Result<Sampling> {
    let ignore_eos = fields.boolean("ignore_eos")?.unwrap_or(false);
    let end_tokens = if ignore_eos {
        Vec::new()
    } else {
        orchestrator.end_tokens()
    };
    let sampling = Sampling {
        temperature: fields.number("temperature")?.unwrap_or(1.0),
        top_k: fields
            .count("top_k", 1, u64::from(u32::MAX))?
            .map(|k| k as u32),
        top_p: fields.number("top_p")?.unwrap_or(1.0),
        min_p: fields.number("min_p")?.unwrap_or(0.0),
        repetition_penalty: fields.number("repetition_penalty")?.unwrap_or(1.0),
        presence_penalty: fields.number("presence_penalty")?.unwrap_or(0.0),
        frequency_penalty: fields.number("frequency_penalty")?.unwrap_or(0.0),
        logit_bias: logit_bias(fields)?,
        seed: fields.seed("seed")?.unwrap_or_else(random::bits),
        rule: rule(fields)?,
        end_tokens,
        min_tokens: fields
            .count("min_tokens", 0, u64::from(u32::MAX))?
            .unwrap_or(0) as u32,
    };
    sampling
        .validated(orchestrator.vocabulary())
        .map_err(|error| Failure::at_level(&orchestrator.names()[0], error))
}

fn rule(fields: &mut Fields) -> Result<Rule> {
    match fields.text("rule")?.as_deref() {
        None | Some("coupled") => Ok(Rule::Coupled),
        Some("rejection") => Ok(Rule::Rejection),
        Some(other) => Err(Failure::invalid(
            "rule",
            format!("must be \"coupled\" or \"rejection\", got {other:?}"),
        )),
    }
}

/// An object from token ids, as strings, to numbers.
fn logit_bias(fields: &mut Fields) -> Result<Vec<(Token, f32)>> {
    let invalid = |reason: String| Failure::invalid("logit_bias", reason);
    let entries = match fields.take("logit_bias") {
        None => return Ok(Vec::new()),
        Some(Value::Object(entries)) => entries,
        Some(other) => {
            let got = named(&other);
            return Err(invalid(format!(
                "must be an object from token ids to numbers, got {got}"
            )));
        }
    };
    let entry = |(token, bias): (String, Value)| {
        let id = token
            .parse()
            .map_err(|_| invalid(format!("{token:?} is no token id")))?;
        let bias = bias
            .as_f64()
            .ok_or_else(|| invalid(format!("{token:?}: must be a number, got {}", named(&bias))))?;
        Ok((id, bias as f32))
    };
    entries.into_iter().map(entry).collect()
}

/// `stop`: a string or an array of strings.
pub(super) fn stops(fields: &mut Fields) -> Result<Vec<String>> {
    let invalid = |reason: String| Failure::invalid("stop", reason);
    let string = |value: Value| match value {
        Value::String(stop) if stop.is_empty() => Err(invalid("a stop string is empty".into())),
        Value::String(stop) if stop.chars().count() > STOP_LEN => Err(invalid(format!(
            "a stop string is longer than {STOP_LEN} characters"
        ))),
        Value::String(stop) => Ok(stop),
        other => Err(invalid(format!(
            "must be a string or an array of strings, got {}",
            named(&other)
        ))),
    };
    match fields.take("stop") {
        None => Ok(Vec::new()),
        Some(Value::Array(stops)) if stops.len() > STOPS => {
            Err(invalid(format!("at most {STOPS} stop strings")))
        }
        Some(Value::Array(stops)) => stops.into_iter().map(string).collect(),
        Some(one) => Ok(vec![string(one)?]),
    }
}
