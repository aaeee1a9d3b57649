//! A level with several workers: one may be killed in the middle of a stream, and the text is still the target's own.

use std::time::Duration;

use csd_tests::{Up, Worker, ids, process, prompts, worker::changed};
use serde_json::{Value, json};

/// Nothing takes longer to be noticed.
const SOON: Duration = Duration::from_secs(20);

const CASCADE: &str = "config/tiny.toml";

fn body(seed: usize) -> Value {
    let prompt = prompts::many(1).expect("prompts").remove(0);
    json!({"prompt": prompt, "max_tokens": 160, "temperature": 0.7, "seed": seed, "ignore_eos": true,
           "cascade": {"k": [[6, 4, 4], [0, 4, 2], [0, 0, 4]]}})
}

fn alone(up: &Up, seed: usize) -> Vec<u32> {
    let mut body = body(seed);
    body["cascade"] = json!("off");
    body["return_token_ids"] = json!(true);
    ids(&up.complete(&body).expect("an answer")["choices"][0]["token_ids"])
}

/// A cascade whose level `name` is at these places.
fn placed(name: &str, workers: &[&Worker]) -> String {
    let addresses: Vec<_> = workers.iter().map(|worker| &worker.address).collect();
    let level = format!("name = \"{name}\"\n");
    let there = format!("{level}address = {addresses:?}\n");
    changed(CASCADE, name, &[(&level, &there)]).expect("a cascade file")
}

/// Streams a text and kills the one of `workers` that writes it, in the middle; which one that was.
fn killed_in_mid_stream(up: &Up, workers: &[Worker]) -> usize {
    let computed = || workers.iter().map(|worker| process::computed(worker.pid()));
    let expected = alone(up, 5);
    let (mut before, mut victim) = (Vec::new(), None);
    let stream = up.stream(&body(5), |chunk, _| match chunk {
        0 => before = computed().collect(),
        5 => {
            let worked = computed().zip(&before).map(|(now, before)| now - *before);
            let busiest = worked.enumerate().max_by_key(|(_, worked)| *worked);
            let (busiest, _) = busiest.expect("there are workers");
            workers[busiest].kill().expect("it ran");
            victim = Some(busiest);
        }
        _ => {}
    });
    let stream = stream.expect("a stream");
    assert!(stream.done, "{:?}", stream.error);
    assert_eq!(stream.token_ids, expected);
    victim.expect("the stream was long enough")
}

fn replica(up: &Up, level: usize, index: usize) -> String {
    let (_, health) = up.get("/health").expect("health");
    let health: Value = serde_json::from_str(&health).expect("JSON");
    let status = &health["levels"][level]["replicas"][index]["status"];
    status.as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_killed_target_of_two_leaves_the_text_equal() {
    let mut workers = [
        Worker::start(CASCADE, "target", &[]).expect("a worker"),
        Worker::start(CASCADE, "target", &[]).expect("a worker"),
    ];
    let cascade = placed("target", &[&workers[0], &workers[1]]);
    let up = Up::start(&cascade).expect("the cascade comes up");
    for _ in 0..3 {
        let victim = killed_in_mid_stream(&up, &workers);
        let noticed = process::wait(SOON, || replica(&up, 0, victim) == "down");
        assert!(noticed, "its stream went on elsewhere, and yet it is up");
        let (status, health) = up.get("/health").expect("health");
        assert_eq!(status, 200, "{health}");
        let listen = workers[victim].address.replace("http://", "");
        workers[victim] = Worker::start(CASCADE, "target", &["--listen", &listen])
            .expect("it comes back at its address");
        let back = process::wait(SOON, || replica(&up, 0, victim) == "up");
        assert!(back, "it came back but is not used");
    }
}

#[test]
fn a_killed_drafter_of_two_leaves_the_text_equal() {
    let workers = [
        Worker::start(CASCADE, "draft", &[]).expect("a worker"),
        Worker::start(CASCADE, "draft", &[]).expect("a worker"),
    ];
    let cascade = placed("draft", &[&workers[0], &workers[1]]);
    let up = Up::start(&cascade).expect("the cascade comes up");
    killed_in_mid_stream(&up, &workers);
    let stream = up.stream(&body(5), |_, _| ()).expect("a stream");
    assert_eq!(stream.token_ids, alone(&up, 5));
    assert!(
        stream.cascade["calls"]["draft"].as_u64() > Some(0),
        "the other one drafts: {}",
        stream.cascade["calls"]
    );
}
