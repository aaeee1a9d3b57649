//! One request is one trace across all processes, and it reads as the cascade: rounds, turns, reviews, the remote calls
//! behind them, and the queue and the forward behind each; one hop a step of the recursion, never one a token.
//!
//! The same is asked of two collectors: one in the test, and a real one (rotel, from the Python package index); that half
//! is skipped, aloud, where it cannot be installed.

#[path = "../services/telemetry/tests/receiver/mod.rs"]
mod receiver;

use std::collections::{BTreeSet, HashMap};

use csd_tests::{
    Up,
    collector::Collector,
    ids, skipped,
    spans::{Attributes, Span},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    trace::v1::span::SpanKind,
};
use serde_json::{Value, json};

const DRAFT_CALL: &str = "csd.v1.Level/Draft";
const VERIFY_CALL: &str = "csd.v1.Level/Verify";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_trace_through_every_process() {
    let (address, received) = receiver::start().await;
    let written = tokio::task::spawn_blocking(move || write(&format!("http://{address}")));
    let [by_matrix, by_planner] = written.await.expect("a run");
    let spans: Vec<Span> = received.try_iter().flat_map(told).collect();
    check(&spans, &by_matrix, &by_planner);
}

#[test]
fn a_real_collector_receives_the_same() {
    let program = match Collector::install() {
        Ok(program) => program,
        Err(reason) => {
            return skipped(&format!(
                "traces at a real collector, for rotel cannot be had: {reason:#}"
            ));
        }
    };
    let collector = Collector::start(&program).expect("it is installed");
    let [by_matrix, by_planner] = write(&collector.endpoint);
    let spans = collector.settled().expect("its log");
    check(&spans, &by_matrix, &by_planner);
}

/// A text, as the response and the metrics have it.
struct Written {
    tokens: usize,
    /// By level.
    calls: Value,
    /// What the planner has decided for it.
    decisions: f64,
}

/// Has a cascade write a text by a fixed plan, then one by the planner, and stops it.
fn write(endpoint: &str) -> [Written; 2] {
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)];
    let up = Up::start_with("config/tiny.toml", &environment).expect("the cascade comes up");
    let plans = [
        json!({"k": [[6, 3, 4], [0, 4, 0], [0, 0, 4]]}),
        json!("auto"),
    ];
    plans.map(|plan| {
        let answer = up.complete(&json!({
            "prompt": "<|user|>\nThere are 32 eggs at the garden. Grace takes 7 eggs and Liam takes 5 eggs. How many eggs are left?\n<|assistant|>\n",
            "max_tokens": 40, "temperature": 0, "return_token_ids": true, "cascade": plan,
        }));
        let answer = answer.expect("an answer");
        let metrics = up.metrics().expect("metrics");
        Written {
            tokens: ids(&answer["choices"][0]["token_ids"]).len(),
            calls: answer["cascade"]["calls"].clone(),
            decisions: metrics.sum("csd_planner_decisions_total", &[]),
        }
    })
}

fn check(spans: &[Span], by_matrix: &Written, by_planner: &Written) {
    let mut requests: Vec<&Span> = spans
        .iter()
        .filter(|span| span.kind == "SERVER" && span.parent.is_empty())
        .collect();
    requests.sort_by_key(|span| span.start);
    let [first, second] = requests[..] else {
        panic!("{} requests", requests.len());
    };
    let trace = |request: &Span| Trace::new(spans, &request.trace);
    let (fixed, planned) = (trace(first), trace(second));
    for (trace, written) in [(&fixed, by_matrix), (&planned, by_planner)] {
        trace.is_whole();
        trace.reads_as_rounds(written.tokens);
    }
    add_up(&[fixed.sums(), planned.sums()].concat());
    fixed.takes_one_hop_a_step(by_matrix);
    assert_eq!(by_matrix.decisions, 0.0, "a fixed plan decides nothing");
    planned.tells_decisions(by_planner.decisions);
}

/// The spans of one request.
struct Trace<'a> {
    spans: Vec<&'a Span>,
    by_id: HashMap<&'a str, &'a Span>,
}

impl<'a> Trace<'a> {
    fn new(spans: &'a [Span], trace: &str) -> Self {
        let spans: Vec<&Span> = spans.iter().filter(|span| span.trace == trace).collect();
        Self {
            by_id: spans.iter().map(|&span| (span.id.as_str(), span)).collect(),
            spans,
        }
    }

    fn parent(&self, span: &Span) -> Option<&'a Span> {
        self.by_id.get(span.parent.as_str()).copied()
    }

    fn of<'t>(&'t self, keep: impl Fn(&Span) -> bool + 't) -> impl Iterator<Item = &'a Span> + 't {
        self.spans.iter().copied().filter(move |span| keep(span))
    }

    fn calls(&self, kind: &'static str) -> Vec<&'a Span> {
        self.of(move |span| span.kind == kind && span.name.starts_with("csd.v1.Level/"))
            .collect()
    }

    /// Every process has sent its part, every span but the request's has its parent, and lies within it where both are
    /// by one clock. A turn that is taken ahead may outlast its round, and a forward the call that was given up meanwhile.
    fn is_whole(&self) {
        let processes: BTreeSet<&str> = self.of(|_| true).map(|span| &*span.process).collect();
        assert_eq!(processes.len(), 5, "{processes:?}");
        let roots: Vec<_> = self.of(|span| self.parent(span).is_none()).collect();
        assert_eq!(roots.len(), 1, "spans without a parent: {roots:?}");
        assert_eq!(roots[0].name, "POST /v1/completions");
        for span in &self.spans {
            let Some(parent) = self.parent(span) else {
                continue;
            };
            let ahead = span.attributes.get("csd.draft.ahead") == Some(&json!(true));
            let asker = self.parent(parent);
            let outlasts = ahead || asker.is_some_and(|asker| self.is_given_up(asker));
            let one_clock = parent.process == span.process && !outlasts;
            assert!(
                !one_clock || (parent.start <= span.start && span.end <= parent.end),
                "{span:?} is not within {parent:?}"
            );
        }
    }

    /// Whether a remote call was not waited for: what it was to draft ahead for did not come. It tells no times.
    fn is_given_up(&self, call: &Span) -> bool {
        let given_up = call.kind == "CLIENT" && call.count("csd.network_us").is_none();
        if given_up {
            let askers = std::iter::successors(self.parent(call), |span| self.parent(span));
            let ahead = |span: &Span| span.attributes.get("csd.draft.ahead") == Some(&json!(true));
            assert!(askers.into_iter().any(ahead), "no csd.network_us: {call:?}");
        }
        given_up
    }

    /// Names say what is done, and by whom; numbers are attributes. Every round ends in one review by the target.
    fn reads_as_rounds(&self, tokens: usize) {
        let names: BTreeSet<&str> = self.of(|_| true).map(|span| &*span.name).collect();
        let levels = ["target", "draft", "mini", "maxgram"];
        let known = |name: &str| match name.split(' ').collect::<Vec<_>>()[..] {
            ["draft", "by", drafter, "for", reviewer] => {
                let place = |name| levels.iter().position(|&level| level == name);
                place(drafter) > place(reviewer) && place(reviewer).is_some()
            }
            ["review" | "prefill", "by", level] => levels.contains(&level),
            ["POST", "/v1/completions"] | ["round" | "queue" | "forward"] => true,
            [call] => [DRAFT_CALL, VERIFY_CALL].contains(&call),
            _ => false,
        };
        let strange: Vec<_> = names.iter().filter(|name| !known(name)).collect();
        assert!(strange.is_empty(), "{strange:?}");

        let mut rounds: Vec<_> = self.of(|span| span.name == "round").collect();
        rounds.sort_by_key(|round| round.start);
        let mut authors = 0;
        for (number, round) in rounds.iter().enumerate() {
            assert_eq!(round.count("csd.round"), Some(number as u64));
            let reviews: Vec<_> = self
                .of(|span| span.parent == round.id && span.name == "review by target")
                .collect();
            let [review] = reviews[..] else {
                panic!("{} reviews of the target in a round", reviews.len());
            };
            let said = |key: &str| {
                let said = [round, review].map(|span| span.count(key));
                assert_eq!(said[0], said[1], "{key} of a round and of its review");
                said[0].expect("a count")
            };
            let (drafted, accepted) = (said("csd.draft.tokens"), said("csd.accepted.tokens"));
            assert!(accepted <= drafted);
            let wrote = round.text("csd.authors").expect("authors").split(' ');
            let wrote: Vec<_> = wrote.collect();
            let by_drafters = wrote.iter().filter(|&&author| author != "target").count();
            assert_eq!(by_drafters as u64, accepted);
            authors += wrote.len();
        }
        assert_eq!(authors, tokens);
    }

    /// Whether network, queue and forward of each remote call make up its time, whether what the client tells of the
    /// level's time is what the level's own span shows, and whether the engine's forwards are what it tells of them.
    fn sums(&self) -> Vec<[bool; 3]> {
        let (mut clients, servers) = (self.calls("CLIENT"), self.calls("SERVER"));
        // Who is given up at once may never have been reached.
        assert!(servers.len() <= clients.len());
        clients.retain(|client| !self.is_given_up(client));
        let of = |client: &&Span| {
            let asker = self.parent(client).expect("somebody asks");
            let (level, name) = (client.text("csd.cascade.level"), &asker.name);
            assert_eq!(asker.text("csd.cascade.level"), level, "{name}");
            let server = servers.iter().find(|server| server.parent == client.id);
            let server = server.expect("somebody answers");
            assert!(
                server.length() <= client.length() + 200.0,
                "{} is longer on the server's side",
                server.name
            );
            let microseconds = |key: &str| {
                let found = client.count(key);
                found.unwrap_or_else(|| panic!("no {key}: {client:?}")) as f64
            };
            let [network, queue, forward] =
                ["csd.network_us", "csd.queue_us", "csd.forward_us"].map(microseconds);
            let forwards = self.of(|span| span.name == "forward" && span.parent == server.id);
            let forwards: f64 = forwards.map(Span::length).sum();
            [
                equal(network + queue + forward, client.length()),
                equal(queue + forward, server.length()),
                equal(forwards, forward),
            ]
        };
        clients.iter().map(of).collect()
    }

    /// A level that needs only its own Max-Gram runs a whole turn in one Draft call.
    fn takes_one_hop_a_step(&self, written: &Written) {
        let clients = self.calls("CLIENT");
        let hops = |method: &str, level: &str| {
            let of = |call: &&&Span| {
                call.name == method && call.text("csd.cascade.level") == Some(level)
            };
            clients.iter().filter(of).count() as u64
        };
        let counted = |level: &str| written.calls[level].as_u64().expect("a count");
        assert!(
            hops(DRAFT_CALL, "mini") > 0
                && hops(VERIFY_CALL, "draft") > 0
                && hops(DRAFT_CALL, "maxgram") > 0
        );
        assert!(
            hops(DRAFT_CALL, "mini") < counted("mini"),
            "a hop a forward: {} of {}",
            hops(DRAFT_CALL, "mini"),
            counted("mini")
        );
        assert!(
            hops(VERIFY_CALL, "target") < written.tokens as u64,
            "a review a token"
        );
        assert_eq!(
            hops(DRAFT_CALL, "draft"),
            0,
            "the orchestrator runs the recursion over draft's own drafters"
        );
        for name in [
            "draft by draft for target",
            "draft by mini for draft",
            "review by draft",
        ] {
            assert!(self.of(|span| span.name == name).count() > 0, "no {name}");
        }
    }

    /// Every decision of the planner is an event of the span in which the draft is made, and what it chose follows.
    fn tells_decisions(&self, counted: f64) {
        let mut told: Vec<(&Span, &Attributes)> = Vec::new();
        for span in &self.spans {
            for (name, attributes) in &span.events {
                assert_eq!(name, "csd.planner.decision", "in {}", span.name);
                told.push((span, attributes));
            }
        }
        assert_eq!(told.len() as f64, counted, "events and metrics");
        let mut turns = 0;
        for (span, attributes) in told {
            let text = |key: &str| attributes.get(key).and_then(Value::as_str);
            let choice = text("csd.planner.choice").expect("a choice");
            assert!(span.name == "round" || span.name.starts_with("draft by "));
            if ["draft_ahead", "wait"].contains(&choice) {
                continue;
            }
            assert!(attributes["csd.planner.time_price"].is_number());
            let (level, reviewer) = (text("csd.cascade.level"), text("csd.cascade.reviewer"));
            let (level, reviewer) = (level.expect("a level"), reviewer.expect("a reviewer"));
            if choice == "hand_in" {
                assert_eq!(level, reviewer);
                continue;
            }
            assert!(attributes["csd.planner.expected_seconds"].is_number());
            let name = format!("draft by {level} for {reviewer}");
            let follows = |turn: &Span| turn.name == name && turn.parent == span.id;
            assert!(
                self.of(follows).count() > 0,
                "no {name} in {}: {choice}",
                span.name
            );
            turns += 1;
        }
        let drafts = self.of(|span| span.name.starts_with("draft by ")).count();
        assert_eq!(turns, drafts, "every turn was decided");
    }
}

/// A machine that does something else between two readings of its clock is no fault of ours.
fn add_up(sums: &[[bool; 3]]) {
    let shares = [
        ("network, queue and forward: the client's span", 0.95),
        ("queue and forward: the server's span", 0.5),
        ("forward: the engine's spans", 0.5),
    ];
    for (index, (what, least)) in shares.into_iter().enumerate() {
        let fitting = sums.iter().filter(|sums| sums[index]).count();
        let share = fitting as f64 / sums.len() as f64;
        eprintln!("{what}: {:.1} % of {} calls", share * 100.0, sums.len());
        assert!(share >= least, "{what}: only {share}");
    }
}

/// Equal as far as times of a call, in microseconds, can be: within 5 % or 0.1 ms.
fn equal(sum: f64, whole: f64) -> bool {
    (sum - whole).abs() <= (0.05 * whole).max(100.0)
}

/// What the test's own collector was sent.
fn told(request: ExportTraceServiceRequest) -> Vec<Span> {
    let batches = request.resource_spans.into_iter();
    let spans = batches.flat_map(|batch| {
        let resource = read(batch.resource.unwrap_or_default().attributes);
        let process = resource["service.instance.id"].as_str().map(str::to_owned);
        let process = process.expect("every process has an instance id");
        let spans = batch.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| Span {
            process: process.clone(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            kind: match span.kind() {
                SpanKind::Client => "CLIENT",
                SpanKind::Server => "SERVER",
                _ => "INTERNAL",
            }
            .into(),
            name: span.name,
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            attributes: read(span.attributes),
            events: (span.events.into_iter())
                .map(|event| (event.name, read(event.attributes)))
                .collect(),
        })
    });
    spans.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(attributes: Vec<KeyValue>) -> Attributes {
    let value = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::BoolValue(truth)) => json!(truth),
        _ => Value::Null,
    };
    let pairs = attributes.into_iter();
    pairs
        .map(|attribute| (attribute.key, value(attribute.value)))
        .collect()
}
