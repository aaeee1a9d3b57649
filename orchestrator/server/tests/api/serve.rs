//! The whole server over real sockets: workers that are late, leave, come back, or are not what they should be.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use csd_config::{Cascade, Plan};
use csd_level::{Error, scripted::ScriptedLevel};
use csd_orchestrator::{Connected, SetupError};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    sockets::{PATIENCE, Server, Worker, ask, config, nowhere, request},
    world::{LIMIT, drafter, target},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drafter_may_come_late_leave_and_come_back() {
    let target = Worker::start(target()).await;
    let address = nowhere().await;
    let config = config(&[("target", &target.address), ("draft", &address)]);
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let server = Server::start(connected).await;
    assert_eq!(server.calls().await["draft"], 0);
    server.until(200, "degraded").await;

    let draft = Worker::at(&address, drafter("draft", 1)).await;
    server.until(200, "ok").await;
    assert!(server.calls().await["draft"].as_u64() > Some(1));

    let address = draft.stop().await;
    server.until(200, "degraded").await;
    let other = ScriptedLevel::new("draft", 512, 1, 1, 0.0);
    let wrong = Worker::at(&address, other).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(
        server.calls().await["draft"],
        0,
        "other tokens are not let in"
    );
    wrong.stop().await;
    let _draft = Worker::at(&address, drafter("draft", 1)).await;
    server.until(200, "ok").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_dies_is_reported_and_welcome_back() {
    let worker = Worker::start(target()).await;
    let config = config(&[("target", &worker.address)]);
    let config = Cascade {
        plan: Plan::Off,
        ..config
    };
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let server = Server::start(connected).await;
    server.until(200, "ok").await;
    let address = worker.stop().await;
    server.until(503, "unavailable").await;
    let (status, body) = server.ask("POST /v1/completions", &request()).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("target"), "{body}");

    let changed = target().describe(|description| description.numerics = "other".into());
    let changed = Worker::at(&address, changed).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    let (status, body) = server.ask("GET /health", &Value::Null).await;
    assert_eq!(status, 503);
    assert!(body.contains("numerics"), "{body}");
    changed.stop().await;

    let _worker = Worker::at(&address, target()).await;
    server.until(200, "ok").await;
    assert_eq!(server.calls().await["target"], 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_which_level_and_where() {
    let refused = async |addresses: &[(&str, &str)]| {
        let outcome = Connected::new(&config(addresses), PATIENCE).await;
        outcome.err().expect("refused").to_string()
    };
    let nobody = nowhere().await;
    let error = refused(&[("target", &nobody), ("draft", &nobody)]).await;
    assert!(
        error.contains("\"target\"") && error.contains(&nobody),
        "{error}"
    );

    let worker = Worker::start(target()).await;
    let error = refused(&[("target", &worker.address), ("draft", "not an address")]).await;
    assert!(
        error.contains("\"draft\"") && error.contains("not an address"),
        "{error}"
    );

    let other = Worker::start(ScriptedLevel::new("draft", 512, 1, 1, 0.0)).await;
    let error = refused(&[("target", &worker.address), ("draft", &other.address)]).await;
    assert!(
        error.contains("draft") && error.contains("token map"),
        "{error}"
    );

    let statistical = Worker::start(crate::world::max_gram()).await;
    let error = refused(&[("target", &worker.address), ("draft", &statistical.address)]).await;
    assert!(
        error.contains("draft") && error.contains("Statistical"),
        "{error}"
    );

    let mut unplaced = config(&[("target", &worker.address)]);
    unplaced.levels[0].addresses.clear();
    let outcome = Connected::new(&unplaced, PATIENCE).await;
    assert!(matches!(outcome.err(), Some(SetupError::NoAddress { level }) if level == "target"));

    let plan = config(&[("target", &worker.address)]);
    let error = Connected::new(&plan, PATIENCE)
        .await
        .err()
        .expect("refused");
    assert!(matches!(error, SetupError::Plan(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_the_health_hears_of_the_end_and_does_not_hold_it_up() {
    let worker = Worker::start(target()).await;
    let config = Cascade {
        plan: Plan::Off,
        ..config(&[("target", &worker.address)])
    };
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let server = Server::start(connected).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).expect("a place");
    let mut client = HealthClient::new(endpoint.connect().await.expect("up"));
    let watch = client.watch(HealthCheckRequest::default()).await;
    let mut watch = watch.expect("known").into_inner();
    let first = watch.message().await.expect("well").expect("a word");
    assert_eq!(first.status(), ServingStatus::Serving);
    drop(server.stop);
    let last = watch.message().await.expect("well").expect("a word");
    assert_eq!(last.status(), ServingStatus::NotServing);
    assert_eq!(watch.message().await.expect("well"), None);
    let ended = tokio::time::timeout(LIMIT, server.task).await;
    ended
        .expect("in time")
        .expect("ends")
        .expect("without an error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_in_progress_are_finished_before_the_end() {
    let released = Arc::new(tokio::sync::Notify::new());
    let held = crate::world::Held::new(target(), 2, released.clone());
    let worker = Worker::start(held).await;
    let config = Cascade {
        plan: Plan::Off,
        ..config(&[("target", &worker.address)])
    };
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let server = Server::start(connected).await;
    let mut body = request();
    body["stream"] = json!(true);
    body["max_tokens"] = json!(3);
    let address = server.address.clone();
    let text = tokio::spawn(async move { ask(&address, "POST /v1/completions", &body).await });
    while worker.service.gauges().in_flight == 0 || worker.service.gauges().verify_calls < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(server.stop);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        TcpStream::connect(&server.address).await.is_err(),
        "nobody new is let in"
    );
    released.notify_one();
    let (status, text) = text.await.expect("answered");
    assert!(status == 200 && text.contains("[DONE]"), "{text}");
    let ended = tokio::time::timeout(LIMIT, server.task).await;
    ended
        .expect("in time")
        .expect("ends")
        .expect("without an error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_dropped_by_every_level() {
    let never = Arc::new(tokio::sync::Notify::new());
    let held = crate::world::Held::new(target(), 1, never.clone());
    let target = Worker::start(held).await;
    let draft = Worker::start(crate::world::Held::new(drafter("draft", 1), 0, never)).await;
    let config = config(&[("target", &target.address), ("draft", &draft.address)]);
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let door = connected.orchestrator().admission().clone();
    let server = Server::start(connected).await;
    for stream in [false, true] {
        let mut body = request();
        body["stream"] = json!(stream);
        let address = server.address.clone();
        let client =
            tokio::spawn(async move { ask(&address, "POST /v1/completions", &body).await });
        let busy = |worker: &Worker| worker.service.gauges().in_flight > 0;
        let begun = Instant::now();
        while !(busy(&target) && busy(&draft) && door.running() == 1) {
            assert!(begun.elapsed() < LIMIT, "nobody works");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.abort();
        let left = Instant::now();
        while busy(&target) || busy(&draft) || door.running() > 0 {
            assert!(left.elapsed() < Duration::from_secs(1), "still at work");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_that_is_reachable_but_useless_is_tried_ever_more_rarely() {
    let target = Worker::start(target()).await;
    let useless = drafter("draft", 1).with_fault(Arc::new(|_| Some(Error::Internal("no".into()))));
    let counter = useless.clone();
    let draft = Worker::start(useless).await;
    let config = config(&[("target", &target.address), ("draft", &draft.address)]);
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let server = Server::start(connected).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        server.calls().await;
    }
    // At once, then after 1/4, 1/4 + 1/2 and 1/4 + 1/2 + 1 seconds; every quarter of a second would make twelve.
    let calls = counter.calls();
    assert!((2..=6).contains(&calls), "{calls}");
}
