//! `csd generate` with real levels of its own.

mod common;

use std::process::Stdio;

use common::{BOUND, alive, children, csd, errors, finish, signal, text, until};
use serde_json::Value;

/// One test, so that the cascades run one after the other.
#[test]
fn a_text_is_written_and_nothing_stays() {
    json_is_the_last_line();
    the_text_goes_to_stdout_and_the_table_to_stderr();
    an_interrupt_leaves_nothing();
    refusals_name_the_field();
}

fn json_is_the_last_line() {
    let arguments = ["generate", "--json", "--max-tokens", "12", "fn main() {"];
    let output = finish(&mut csd(arguments));
    assert!(output.status.success(), "{}", errors(&output));
    let stdout = text(&output);
    let whole: Value = serde_json::from_str(stdout.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        whole["token_ids"].as_array().map(Vec::len),
        Some(12),
        "{whole}"
    );
    assert_eq!(whole["finish_reason"], "length");
    assert!(whole["text"].as_str().is_some_and(|text| !text.is_empty()));
    assert!(
        whole["tokens_per_second"]
            .as_f64()
            .is_some_and(|speed| speed > 0.0)
    );
    assert_eq!(
        whole["cascade"]["authors"].as_array().map(Vec::len),
        Some(12)
    );

    let alone = finish(csd(arguments).args(["--plan", "off"]));
    let alone: Value = serde_json::from_str(&text(&alone)).expect("JSON");
    assert_eq!(
        alone["token_ids"], whole["token_ids"],
        "the text is the target's own"
    );
    assert_eq!(alone["cascade"]["calls"]["draft"], 0);
}

fn the_text_goes_to_stdout_and_the_table_to_stderr() {
    let output = finish(&mut csd([
        "generate",
        "--chat",
        "--max-tokens",
        "8",
        "What is 1 + 1?",
    ]));
    assert!(output.status.success(), "{}", errors(&output));
    assert!(!text(&output).trim().is_empty() && !text(&output).contains('\u{1b}'));
    let told = errors(&output);
    for word in ["8 tokens in", "tokens/s", "target", "maxgram", "accepted"] {
        assert!(told.contains(word), "{word} is missing in\n{told}");
    }
}

fn an_interrupt_leaves_nothing() {
    let mut command = csd(["generate", "--ignore-eos", "--max-tokens", "1500", "fn"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("csd runs");
    let mut started = Vec::new();
    until(BOUND, || {
        started = children(child.id());
        started.len() == 4
    });
    signal(child.id(), "INT");
    let mut code = None;
    until(BOUND, || {
        code = child
            .try_wait()
            .expect("a child")
            .map(|status| status.code());
        code.is_some()
    });
    assert_eq!(code, Some(Some(130)));
    assert!(!started.into_iter().any(alive));
}

fn refusals_name_the_field() {
    let output = finish(&mut csd(["generate", "--temperature", "-1", "x"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("temperature"),
        "{}",
        errors(&output)
    );
}
