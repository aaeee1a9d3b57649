//! One request is one trace across all processes: round, turns, remote calls, and the queue and forward behind each; and
//! one hop a step of the recursion, never one a token.

#[path = "../services/telemetry/tests/receiver/mod.rs"]
mod receiver;

use std::collections::{BTreeSet, HashMap, HashSet};

use csd_tests::{Up, ids};
use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use serde_json::json;

fn number(attributes: &[KeyValue], key: &str) -> Option<i64> {
    match attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .as_ref()?
        .value
        .as_ref()?
    {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .as_ref()?
        .value
        .as_ref()?
    {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

/// Microseconds.
fn length(span: &Span) -> f64 {
    (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e3
}

/// Equal as far as times of a call, in microseconds, can be: within 5 % or 0.1 ms.
fn equal(sum: f64, whole: f64) -> bool {
    (sum - whole).abs() <= (0.05 * whole).max(100.0)
}

/// Whose resource a span came with, and the span.
struct Seen {
    process: String,
    span: Span,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_trace_through_every_process() {
    let (address, received) = receiver::start().await;
    let run = tokio::task::spawn_blocking(move || {
        let endpoint = format!("http://{address}");
        let up = Up::start_with(
            "config/tiny.toml",
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)],
        )
        .expect("the cascade comes up");
        let answer = up
            .complete(&json!({
                "prompt": "<|user|>\nThere are 32 eggs at the garden. Grace takes 7 eggs and Liam takes 5 eggs. How many eggs are left?\n<|assistant|>\n",
                "max_tokens": 40, "temperature": 0, "return_token_ids": true,
                "cascade": {"k": [[6, 3, 4], [0, 4, 0], [0, 0, 4]]},
            }))
            .expect("an answer");
        (
            ids(&answer["choices"][0]["token_ids"]).len(),
            answer["cascade"]["calls"].clone(),
        )
    });
    let (tokens, calls) = run.await.expect("a run");

    let spans: Vec<Seen> = received
        .try_iter()
        .flat_map(|request| request.resource_spans)
        .flat_map(|batch| {
            let process = batch
                .resource
                .and_then(|resource| text(&resource.attributes, "service.instance.id"))
                .expect("every process has an instance id");
            batch
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans)
                .map(move |span| Seen {
                    process: process.clone(),
                    span,
                })
        })
        .collect();
    let request = spans
        .iter()
        .find(|seen| {
            seen.span.kind() == SpanKind::Server && seen.span.name.contains("/v1/completions")
        })
        .expect("the request's span");
    let trace: Vec<&Seen> = spans
        .iter()
        .filter(|seen| seen.span.trace_id == request.span.trace_id)
        .collect();

    // Five processes, and every parent is there.
    let processes: BTreeSet<&str> = trace.iter().map(|seen| seen.process.as_str()).collect();
    assert_eq!(processes.len(), 5, "{processes:?}");
    let known: HashSet<&[u8]> = trace
        .iter()
        .map(|seen| seen.span.span_id.as_slice())
        .collect();
    for seen in &trace {
        let parent = seen.span.parent_span_id.as_slice();
        assert!(
            parent.is_empty() || known.contains(parent),
            "{}'s parent is missing",
            seen.span.name
        );
    }

    // Every remote call has both its sides, and they make up the request's time where they ran one after another.
    let sides = |kind: SpanKind| -> Vec<&&Seen> {
        trace
            .iter()
            .filter(|seen| seen.span.kind() == kind && seen.span.name.starts_with("csd.v1.Level/"))
            .collect()
    };
    let (clients, servers) = (sides(SpanKind::Client), sides(SpanKind::Server));
    assert_eq!(clients.len(), servers.len());
    let by_parent: HashMap<&[u8], &Span> = servers
        .iter()
        .map(|seen| (seen.span.parent_span_id.as_slice(), &seen.span))
        .collect();
    let (mut whole_adds_up, mut servers_add_up, mut forwards_add_up) = (vec![], vec![], vec![]);
    for client in &clients {
        let server = by_parent[client.span.span_id.as_slice()];
        assert!(
            length(server) <= length(&client.span) + 200.0,
            "{} is longer on the server's side",
            server.name
        );
        let microseconds = |key: &str| {
            let found = number(&client.span.attributes, key);
            found.unwrap_or_else(|| panic!("no {key}: {:?}", client.span)) as f64
        };
        let [network, queue, forward] =
            ["csd.network_us", "csd.queue_us", "csd.forward_us"].map(microseconds);
        let whole = length(&client.span);
        whole_adds_up.push(equal(network + queue + forward, whole));
        // What the client tells of the level's time is what the level's own spans show.
        servers_add_up.push(equal(queue + forward, length(server)));
        let forwards = trace.iter().filter(|seen| {
            seen.span.name == "forward" && seen.span.parent_span_id == server.span_id
        });
        let forwards: f64 = forwards.map(|seen| length(&seen.span)).sum();
        forwards_add_up.push(equal(forwards, forward));
    }
    // A machine that does something else between two readings of its clock is no fault of ours.
    for (what, adds_up, least) in [
        (
            "network, queue and forward: the client's span",
            whole_adds_up,
            0.95,
        ),
        ("queue and forward: the server's span", servers_add_up, 0.5),
        ("forward: the engine's spans", forwards_add_up, 0.5),
    ] {
        let share = adds_up.iter().filter(|&&fits| fits).count() as f64 / adds_up.len() as f64;
        eprintln!("{what}: {:.1} % of {} calls", share * 100.0, adds_up.len());
        assert!(share >= least, "{what}: only {share}");
    }

    // One hop a step: a level that needs only its own Max-Gram runs a whole turn in one Draft call.
    let hops = |method: &str, level: &str| {
        let of = |seen: &&&&Seen| {
            text(&seen.span.attributes, "csd.cascade.level").as_deref() == Some(level)
        };
        clients
            .iter()
            .filter(|seen| seen.span.name.ends_with(method))
            .filter(of)
            .count() as u64
    };
    let counted = |level: &str| calls[level].as_u64().expect("a count");
    assert!(
        hops("/Draft", "mini") > 0 && hops("/Verify", "draft") > 0 && hops("/Draft", "maxgram") > 0
    );
    assert!(
        hops("/Draft", "mini") < counted("mini"),
        "a hop a forward: {} of {}",
        hops("/Draft", "mini"),
        counted("mini")
    );
    assert!(
        hops("/Verify", "target") < tokens as u64,
        "a review a token"
    );
    assert_eq!(
        hops("/Draft", "draft"),
        0,
        "the orchestrator runs the recursion over draft's own drafters"
    );
    for kind in ["csd.turn", "forward"] {
        assert!(
            trace.iter().any(|seen| seen.span.name.contains(kind)),
            "no {kind} span"
        );
    }
}
