//! What the profile observability is told: whole traces, and metrics of every process.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use csd_tests::{
    Client,
    containers::{OURS, Stack},
    process,
    spans::{self, Span},
};
use serde_json::{Value, json};

use crate::body;

/// Prometheus looks names up every ten seconds and scrapes every five.
const SOON: Duration = Duration::from_secs(40);

pub(crate) fn check(stack: &Stack) {
    let mut body = body();
    body["max_tokens"] = json!(32);
    stack.stream(&body, |_, _| ()).expect("a stream");
    traced(stack);
    scraped(stack, 1);
}

/// The collector has got one whole trace of one request: spans of every process, each with its parent.
fn traced(stack: &Stack) {
    let jaeger = stack.container("jaeger").expect("it runs");
    let mut found = Vec::new();
    let whole = process::wait(Duration::from_secs(30), || {
        let log = jaeger.logs().unwrap_or_default();
        let mut traces: HashMap<String, Vec<Span>> = HashMap::new();
        for span in spans::logged(&log) {
            traces.entry(span.trace.clone()).or_default().push(span);
        }
        let seen = |spans: &Vec<Span>| {
            let processes: HashSet<_> = spans.iter().map(|span| &span.process).collect();
            let ids: HashSet<_> = spans.iter().map(|span| &span.id).collect();
            let orphans = spans
                .iter()
                .filter(|span| !ids.contains(&span.parent))
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

/// Prometheus has found every process by its name, so many targets among them, and what they count arrives there.
pub(crate) fn scraped(stack: &Stack, targets: usize) {
    let address = stack.variable("CSD_PROMETHEUS_PUBLISH");
    let prometheus = Prometheus(Client::new(format!("http://{address}")));
    let workers = ["draft", "maxgram", "mini", "target"];
    let mut every: BTreeMap<String, usize> = workers.map(|service| (service.into(), 1)).into();
    every.extend([("orchestrator".into(), 1), ("target".into(), targets)]);
    let mut said = String::new();
    let up = process::wait(SOON, || {
        let up = prometheus.up();
        said = format!("{up:?}");
        up.is_ok_and(|up| up == every)
    });
    assert!(up, "Prometheus does not scrape all processes: {said}");
    // What only a worker can count, by its own name for its level; then the orchestrator.
    for level in workers {
        let count = format!("sum(csd_calls_total{{level=\"{level}\"}})");
        prometheus.counts(&count);
    }
    prometheus.counts("sum(csd_generation_tokens_total)");
}

struct Prometheus(Client);

impl Prometheus {
    fn ask(&self, path: &str) -> Result<Value> {
        let (status, answer) = self.0.get(path)?;
        ensure!(status == 200, "{path}: {status} {answer}");
        Ok(serde_json::from_str(&answer)?)
    }

    /// How many processes of each service are scraped.
    ///
    /// # Errors
    /// Names one that is not.
    fn up(&self) -> Result<BTreeMap<String, usize>> {
        let answer = self.ask("/api/v1/targets?state=active")?;
        let targets = answer["data"]["activeTargets"].as_array();
        let mut up = BTreeMap::new();
        for target in targets.context("no targets")? {
            let job = target["labels"]["job"].as_str().context("no job")?;
            ensure!(target["health"] == "up", "{job}: {}", target["lastError"]);
            match job {
                "level" => {
                    let service = target["labels"]["service"].as_str();
                    *up.entry(service.context("no service")?.to_owned())
                        .or_default() += 1;
                }
                "orchestrator" => *up.entry(job.to_owned()).or_default() += 1,
                _ => {}
            }
        }
        Ok(up)
    }

    /// A query has come to more than nothing.
    fn counts(&self, query: &str) {
        // Braces and quotes are not for a URL.
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let counts = process::wait(SOON, || {
            let answer = self.ask(&format!("/api/v1/query?query={escaped}"));
            let value = answer.unwrap_or_default()["data"]["result"][0]["value"][1].clone();
            let value: Option<f64> = value.as_str().and_then(|value| value.parse().ok());
            value > Some(0.0)
        });
        assert!(counts, "Prometheus knows nothing of {query}");
    }
}
