//! `POST /v1/completions`: what is answered, whole and in pieces.

use std::sync::Arc;

use csd_level::Level;
use serde_json::{Value, json};

use crate::world::{World, target};

const PROMPT: &str = "fn main() {";

fn plans() -> Vec<Value> {
    vec![
        json!("off"),
        json!("paper-mmlu"),
        json!("paper-mmlu-measured"),
        json!("paper-llama"),
        json!("paper-small"),
        json!({"k": [[4, 0, 0], [0, 0, 0], [0, 0, 0]], "lenience": 1}),
        json!({"k": [[0, 0, 6], [0, 0, 0], [0, 0, 0]]}),
        json!({"k": [[4, 2, 4], [0, 3, 2], [0, 0, 2]], "lenience": 3}),
    ]
}

fn request(seed: u64, temperature: f64) -> Value {
    json!({"prompt": PROMPT, "max_tokens": 60, "seed": seed, "temperature": temperature, "return_token_ids": true})
}

#[tokio::test]
async fn every_plan_writes_the_targets_own_text_whole_and_in_pieces() {
    let world = World::new();
    for (seed, temperature) in [(1, 0.0), (2, 0.7), (3, 1.0), (4, 1.0)] {
        let mut body = request(seed, temperature);
        body["cascade"] = json!("off");
        let own = world.complete(&body).await;
        let expected = &own["choices"][0];
        for plan in plans() {
            body["cascade"] = plan;
            let whole = world.complete(&body).await;
            assert_eq!(&whole["choices"][0], expected, "{body}");
            let streamed = world.stream(&body).await;
            assert!(streamed.done);
            let (text, ids, reason) = streamed.joined(0);
            assert_eq!(expected["text"], text);
            assert_eq!(expected["token_ids"], Value::Array(ids));
            assert_eq!(expected["finish_reason"], reason);
        }
    }
}

#[tokio::test]
async fn the_report_says_who_wrote_what() {
    let world = World::new();
    let body = world.complete(&request(1, 0.0)).await;
    let report = &body["cascade"];
    let ids = body["choices"][0]["token_ids"].as_array().expect("ids");
    let authors = report["authors"].as_array().expect("authors");
    assert_eq!(authors.len(), ids.len());
    assert_eq!(body["usage"]["completion_tokens"], ids.len());
    let calls = &report["calls"];
    for level in ["target", "draft", "mini"] {
        assert!(calls[level].as_u64() > Some(0), "{level}: {calls}");
    }
    assert!(calls["maxgram"].is_u64(), "{calls}");
    assert!(calls["target"].as_u64() < Some(ids.len() as u64), "{calls}");
    assert!(authors.iter().any(|author| author != "target"));
    let pairs = report["pairs"].as_array().expect("pairs");
    for pair in pairs {
        let by_position = pair["per_position"].as_array().expect("counts");
        let sum: u64 = by_position.iter().filter_map(Value::as_u64).sum();
        assert_eq!(pair["accepted"], sum, "{pair}");
        assert!(pair["accepted"].as_u64() <= pair["drafted"].as_u64());
    }
    let accepted = pairs.iter().filter(|pair| pair["reviewer"] == "target");
    let accepted: u64 = accepted.filter_map(|pair| pair["accepted"].as_u64()).sum();
    let by_drafters = authors.iter().filter(|&author| author != "target").count();
    assert_eq!(accepted as usize, by_drafters);
    assert_eq!(
        report["plan"]["k"],
        json!([[4, 0, 4], [0, 3, 0], [0, 0, 2]])
    );

    let mut off = request(1, 0.0);
    off["cascade"] = json!("off");
    let report = world.complete(&off).await["cascade"].take();
    assert_eq!(report["plan"]["name"], "off");
    assert_eq!(report["calls"]["draft"], 0);
    assert_eq!(report["calls"]["target"], ids.len());
    assert_eq!(report["pairs"], json!([]));
}

#[tokio::test]
async fn a_prompt_may_be_text_texts_ids_or_lists_of_ids() {
    let world = World::new();
    let ids = world.orchestrator.text().encode(PROMPT).expect("encodes");
    let other = world
        .orchestrator
        .text()
        .encode("use std")
        .expect("encodes");
    let texts = |prompt: Value| {
        let world = &world;
        async move {
            let body = json!({"prompt": prompt, "max_tokens": 8, "temperature": 0});
            let answer = world.complete(&body).await;
            let choices = answer["choices"].as_array().expect("choices").clone();
            let indices = choices.iter().map(|choice| choice["index"].clone());
            assert!(indices.eq((0..choices.len()).map(|index| json!(index))));
            let texts: Vec<Value> = choices
                .iter()
                .map(|choice| choice["text"].clone())
                .collect();
            (texts, answer["usage"]["prompt_tokens"].clone())
        }
    };
    let (one, tokens) = texts(json!(PROMPT)).await;
    assert_eq!(tokens, ids.len());
    assert_eq!(texts(json!([PROMPT])).await.0, one);
    assert_eq!(texts(json!(ids)).await.0, one);
    assert_eq!(texts(json!([ids])).await.0, one);
    let (two, tokens) = texts(json!([PROMPT, "use std"])).await;
    assert_eq!(tokens, ids.len() + other.len());
    assert_eq!(two[0], one[0]);
    assert_eq!(texts(json!([ids, other])).await.0, two);
    assert_eq!(texts(json!([ids, "use std"])).await.0, two);
}

#[tokio::test]
async fn choices_have_seeds_of_their_own_and_come_again() {
    let world = World::new();
    let mut body = request(9, 1.0);
    body["n"] = json!(3);
    let first = world.complete(&body).await;
    let choices = first["choices"].as_array().expect("choices");
    assert_eq!(choices.len(), 3);
    assert_ne!(choices[0]["token_ids"], choices[1]["token_ids"]);
    assert_ne!(choices[1]["token_ids"], choices[2]["token_ids"]);
    assert_eq!(world.complete(&body).await["choices"], first["choices"]);
    let alone = world.complete(&request(9, 1.0)).await;
    assert_eq!(alone["choices"][0], choices[0]);
    let streamed = world.stream(&body).await;
    for (index, choice) in choices.iter().enumerate() {
        let (text, ids, reason) = streamed.joined(index);
        assert_eq!(choice["text"], text);
        assert_eq!(choice["token_ids"], Value::Array(ids));
        assert_eq!(choice["finish_reason"], reason);
    }
    let last = streamed.chunks.last().expect("chunks");
    let authors: usize = choices
        .iter()
        .map(|choice| choice["token_ids"].as_array().map_or(0, Vec::len))
        .sum();
    assert_eq!(
        last["cascade"]["authors"].as_array().map(Vec::len),
        Some(authors)
    );

    body.as_object_mut().expect("an object").remove("seed");
    let (a, b) = (world.complete(&body).await, world.complete(&body).await);
    assert_ne!(
        a["choices"], b["choices"],
        "a seed is drawn when none is given"
    );
}

#[tokio::test]
async fn a_stream_has_a_chunk_a_round_the_report_at_its_end_and_usage_if_asked() {
    let world = World::new();
    let mut body = request(1, 0.0);
    body["stream_options"] = json!({"include_usage": true});
    let events = world.stream(&body).await;
    let (usage, chunks) = events.chunks.split_last().expect("chunks");
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["completion_tokens"].as_u64() > Some(0));
    assert!(chunks.iter().all(|chunk| chunk["usage"].is_null()));
    let (last, before) = chunks.split_last().expect("chunks");
    assert!(before.iter().all(|chunk| chunk.get("cascade").is_none()));
    assert!(
        before
            .iter()
            .all(|chunk| chunk["choices"][0]["finish_reason"].is_null())
    );
    let rounds = last["cascade"]["calls"]["target"].as_u64();
    assert_eq!(Some(chunks.len() as u64), rounds);
    for chunk in chunks {
        let choice = &chunk["choices"][0];
        let ids = choice["token_ids"].as_array().expect("ids");
        assert!(!ids.is_empty());
        for parallel in ["token_texts", "token_authors"] {
            assert_eq!(choice[parallel].as_array().map(Vec::len), Some(ids.len()));
        }
        assert_eq!(chunk["object"], "text_completion");
        assert_eq!(chunk["id"], last["id"]);
    }
    body.as_object_mut()
        .expect("object")
        .remove("stream_options");
    let plain = world.stream(&body).await;
    assert!(
        plain
            .chunks
            .iter()
            .all(|chunk| chunk.get("usage").is_none())
    );
}

#[tokio::test]
async fn stop_strings_end_the_text_before_themselves_wherever_tokens_end() {
    let world = World::new();
    let full = world.complete(&request(5, 1.0)).await;
    let text = full["choices"][0]["text"].as_str().expect("a text");
    let letters: Vec<(usize, char)> = text.char_indices().collect();
    let mut tried = 0;
    for start in (1..letters.len().saturating_sub(6)).step_by(7) {
        let stop: String = letters[start..start + 5].iter().map(|&(_, c)| c).collect();
        if stop.contains('\u{FFFD}') {
            continue;
        }
        tried += 1;
        let expected = &text[..text.find(&stop).expect("it is in there")];
        let mut token_ids = Vec::new();
        for plan in plans() {
            let mut body = request(5, 1.0);
            body["cascade"] = plan;
            body["stop"] = json!(["never in any text", stop]);
            let answer = world.complete(&body).await;
            let choice = &answer["choices"][0];
            assert_eq!(choice["text"], expected, "{stop:?}");
            assert_eq!(choice["finish_reason"], "stop");
            let (streamed, ids, reason) = world.stream(&body).await.joined(0);
            assert_eq!((streamed.as_str(), reason), (expected, json!("stop")));
            assert_eq!(choice["token_ids"], Value::Array(ids.clone()));
            token_ids.push(ids);
        }
        token_ids.dedup();
        assert_eq!(token_ids.len(), 1, "every plan stops at the same token");
    }
    assert!(tried > 5, "the text is too short to say anything: {text:?}");
}

#[tokio::test]
async fn an_end_token_ends_the_text_unless_ignored_and_the_context_always_does() {
    let world = World::new();
    let ends: Vec<Value> = (100..130).map(|id| json!(id)).collect();
    let mut body = request(1, 1.0);
    body["max_tokens"] = json!(1000);
    body["n"] = json!(4);
    let answer = world.complete(&body).await;
    let mut stopped = 0;
    for choice in answer["choices"].as_array().expect("choices") {
        let ids = choice["token_ids"].as_array().expect("ids");
        let ended = ids.iter().position(|id| ends.contains(id));
        if choice["finish_reason"] == "stop" {
            assert_eq!(ended, Some(ids.len() - 1), "the end token is the last");
            stopped += 1;
        }
    }
    assert!(stopped > 0, "no text ended: the test says nothing");
    body["ignore_eos"] = json!(true);
    let prompt = world
        .orchestrator
        .text()
        .encode(PROMPT)
        .expect("encodes")
        .len();
    let answer = world.complete(&body).await;
    for choice in answer["choices"].as_array().expect("choices") {
        let ids = choice["token_ids"].as_array().expect("ids");
        assert_eq!(ids.len() + prompt, 256, "until the context is full");
        assert_eq!(choice["finish_reason"], "length");
    }
}

#[tokio::test]
async fn no_text_ends_before_its_least_length() {
    let world = World::new();
    let mut cut = 0;
    for seed in 0..6 {
        let mut body = request(seed, 1.0);
        body["logit_bias"] = json!({"105": 5}); // an end token
        body["min_tokens"] = json!(40);
        body["cascade"] = json!("off");
        let own = world.complete(&body).await["choices"][0].take();
        body["cascade"] = json!(null);
        assert_eq!(world.complete(&body).await["choices"][0], own);
        let ids = own["token_ids"].as_array().expect("ids");
        assert!(ids.len() >= 40, "{}", ids.len());
        let ends = |id: &&Value| (100..130).contains(&id.as_u64().expect("an id"));
        assert_eq!(ids[..39].iter().filter(ends).count(), 0);
        body["min_tokens"] = json!(null);
        let free = world.complete(&body).await;
        cut += usize::from(free["usage"]["completion_tokens"].as_u64() < Some(40));
    }
    assert!(cut > 0, "no text would have ended before");
}

#[tokio::test]
async fn every_field_of_sampling_reaches_the_levels() {
    let world = World::new();
    let plain = world.complete(&request(1, 1.0)).await["choices"][0]["token_ids"].take();
    let first = plain[0].as_u64().expect("an id");
    let changes = [
        ("top_k", json!(1)),
        ("top_p", json!(0.01)),
        ("min_p", json!(0.99)),
        ("presence_penalty", json!(2.0)),
        ("frequency_penalty", json!(-2.0)),
        ("repetition_penalty", json!(3.0)),
        ("seed", json!(-1)),
        ("logit_bias", json!({first.to_string(): -100})),
        ("rule", json!("rejection")),
    ];
    for (field, value) in changes {
        let mut body = request(1, 1.0);
        body[field] = value;
        let changed = world.complete(&body).await["choices"][0]["token_ids"].take();
        assert_ne!(changed, plain, "{field} changed nothing");
    }
}

#[tokio::test]
async fn a_default_request_is_short_and_accepts_what_has_no_effect() {
    let world = World::new();
    let body = json!({
        "model": "tiny", "prompt": PROMPT, "user": "me", "metadata": {"a": 1}, "store": true,
        "stop": null, "stream": null, "echo": false, "ignore_eos": true,
    });
    let answer = world.complete(&body).await;
    assert_eq!(answer["usage"]["completion_tokens"], 16);
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["model"], "tiny");
    assert!(answer["choices"][0].get("token_ids").is_none());
}

#[tokio::test]
async fn a_cascade_may_be_a_target_alone() {
    let alone: Vec<Arc<dyn Level>> = vec![Arc::new(target())];
    let world = World::with(alone, crate::world::limits(), csd_config::Plan::Off);
    let mut body = request(2, 0.7);
    let answer = world.complete(&body).await;
    body["cascade"] = json!("off");
    let own = World::new().complete(&body).await;
    assert_eq!(answer["choices"], own["choices"]);
    assert_eq!(answer["cascade"]["plan"]["k"], json!([]));
}

#[tokio::test]
async fn a_chat_takes_back_what_it_was_answered() {
    let world = World::new();
    let chat = |answer: Value| {
        let user = json!({"role": "user", "content": "2 + 2?"});
        json!({"messages": [user, answer, user], "max_completion_tokens": 3, "temperature": 0})
    };
    let bare = chat(json!({"role": "assistant", "content": "4"}));
    let whole = chat(json!({
        "role": "assistant", "content": "4", "refusal": null, "tool_calls": null, "audio": null,
    }));
    let [bare, whole] = [
        world.post("/v1/chat/completions", &bare).await,
        world.post("/v1/chat/completions", &whole).await,
    ];
    assert_eq!(whole.status, 200, "{}", whole.body);
    assert_eq!(bare.body["choices"], whole.body["choices"]);
}

#[tokio::test]
async fn chats_go_through_the_models_template() {
    let world = World::new();
    let chat = json!({
        "messages": [{"role": "user", "content": [{"type": "text", "text": "2 + "}, {"type": "text", "text": "2?"}]}],
        "max_completion_tokens": 12, "temperature": 0, "return_token_ids": true,
    });
    let answer = world.post("/v1/chat/completions", &chat).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let raw = json!({
        "prompt": "<|user|>\n2 + 2?\n<|assistant|>\n", "max_tokens": 12, "temperature": 0, "return_token_ids": true,
    });
    let raw = world.complete(&raw).await;
    let choice = &answer.body["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"], raw["choices"][0]["text"]);
    assert_eq!(choice["token_ids"], raw["choices"][0]["token_ids"]);
    assert_eq!(answer.body["object"], "chat.completion");
}
