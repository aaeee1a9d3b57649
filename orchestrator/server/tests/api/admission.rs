//! Who may write when many want to.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::world::{Held, World, levels, limits, post, target};

fn request() -> Value {
    json!({"prompt": "fn main() {", "max_tokens": 4, "temperature": 0, "cascade": "off", "ignore_eos": true})
}

/// A target that answers one call for each release.
fn world(running: usize, waiting: usize) -> (Arc<World>, Arc<Notify>) {
    let released = Arc::new(Notify::new());
    let mut all = levels();
    all[0] = Arc::new(Held::new(target(), 0, released.clone()));
    let limits = csd_config::Limits {
        concurrent_requests: running,
        waiting_requests: waiting,
        ..limits()
    };
    (Arc::new(World::over(all, limits)), released)
}

async fn until(condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::LIMIT, reached)
        .await
        .expect("in time");
}

#[tokio::test]
async fn requests_run_wait_and_are_refused_and_leaving_makes_room() {
    let (world, released) = world(1, 1);
    let start = || {
        let world = world.clone();
        tokio::spawn(async move { world.read(post("/v1/completions", request())).await })
    };
    let door = world.orchestrator.admission();
    let first = start();
    until(|| door.running() == 1).await;
    let second = start();
    until(|| door.waiting() == 1).await;
    let third = world.post("/v1/completions", request()).await;
    assert_eq!(third.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(third.headers["retry-after"], "1");
    assert_eq!(third.body["error"]["type"], "rate_limit_error");
    let health = world.get("/health").await.body;
    assert_eq!(
        (&health["running"], &health["waiting"]),
        (&json!(1), &json!(1))
    );

    first.abort();
    until(|| door.waiting() == 0).await;
    let third = start();
    until(|| door.waiting() == 1).await;
    let finish = async {
        loop {
            released.notify_one();
            tokio::task::yield_now().await;
        }
    };
    let both = async { (second.await.expect("runs"), third.await.expect("runs")) };
    let (second, third) = tokio::select! {
        both = both => both,
        () = finish => unreachable!("it never ends"),
    };
    assert_eq!(
        (second.status, third.status),
        (StatusCode::OK, StatusCode::OK)
    );
    assert_eq!((door.running(), door.waiting()), (0, 0));
}

#[tokio::test]
async fn texts_of_one_request_take_places_like_others() {
    let (world, released) = world(2, 2);
    let mut four = request();
    four["n"] = json!(4);
    let running = world.clone();
    let begun = tokio::spawn(async move { running.read(post("/v1/completions", four)).await });
    let door = world.orchestrator.admission();
    until(|| door.running() == 2 && door.waiting() == 2).await;
    let refused = world.post("/v1/completions", request()).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let finish = async {
        while !begun.is_finished() {
            released.notify_one();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::LIMIT, finish)
        .await
        .expect("in time");
    let answer = begun.await.expect("runs");
    assert_eq!(answer.body["choices"].as_array().map(Vec::len), Some(4));
    let mut five = request();
    five["n"] = json!(5);
    let never = world.post("/v1/completions", five).await;
    assert_eq!(
        (never.status.as_u16(), &never.body["error"]["param"]),
        (400, &json!("n"))
    );
}
