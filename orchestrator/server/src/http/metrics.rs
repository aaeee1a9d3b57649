//! `GET /metrics`: what Prometheus asks for. Like `/health`, for anyone who reaches the port.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use csd_telemetry::metrics::{CONTENT_TYPE, Door, PlannerReading};

use crate::Orchestrator;

pub(super) async fn report(State(orchestrator): State<Arc<Orchestrator>>) -> Response {
    let gates = orchestrator.cascade().gates();
    let door = Door {
        running: orchestrator.admission().running(),
        waiting: orchestrator.admission().waiting(),
        up: gates.iter().map(|gate| gate.is_open()).collect(),
    };
    let planner = orchestrator.planner();
    let decisions = planner.decisions().into_iter();
    let reading = PlannerReading {
        decisions: decisions
            .map(|(choice, level, count)| (choice.as_str(), level, count))
            .collect(),
        explored: planner.explored(),
    };
    let text = orchestrator.metrics().render(&door, &reading);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}
