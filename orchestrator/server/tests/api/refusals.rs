//! What is refused: each with a status and a field that say what to change, and nothing else disturbed.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    http::{Request, header},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::world::{World, post};

fn assert_error(body: &Value) {
    let error = body["error"].as_object().expect("an error object");
    for field in ["message", "type", "param", "code"] {
        assert!(error.contains_key(field), "{field}: {body}");
    }
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty())
    );
}

#[tokio::test]
async fn every_bad_value_is_a_400_that_names_its_field() {
    let world = World::new();
    let (long, zeros) = (vec![5; 256], [[0; 3]; 3]);
    let cases = [
        (json!({"prompt": null}), "prompt"),
        (json!({"prompt": ""}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": [[]]}), "prompt"),
        (json!({"prompt": {}}), "prompt"),
        (json!({"prompt": [1, "a"]}), "prompt"),
        (json!({"prompt": ["a", 1]}), "prompt"),
        (json!({"prompt": [4096]}), "prompt"),
        (json!({"prompt": [[1], [99_999_999_999_u64]]}), "prompt"),
        (json!({"prompt": vec![[1]; 17]}), "prompt"),
        (json!({"prompt": ["a", "b"], "n": 9}), "prompt"),
        (json!({"prompt": [-1]}), "prompt"),
        (json!({"prompt": [1.5]}), "prompt"),
        (json!({"prompt": long}), "prompt"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_tokens": -1}), "max_tokens"),
        (json!({"max_tokens": "many"}), "max_tokens"),
        (json!({"temperature": -0.1}), "temperature"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"temperature": 1e300}), "temperature"),
        (json!({"top_p": 0}), "top_p"),
        (json!({"top_p": 1.01}), "top_p"),
        (json!({"top_k": 0}), "top_k"),
        (json!({"top_k": -1}), "top_k"),
        (json!({"min_p": 2}), "min_p"),
        (json!({"presence_penalty": 3}), "presence_penalty"),
        (json!({"frequency_penalty": -3}), "frequency_penalty"),
        (json!({"repetition_penalty": 0}), "repetition_penalty"),
        (json!({"logit_bias": {"5000": 1}}), "logit_bias"),
        (json!({"logit_bias": {"5": 101}}), "logit_bias"),
        (json!({"logit_bias": {"a": 1}}), "logit_bias"),
        (json!({"logit_bias": [1]}), "logit_bias"),
        (json!({"seed": 1.5}), "seed"),
        (json!({"stop": ""}), "stop"),
        (json!({"stop": [1]}), "stop"),
        (json!({"stop": vec!["x"; 17]}), "stop"),
        (json!({"stop": "x".repeat(1025)}), "stop"),
        (json!({"n": 0}), "n"),
        (json!({"n": 17}), "n"),
        (json!({"stream": 1}), "stream"),
        (
            json!({"stream_options": {"include_usage": true}}),
            "stream_options",
        ),
        (
            json!({"stream": true, "stream_options": {"x": 1}}),
            "stream_options.x",
        ),
        (json!({"ignore_eos": "yes"}), "ignore_eos"),
        (json!({"return_token_ids": 1}), "return_token_ids"),
        (json!({"rule": "magic"}), "rule"),
        (
            json!({"rule": "rejection", "cascade": "paper-mmlu"}),
            "cascade.lenience",
        ),
        (json!({"best_of": 2}), "best_of"),
        (json!({"tools": []}), "tools"),
        (json!({"temprature": 1}), "temprature"),
        (json!({"cascade": "paper-gpt"}), "cascade"),
        (json!({"cascade": 1}), "cascade"),
        (json!({"cascade": {}}), "cascade.k"),
        (json!({"cascade": {"k": [[1]]}}), "cascade.k"),
        (
            json!({"cascade": {"k": [[1, 2, 3], [0, 1, 2]]}}),
            "cascade.k",
        ),
        (
            json!({"cascade": {"k": [[1, 2, 3], [0, 1, 2], [0, 0]]}}),
            "cascade.k",
        ),
        (
            json!({"cascade": {"k": [[1, 2, 3], [1, 1, 2], [0, 0, 1]]}}),
            "cascade.k",
        ),
        (
            json!({"cascade": {"k": [[1, -2, 3], [0, 1, 2], [0, 0, 1]]}}),
            "cascade.k",
        ),
        (
            json!({"cascade": {"k": [[1, 2.5, 3], [0, 1, 2], [0, 0, 1]]}}),
            "cascade.k",
        ),
        (
            json!({"cascade": {"k": [[1, 2, 9_999_999], [0, 1, 2], [0, 0, 1]]}}),
            "cascade.k",
        ),
        (json!({"cascade": {"k": 3}}), "cascade.k"),
        (
            json!({"cascade": {"k": zeros, "lenience": 0.5}}),
            "cascade.lenience",
        ),
        (
            json!({"cascade": {"k": zeros, "lenience": "loose"}}),
            "cascade.lenience",
        ),
        (
            json!({"cascade": {"k": zeros, "depth": 1}}),
            "cascade.depth",
        ),
    ];
    for (change, param) in cases {
        let mut body = json!({"prompt": "fn main() {"});
        for (field, value) in change.as_object().expect("an object") {
            body[field] = value.clone();
        }
        let answer = world.post("/v1/completions", &body).await;
        assert_eq!(answer.status, 400, "{change}: {}", answer.body);
        assert_error(&answer.body);
        assert_eq!(
            answer.body["error"]["param"], param,
            "{change}: {}",
            answer.body
        );
        assert_eq!(answer.body["error"]["type"], "invalid_request_error");
    }
    assert_eq!(world.orchestrator.admission().running(), 0);
    world.complete(&json!({"prompt": "fn main() {"})).await;
}

#[tokio::test]
async fn a_prompt_that_leaves_no_room_says_how_much_there_is() {
    let world = World::new();
    let body = json!({"prompt": vec![5; 300]});
    let answer = world.post("/v1/completions", &body).await;
    assert_eq!(answer.body["error"]["code"], "context_length_exceeded");
    let message = answer.body["error"]["message"].as_str().expect("a text");
    assert!(
        message.contains("300") && message.contains("256"),
        "{message}"
    );
}

#[tokio::test]
async fn a_refused_stream_is_an_answer_and_no_stream() {
    let world = World::new();
    let body = json!({"prompt": [4096], "stream": true});
    let answer = world.post("/v1/completions", &body).await;
    assert_eq!(answer.status, 400);
    assert_error(&answer.body);
}

#[tokio::test]
async fn malformed_bodies_are_located() {
    let world = World::new();
    for body in [
        "",
        "{",
        "{\"prompt\": \"a\",}",
        "[]",
        "\"a\"",
        "\u{0}",
        "{\"prompt\": 1e999}",
    ] {
        let answer = world.post("/v1/completions", body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        assert_error(&answer.body);
    }
    let answer = world
        .post("/v1/completions", "{\"prompt\": \"a\",\n x}")
        .await;
    let message = answer.body["error"]["message"].as_str().expect("a text");
    assert!(message.contains("line 2 column 2"), "{message}");
    let deep = "[".repeat(10_000);
    let answer = world
        .post("/v1/completions", format!("{{\"prompt\": {deep}"))
        .await;
    assert_eq!(answer.status, 400);
    let broken = Request::post("/v1/completions")
        .body(Body::from(vec![b'{', 0xff, 0xfe]))
        .expect("valid");
    assert_eq!(world.read(broken).await.status, 400);
}

#[tokio::test]
async fn bodies_have_a_size_and_a_type() {
    let world = World::new();
    let large = json!({"prompt": "a".repeat(1 << 17)});
    let answer = world.post("/v1/completions", &large).await;
    assert_eq!(answer.status, 413);
    assert_error(&answer.body);
    for (kind, status) in [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
    ] {
        let request = Request::post("/v1/completions")
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from("{\"prompt\": \"a\", \"max_tokens\": 1}"));
        let answer = world.read(request.expect("valid")).await;
        assert_eq!(answer.status, status, "{kind}: {}", answer.body);
        if status != 200 {
            assert_error(&answer.body);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let world = World::new();
    let begun = tokio::time::Instant::now();
    for path in ["/v1/completions", "/v1/chat/completions"] {
        // It trickles in: a part every second, without an end.
        let parts = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(" "), ()))
        });
        let request = Request::post(path).body(Body::from_stream(parts));
        let answer = world.app.clone().oneshot(request.expect("valid")).await;
        let answer = answer.expect("infallible");
        assert_eq!(answer.status(), 408);
        assert_eq!(answer.headers()[header::CONNECTION], "close");
    }
    assert!(begun.elapsed() < Duration::from_secs(130));
}

#[tokio::test]
async fn unknown_models_paths_and_methods() {
    let world = World::new();
    let body = json!({"model": "gpt-4", "prompt": "a"});
    let answer = world.post("/v1/completions", &body).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.body["error"]["param"], "model");
    assert_eq!(answer.body["error"]["code"], "model_not_found");
    let answer = world.get("/v1/models/gpt-4").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    let answer = world.get("/v2/completions").await;
    assert_eq!(answer.status, 404);
    assert_error(&answer.body);
    let answer = world.get("/v1/completions").await;
    assert_eq!(answer.status, 405);
    assert_error(&answer.body);
    assert_eq!(answer.headers[header::ALLOW], "POST");
}

#[tokio::test]
async fn models_are_listed_and_requests_are_numbered() {
    let world = World::new();
    let answer = world.get("/v1/models").await;
    assert_eq!(answer.body["data"][0]["id"], "tiny");
    assert_eq!(
        world.get("/v1/models/tiny").await.body,
        answer.body["data"][0]
    );
    assert!(answer.headers.contains_key("x-request-id"));
    let mut request = post("/v1/completions", "{}");
    let id = "mine".parse().expect("a header");
    request.headers_mut().insert("x-request-id", id);
    assert_eq!(world.read(request).await.headers["x-request-id"], "mine");
}

#[tokio::test]
async fn chats_name_the_message_at_fault() {
    let world = World::new();
    let user = json!({"role": "user", "content": "hi"});
    let cases = [
        (json!(null), "messages"),
        (json!([]), "messages"),
        (json!("hi"), "messages"),
        (json!([user, 1]), "messages[1]"),
        (json!([{"content": "hi"}]), "messages[0].role"),
        (json!([{"role": "user"}]), "messages[0].content"),
        (
            json!([{"role": "user", "content": [{"type": "image_url"}]}]),
            "messages[0].content",
        ),
        (
            json!([{"role": "user", "content": "", "tool_calls": []}]),
            "messages[0].tool_calls",
        ),
    ];
    for (messages, param) in cases {
        let answer = world
            .post("/v1/chat/completions", json!({"messages": messages}))
            .await;
        assert_eq!(answer.status, 400, "{messages}");
        assert_eq!(answer.body["error"]["param"], param, "{}", answer.body);
    }
}
