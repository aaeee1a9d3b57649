//! `GET /v1/models`, `GET /v1/models/{id}`

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};

use crate::{Failure, Orchestrator, error::Result};

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
    })
}
