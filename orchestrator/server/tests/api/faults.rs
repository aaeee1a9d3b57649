//! Levels that fail, stall and come back, in the middle of texts.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use csd_level::{Error, Level, scripted::ScriptedLevel};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::world::{Held, LIMIT, World, drafter, levels, limits, max_gram, target};

fn request() -> Value {
    json!({"prompt": "fn main() {", "max_tokens": 60, "seed": 3, "ignore_eos": true, "return_token_ids": true})
}

async fn own_text() -> Value {
    let mut body = request();
    body["cascade"] = json!("off");
    World::new().complete(&body).await["choices"][0].take()
}

/// Fails from its `calls`-th call on with `error`.
fn fails(level: ScriptedLevel, calls: u64, error: Error) -> Arc<dyn Level> {
    Arc::new(level.with_fault(Arc::new(move |call| (call >= calls).then(|| error.clone()))))
}

#[tokio::test]
async fn a_drafter_that_dies_in_the_middle_leaves_the_text_equal() {
    let own = own_text().await;
    for error in [
        Error::Unavailable("killed".into()),
        Error::DeadlineExceeded,
        Error::Internal("nonsense".into()),
        Error::invalid("draft", "nonsense"),
        Error::Busy { retry_after: LIMIT },
    ] {
        for level in [1, 2] {
            for calls in [0, 1, 4] {
                let mut levels = levels();
                let sound = drafter(["", "draft", "mini"][level], level as u64);
                levels[level] = fails(sound, calls, error.clone());
                let world = World::over(levels, limits());
                let streamed = world.stream(&request()).await;
                assert!(streamed.done, "{error}: {level} after {calls}");
                let (text, ids, _) = streamed.joined(0);
                assert_eq!(own["text"], text);
                assert_eq!(own["token_ids"], Value::Array(ids));
            }
        }
    }
}

#[tokio::test]
async fn a_drafter_that_failed_is_used_again_when_its_gate_opens() {
    let broken = Arc::new(AtomicBool::new(true));
    let fault = broken.clone();
    let draft = drafter("draft", 1).with_fault(Arc::new(move |_| {
        let broken = fault.load(Ordering::Relaxed);
        broken.then(|| Error::Unavailable("killed".into()))
    }));
    let mut all = levels();
    all[1] = Arc::new(draft);
    let world = World::over(all, limits());
    let calls = world.complete(&request()).await["cascade"]["calls"].take();
    assert_eq!(calls["draft"], 0);
    let health = world.get("/health").await;
    assert_eq!(
        (health.status.as_u16(), &health.body["status"]),
        (200, &json!("degraded"))
    );
    assert_eq!(health.body["levels"][1]["status"], "down");
    broken.store(false, Ordering::Relaxed);
    let gates = world.orchestrator.cascade().gates();
    assert!(gates[1].open(), "it was closed");
    let calls = world.complete(&request()).await["cascade"]["calls"].take();
    assert!(calls["draft"].as_u64() > Some(1), "{calls}");
    assert_eq!(world.get("/health").await.body["status"], "ok");
}

#[tokio::test]
async fn the_first_draft_waits_for_levels_that_read_soon() {
    let mut all = levels();
    let equal = target().describe(|description| description.name = "draft".into());
    all[1] = Arc::new(equal);
    let plan = csd_config::Plan::Matrix {
        k: vec![vec![4, 0, 0], vec![0; 3], vec![0; 3]],
        lenience: 1.0,
        pipelined: false,
    };
    let world = World::with(all, limits(), plan);
    let answer = world.complete(&request()).await;
    assert_eq!(answer["choices"][0], own_text().await);
    // All that the target's equal drafts passes, from the first token on.
    assert_eq!(answer["cascade"]["authors"][0], "draft");
    assert_eq!(answer["cascade"]["calls"]["target"], 60 / 5);
}

#[tokio::test]
async fn a_drafter_that_reads_for_long_is_hardly_waited_for() {
    let mut all = levels();
    all[1] = Arc::new(Held::new(drafter("draft", 1), 0, Arc::default()));
    let world = World::over(all, limits());
    let begun = std::time::Instant::now();
    let answer = world.complete(&request()).await;
    assert!(begun.elapsed() < limits().draft_timeout, "nobody waited");
    assert_eq!(answer["choices"][0], own_text().await);
    assert_eq!(answer["cascade"]["calls"]["draft"], 0);
    assert!(answer["cascade"]["calls"]["mini"].as_u64() > Some(0));
    let gate = &world.orchestrator.cascade().gates()[1];
    assert!(gate.is_open(), "reading long is no failure");
}

#[tokio::test]
async fn a_drafter_that_stalls_costs_one_deadline() {
    let mut all = levels();
    all[1] = Arc::new(Held::new(drafter("draft", 1), 2, Arc::default()));
    let world = World::over(all, limits());
    let begun = std::time::Instant::now();
    let answer = world.complete(&request()).await;
    let deadline = limits().draft_timeout;
    assert!(begun.elapsed() < 2 * deadline, "{:?}", begun.elapsed());
    assert_eq!(answer["choices"][0], own_text().await);
}

#[tokio::test]
async fn a_target_that_dies_ends_the_stream_with_an_error_and_no_done() {
    let mut all = levels();
    all[0] = fails(target(), 3, Error::Unavailable("killed".into()));
    let world = World::over(all, limits());
    let streamed = world.stream(&request()).await;
    assert!(!streamed.done);
    let (last, chunks) = streamed.chunks.split_last().expect("chunks");
    assert_eq!(chunks.len(), 3);
    assert_eq!(last["error"]["code"], "level_unavailable");
    assert!(
        last["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("target"))
    );
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["choices"][0]["finish_reason"].is_null())
    );

    let health = world.get("/health").await;
    assert_eq!(health.status, 503);
    assert_eq!(health.body["levels"][0]["status"], "down");
    let refused = world.post("/v1/completions", request()).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(world.orchestrator.admission().running(), 0);
}

#[tokio::test]
async fn a_target_that_dies_before_the_first_token_has_a_proper_status() {
    for (error, status) in [
        (Error::Unavailable("killed".into()), 503),
        (Error::DeadlineExceeded, 503),
        (Error::Busy { retry_after: LIMIT }, 429),
        (Error::Internal("a bug".into()), 500),
    ] {
        for stream in [false, true] {
            let mut all = levels();
            all[0] = fails(target(), 0, error.clone());
            let world = World::over(all, limits());
            let mut body = request();
            body["stream"] = json!(stream);
            let answer = world.post("/v1/completions", &body).await;
            assert_eq!(answer.status, status, "{error}");
            assert_eq!(answer.headers.contains_key("retry-after"), status != 500);
        }
    }
}

#[tokio::test]
async fn a_level_that_panics_fails_one_request() {
    let mut all = levels();
    let panics: csd_level::scripted::Fault = Arc::new(|call| {
        assert!(call != 2, "planted");
        None
    });
    all[0] = Arc::new(target().with_fault(panics));
    let world = World::over(all, limits());
    let answer = world.post("/v1/completions", request()).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.body["error"]["type"], "server_error");
    assert_eq!(world.orchestrator.admission().running(), 0);
    world.complete(&request()).await;
}

#[tokio::test]
async fn leaving_a_text_ends_what_levels_do_for_it() {
    let released = Arc::new(Notify::new());
    let draft = Arc::new(Held::new(drafter("draft", 1), 0, released.clone()));
    let watched = Arc::downgrade(&draft);
    {
        let levels: Vec<Arc<dyn Level>> = vec![
            Arc::new(Held::new(target(), 1, released.clone())),
            draft,
            Arc::new(drafter("mini", 2)),
            Arc::new(max_gram()),
        ];
        let world = World::over(levels, limits());
        let mut body = request();
        body["stream"] = json!(true);
        let response = world
            .send(crate::world::post("/v1/completions", &body))
            .await;
        assert_eq!(world.orchestrator.admission().running(), 1);
        drop(response);
        assert_eq!(world.orchestrator.admission().running(), 0);
    }
    // The prefill ran in a task of its own; nothing keeps the level once it is aborted.
    let gone = async {
        while watched.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let gone = tokio::time::timeout(std::time::Duration::from_secs(1), gone).await;
    gone.expect("nobody works for a client that left");
}
