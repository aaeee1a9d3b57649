//! The field `cascade`: who drafts, asked for and answered.

use csd_level::{Error, Pair, Statistics};
use serde_json::{Map, Value, json};

use super::fields::{Fields, named};
use crate::{Failure, NamedPlan, Orchestrator, error::Result};

/// The plan that a request asks for, or the cascade file's.
pub(super) fn parse(fields: &mut Fields, orchestrator: &Orchestrator) -> Result<NamedPlan> {
    let planner = orchestrator.planner();
    let refused = |error: Error| Failure::at_level(&orchestrator.names()[0], error);
    match fields.take("cascade") {
        None => Ok(orchestrator.plan().clone()),
        Some(Value::String(name)) => NamedPlan::named(&name, planner).map_err(refused),
        Some(Value::Object(values)) => {
            let mut fields = Fields::within("cascade.", values);
            let k = matrix(fields.take("k"))?;
            let lenience = fields.number("lenience")?.unwrap_or(1.0);
            let pipelined = fields.boolean("pipelined")?.unwrap_or(false);
            fields.finish()?;
            NamedPlan::matrix(&k, lenience, pipelined, planner.drafters()).map_err(refused)
        }
        Some(other) => Err(Failure::invalid(
            "cascade",
            format!(
                "must be \"off\", \"auto\", a preset's name, or an object with k, lenience and pipelined, got {}",
                named(&other)
            ),
        )),
    }
}

fn matrix(value: Option<Value>) -> Result<Vec<Vec<u32>>> {
    let invalid = |reason: String| Failure::invalid("cascade.k", reason);
    let wrong = |value: &Value| {
        invalid(format!(
            "must be an array of rows of whole numbers, got {}",
            named(value)
        ))
    };
    let entry = |value: &Value| {
        let entry = value.as_u64().and_then(|entry| u32::try_from(entry).ok());
        entry.ok_or_else(|| {
            invalid(format!(
                "entries must be whole numbers of at least 0, got {value}"
            ))
        })
    };
    let row = |row: &Value| match row {
        Value::Array(entries) => entries.iter().map(entry).collect(),
        other => Err(wrong(other)),
    };
    match value {
        None => Err(invalid("is missing".into())),
        Some(Value::Array(rows)) => rows.iter().map(row).collect(),
        Some(other) => Err(wrong(&other)),
    }
}

/// What a response says of the cascade: the plan, what it took, and who wrote what.
pub(super) fn report(
    orchestrator: &Orchestrator,
    plan: &NamedPlan,
    statistics: &Statistics,
    authors: Vec<u8>,
) -> Value {
    let name = |level: u8| level_name(orchestrator, level);
    let calls: Map<String, Value> = (0u8..)
        .zip(orchestrator.names())
        .map(|(level, name)| (name.clone(), json!(statistics.calls_of(level))))
        .collect();
    let pair = |(&(reviewer, drafter), pair): (&(u8, u8), &Pair)| {
        json!({
            "reviewer": name(reviewer),
            "drafter": name(drafter),
            "drafted": pair.drafted,
            "accepted": pair.accepted,
            "per_position": pair.per_position,
        })
    };
    let mut report = json!({
        "plan": plan.to_json(),
        "calls": calls,
        "pairs": statistics.pairs.iter().map(pair).collect::<Vec<_>>(),
        "authors": authors.into_iter().map(name).collect::<Vec<_>>(),
    });
    let emulation = emulation(orchestrator);
    if !emulation.is_empty() {
        report["emulation"] = Value::Object(emulation);
    }
    report
}

/// The hardware that levels pretend to run on, by level: a speed that includes it is no measure of this machine.
fn emulation(orchestrator: &Orchestrator) -> Map<String, Value> {
    let names = orchestrator.names().iter();
    let levels = names.zip(orchestrator.cascade().levels());
    levels
        .filter_map(|(name, level)| {
            let emulation = level.description().emulation.clone()?;
            Some((name.clone(), json!(emulation)))
        })
        .collect()
}

/// A level's name.
pub(super) fn level_name(orchestrator: &Orchestrator, level: u8) -> &str {
    let name = orchestrator.names().get(usize::from(level));
    name.map_or("unknown", String::as_str)
}
