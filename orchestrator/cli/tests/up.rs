//! `csd up` with real levels: five processes that live and end together.

mod common;

use std::{net::TcpListener, time::Duration};

use common::{BOUND, Up, alive, children, csd, errors, finish, pid, post, signal, until};
use serde_json::json;

/// What the project promises for a stop.
const STOP: Duration = Duration::from_secs(10);

/// One test, so that the cascades run one after the other.
#[test]
fn a_cascade_lives_and_ends_as_one() {
    five_processes_answer_restart_and_stop();
    workers_do_not_outlive_a_killed_parent();
    stopping_in_the_middle_of_the_start_leaves_nothing();
}

fn five_processes_answer_restart_and_stop() {
    let mut up = Up::start(["config/tiny.toml"]);
    let (levels, address) = up.listening();
    let mut names: Vec<_> = levels
        .iter()
        .filter_map(|line| line["level"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["draft", "maxgram", "mini", "target"]);
    let mut pids: Vec<_> = levels.iter().map(pid).collect();
    pids.sort_unstable();
    let mut started = children(up.child.id());
    started.sort_unstable();
    assert_eq!(
        started, pids,
        "the levels are the children, and there are no others"
    );

    let question = json!({"prompt": "fn main() {", "max_tokens": 8, "temperature": 0, "return_token_ids": true});
    let (status, before) = post(&address, "/v1/completions", &question);
    assert_eq!(status, "HTTP/1.1 200 OK", "{before}");
    assert_eq!(
        before["choices"][0]["token_ids"].as_array().map(Vec::len),
        Some(8),
        "{before}"
    );
    let healthy = finish(&mut csd(["health", "--addr", &address]));
    assert!(healthy.status.success(), "{}", errors(&healthy));

    let mini = levels
        .iter()
        .find(|line| line["level"] == "mini")
        .expect("a mini");
    let worker = mini["address"].as_str().expect("an address");
    let healthy = finish(&mut csd(["health", "--addr", worker]));
    assert!(healthy.status.success(), "{}", errors(&healthy));
    signal(pid(mini), "KILL");
    let again = up.line();
    assert_eq!(
        (&again["level"], &again["address"]),
        (&mini["level"], &mini["address"])
    );
    assert_ne!(pid(&again), pid(mini));
    let (status, after) = post(&address, "/v1/completions", &question);
    assert_eq!(status, "HTTP/1.1 200 OK", "{after}");
    assert_eq!(after["choices"], before["choices"]);

    pids.push(pid(&again));
    signal(up.child.id(), "TERM");
    assert!(up.ended(STOP), "it exits with 0");
    assert!(!pids.into_iter().any(alive));
}

fn workers_do_not_outlive_a_killed_parent() {
    let mut up = Up::start(["config/tiny.toml"]);
    let (levels, _) = up.listening();
    up.child.kill().expect("it runs");
    let _ = up.child.wait();
    until(STOP, || !levels.iter().map(pid).any(alive));
}

fn stopping_in_the_middle_of_the_start_leaves_nothing() {
    let mut up = Up::start(["config/tiny.toml"]);
    let parent = up.child.id();
    let mut started = Vec::new();
    until(BOUND, || {
        started = children(parent);
        started.len() == 4
    });
    signal(parent, "INT");
    assert!(up.ended(STOP), "it exits with 0");
    assert!(!started.into_iter().any(alive));
}

#[test]
fn a_port_in_use_is_told_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = finish(&mut csd(["up", "--listen", &address]));
    assert_eq!(output.status.code(), Some(1));
    let told = errors(&output);
    assert!(
        told.contains(&address) && told.contains("--listen"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn a_model_that_is_not_there_is_told_in_the_worker_s_words() {
    let folder = std::env::temp_dir().join(format!("csd-no-model-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("cascade.toml");
    let text = "name = \"none\"\n[[level]]\nname = \"target\"\nmodel = \"no-such-model\"\n";
    std::fs::write(&file, text).expect("written");
    let output = finish(csd(["up", "--listen", "127.0.0.1:0"]).arg(&file));
    std::fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(output.status.code(), Some(1));
    let told = errors(&output);
    let last = told.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("error: level \"target\" cannot start: "),
        "{told}"
    );
    assert!(last.contains("no-such-model"), "{told}");
}
