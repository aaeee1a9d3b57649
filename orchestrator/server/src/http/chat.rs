//! `POST /v1/chat/completions`

use std::sync::Arc;

use axum::{
    extract::{Extension, State},
    response::Response,
};
use csd_level::Tenant;
use serde_json::Value;

use super::{
    fields::{Fields, named},
    job::{Form, Job, Options, Shape},
    logprobs,
};
use crate::{Failure, Orchestrator, error::Result, template::Message};

/// Longest body of a count of tokens.
const MOST: u64 = u32::MAX as u64;

pub(super) async fn create(
    State(orchestrator): State<Arc<Orchestrator>>,
    Extension(tenant): Extension<Tenant>,
    mut fields: Fields,
) -> Result<Response> {
    let messages = messages(fields.take("messages"))?;
    let old = fields.count("max_tokens", 1, MOST)?;
    let shape = Shape {
        max_tokens: fields.count("max_completion_tokens", 1, MOST)?.or(old),
        logprobs: logprobs::chat_alternatives(&mut fields)?,
        echo: false,
    };
    let options = Options::parse(fields, shape, Some(tenant), &orchestrator)?;
    let template = orchestrator.template().ok_or_else(|| {
        Failure::invalid(
            "messages",
            "this model has no chat template; use /v1/completions",
        )
    })?;
    let text = template
        .render(&messages)
        .map_err(|error| Failure::invalid("messages", error.to_string()))?;
    let prompt = orchestrator.encode(text).await?;
    Job::new(orchestrator, Form::Chat, vec![prompt], options)
        .run()
        .await
}

fn messages(value: Option<Value>) -> Result<Vec<Message>> {
    let invalid = |reason: String| Failure::invalid("messages", reason);
    match value {
        None => Err(invalid("is missing".into())),
        Some(Value::Array(messages)) if messages.is_empty() => {
            Err(invalid("must hold at least one message".into()))
        }
        Some(Value::Array(messages)) => messages.into_iter().enumerate().map(message).collect(),
        Some(other) => Err(invalid(format!("must be an array, got {}", named(&other)))),
    }
}

fn message((index, value): (usize, Value)) -> Result<Message> {
    let invalid =
        |field: &str, reason: String| Failure::invalid(format!("messages[{index}]{field}"), reason);
    let Value::Object(mut fields) = value else {
        return Err(invalid(
            "",
            format!("must be an object, got {}", named(&value)),
        ));
    };
    // As everywhere, null is the same as absence: clients send back what they were answered.
    fields.retain(|_, value| !value.is_null());
    let role = match fields.remove("role") {
        Some(Value::String(role)) => role,
        _ => return Err(invalid(".role", "must be a string".into())),
    };
    fields.remove("name"); // who speaks is the role; templates here know no names
    let content = match fields.remove("content") {
        Some(Value::String(content)) => content,
        Some(Value::Array(parts)) => {
            let parts: Option<Vec<String>> = parts.into_iter().map(part).collect();
            parts
                .ok_or_else(|| invalid(".content", "only parts of type text are supported".into()))?
                .concat()
        }
        _ => {
            return Err(invalid(
                ".content",
                "must be a string or an array of parts".into(),
            ));
        }
    };
    match fields.keys().next() {
        Some(name) => Err(Failure::Unsupported {
            param: format!("messages[{index}].{name}"),
            reason: "this field is unknown or not supported".into(),
        }),
        None => Ok(Message { role, content }),
    }
}

fn part(part: Value) -> Option<String> {
    let is_text = part["type"] == "text";
    let text = part["text"].as_str()?;
    is_text.then(|| text.to_owned())
}
