//! The field `events`: where tokens and milliseconds came from, for requests with `"cascade_events": true`.

use std::time::Duration;

use csd_level::DraftToken;
use serde_json::{Value, json};

use super::plan::level_name;
use crate::{Orchestrator, timeline::TimedCall};

/// Reviewers and probability of each token, and the calls that ended while they were written. Times are milliseconds
/// since the request began.
pub(super) fn report<'a>(
    orchestrator: &Orchestrator,
    tokens: impl Iterator<Item = &'a DraftToken>,
    calls: &[TimedCall],
) -> Value {
    let token = |token: &DraftToken| {
        let reviewers = (0..orchestrator.names().len() as u8)
            .rev()
            .filter(|&level| level != token.author && token.reviewers >> level & 1 == 1)
            .map(|level| level_name(orchestrator, level));
        json!({
            "reviewers": reviewers.collect::<Vec<_>>(),
            "probability": token.probability,
        })
    };
    let calls = calls.iter().map(|timed| call(orchestrator, timed));
    json!({
        "tokens": tokens.map(token).collect::<Vec<_>>(),
        "calls": calls.collect::<Vec<_>>(),
    })
}

fn call(orchestrator: &Orchestrator, call: &TimedCall) -> Value {
    let mut value = json!({
        "level": level_name(orchestrator, call.level),
        "what": call.work.as_str(),
        "start_ms": milliseconds(call.start),
        "end_ms": milliseconds(call.end),
        "drafted": call.drafted,
    });
    match &call.outcome {
        Ok(outcome) => {
            value["accepted"] = json!(outcome.accepted);
            value["queue_ms"] = json!(milliseconds(outcome.timings.queue));
            value["forward_ms"] = json!(milliseconds(outcome.timings.forward));
            value["forwards"] = json!(outcome.forwards);
            value["rows"] = json!(outcome.timings.rows);
        }
        Err(error) => value["error"] = json!(error.to_string()),
    }
    value
}

/// Three digits: a call over a network is never timed more finely.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}
