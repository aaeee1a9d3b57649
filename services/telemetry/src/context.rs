//! A trace across processes: W3C Trace Context in HTTP headers.
//!
//! gRPC metadata are HTTP headers: `inject(request.metadata_mut().as_mut())` on one side,
//! `set_parent(&span, request.metadata().as_ref())` on the other. Without an export both do nothing: no propagator is set.

use http::HeaderMap;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, global};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Writes the current span into the headers of a request that is about to be sent.
pub fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeaderInjector(headers));
    });
}

/// Ends a span now, as far as its trace goes, with what is recorded of it. Without this it would last until everyone has
/// left it, among them the libraries that carry a call: they may get around to that well after the answer.
pub fn end(span: &Span) {
    span.context().span().end();
}

/// Makes the span that a request's headers name the parent of `span`. Call it before `span` is entered; afterwards it is
/// too late and nothing changes. Headers that name none, or a malformed one, leave the span as it is.
pub fn set_parent(span: &Span, headers: &HeaderMap) {
    let parent = global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers))
    });
    if parent.span().span_context().is_valid()
        && let Err(error) = span.set_parent(parent)
    {
        tracing::debug!(%error, "the trace of a request is not continued");
    }
}
