//! Bad input gets a clear error that names the thing, and disturbs nothing else.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use csd_tests::{Client, Up, ids};
use serde_json::json;

#[test]
fn bad_requests_are_refused_by_name() {
    let up = Up::start("config/tiny.toml").expect("the cascade comes up");
    let good =
        json!({"prompt": "fn main", "max_tokens": 8, "temperature": 0, "return_token_ids": true});
    let before = ids(&up.complete(&good).expect("an answer")["choices"][0]["token_ids"]);
    let long = vec![5; 4000];
    let cases = [
        (
            json!({"prompt": "x", "temperature": -1}),
            400,
            "temperature",
        ),
        (
            json!({"prompt": "x", "temperature": "hot"}),
            400,
            "temperature",
        ),
        (json!({"prompt": "x", "top_p": 0}), 400, "top_p"),
        (json!({"prompt": "x", "max_tokens": -1}), 400, "max_tokens"),
        (json!({"prompt": "x", "surprise": 1}), 400, "surprise"),
        (json!({"prompt": [99999]}), 400, "prompt"),
        (json!({"prompt": long}), 400, "prompt"),
        (json!({"prompt": ""}), 400, "prompt"),
        (json!({"max_tokens": 4}), 400, "prompt"),
        (
            json!({"prompt": "x", "cascade": "paper-nothing"}),
            400,
            "cascade",
        ),
        (
            json!({"prompt": "x", "cascade": {"k": [[1]]}}),
            400,
            "cascade.k",
        ),
        (
            json!({"prompt": "x", "cascade": {"k": [[-1, 0, 0], [0, 0, 0], [0, 0, 0]]}}),
            400,
            "cascade.k",
        ),
        (
            json!({"prompt": "x", "cascade": {"k": [[1, 0, 0], [1, 0, 0], [0, 0, 0]]}}),
            400,
            "cascade.k",
        ),
        (
            json!({"prompt": "x", "cascade": {"k": [[1, 0, 0], [0, 0, 0], [0, 0, 0]], "lenience": 0.5}}),
            400,
            "cascade.lenience",
        ),
        (
            json!({"prompt": "x", "logit_bias": {"99999": 1}}),
            400,
            "logit_bias",
        ),
        (json!({"prompt": "x", "model": "nobody"}), 404, "model"),
    ];
    for (body, status, param) in cases {
        let (got, answer) = up
            .post("/v1/completions", &body.to_string())
            .expect("an answer");
        assert_eq!(got, status, "{body} → {answer}");
        assert_eq!(answer["error"]["param"], param, "{answer}");
        assert!(
            answer["error"]["message"]
                .as_str()
                .is_some_and(|message| message.len() > 10),
            "{answer}"
        );
    }
    let (status, answer) = up
        .post("/v1/completions", "{\"prompt\": ")
        .expect("an answer");
    assert_eq!(status, 400, "{answer}");
    let huge = format!("{{\"prompt\": \"{}\"}}", "x".repeat(6 << 20));
    // The server may close before it has read it all; when it answers, it says 413. That connection is used for nothing else.
    if let Ok((status, _)) = Client::new(&up.url).post("/v1/completions", &huge) {
        assert_eq!(status, 413);
    }
    let after = ids(&up.complete(&good).expect("an answer")["choices"][0]["token_ids"]);
    assert_eq!(before, after, "a refused request disturbed another");
}

#[test]
fn a_body_that_says_it_is_too_large_is_turned_away_unread() {
    let up = Up::start("config/tiny.toml").expect("the cascade comes up");
    let address = up.url.trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).expect("it listens");
    let patience = Some(Duration::from_secs(20));
    connection.set_read_timeout(patience).expect("a time limit");
    // Not a byte of the body follows: who wants to read it waits forever.
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: 99999999\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).expect("it is read");
    // To its end: the connection is good for nothing else, and closed.
    let mut answer = String::new();
    connection
        .read_to_string(&mut answer)
        .expect("an answer, and its end");
    let answer = answer.to_lowercase();
    assert!(answer.starts_with("http/1.1 413"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.contains("\"error\""), "{answer}");
}
