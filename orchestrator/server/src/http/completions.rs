//! `POST /v1/completions`

use std::sync::Arc;

use axum::{
    extract::{Extension, State},
    response::Response,
};
use csd_level::{Tenant, Token};
use serde_json::{Value, json};

use super::{
    fields::{Fields, named},
    job::{Form, Job, Options, Shape},
    logprobs,
};
use crate::{Failure, Orchestrator, error::Result};

/// Tokens of an answer when the request does not say.
const MAX_TOKENS: usize = 16;

pub(super) async fn create(
    State(orchestrator): State<Arc<Orchestrator>>,
    Extension(tenant): Extension<Tenant>,
    fields: Fields,
) -> Result<Response> {
    job(orchestrator, fields, Some(tenant)).await?.run().await
}

/// What these fields ask for, in a tenant's name.
pub(super) async fn job(
    orchestrator: Arc<Orchestrator>,
    mut fields: Fields,
    tenant: Option<Tenant>,
) -> Result<Job> {
    let prompt = fields.take("prompt");
    let echo = fields.boolean("echo")?.unwrap_or(false);
    let least = if echo { 0 } else { 1 }; // a prompt alone may be asked for
    let max_tokens = fields.count("max_tokens", least, u64::from(u32::MAX))?;
    fields.only("best_of", &json!(1))?;
    let shape = Shape {
        max_tokens: max_tokens.or(Some(MAX_TOKENS)),
        logprobs: logprobs::alternatives(&mut fields)?,
        echo,
    };
    let options = Options::parse(fields, shape, tenant, &orchestrator)?;
    let prompts = prompts(prompt, options.choices(), &orchestrator).await?;
    Ok(Job::new(orchestrator, Form::Completion, prompts, options))
}

/// A text, a list of texts, token ids, or a list of token ids.
async fn prompts(
    value: Option<Value>,
    choices: usize,
    orchestrator: &Orchestrator,
) -> Result<Vec<Vec<Token>>> {
    let invalid = |reason: &str| Failure::invalid("prompt", reason);
    let entries = match value {
        None => return Err(invalid("is missing")),
        Some(Value::String(text)) => return Ok(vec![orchestrator.encode(text).await?]),
        Some(Value::Array(entries)) => entries,
        Some(other) => {
            let got = named(&other);
            return Err(invalid(&format!(
                "must be a string, an array of strings, an array of token ids, or an array of those, got {got}"
            )));
        }
    };
    if matches!(entries.first(), None | Some(Value::Number(_))) {
        return Ok(vec![ids(&entries)?]);
    }
    let most = orchestrator.admission().most();
    if entries.len().saturating_mul(choices) > most {
        let reason = format!(
            "{} prompts with {choices} texts each are more than the {most} texts that this server takes at once",
            entries.len()
        );
        return Err(invalid(&reason));
    }
    let mut prompts = Vec::with_capacity(entries.len());
    for entry in entries {
        prompts.push(match entry {
            Value::String(text) => orchestrator.encode(text).await?,
            Value::Array(entries) => ids(&entries)?,
            other => {
                let got = named(&other);
                return Err(invalid(&format!(
                    "strings and token ids stand alone, got {got}"
                )));
            }
        });
    }
    Ok(prompts)
}

fn ids(entries: &[Value]) -> Result<Vec<Token>> {
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| Token::try_from(id).ok());
        id.ok_or_else(|| {
            let got = match value {
                Value::Number(number) => number.to_string(),
                other => named(other).to_owned(),
            };
            Failure::invalid("prompt", format!("token ids are whole numbers, got {got}"))
        })
    };
    entries.iter().map(id).collect()
}
