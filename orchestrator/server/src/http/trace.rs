//! The span of a request, as part of its caller's trace, and the count of failures.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use csd_telemetry::names;
use tracing::{Instrument as _, Span, field::Empty};

use super::failure;
use crate::{Failure, Orchestrator};

/// Runs a request in a span of its own. Texts that are streamed keep the span until they end.
pub(super) async fn request(
    State(orchestrator): State<Arc<Orchestrator>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("unknown", MatchedPath::as_str).to_owned();
    if !["/v1/", "/csd.v1."]
        .iter()
        .any(|api| route.starts_with(api))
    {
        return next.run(request).await; // health every few seconds, the page, wrong paths: of interest to nobody
    }
    let span = tracing::info_span!(
        names::REQUEST_SPAN,
        { names::OTEL_NAME } = format!("{} {route}", request.method()),
        { names::OTEL_KIND } = "server",
        { names::OTEL_STATUS_CODE } = Empty,
        { names::OTEL_STATUS_DESCRIPTION } = Empty,
        { names::ERROR_TYPE } = Empty,
        { names::HTTP_METHOD } = %request.method(),
        { names::HTTP_ROUTE } = route,
        { names::HTTP_STATUS } = Empty,
        { names::GEN_AI_OPERATION } = Empty,
        { names::GEN_AI_PROVIDER } = Empty,
        { names::GEN_AI_REQUEST_MODEL } = Empty,
        { names::GEN_AI_REQUEST_MAX_TOKENS } = Empty,
        { names::GEN_AI_REQUEST_TEMPERATURE } = Empty,
        { names::GEN_AI_REQUEST_SEED } = Empty,
        { names::GEN_AI_RESPONSE_ID } = Empty,
        { names::GEN_AI_RESPONSE_FINISH_REASONS } = Empty,
        { names::GEN_AI_INPUT_TOKENS } = Empty,
        { names::GEN_AI_OUTPUT_TOKENS } = Empty,
        { names::PLAN } = Empty,
    );
    csd_telemetry::set_parent(&span, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    span.record(names::HTTP_STATUS, names::count(response.status().as_u16()));
    if response.status().is_client_error() || response.status().is_server_error() {
        orchestrator.metrics().failed(response.status().as_u16());
    }
    if response.status().is_server_error() {
        span.record(names::OTEL_STATUS_CODE, "ERROR");
        span.record(names::ERROR_TYPE, response.status().as_str());
    }
    response
}

/// Notes a failure that the answer's status does not tell: it came too late, or is told in gRPC.
pub(super) fn failed(orchestrator: &Orchestrator, span: &Span, failure: &Failure) {
    let status = failure::status(failure);
    orchestrator.metrics().failed(status.as_u16());
    if status.is_server_error() {
        span.record(names::OTEL_STATUS_CODE, "ERROR");
        span.record(names::OTEL_STATUS_DESCRIPTION, failure.to_string());
        span.record(names::ERROR_TYPE, failure::code(failure));
    }
}
