//! A request's body, taken apart field by field.
//!
//! Each accessor removes its field and checks its type; what is left at the end was asked for in vain, and is refused by
//! name rather than ignored. `null` is the same as absence.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::{Failure, Orchestrator, error::Result};

/// How long a body may take to arrive: what has arrived of it is kept meanwhile.
const ARRIVES: Duration = Duration::from_secs(60);

/// Fields that say nothing about the answer: taken from anyone, used for nothing.
const WITHOUT_EFFECT: [&str; 3] = ["user", "metadata", "store"];

/// The fields of a JSON object that have not been looked at.
pub(super) struct Fields {
    /// What stands before a name in errors: empty, or `cascade.`
    prefix: &'static str,
    values: Map<String, Value>,
}

impl FromRequest<Arc<Orchestrator>> for Fields {
    type Rejection = Failure;

    async fn from_request(request: Request, orchestrator: &Arc<Orchestrator>) -> Result<Self> {
        if let Some(given) = request.headers().get(header::CONTENT_TYPE)
            && !is_json(given.as_bytes())
        {
            let given = String::from_utf8_lossy(given.as_bytes()).into_owned();
            return Err(Failure::MediaType(given));
        }
        let body = timeout(ARRIVES, Bytes::from_request(request, orchestrator))
            .await
            .map_err(|_| Failure::TooSlow { within: ARRIVES })?;
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Failure::TooLarge {
                limit: orchestrator.body_bytes(),
            },
            _ => Failure::Malformed(rejection.body_text()),
        })?;
        let value: Value = serde_json::from_slice(&body)
            .map_err(|error| Failure::Malformed(format!("the body is not JSON: {error}")))?;
        let Value::Object(mut values) = value else {
            let reason = format!("the body must be a JSON object, got {}", named(&value));
            return Err(Failure::Malformed(reason));
        };
        for name in WITHOUT_EFFECT {
            values.remove(name);
        }
        Ok(Self { prefix: "", values })
    }
}

impl Fields {
    /// The fields of an object within another.
    pub(super) fn within(prefix: &'static str, values: Map<String, Value>) -> Self {
        Self { prefix, values }
    }

    /// The value of a field, whatever it is.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>> {
        self.typed(name, "true or false", |value| value.as_bool())
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.typed(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A finite number that fits 32 bits.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f32>> {
        let number = |value: &Value| {
            let number = value.as_f64()? as f32;
            number.is_finite().then_some(number)
        };
        self.typed(name, "a number", number)
    }

    /// A whole number of at least `least` and at most `most`.
    pub(super) fn count(&mut self, name: &str, least: u64, most: u64) -> Result<Option<usize>> {
        let expected = format!("a whole number from {least} to {most}");
        self.typed(name, &expected, |value| {
            let count = value
                .as_u64()
                .filter(|count| (least..=most).contains(count));
            usize::try_from(count?).ok()
        })
    }

    /// A whole number of 64 bits, with or without sign.
    pub(super) fn seed(&mut self, name: &str) -> Result<Option<u64>> {
        self.typed(name, "a whole number of 64 bits", |value| {
            value
                .as_u64()
                .or_else(|| value.as_i64().map(|seed| seed as u64))
        })
    }

    /// A field that must have one value if it is there at all: others are not supported.
    pub(super) fn only(&mut self, name: &str, allowed: &Value) -> Result<()> {
        match self.take(name) {
            Some(value) if value != *allowed => Err(Failure::Unsupported {
                param: self.param(name),
                reason: format!("only {allowed} is supported"),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses what is left.
    pub(super) fn finish(self) -> Result<()> {
        match self.values.keys().next() {
            None => Ok(()),
            Some(name) => Err(Failure::Unsupported {
                param: self.param(name),
                reason: "this field is unknown or not supported".into(),
            }),
        }
    }

    fn typed<T>(
        &mut self,
        name: &str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let wrong = || {
            let reason = format!("must be {expected}, got {}", shown(&value));
            Failure::invalid(self.param(name), reason)
        };
        convert(&value).map(Some).ok_or_else(wrong)
    }

    fn param(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&byte| byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    let is = |name: &[u8]| essence.eq_ignore_ascii_case(name);
    is(b"application/json") || (essence.starts_with(b"application/") && essence.ends_with(b"+json"))
}

/// What sort of value this is, in words.
pub(super) fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A number as it is, anything else by its sort: errors do not repeat texts.
fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        other => named(other).to_owned(),
    }
}
