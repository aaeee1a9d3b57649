//! Levels with several workers: a session stays with one, and goes on with another when that one fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use csd_config::{Cascade, Plan};
use csd_level::{Error, scripted::ScriptedLevel};
use csd_orchestrator::Connected;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    sockets::{PATIENCE, Server, Worker, ask, config, nowhere, request},
    world::{Held, LIMIT, drafter, target},
};

/// An orchestrator whose target runs in several places.
async fn over(targets: &[&Worker]) -> Server {
    over_config(alone(targets)).await
}

async fn over_config(config: Cascade) -> Server {
    Server::start(Connected::new(&config, PATIENCE).await.expect("starts")).await
}

fn alone(targets: &[&Worker]) -> Cascade {
    Cascade {
        plan: Plan::Off,
        ..config(&[("target", &beside(targets))])
    }
}

fn beside(workers: &[&Worker]) -> String {
    let addresses: Vec<_> = workers.iter().map(|w| w.address.as_str()).collect();
    addresses.join(" and ")
}

async fn text(server: &Server) -> String {
    let (status, answer) = server.ask("POST /v1/completions", &request()).await;
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    answer["choices"][0]["text"]
        .as_str()
        .expect("a text")
        .to_owned()
}

fn numerics(level: ScriptedLevel, numerics: &str) -> ScriptedLevel {
    level.describe(|description| description.numerics = numerics.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_stays_with_one_replica_and_texts_spread_over_all() {
    let levels = [target(), target()];
    let workers = [
        Worker::start(levels[0].clone()).await,
        Worker::start(levels[1].clone()).await,
    ];
    let server = over(&[&workers[0], &workers[1]]).await;
    let mut written = [0, 0];
    for _ in 0..24 {
        let before = [levels[0].calls(), levels[1].calls()];
        text(&server).await;
        let calls = [levels[0].calls() - before[0], levels[1].calls() - before[1]];
        assert!(calls.contains(&0) && calls.contains(&40), "{calls:?}");
        written[usize::from(calls[0] == 0)] += 1;
    }
    // One side alone would come once in eight million runs.
    assert!(!written.contains(&0), "{written:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_moves_to_the_other_replica_when_its_own_is_gone() {
    let single = Worker::start(target()).await;
    let expected = text(&over(&[&single]).await).await;
    let never = Arc::new(Notify::new());
    let held = Worker::start(Held::new(target(), 5, never)).await;
    let good = Worker::start(target()).await;
    let server = over(&[&held, &good]).await;
    // Sooner or later a text is one of the held replica's, and hangs there in its sixth call.
    let begun = Instant::now();
    let hanging = loop {
        assert!(begun.elapsed() < LIMIT, "no text came to the replica");
        let address = server.address.clone();
        let text =
            tokio::spawn(async move { ask(&address, "POST /v1/completions", &request()).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        if held.service.gauges().in_flight > 0 {
            break text;
        }
    };
    let calls = good.service.gauges().verify_calls;
    held.stop().await;
    let (status, answer) = hanging.await.expect("answered");
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["choices"][0]["text"], json!(expected));
    assert_eq!(good.service.gauges().verify_calls - calls, 35);
    let begun = Instant::now();
    loop {
        let (status, body) = server.ask("GET /health", &Value::Null).await;
        let health: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, &health["status"]), (200, &json!("ok")), "{body}");
        let replicas = &health["levels"][0]["replicas"];
        assert_eq!(replicas[1]["status"], "up", "{body}");
        if replicas[0]["status"] == "down" {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(text(&server).await, expected);
}

/// Two replicas of unlike numerics, the first of which fails after ten calls: what a stream through it ends with.
async fn stream_across(allow_other_numerics: bool) -> String {
    let fault = Arc::new(|call| (call >= 10).then(|| Error::Unavailable("gone".into())));
    let first = Worker::start(numerics(target(), "avx2").with_fault(fault)).await;
    let other = Worker::start(numerics(target(), "avx512")).await;
    let mut config = alone(&[&first, &other]);
    config.levels[0].allow_other_numerics = allow_other_numerics;
    let server = over_config(config).await;
    let mut body = request();
    body["stream"] = json!(true);
    // Where both may be used, not every text begins at the first.
    loop {
        let (status, answer) = server.ask("POST /v1/completions", &body).await;
        assert_eq!(status, 200, "{answer}");
        if first.service.gauges().verify_calls >= 10 {
            return answer;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_numerics_end_a_stream_unless_they_are_allowed() {
    let ended = stream_across(false).await;
    assert!(!ended.contains("[DONE]"), "{ended}");
    let (_, error) = ended.rsplit_once("data: ").expect("an event");
    let error = error.lines().next().expect("a line");
    let error: Value = serde_json::from_str(error).expect("JSON");
    assert_eq!(error["error"]["code"], "level_unavailable", "{error}");
    let message = error["error"]["message"].as_str().expect("a message");
    for word in ["gone", "avx2", "avx512", "allow_other_numerics"] {
        assert!(message.contains(word), "{message}");
    }
    let finished = stream_across(true).await;
    assert!(finished.contains("[DONE]"), "{finished}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_a_drafter_may_differ() {
    let target = Worker::start(target()).await;
    let levels = [
        numerics(drafter("draft", 1), "cpu"),
        numerics(drafter("draft", 2), "gpu").describe(|description| description.context = 128),
    ];
    let workers = [
        Worker::start(levels[0].clone()).await,
        Worker::start(levels[1].clone()).await,
    ];
    let config = config(&[
        ("target", &target.address),
        ("draft", &beside(&[&workers[0], &workers[1]])),
    ]);
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let level = connected.orchestrator().cascade().levels()[1].clone();
    assert_eq!(level.description().context, 128, "what both can do");
    let server = Server::start(connected).await;
    let mut texts = Vec::new();
    let begun = Instant::now();
    while levels.iter().any(|level| level.calls() == 0) {
        assert!(begun.elapsed() < LIMIT, "a replica is not used");
        texts.push(text(&server).await);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "the text is the target's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_sends_a_call_on_and_nobody_is_put_aside() {
    let busy = Error::Busy {
        retry_after: Duration::from_millis(10),
    };
    let full = target().with_fault(Arc::new(move |_| Some(busy.clone())));
    let (full, free) = (Worker::start(full).await, Worker::start(target()).await);
    let server = over(&[&full, &free]).await;
    let begun = Instant::now();
    while full.service.gauges().in_flight == 0 && begun.elapsed() < Duration::from_secs(2) {
        text(&server).await;
    }
    let (_, body) = server.ask("GET /health", &Value::Null).await;
    assert!(!body.contains("down"), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_hangs_costs_one_deadline() {
    let target = Worker::start(target()).await;
    let never = Arc::new(Notify::new());
    let stuck = Worker::start(Held::new(drafter("draft", 1), 0, never)).await;
    let good = Worker::start(drafter("draft", 1)).await;
    let config = config(&[
        ("target", &target.address),
        ("draft", &beside(&[&stuck, &good])),
    ]);
    let server = over_config(config).await;
    let begun = Instant::now();
    while good.service.gauges().verify_calls + good.service.gauges().draft_calls < 20 {
        assert!(begun.elapsed() < LIMIT, "the good one is not used");
        text(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_only_target_that_is_slow_once_is_there_for_others() {
    let released = Arc::new(Notify::new());
    let worker = Worker::start(Held::new(target(), 2, released.clone())).await;
    let mut config = alone(&[&worker]);
    config.limits.verify_timeout = Duration::from_millis(200);
    let server = over_config(config).await;
    let mut body = json!({"prompt": "fn main() {", "max_tokens": 8, "temperature": 0});
    let (status, text) = ask(&server.address, "POST /v1/completions", &body).await;
    assert_eq!(status, 503, "its own review is late: {text}");
    released.notify_one();
    // At once, before anybody has knocked again.
    body["max_tokens"] = json!(1);
    let (status, text) = ask(&server.address, "POST /v1/completions", &body).await;
    assert_eq!(status, 200, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_may_come_late() {
    let first = Worker::start(target()).await;
    let place = nowhere().await;
    let both = format!("{} and {place}", first.address);
    let config = Cascade {
        plan: Plan::Off,
        ..config(&[("target", &both)])
    };
    let server = over_config(config).await;
    let expected = text(&server).await;
    let late = Worker::at(&place, target()).await;
    let begun = Instant::now();
    while late.service.gauges().verify_calls == 0 {
        assert!(begun.elapsed() < LIMIT, "it is not used");
        assert_eq!(text(&server).await, expected);
    }
    first.stop().await;
    server.until(200, "ok").await;
    assert_eq!(text(&server).await, expected);
}
