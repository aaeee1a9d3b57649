//! `csd bench` with real levels of its own, beside a peer that is none of csd's.

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
};

use common::{csd, errors, finish, text};
use serde_json::Value;

/// A server that writes the same three tokens to everybody, in two events. Returns its URL.
fn peer() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            answer(socket);
        }
    });
    url
}

fn answer(mut socket: TcpStream) {
    let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
    let (mut head, mut length) = (String::new(), 0);
    let mut first = String::new();
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {
        if let Some(value) = head.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if first.is_empty() {
            first.clone_from(&head);
        }
        head.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let (kind, body) = if first.starts_with("GET /v1/models ") {
        (
            "application/json",
            r#"{"object":"list","data":[{"id":"other"}]}"#.to_owned(),
        )
    } else {
        let event = |text: &str| format!("data: {{\"choices\":[{{\"text\":\"{text}\"}}]}}\n\n");
        let usage =
            "data: {\"choices\":[],\"usage\":{\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";
        ("text/event-stream", event("a") + &event(" b c") + usage)
    };
    let _ = write!(
        socket,
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{body}"
    );
}

#[test]
fn arms_are_measured_beside_a_peer() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    let url = format!("other={}", peer());
    let folder = out.display().to_string();
    let output = finish(csd(["bench", "config/tiny.toml"]).args([
        "--arm=target,max-gram,file",
        "--workload=arithmetic",
        "--prompts=8",
        "--max-tokens=8",
        "--url",
        &url,
        "--out",
        &folder,
    ]));
    assert!(output.status.success(), "{}", errors(&output));
    let table = text(&output);
    for part in ["target alone", "Max-Gram alone", "the file's plan", "other"] {
        assert!(table.contains(part), "{part:?} is not in {table}");
    }

    let json = fs::read_to_string(out.join("bench.json")).expect("written");
    let run: Value = serde_json::from_str(&json).expect("JSON");
    let cell = &run["cells"][0];
    assert_eq!(
        (cell["tuned_on"].as_u64(), cell["scored_on"].as_u64()),
        (Some(4), Some(4))
    );
    assert_eq!(cell["differences"], serde_json::json!([]));
    let arms = cell["arms"].as_array().expect("arms");
    assert_eq!(arms.len(), 4);
    for arm in arms {
        let speed = &arm["speed"];
        let [low, mean, high] =
            ["low", "mean", "high"].map(|end| speed[end].as_f64().expect("a number"));
        assert!(0.0 < low && low <= mean && mean <= high, "{arm}");
    }
    let (alone, file, other) = (&arms[0], &arms[2], &arms[3]);
    assert_eq!(alone["to_target"]["mean"], 1.0);
    assert_eq!(alone["swi_ms"], 1.0);
    assert_eq!(
        (alone["tokens"].as_u64(), other["tokens"].as_u64()),
        (Some(32), Some(12))
    );
    assert_eq!(
        (file["same_texts"].as_u64(), other["same_texts"].as_u64()),
        (Some(4), Some(0))
    );
    assert!(file["swi_ms"].as_f64().expect("a number") > 1.0, "{file}");
    assert!(
        file["times"]["levels"]["target"]["each"]
            .as_f64()
            .expect("a number")
            > 0.0
    );
    for picture in ["speeds.svg", "times.svg"] {
        let picture = fs::read_to_string(out.join(picture)).expect("written");
        assert!(picture.starts_with("<svg") && picture.contains("target alone"));
    }
    let markdown = fs::read_to_string(out.join("bench.md")).expect("written");
    assert!(markdown.contains("| reviewer"), "{markdown}");
}

#[test]
fn what_remembered_texts_are_worth_stands_in_a_table_of_its_own() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("memory");
    let folder = out.display().to_string();
    let mut command = csd(["bench", "config/tiny.toml", "--memory"]);
    let output = finish(command.env("CSD_MEMORY_MIB", "1").args([
        "--arm=target",
        // A draft that is long enough for a gain to show; tuning would choose one by the clock.
        "--plan=[[0,0,15],[0,0,0],[0,0,0]]",
        "--workload=code",
        "--prompts=4",
        "--max-tokens=64",
        "--out",
        &folder,
    ]));
    assert!(output.status.success(), "{}", errors(&output));
    assert!(text(&output).contains("With remembered texts"));
    let json = fs::read_to_string(out.join("bench.json")).expect("written");
    let run: Value = serde_json::from_str(&json).expect("JSON");
    let cell = &run["cells"][0];
    assert_eq!(cell["differences"], serde_json::json!([]));
    let gains = cell["memory"].as_array().expect("gains");
    assert_eq!(gains.len(), 2, "the target alone has nothing to gain");
    let calls = |gain: usize, with: usize| {
        let tokens = &gains[gain]["tokens_per_call"][with];
        tokens.as_f64().expect("a number")
    };
    assert_eq!(
        (&gains[1]["arm"], &gains[1]["remembered"]),
        (&"given".into(), &"these texts".into())
    );
    assert_eq!(calls(0, 0), calls(1, 0), "without, nothing has changed");
    assert!(calls(1, 1) > 1.5 * calls(1, 0), "{gains:?}");
    let compared = cell["arms"][1]["tokens_per_call"].as_f64();
    assert_eq!(compared, Some(calls(0, 0)), "nor in the comparison");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let refused = |arguments: &[&str], part: &str| {
        let mut command = csd(["bench"]);
        command
            .args(arguments)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "");
        let output = finish(&mut command);
        assert!(!output.status.success());
        assert!(errors(&output).contains(part), "{}", errors(&output));
    };
    refused(&["--url", "http://127.0.0.1:1"], "nobody answers");
    refused(&["config/emulated-paper.toml"], "--allow-emulation");
    refused(&["--workload", "poetry"], "arithmetic-long");
    refused(&["--memory"], "CSD_MEMORY_MIB");
    refused(&["--workload", "code", "--prompts", "99999"], "not 99999");
    let mut traced = csd(["bench"]);
    traced.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let output = finish(&mut traced);
    assert!(errors(&output).contains("--traced"), "{}", errors(&output));
}
