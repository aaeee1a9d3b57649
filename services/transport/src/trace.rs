//! One span for a call on either side, by OpenTelemetry's conventions for RPC.

use std::time::Duration;

use csd_level::{Draft, Error, Timings, Verdict};
use csd_telemetry::names;
use tonic::{Code, transport::Uri};
use tracing::{Span, field::Empty};

use crate::status;

/// Both sides have the same attributes, as far as they know them.
macro_rules! call_span {
    ($kind:literal, $method:expr, $level:expr) => {
        tracing::info_span!(
            names::RPC_SPAN,
            { names::OTEL_NAME } = $method,
            { names::OTEL_KIND } = $kind,
            { names::OTEL_STATUS_CODE } = Empty,
            { names::OTEL_STATUS_DESCRIPTION } = Empty,
            { names::RPC_SYSTEM } = "grpc",
            { names::RPC_METHOD } = $method,
            { names::RPC_STATUS } = Empty,
            { names::ERROR_TYPE } = Empty,
            { names::SERVER_ADDRESS } = Empty,
            { names::SERVER_PORT } = Empty,
            { names::LEVEL } = $level,
            { names::CONTEXT_TOKENS } = Empty,
            { names::DRAFT_TOKENS } = Empty,
            { names::ACCEPTED_TOKENS } = Empty,
            { names::NETWORK_US } = Empty,
            { names::QUEUE_US } = Empty,
            { names::FORWARD_US } = Empty,
            { names::ROWS } = Empty,
            { names::CACHED_POSITIONS } = Empty,
        )
    };
}

/// A call that this process makes. Its time is [`names::NETWORK_US`], [`names::QUEUE_US`] and [`names::FORWARD_US`].
pub(crate) fn client(method: &'static str, level: &str, address: &Uri) -> Span {
    let span = call_span!("client", method, level);
    if let Some(host) = address.host() {
        span.record(names::SERVER_ADDRESS, host);
    }
    if let Some(port) = address.port_u16() {
        span.record(names::SERVER_PORT, names::count(port));
    }
    span
}

/// A call that this process answers, continuing the trace that its headers name.
pub(crate) fn server(method: &'static str, level: &str, headers: &http::HeaderMap) -> Span {
    let span = call_span!("server", method, level);
    csd_telemetry::set_parent(&span, headers);
    span
}

/// What a draft brought.
pub(crate) fn drafted(span: &Span, draft: &Draft) {
    span.record(names::DRAFT_TOKENS, names::count(draft.len()));
    timed(span, draft.timings);
}

/// What a review of `drafted` tokens brought.
pub(crate) fn reviewed(span: &Span, drafted: usize, verdict: &Verdict) {
    span.record(names::DRAFT_TOKENS, names::count(drafted));
    span.record(names::ACCEPTED_TOKENS, names::count(verdict.accepted));
    timed(span, verdict.timings);
}

/// What of a client's call, which took `whole` up to now, was not the level's.
pub(crate) fn network(span: &Span, whole: Duration, timings: Timings) {
    let network = whole.saturating_sub(timings.queue + timings.forward);
    span.record(names::NETWORK_US, names::count(network.as_micros()));
}

fn timed(span: &Span, timings: Timings) {
    span.record(names::QUEUE_US, names::count(timings.queue.as_micros()));
    span.record(names::FORWARD_US, names::count(timings.forward.as_micros()));
    span.record(names::ROWS, names::count(timings.rows));
    span.record(names::CACHED_POSITIONS, names::count(timings.cached));
}

/// How the call ended, and that it did. `at_fault` says which codes are failures on this side.
pub(crate) fn finished<T>(span: &Span, answer: &Result<T, Error>, at_fault: fn(Code) -> bool) {
    let code = answer.as_ref().err().map_or(Code::Ok, status::code);
    span.record(names::RPC_STATUS, status::name(code));
    if let Err(error) = answer
        && at_fault(code)
    {
        span.record(names::ERROR_TYPE, status::name(code));
        span.record(names::OTEL_STATUS_CODE, "ERROR");
        span.record(
            names::OTEL_STATUS_DESCRIPTION,
            tracing::field::display(error),
        );
    }
    csd_telemetry::end(span);
}

/// To a caller, everything but an answer is a failure.
pub(crate) fn failed_for_client(code: Code) -> bool {
    code != Code::Ok
}

/// To a server, what the caller did wrong is none.
pub(crate) fn failed_for_server(code: Code) -> bool {
    matches!(
        code,
        Code::DeadlineExceeded | Code::Unimplemented | Code::Internal | Code::Unavailable
    )
}
