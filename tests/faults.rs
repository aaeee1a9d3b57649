//! A drafter may die, stop, come back: the text stays the target's own, and only the clock notices. The target may not.

use std::time::{Duration, Instant};

use csd_tests::{Up, ids, process, prompts};
use serde_json::{Value, json};

/// The drafting deadline of the bundled cascades.
const DRAFT_TIMEOUT: Duration = Duration::from_millis(500);

fn body() -> Value {
    let prompt = prompts::many(1).expect("prompts").remove(0);
    json!({"prompt": prompt, "max_tokens": 160, "temperature": 0.7, "seed": 5, "ignore_eos": true,
           "cascade": {"k": [[6, 4, 4], [0, 4, 2], [0, 0, 4]]}})
}

fn alone(up: &Up) -> Vec<u32> {
    let mut body = body();
    body["cascade"] = json!("off");
    body["return_token_ids"] = json!(true);
    ids(&up.complete(&body).expect("an answer")["choices"][0]["token_ids"])
}

#[test]
fn killed_drafters_are_stepped_over_and_rejoin() {
    let up = Up::start("config/tiny.toml").expect("the cascade comes up");
    let expected = alone(&up);
    for level in ["draft", "mini", "maxgram"] {
        let victim = up.level(level).expect("announced");
        let stream = up.stream(&body(), |chunk, _| {
            if chunk == 3 {
                process::signal(victim.pid, "KILL").expect("it ran");
            }
        });
        let stream = stream.expect("a stream");
        assert!(stream.done, "{level}: {:?}", stream.error);
        assert_eq!(stream.token_ids, expected, "{level} was killed");
        let back = process::wait(Duration::from_secs(20), || {
            up.level(level)
                .is_ok_and(|now| now.pid != victim.pid && process::runs(now.pid))
        });
        assert!(back, "{level} was not restarted");
        // It writes again.
        let rejoined = process::wait(Duration::from_secs(20), || {
            let stream = up.stream(&body(), |_, _| ()).expect("a stream");
            assert_eq!(stream.token_ids, expected);
            stream.cascade["calls"][level].as_u64().unwrap_or(0) > 0
        });
        assert!(rejoined, "{level} came back but is not used");
    }
}

#[test]
fn a_stopped_drafter_costs_one_deadline() {
    let up = Up::start("config/tiny.toml").expect("the cascade comes up");
    let expected = alone(&up);
    for level in ["draft", "mini", "maxgram"] {
        let usual = Instant::now();
        up.stream(&body(), |_, _| ()).expect("a stream");
        let usual = usual.elapsed();
        let victim = up.level(level).expect("announced");
        let stream = up.stream(&body(), |chunk, _| {
            if chunk == 3 {
                process::signal(victim.pid, "STOP").expect("it runs");
            }
        });
        process::signal(victim.pid, "CONT").expect("it is there");
        let stream = stream.expect("a stream");
        assert_eq!(stream.token_ids, expected, "{level} was stopped");
        // One pause of a deadline, not one a round; the margin is for shared machines.
        let long = stream
            .times
            .windows(2)
            .filter(|pair| pair[1] - pair[0] > DRAFT_TIMEOUT * 9 / 10)
            .count();
        assert!(
            long <= 1,
            "{level}: {long} pauses of a whole deadline (a stream usually takes {usual:?})"
        );
        let rejoined = process::wait(Duration::from_secs(20), || {
            let stream = up.stream(&body(), |_, _| ()).expect("a stream");
            stream.cascade["calls"][level].as_u64().unwrap_or(0) > 0
        });
        assert!(rejoined, "{level} goes on but is not used");
    }
}

#[test]
fn a_killed_target_ends_the_stream_with_an_error_and_comes_back() {
    let up = Up::start("config/tiny.toml").expect("the cascade comes up");
    let expected = alone(&up);
    let victim = up.level("target").expect("announced");
    let stream = up.stream(&body(), |chunk, _| {
        if chunk == 3 {
            process::signal(victim.pid, "KILL").expect("it ran");
        }
    });
    let stream = stream.expect("a stream");
    assert!(!stream.done, "nothing partial is presented as complete");
    let error = stream.error.expect("a typed error");
    assert!(
        error["message"].is_string() && error["type"].is_string(),
        "{error}"
    );
    let healthy = process::wait(Duration::from_secs(20), || {
        up.get("/health").is_ok_and(|(status, _)| status == 200)
    });
    assert!(healthy, "the target was not restarted");
    assert_eq!(alone(&up), expected);
}

#[test]
fn workers_never_outlive_their_parent() {
    let up = Up::start("config/tiny.toml").expect("the cascade comes up");
    let pids: Vec<u32> = up.levels().iter().map(|level| level.pid).collect();
    assert_eq!(pids.len(), 4);
    process::signal(up.pid(), "KILL").expect("it runs");
    for pid in pids {
        assert!(
            process::gone(pid, Duration::from_secs(10)),
            "process {pid} outlived csd up"
        );
    }
}
