//! The compose file and the Dockerfile themselves: built, started, asked through the published port, disturbed, taken down.
//!
//! It builds an image and takes minutes, so it is asked for by name:
//!
//! ```sh
//! cargo test --test compose -- --ignored
//! CSD_TEST_KEEP=1 cargo test --test compose -- --ignored     # keeps the images: the next run is short
//! ```

mod confined;
mod drafters;
mod image;
mod observed;
mod replicas;
mod secured;

use std::sync::LazyLock;

use csd_tests::{
    Client, Stream, Up,
    containers::{Stack, engine_runs},
    ids, prompts, skipped,
};
use serde_json::{Value, json};

/// Where the profile observability takes traces.
const COLLECTOR: &str = "http://jaeger:4317";

/// Long enough to be disturbed in the middle, on a target that has half a core.
fn body() -> Value {
    let prompt = prompts::many(1).expect("prompts").remove(0);
    json!({"prompt": prompt, "max_tokens": 600, "temperature": 0.7, "seed": 5, "ignore_eos": true,
           "cascade": {"k": [[6, 4, 4], [0, 4, 2], [0, 0, 4]]}})
}

/// The target's own text, written without drafters and without containers.
static EXPECTED: LazyLock<(Vec<u32>, String)> = LazyLock::new(|| {
    let up = Up::start("config/tiny.toml").expect("the cascade comes up");
    let mut body = body();
    body["cascade"] = json!("off");
    body["return_token_ids"] = json!(true);
    let choice = &up.complete(&body).expect("an answer")["choices"][0];
    (
        ids(&choice["token_ids"]),
        choice["text"].as_str().expect("a text").to_owned(),
    )
});

/// Streams the text and compares it; `seen` is called with the number of each event and may disturb things.
fn equal(client: &Client, when: &str, mut seen: impl FnMut(usize)) -> Stream {
    let stream = client.stream(&body(), |chunk, _| seen(chunk));
    let stream = stream.expect("a stream");
    assert!(stream.done, "{when}: {:?}", stream.error);
    let (ids, text) = &*EXPECTED;
    assert_eq!((&stream.token_ids, &stream.text), (ids, text), "{when}");
    stream
}

#[test]
#[ignore = "builds an image and runs containers for minutes: cargo test --test compose -- --ignored"]
fn a_cascade_in_containers_writes_the_same_text_whatever_happens() {
    if !engine_runs() {
        skipped("no Docker engine answers, so the compose file was not run");
        return;
    }
    LazyLock::force(&EXPECTED);
    let settings = [
        ("CSD_TARGET_CPUS", "0.5"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", COLLECTOR),
    ];
    let more = ["jaeger", "prometheus"];
    let mut stack = Stack::start(&more, &settings).expect("the compose file comes up");
    image::check(&stack);
    confined::check(&stack);
    drafters::check(&stack);
    stack.up().expect("all are healthy again");
    observed::check(&stack);
    replicas::check(&mut stack);
    secured::check(&mut stack);
}
