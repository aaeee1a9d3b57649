//! `GET /v1/models`, `GET /v1/models/{id}`

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use csd_cascade::PRESETS;
use serde_json::{Value, json};

use crate::{Failure, NamedPlan, Orchestrator, error::Result};

pub(super) async fn list(State(orchestrator): State<Arc<Orchestrator>>) -> Json<Value> {
    Json(json!({"object": "list", "data": [model(&orchestrator)]}))
}

pub(super) async fn retrieve(
    State(orchestrator): State<Arc<Orchestrator>>,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    if id == orchestrator.model() {
        return Ok(Json(model(&orchestrator)));
    }
    Err(Failure::UnknownModel {
        asked: id,
        offered: orchestrator.model().to_owned(),
    })
}

fn model(orchestrator: &Orchestrator) -> Value {
    json!({
        "id": orchestrator.model(),
        "object": "model",
        "created": orchestrator.created(),
        "owned_by": "csd",
        "max_model_len": orchestrator.context(),
        "cascade": {
            "levels": levels(orchestrator),
            "plan": orchestrator.plan().to_json(),
            "plans": plans(orchestrator),
        },
    })
}

fn levels(orchestrator: &Orchestrator) -> Vec<Value> {
    let level = |(index, name): (usize, &String)| {
        let statistical = orchestrator.is_statistical(index);
        json!({
            "name": name,
            "kind": if statistical { "statistical" } else { "neural" },
            "remembers": orchestrator.cascade().remembers(index),
        })
    };
    orchestrator.names().iter().enumerate().map(level).collect()
}

/// The names that a request's `cascade` may give to a plan here.
fn plans(orchestrator: &Orchestrator) -> Vec<&'static str> {
    let names = [NamedPlan::OFF, NamedPlan::AUTO].into_iter().chain(PRESETS);
    names
        .filter(|name| NamedPlan::named(name, orchestrator.planner()).is_ok())
        .collect()
}
