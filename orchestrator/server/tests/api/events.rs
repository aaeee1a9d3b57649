//! `"cascade_events": true`: where tokens and milliseconds came from.

use std::sync::Arc;

use csd_level::{Error, Level};
use serde_json::{Value, json};

use crate::world::{World, drafter, levels, limits, max_gram, target};

fn request() -> Value {
    json!({
        "prompt": "fn main() {", "max_tokens": 60, "seed": 1, "temperature": 0, "ignore_eos": true,
        "return_token_ids": true, "cascade_events": true,
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn of<'a>(calls: &'a [Value], level: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
    calls.iter().filter(move |call| call["level"] == level)
}

/// The calls of all chunks, checked chunk by chunk against the tokens.
fn calls(chunks: &[Value]) -> Vec<Value> {
    let mut all = Vec::new();
    for chunk in chunks {
        let choice = &chunk["choices"][0];
        let (authors, events) = (list(&choice["token_authors"]), &choice["events"]);
        let tokens = list(&events["tokens"]);
        assert_eq!(tokens.len(), authors.len());
        for (token, author) in tokens.iter().zip(authors) {
            let reviewers = list(&token["reviewers"]);
            let expected = (author != "target").then(|| json!("target"));
            assert_eq!(reviewers.last(), expected.as_ref(), "{token} of {author}");
            assert!(!reviewers.contains(author), "{token} of {author}");
            let probability = token["probability"].as_f64().expect("a number");
            assert!((0.0..=1.0).contains(&probability), "{token}");
        }
        let calls = list(&events["calls"]);
        let reviews: Vec<_> = of(calls, "target").collect();
        assert_eq!(reviews.len(), 1, "one review by the target a round");
        let by_drafters = authors.iter().filter(|&author| author != "target").count();
        assert_eq!(reviews[0]["accepted"], by_drafters, "{}", reviews[0]);
        all.extend_from_slice(calls);
    }
    all
}

#[tokio::test]
async fn every_round_says_who_did_what_when() {
    let world = World::new();
    let streamed = world.stream(&request()).await;
    let calls = calls(&streamed.chunks);
    let report = &streamed.chunks.last().expect("chunks")["cascade"];
    assert_eq!(report["calls"]["target"], of(&calls, "target").count());
    for level in ["draft", "mini", "maxgram"] {
        assert!(of(&calls, level).count() > 0, "{level}");
    }
    for call in &calls {
        let (start, end) = (call["start_ms"].as_f64(), call["end_ms"].as_f64());
        assert!(Some(0.0) <= start && start <= end, "{call}");
        assert!(
            call["accepted"].as_u64() <= call["drafted"].as_u64(),
            "{call}"
        );
        let review = call["what"] == "verify";
        assert!(call["forwards"].as_u64() >= Some(1), "{call}");
        assert_eq!(call["accepted"].is_u64(), review, "{call}");
    }
    let mut before = 0.0;
    for call in of(&calls, "target") {
        assert!(
            call["start_ms"].as_f64() >= Some(before),
            "rounds follow each other"
        );
        before = call["end_ms"].as_f64().expect("a time");
    }
}

#[tokio::test]
async fn events_change_no_text_and_come_only_when_asked_for() {
    let world = World::new();
    let mut body = request();
    body["n"] = json!(2);
    let watched = world.complete(&body).await;
    body["cascade_events"] = json!(false);
    let plain = world.complete(&body).await;
    for (watched, plain) in list(&watched["choices"])
        .iter()
        .zip(list(&plain["choices"]))
    {
        assert_eq!(watched["token_ids"], plain["token_ids"]);
        let tokens = list(&watched["events"]["tokens"]);
        assert_eq!(tokens.len(), list(&plain["token_ids"]).len());
        assert!(!list(&watched["events"]["calls"]).is_empty());
        assert!(plain.get("events").is_none());
    }
    body["n"] = json!(1);
    for chunk in world.stream(&body).await.chunks {
        assert!(chunk["choices"][0].get("events").is_none(), "{chunk}");
    }
}

#[tokio::test]
async fn a_call_that_failed_is_shown_and_steps_over_the_level_for_all() {
    let broken = drafter("draft", 1).with_fault(Arc::new(|call| {
        (call > 0).then(|| Error::Internal("broken".into()))
    }));
    let over: Vec<Arc<dyn Level>> = vec![
        Arc::new(target()),
        Arc::new(broken),
        Arc::new(drafter("mini", 2)),
        Arc::new(max_gram()),
    ];
    let world = World::over(over, limits());
    let streamed = world.stream(&request()).await;
    let calls = calls(&streamed.chunks);
    let failed: Vec<_> = calls
        .iter()
        .filter(|call| call.get("error").is_some())
        .collect();
    assert_eq!(failed.len(), 1, "one failure closes the gate: {failed:?}");
    assert_eq!(failed[0]["level"], "draft");
    assert!(
        failed[0]["error"]
            .as_str()
            .is_some_and(|why| why.contains("broken"))
    );
    assert!(!world.orchestrator.cascade().gates()[1].is_open());
    let whole = World::over(levels(), limits()).stream(&request()).await;
    assert_eq!(streamed.joined(0), whole.joined(0), "the same text");
}

#[tokio::test]
async fn models_say_their_levels_and_the_plans_that_fit() {
    let world = World::new();
    let answer = world.get("/v1/models").await;
    let cascade = &answer.body["data"][0]["cascade"];
    let names = list(&cascade["levels"]).iter();
    let names: Vec<_> = names.filter_map(|level| level["name"].as_str()).collect();
    assert_eq!(names, world.orchestrator.names());
    assert_eq!(cascade["levels"][0]["kind"], "neural");
    assert_eq!(cascade["levels"][3]["kind"], "statistical");
    for plan in list(&cascade["plans"]) {
        let mut body = request();
        body["cascade"] = plan.clone();
        assert_eq!(
            world.complete(&body).await["cascade"]["plan"]["name"],
            *plan
        );
    }
    let mut body = request();
    let same = world.complete(&body).await["cascade"]["plan"].take();
    assert_eq!(cascade["plan"], same);
    body["cascade_events"] = json!(1);
    let refused = world.post("/v1/completions", &body).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.body["error"]["param"], "cascade_events");
}
