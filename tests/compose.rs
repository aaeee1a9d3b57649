//! The compose file and the Dockerfile themselves: built, started, asked through the published port, disturbed, taken down.
//!
//! It builds an image and takes minutes, so it is asked for by name:
//!
//! ```sh
//! cargo test --test compose -- --ignored
//! CSD_TEST_KEEP=1 cargo test --test compose -- --ignored     # keeps the images: the next run is short
//! ```

use std::{
    collections::{HashMap, HashSet},
    io::Write as _,
    time::Duration,
};

use csd_tests::{
    Client, Stream, Up,
    containers::{OURS, Stack, engine_runs},
    ids, process, prompts,
};
use serde_json::{Value, json};

const DRAFTERS: [&str; 3] = ["draft", "mini", "maxgram"];

/// Where the profile observability takes traces.
const COLLECTOR: &str = "http://jaeger:4317";

/// Long enough to be disturbed in the middle, on a target that has half a core.
fn body() -> Value {
    let prompt = prompts::many(1).expect("prompts").remove(0);
    json!({"prompt": prompt, "max_tokens": 600, "temperature": 0.7, "seed": 5, "ignore_eos": true,
           "cascade": {"k": [[6, 4, 4], [0, 4, 2], [0, 0, 4]]}})
}

/// The target's own text, written without drafters and without containers.
fn expected() -> (Vec<u32>, String) {
    let up = Up::start("config/tiny.toml").expect("the cascade comes up");
    let mut body = body();
    body["cascade"] = json!("off");
    body["return_token_ids"] = json!(true);
    let choice = &up.complete(&body).expect("an answer")["choices"][0];
    (
        ids(&choice["token_ids"]),
        choice["text"].as_str().expect("a text").to_owned(),
    )
}

fn calls(stream: &Stream, level: &str) -> u64 {
    stream.cascade["calls"][level].as_u64().unwrap_or(0)
}

#[test]
#[ignore = "builds an image and runs containers for minutes: cargo test --test compose -- --ignored"]
fn a_cascade_in_containers_writes_the_same_text_whatever_happens_to_its_drafters() {
    if !engine_runs() {
        // Past the capture of output: a test that did nothing must not look like one that passed.
        let _ = std::io::stderr()
            .write_all(b"\nSKIPPED: no Docker engine answers, so the compose file was not run\n");
        return;
    }
    let expected = expected();
    let settings = [
        ("CSD_TARGET_CPUS", "0.5"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", COLLECTOR),
    ];
    let more = ["jaeger", "prometheus"];
    let stack = Stack::start(&more, &settings).expect("the compose file comes up");
    confined(&stack);
    let stream = stack.stream(&body(), |_, _| ()).expect("a stream");
    assert_eq!(
        (&stream.token_ids, &stream.text),
        (&expected.0, &expected.1)
    );
    for level in DRAFTERS {
        assert!(
            calls(&stream, level) > 0,
            "{level} is not used: {}",
            stream.cascade
        );
        disturbed(&stack, level, calls(&stream, level), &expected.0);
    }
    stack.up(&more).expect("all are healthy again");
    traced(&stack);
    scraped(&stack);
}

/// No container of ours is root, can become it, or can write; nothing but what is meant to be is published.
fn confined(stack: &Stack) {
    for service in OURS {
        let container = stack.inspect(service).expect("it runs");
        let host = &container["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["CapDrop"], json!(["ALL"]), "{service}");
        assert_eq!(
            host["SecurityOpt"],
            json!(["no-new-privileges:true"]),
            "{service}"
        );
        assert!(
            host["Memory"].as_u64() > Some(0),
            "{service} has no limit on memory"
        );
        assert_eq!(container["Config"]["User"], "65532:65532", "{service}");
        let ports = container["NetworkSettings"]["Ports"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let published: Vec<_> = ports
            .values()
            .filter_map(Value::as_array)
            .flatten()
            .collect();
        assert_eq!(
            published.len(),
            usize::from(service == "orchestrator"),
            "{service}: {published:?}"
        );
        assert!(
            published.iter().all(|port| port["HostIp"] == "127.0.0.1"),
            "{published:?}"
        );
    }
}

/// Each way to lose a drafter in the middle of a stream leaves the text as it is; afterwards the drafter is used again.
fn disturbed(stack: &Stack, level: &str, usual: u64, expected: &[u32]) {
    type Fault = fn(&Stack, &str) -> anyhow::Result<()>;
    let faults: [(&str, Fault, Fault); 3] = [
        ("killed", Stack::kill, |_, _| Ok(())),
        ("paused", Stack::pause, Stack::unpause),
        ("cut off", Stack::cut, Stack::rejoin),
    ];
    for (fault, begin, end) in faults {
        let stream = stack.stream(&body(), |chunk, _| {
            if chunk == 2 {
                begin(stack, level).expect("it runs");
            }
        });
        end(stack, level).expect("it can be mended");
        let stream = stream.expect("a stream");
        assert!(stream.done, "{level} {fault}: {:?}", stream.error);
        assert_eq!(stream.token_ids, expected, "{level} {fault}");
        let during = calls(&stream, level);
        assert!(
            during < usual,
            "{level} {fault}: {during} calls of {usual}: it came too late to disturb anything"
        );
        let back = process::wait(Duration::from_secs(60), || {
            let stream = stack.stream(&body(), |_, _| ()).expect("a stream");
            assert_eq!(stream.token_ids, expected, "after {level} {fault}");
            calls(&stream, level) > usual / 2
        });
        assert!(back, "{level} {fault}: mended, and not used");
    }
}

/// The collector has got one whole trace of one request: spans of every process, each with its parent.
fn traced(stack: &Stack) {
    let mut body = body();
    body["max_tokens"] = json!(32);
    stack.stream(&body, |_, _| ()).expect("a stream");
    let mut found = Vec::new();
    let whole = process::wait(Duration::from_secs(30), || {
        let log = stack.logs("jaeger").unwrap_or_default();
        let mut traces: HashMap<&str, Vec<Span<'_>>> = HashMap::new();
        for span in spans(&log) {
            traces.entry(span.trace).or_default().push(span);
        }
        let seen = |spans: &Vec<Span<'_>>| {
            let processes: HashSet<_> = spans.iter().map(|span| span.process).collect();
            let ids: HashSet<_> = spans.iter().map(|span| span.id).collect();
            let orphans = spans
                .iter()
                .filter(|span| !ids.contains(span.parent))
                .count();
            (processes.len(), orphans)
        };
        found = traces.values().map(seen).collect();
        // The request itself has no parent.
        found.contains(&(OURS.len(), 1))
    });
    assert!(
        whole,
        "no trace is whole; processes and spans without a parent: {found:?}"
    );
}

/// A span in the receiver's log.
struct Span<'a> {
    process: &'a str,
    trace: &'a str,
    parent: &'a str,
    id: &'a str,
}

/// Reads the receiver's log: a resource, then its spans, each field a line.
fn spans(log: &str) -> Vec<Span<'_>> {
    let (mut process, mut trace, mut parent) = ("", "", "");
    let mut spans = Vec::new();
    for (name, value) in log.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.trim() {
            "-> service.instance.id" => process = value,
            "Trace ID" => trace = value,
            "Parent ID" => parent = value,
            "ID" => spans.push(Span {
                process,
                trace,
                parent,
                id: value,
            }),
            _ => {}
        }
    }
    spans
}

/// Prometheus has found every process by its name.
fn scraped(stack: &Stack) {
    let prometheus = Client::new(format!(
        "http://{}",
        stack.variable("CSD_PROMETHEUS_PUBLISH")
    ));
    let found = process::wait(Duration::from_secs(30), || {
        let Ok((200, answer)) = prometheus.get("/api/v1/targets?state=active") else {
            return false;
        };
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        let targets = answer["data"]["activeTargets"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let of = |job: &str| {
            targets
                .iter()
                .filter(|target| target["labels"]["job"] == job)
                .count()
        };
        (of("orchestrator"), of("level")) == (1, 4)
    });
    assert!(found, "Prometheus does not know all processes");
}
