//! What the target thinks of each token, and prompts given back.

use std::sync::Arc;

use csd_level::{Level, Logprobs, Token};
use serde_json::{Value, json};

use crate::world::{World, drafter, events, limits, plan, target};

const PROMPT: &str = "<|user|>\nfn main() { 🦀 }";

/// A number as it was before it was written with more digits than it has.
fn number(value: &Value) -> Option<f32> {
    value.as_f64().map(|number| number as f32)
}

fn numbers(value: &Value) -> Vec<Option<f32>> {
    let list = value.as_array().expect("a list");
    list.iter().map(number).collect()
}

fn ids(value: &Value) -> Vec<Token> {
    let list = value.as_array().expect("a list");
    list.iter()
        .map(|id| id.as_u64().expect("an id") as Token)
        .collect()
}

/// The scripted target's own, straight from its logits.
fn own(text: &[Token], from: usize, alternatives: usize) -> Vec<Logprobs> {
    let at = |position: usize| {
        let logits = target().logits(&text[..position]);
        Logprobs::of(&logits, text[position], alternatives)
    };
    (from..text.len()).map(at).collect()
}

/// The lists of all chunks of a stream, joined.
fn joined(chunks: &[Value]) -> Value {
    let mut whole =
        json!({"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []});
    for choice in chunks.iter().flat_map(|chunk| chunk["choices"].as_array()) {
        for (name, list) in whole.as_object_mut().expect("an object") {
            let more = choice[0]["logprobs"][name].as_array().expect("a list");
            list.as_array_mut().expect("a list").extend(more.clone());
        }
    }
    whole
}

#[tokio::test]
async fn they_are_the_targets_raw_ones_through_every_plan_whole_and_in_pieces() {
    let world = World::new();
    let prompt = world.orchestrator.text().encode(PROMPT).expect("encodes");
    for plan in [json!("off"), json!("paper-mmlu"), json!(null)] {
        let body = json!({
            "prompt": PROMPT, "max_tokens": 40, "seed": 5, "temperature": 0.9, "frequency_penalty": 1.0, "logit_bias": {"7": 5},
            "top_p": 0.8, "logprobs": 3, "return_token_ids": true, "ignore_eos": true, "cascade": plan,
        });
        let whole = world.complete(&body).await;
        let choice = &whole["choices"][0];
        let logprobs = &choice["logprobs"];
        let written = ids(&choice["token_ids"]);
        let text = [&prompt[..], &written].concat();
        let expected = own(&text, prompt.len(), 3);
        let said = numbers(&logprobs["token_logprobs"]);
        assert_eq!(said.len(), 40);
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(said[index], Some(expected.token));
            let top = logprobs["top_logprobs"][index].as_object().expect("a map");
            let spelling = |token| world.orchestrator.text().spelling(token);
            for &(token, logprob) in &expected.top {
                assert_eq!(number(&top[&spelling(token)]), Some(logprob));
            }
            let own = number(&top[&spelling(written[index])]);
            assert_eq!(own, Some(expected.token));
            assert!((3..=4).contains(&top.len()), "{top:?}");
            assert_eq!(logprobs["tokens"][index], spelling(written[index]));
        }
        let offsets = numbers(&logprobs["text_offset"]);
        let length = choice["text"].as_str().expect("a text").chars().count();
        assert_eq!((offsets[0], offsets.len()), (Some(0.0), 40));
        assert!(offsets.is_sorted() && offsets[39] <= Some(length as f32));

        let streamed = world.stream(&body).await;
        assert_eq!(&joined(&streamed.chunks), logprobs);
    }
}

#[tokio::test]
async fn an_echo_gives_the_prompt_back_and_scores_it() {
    let world = World::new();
    let prompt = world.orchestrator.text().encode(PROMPT).expect("encodes");
    let body = json!({"prompt": [prompt], "max_tokens": 6, "echo": true, "logprobs": 2, "seed": 1, "return_token_ids": true});
    let whole = world.complete(&body).await;
    let choice = &whole["choices"][0];
    let text = choice["text"].as_str().expect("a text");
    assert!(text.starts_with(PROMPT), "{text:?}");
    let logprobs = &choice["logprobs"];
    let tokens = [&prompt[..], &ids(&choice["token_ids"])].concat();
    let said = numbers(&logprobs["token_logprobs"]);
    assert_eq!((said.len(), said[0]), (tokens.len(), None));
    assert_eq!(logprobs["top_logprobs"][0], json!(null));
    for (said, expected) in said[1..].iter().zip(own(&tokens, 1, 2)) {
        assert_eq!(*said, Some(expected.token));
    }
    // An offset counts characters, not bytes, of prompt and text together.
    let offsets = numbers(&logprobs["text_offset"]);
    assert_eq!(offsets[0], Some(0.0));
    assert_eq!(offsets[1], Some("<|user|>".len() as f32));
    assert_eq!(offsets[prompt.len()], Some(PROMPT.chars().count() as f32));
    assert_eq!(whole["usage"]["prompt_tokens"], prompt.len());

    let streamed = world.stream(&body).await;
    assert_eq!(&joined(&streamed.chunks), logprobs);
    assert_eq!(streamed.joined(0).0, text);
}

#[tokio::test]
async fn a_prompt_alone_is_scored_without_a_token_written() {
    let world = World::new();
    let body = json!({"prompt": [PROMPT, "let x = 1;"], "max_tokens": 0, "echo": true, "logprobs": 0, "n": 2});
    let whole = world.complete(&body).await;
    let choices = whole["choices"].as_array().expect("choices");
    assert_eq!(choices.len(), 4);
    for (choice, prompt) in choices
        .iter()
        .zip([PROMPT, PROMPT, "let x = 1;", "let x = 1;"])
    {
        assert_eq!(choice["text"], prompt);
        assert_eq!(choice["finish_reason"], "length");
        let tokens = world.orchestrator.text().encode(prompt).expect("encodes");
        let said = numbers(&choice["logprobs"]["token_logprobs"]);
        let own = own(&tokens, 1, 0).into_iter().map(|own| Some(own.token));
        assert!(said.into_iter().skip(1).eq(own));
    }
    assert_eq!(whole["usage"]["completion_tokens"], 0);
    assert_eq!(whole["cascade"]["calls"]["target"], 4);

    let silent = json!({"prompt": PROMPT, "max_tokens": 0, "echo": true});
    let silent = world.complete(&silent).await;
    assert_eq!(silent["choices"][0]["text"], PROMPT);
    assert_eq!(silent["choices"][0]["logprobs"], json!(null));
    assert_eq!(silent["cascade"]["calls"]["target"], 0);
}

#[tokio::test]
async fn a_long_prompt_is_scored_in_pieces() {
    let long = target().describe(|description| description.context = 2048);
    let levels: Vec<Arc<dyn Level>> = vec![Arc::new(long), Arc::new(drafter("draft", 1))];
    let plan = csd_config::Plan::Matrix {
        k: vec![vec![4]],
        lenience: 1.0,
        pipelined: false,
    };
    let world = World::with(levels, limits(), plan);
    let tokens: Vec<Token> = (0..1300).map(|i| i * 7 % 3900 + 130).collect();
    let body = json!({"prompt": tokens, "max_tokens": 0, "echo": true, "logprobs": 1});
    let whole = world.complete(&body).await;
    assert_eq!(whole["cascade"]["calls"]["target"], 3);
    let said = numbers(&whole["choices"][0]["logprobs"]["token_logprobs"]);
    let own = own(&tokens, 1, 1).into_iter().map(|own| Some(own.token));
    assert!(said.into_iter().skip(1).eq(own));
}

#[tokio::test]
async fn chats_have_a_form_of_their_own() {
    let world = World::new();
    let mut body = json!({
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "max_completion_tokens": 12, "temperature": 0, "logprobs": true, "top_logprobs": 4, "ignore_eos": true,
    });
    let whole = world.post("/v1/chat/completions", &body).await.body;
    let content = whole["choices"][0]["logprobs"]["content"]
        .as_array()
        .expect("a list");
    assert_eq!(content.len(), 12);
    for entry in content {
        let top = entry["top_logprobs"].as_array().expect("a list");
        assert_eq!(top.len(), 4);
        // At temperature 0 the most likely token is the one.
        for field in ["token", "logprob", "bytes"] {
            assert_eq!(entry[field], top[0][field], "{entry}");
        }
        let spelled = entry["token"].as_str().expect("a text");
        assert!(entry["bytes"].is_null() || entry["bytes"] == json!(spelled.as_bytes()));
    }
    body["stream"] = json!(true);
    let streamed = world.post("/v1/chat/completions", &body).await.body;
    let streamed = events(streamed.as_str().expect("events"));
    let pieces = streamed.chunks.iter().flat_map(|chunk| {
        chunk["choices"][0]["logprobs"]["content"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    });
    assert!(pieces.eq(content.iter().cloned()));

    body["stream"] = json!(false);
    body["top_logprobs"] = json!(null);
    let plain = world.post("/v1/chat/completions", &body).await.body;
    assert_eq!(
        plain["choices"][0]["logprobs"]["content"][0]["top_logprobs"],
        json!([])
    );
    body["logprobs"] = json!(null);
    let none = world.post("/v1/chat/completions", &body).await.body;
    assert_eq!(none["choices"][0]["logprobs"], json!(null));
}

#[tokio::test]
async fn wrong_wishes_are_refused_by_name() {
    let world = World::with(crate::world::levels(), limits(), plan());
    let messages = json!([{"role": "user", "content": "hi"}]);
    for (path, change, param) in [
        ("/v1/completions", json!({"logprobs": 21}), "logprobs"),
        ("/v1/completions", json!({"logprobs": true}), "logprobs"),
        ("/v1/completions", json!({"echo": 1}), "echo"),
        (
            "/v1/completions",
            json!({"echo": false, "max_tokens": 0}),
            "max_tokens",
        ),
        ("/v1/completions", json!({"min_tokens": 17}), "min_tokens"),
        ("/v1/chat/completions", json!({"logprobs": 3}), "logprobs"),
        (
            "/v1/chat/completions",
            json!({"top_logprobs": 3}),
            "top_logprobs",
        ),
        (
            "/v1/chat/completions",
            json!({"logprobs": true, "top_logprobs": 21}),
            "top_logprobs",
        ),
        ("/v1/chat/completions", json!({"echo": true}), "echo"),
    ] {
        let mut body = match path {
            "/v1/completions" => json!({"prompt": "a"}),
            _ => json!({"messages": messages}),
        };
        for (field, value) in change.as_object().expect("an object") {
            body[field] = value.clone();
        }
        let answer = world.post(path, &body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["error"]["param"]),
            (400, &json!(param)),
            "{change}"
        );
    }
}
