//! With an export: one trace across an HTTP border, received by a real collector.

mod receiver;

use std::collections::HashMap;

use csd_telemetry::{Options, init, inject, names, set_parent};
use http::HeaderMap;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tracing::{Level, event, info, info_span, warn};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

/// One test only: a process has one subscriber.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_continues_across_headers() {
    let (address, received) = receiver::start().await;
    let options = Options {
        otlp_endpoint: Some(format!("http://{address}")),
        instance: Some("one".into()),
        ..Options::default()
    };
    let guard = init("csd-test", &options).expect("telemetry");
    assert!(
        init("csd-test", &Options::default()).is_err(),
        "once a process"
    );

    // The calling side.
    let mut headers = HeaderMap::new();
    let client = info_span!(
        target: "csd_test",
        "csd.v1.Level/Verify",
        { names::OTEL_KIND } = "client",
        { names::DRAFT_TOKENS } = 7
    );
    client.in_scope(|| inject(&mut headers));
    // The called side: nothing but the headers is shared.
    let server = info_span!(target: "csd_test", parent: None, "csd.v1.Level/Verify", { names::OTEL_KIND } = "server");
    set_parent(&server, &headers);
    server.in_scope(|| {
        info!(target: "csd_test", "for the log alone");
        warn!(target: "csd_test", "a trouble");
        event!(name: names::DECISION_EVENT, target: names::PLANNER, Level::DEBUG, {
            { names::WORTH } = 0.5,
        });
        warn!(target: "h2", "a library's trouble");
        drop(info_span!(target: "csd_test", "forward"));
        drop(info_span!(target: "h2", "a library's span").entered());
    });
    // Headers that nobody should send.
    let broken = HeaderMap::from_iter([(
        http::HeaderName::from_static("traceparent"),
        http::HeaderValue::from_static("00-zz-1-01"),
    )]);
    let alone = info_span!(target: "csd_test", parent: None, "alone");
    set_parent(&alone, &broken);
    drop(alone.entered());

    drop((client, server));
    tokio::task::spawn_blocking(move || drop(guard))
        .await
        .expect("a flush");

    let batches: Vec<_> = received
        .try_iter()
        .flat_map(|request| request.resource_spans)
        .collect();
    let resource = &batches[0].resource.as_ref().expect("a resource").attributes;
    assert_eq!(
        text(resource, names::SERVICE_NAME).as_deref(),
        Some("csd-test")
    );
    assert_eq!(
        text(resource, names::SERVICE_NAMESPACE).as_deref(),
        Some("csd")
    );
    assert_eq!(
        text(resource, names::SERVICE_INSTANCE_ID).as_deref(),
        Some("one")
    );

    let spans: HashMap<_, _> = batches
        .iter()
        .flat_map(|batch| &batch.scope_spans)
        .flat_map(|scope| &scope.spans)
        .map(|span| ((span.name.as_str(), span.kind()), span))
        .collect();
    assert_eq!(spans.len(), 4, "no span of a library: {:?}", spans.keys());
    let client = spans[&("csd.v1.Level/Verify", SpanKind::Client)];
    let server = spans[&("csd.v1.Level/Verify", SpanKind::Server)];
    let forward = spans[&("forward", SpanKind::Internal)];
    let alone = spans[&("alone", SpanKind::Internal)];

    let events: Vec<_> = server
        .events
        .iter()
        .map(|event| event.name.as_str())
        .collect();
    assert_eq!(events, ["a trouble", names::DECISION_EVENT]);
    assert!(forward.events.is_empty());

    let header = headers["traceparent"].to_str().expect("text");
    assert_eq!(
        header,
        format!("00-{}-{}-01", hex(&client.trace_id), hex(&client.span_id))
    );
    assert_eq!(server.trace_id, client.trace_id);
    assert_eq!(server.parent_span_id, client.span_id);
    assert_eq!(
        (&forward.trace_id, &forward.parent_span_id),
        (&client.trace_id, &server.span_id)
    );
    assert_ne!(alone.trace_id, client.trace_id);
    assert!(client.parent_span_id.is_empty() && alone.parent_span_id.is_empty());
    assert_eq!(
        text(&client.attributes, names::DRAFT_TOKENS).as_deref(),
        Some("7")
    );
}
