//! `csd bench --record`, and `csd plan` over what it recorded.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{csd, errors, finish, text};
use serde_json::Value;

/// A recording of the bundled levels.
fn record(folder: &Path) -> PathBuf {
    let file = folder.join("trace.jsonl");
    let output = finish(
        csd(["bench", "config/tiny.toml"])
            .args([
                "--arm=target,planner",
                "--plan=[[4,0,0],[0,0,0],[0,0,0]]",
                "--plan=[[0,0,4],[0,0,0],[0,0,0]]",
                "--workload=arithmetic",
                "--prompts=8",
                "--max-tokens=16",
            ])
            .arg("--record")
            .arg(&file)
            .arg("--out")
            .arg(folder),
    );
    assert!(output.status.success(), "{}", errors(&output));
    file
}

#[test]
fn a_recording_answers_what_if() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plan");
    let trace = record(&folder);
    let plan = |arguments: &[&str]| {
        let mut command = csd(["plan", "--trace"]);
        finish(command.arg(&trace).args(arguments))
    };
    let output = plan(&[
        "--what-if=mini,out",
        "--what-if=nano,model=models/tiny/mini",
        "--what-if=oracle,acceptance=1,cost=1us,round_trip=0ms",
        "--what-if=far,acceptance=0.5,cost=1ms,round_trip=1s",
        "--json",
    ]);
    assert!(output.status.success(), "{}", errors(&output));
    let told: Value = serde_json::from_str(&text(&output)).expect("JSON");

    let checks = told["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), 4);
    for check in checks {
        assert!(
            check["measured"].as_f64() > Some(0.0) && check["simulation"].as_f64() > Some(0.0),
            "{check}"
        );
        let fixed = check["plan"] != "auto";
        assert_eq!(check["formula"].is_number(), fixed, "{check}");
    }
    // Who is asked for nothing but what was recorded makes the very calls that were made.
    for exact in [&checks[0], &checks[3]] {
        let [measured, simulated] = ["tokens_per_call", "simulated_tokens_per_call"]
            .map(|field| exact[field].as_f64().expect("a number"));
        assert!((measured - simulated).abs() < 1e-9, "{exact}");
    }

    let answers = told["what_ifs"].as_array().expect("answers");
    let factor = |index: usize, by: &str| answers[index]["verdict"][by].as_f64().expect("a number");
    for by in ["formula", "simulation"] {
        assert!(factor(2, by) > 1.2, "an oracle pays: {}", answers[2]);
        assert!(
            factor(3, by) < 1.05,
            "nobody waits a second: {}",
            answers[3]
        );
    }
    assert_ne!(answers[3]["verdict"]["answer"], "pays");

    let output = plan(&["--what-if", "mini,out"]);
    let tables = text(&output);
    for part in [
        "agrees with target",
        "target alone",
        "as recorded",
        "\nmini,out ",
    ] {
        assert!(tables.contains(part), "{part:?} is not in {tables}");
    }

    let refused = |arguments: &[&str], part: &str| {
        let told = errors(&plan(arguments));
        assert!(told.contains(part), "{part:?} is not in {told}");
    };
    refused(
        &["--what-if", "mini,cost=3"],
        "cost: \"3\": must be a time with its unit",
    );
    refused(
        &["--what-if", "nano,cost=3ms"],
        "model: \"nano\" is not in the recording",
    );
    refused(
        &["--what-if", "nano,model=nowhere"],
        "nowhere: No such file",
    );
    refused(
        &["--what-if", "target,out"],
        "out: there is no cascade without its target",
    );
    let recording = fs::read_to_string(&trace).expect("a file");
    fs::write(&trace, recording.replacen("\"ids\"", "\"tokens\"", 1)).expect("a file");
    refused(&[], "ids");
}

#[test]
fn what_cannot_be_recorded_is_refused() {
    let refused = |arguments: &[&str], part: &str| {
        let told = errors(&finish(csd(["bench", "--record=x.jsonl"]).args(arguments)));
        assert!(told.contains("--record") && told.contains(part), "{told}");
    };
    refused(&[], "one --workload");
    refused(
        &["--workload=code", "--concurrency=2"],
        "--concurrency of 1",
    );
    refused(
        &["--workload=code", "--url=http://127.0.0.1:1"],
        "a peer cannot be recorded",
    );
    refused(&["--full"], "--full");
}
