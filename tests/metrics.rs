//! Every process tells Prometheus what the list promises, and the two sides of a call count the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use csd_tests::{Client, Up, ids, metrics::Metrics, process, root, skipped};
use serde_json::{Value, json};

const LEVELS: [&str; 4] = ["target", "draft", "mini", "maxgram"];

/// A program of Debian's package prometheus, if this machine has it.
fn installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        skipped(&format!("no {program} on this machine"));
    }
    found
}

/// Name to type, as config/prometheus/metrics.tsv has them.
fn listed() -> BTreeMap<String, String> {
    let list = fs::read_to_string(root().join("config/prometheus/metrics.tsv")).expect("the list");
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut fields = line.split('\t');
            let mut field = || fields.next().expect("name and type").to_owned();
            (field(), field())
        })
        .collect()
}

fn ask(up: &Up, seed: u64) -> Value {
    let prompt = "<|user|>\nThere are 32 eggs at the garden. Grace takes 7 eggs. How many eggs are left?\n<|assistant|>\n";
    up.complete(&json!({
        "prompt": prompt, "max_tokens": 48, "temperature": 0.7, "seed": seed, "return_token_ids": true,
        "cascade": {"k": [[6, 3, 4], [0, 4, 2], [0, 0, 4]]},
    }))
    .expect("an answer")
}

#[test]
fn a_live_cascade_exposes_the_whole_list_and_both_sides_count_the_same() {
    let up = Up::start("config/tiny.toml").expect("the cascade comes up");
    let answers: Vec<Value> = (0..3).map(|seed| ask(&up, seed)).collect();
    let (status, _) = up.post("/v1/completions", "{").expect("a refusal");
    assert_eq!(status, 400);

    let ours = up.metrics().expect("metrics");
    let levels: BTreeMap<&str, Metrics> = LEVELS
        .map(|level| (level, up.level_metrics(level).expect("metrics")))
        .into();
    let mut exposed = ours.types();
    for metrics in levels.values() {
        exposed.extend(metrics.types());
    }
    assert_eq!(exposed, listed());

    // What the answers say is what was counted.
    let tokens = |answer: &Value| ids(&answer["choices"][0]["token_ids"]).len();
    let written: usize = answers.iter().map(tokens).sum();
    assert_eq!(ours.sum("csd_generation_tokens_total", &[]), written as f64);
    assert_eq!(ours.sum("csd_authored_tokens_total", &[]), written as f64);
    assert_eq!(ours.sum("csd_request_success_total", &[]), 3.0);
    assert_eq!(
        ours.sum("csd_request_failure_total", &["code=\"400\""]),
        1.0
    );
    assert_eq!(ours.sum("csd_time_to_first_token_seconds_count", &[]), 3.0);
    let later = ours.sum("csd_inter_token_latency_seconds_count", &[]);
    assert!(later < written as f64 && later > 0.0, "{later}");
    let asked = |field: &str, drafter: &str| -> u64 {
        let pairs = answers
            .iter()
            .filter_map(|answer| answer["cascade"]["pairs"].as_array());
        let of = pairs.flatten().filter(|pair| pair["drafter"] == drafter);
        of.filter_map(|pair| pair[field].as_u64()).sum()
    };
    for drafter in ["draft", "mini", "maxgram"] {
        let label = format!("level=\"{drafter}\"");
        let counted = |name: &str| ours.sum(name, &[&label]) as u64;
        let (drafted, accepted) = (asked("drafted", drafter), asked("accepted", drafter));
        assert_eq!(counted("csd_spec_decode_num_draft_tokens_total"), drafted);
        assert_eq!(
            counted("csd_spec_decode_num_accepted_tokens_total"),
            accepted
        );
        assert_eq!(
            counted("csd_spec_decode_num_accepted_tokens_per_pos_total"),
            accepted
        );
        let drafts = counted("csd_spec_decode_num_drafts_total");
        assert!((1..=drafted).contains(&drafts), "{drafter}: {drafts}");
    }

    // The levels, who reviewed all this, have counted it too.
    let theirs = |name: &str| -> f64 {
        let each = levels.values().map(|metrics| metrics.sum(name, &[]));
        each.sum()
    };
    assert_eq!(
        ours.sum("csd_spec_decode_num_draft_tokens_total", &[]),
        theirs("csd_reviewed_tokens_total")
    );
    assert_eq!(
        ours.sum("csd_spec_decode_num_accepted_tokens_total", &[]),
        theirs("csd_reviewed_tokens_accepted_total")
    );
    for (level, metrics) in &levels {
        assert_eq!(metrics.sum("csd_num_requests_running", &[]), 0.0, "{level}");
        assert!(metrics.sum("csd_calls_total", &[]) > 0.0, "{level}");
        if *level != "maxgram" {
            assert!(metrics.sum("csd_forward_seconds_count", &[]) > 0.0);
            assert!(metrics.sum("csd_prefix_cache_hits_total", &[]) > 0.0);
        }
    }
    assert_eq!(ours.sum("csd_level_up", &[]), 4.0);

    if installed("promtool") {
        for metrics in levels.values().chain([&ours]) {
            linted(&metrics.text);
        }
    }
    if installed("prometheus") {
        scraped(&up, written);
    }
}

/// promtool reads it, and has nothing to say against names and types.
fn linted(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

/// A Prometheus in a process of its own, killed when it is dropped.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A real Prometheus finds all five processes and answers with their samples.
fn scraped(up: &Up, written: usize) {
    let folder = root().join(format!("target/prometheus-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let target = |url: &str| {
        let url = url.trim_start_matches("http://");
        json!(url.split('/').next().expect("a host"))
    };
    let levels: Vec<_> = up.levels().iter().map(|l| target(&l.metrics)).collect();
    let jobs = json!({
        "global": {"scrape_interval": "500ms"},
        "scrape_configs": [
            {"job_name": "orchestrator", "static_configs": [{"targets": [target(&up.url)]}]},
            {"job_name": "level", "honor_labels": true, "static_configs": [{"targets": levels}]},
        ],
    });
    // JSON is YAML.
    fs::write(folder.join("prometheus.yml"), jobs.to_string()).expect("a file");
    let address = process::free_address().expect("a free port");
    let child = Command::new("prometheus")
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address={address}"))
        .current_dir(&folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _prometheus = Prometheus(child.expect("it is installed"));
    let client = Client::new(format!("http://{address}"));
    let value = |query: &str| -> BTreeSet<String> {
        let Ok((200, text)) = client.get(&format!("/api/v1/query?query={query}")) else {
            return BTreeSet::new();
        };
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let results = answer["data"]["result"].as_array().cloned();
        let values = results.unwrap_or_default().into_iter();
        values
            .filter_map(|result| result["value"][1].as_str().map(str::to_owned))
            .collect()
    };
    let patience = Duration::from_secs(20);
    assert!(process::wait(patience, || value("sum%28up%29").contains("5")));
    let tokens = written.to_string();
    assert!(process::wait(patience, || {
        value("csd_generation_tokens_total").contains(&tokens)
    }));
    let neural = "count%28csd_forward_seconds_count%3E0%29";
    assert!(process::wait(patience, || value(neural).contains("3")));
    let _ = fs::remove_dir_all(&folder);
}
