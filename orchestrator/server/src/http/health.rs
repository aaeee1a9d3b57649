//! `GET /health`: 200 while texts can be written, 503 while the target is down. Drafters are reported and excused.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use crate::{Orchestrator, watch::Standing};

pub(super) async fn report(State(orchestrator): State<Arc<Orchestrator>>) -> Response {
    let gates = orchestrator.cascade().gates();
    let level = |(index, name): (usize, &String)| {
        let up = gates[index].is_open();
        let mut level = json!({"name": name, "status": if up { "up" } else { "down" }});
        let description = orchestrator.cascade().levels()[index].description();
        if let Some(emulation) = &description.emulation {
            level["emulation"] = json!(emulation);
        }
        if up {
            level["model"] = json!(description.model);
        } else {
            level["reason"] = json!(orchestrator.watch().trouble(index));
        }
        let replicas = orchestrator.watch().replicas(index);
        if replicas.len() > 1 {
            level["replicas"] = replicas.iter().map(replica).collect();
        }
        level
    };
    let levels: Vec<Value> = orchestrator.names().iter().enumerate().map(level).collect();
    let all = gates.iter().all(|gate| gate.is_open());
    let (code, status) = match (gates[0].is_open(), all) {
        (true, true) => (StatusCode::OK, "ok"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let body = json!({
        "status": status,
        "model": orchestrator.model(),
        "levels": levels,
        "running": orchestrator.admission().running(),
        "waiting": orchestrator.admission().waiting(),
    });
    (code, Json(body)).into_response()
}

fn replica(replica: &Standing) -> Value {
    let mut value = json!({"address": replica.address, "status": "up"});
    if let Some(trouble) = &replica.trouble {
        value["status"] = json!("down");
        value["reason"] = json!(trouble);
    }
    value
}
