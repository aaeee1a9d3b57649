//! Whatever the plan, the text is the target's own: compared token by token over a running cascade.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{Up, ids, plans};

/// What was compared, by plan.
#[derive(Debug, Default)]
pub struct Tally {
    /// Texts compared.
    pub texts: usize,
    /// Tokens in them.
    pub tokens: usize,
    /// Forwards of the target.
    pub target_calls: u64,
}

/// One way to choose tokens.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// 0, 0.7, 1, …
    pub temperature: f64,
    /// The request's seed.
    pub seed: u64,
    /// Tokens to write.
    pub max_tokens: usize,
}

/// Writes a prompt under every plan and checks that each gives the first plan's tokens, and that each plan ran.
///
/// # Errors
/// With the prompt, the plan and both token lists, when they differ.
pub fn compare(up: &Up, prompt: &str, sampling: Sampling, tallies: &mut [Tally]) -> Result<()> {
    let mut expected = Vec::new();
    for ((name, plan), tally) in plans::all().iter().zip(tallies) {
        let body = json!({
            "prompt": prompt, "max_tokens": sampling.max_tokens, "temperature": sampling.temperature, "seed": sampling.seed,
            "return_token_ids": true, "cascade": plan,
        });
        let (tokens, report) =
            write(up, name, &body).with_context(|| format!("{name}: {prompt:?}"))?;
        tally.texts += 1;
        tally.tokens += tokens.len();
        tally.target_calls += report["calls"]["target"].as_u64().unwrap_or(0);
        if expected.is_empty() {
            expected = tokens;
            continue;
        }
        ensure!(
            tokens == expected,
            "{name} differs, {sampling:?}, {prompt:?}:\n{expected:?}\n{tokens:?}"
        );
    }
    Ok(())
}

/// Writes one text. On a busy machine a drafter may miss its deadline and be stepped over for a while, which is no fault;
/// that it never runs would be.
fn write(up: &Up, plan: &str, body: &Value) -> Result<(Vec<u32>, Value)> {
    let mut attempts = 5;
    loop {
        let answer = up.complete(body)?;
        let tokens = ids(&answer["choices"][0]["token_ids"]);
        let report = &answer["cascade"];
        attempts -= 1;
        match check_report(plan, report, &tokens) {
            Ok(()) => return Ok((tokens, report.clone())),
            Err(error) if attempts == 0 => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_secs(1)),
        }
    }
}

/// The report names an author for every token, and calls of exactly the levels that the plan uses.
fn check_report(plan: &str, report: &Value, tokens: &[u32]) -> Result<()> {
    let authors = report["authors"].as_array().context("no authors")?;
    ensure!(
        authors.len() == tokens.len(),
        "{plan}: {} authors for {} tokens",
        authors.len(),
        tokens.len()
    );
    let calls = report["calls"].as_object().context("no calls")?;
    let called = |level: &str| calls.get(level).and_then(Value::as_u64).unwrap_or(0) > 0;
    // A text of one or two tokens leaves no room for a draft.
    if tokens.len() > 4 {
        for level in plans::levels(plan) {
            ensure!(called(level), "{plan}: {level} was never called: {report}");
        }
    }
    if plan == "target only" {
        ensure!(
            ["draft", "mini", "maxgram"]
                .iter()
                .all(|level| !called(level)),
            "{plan}: a drafter ran: {report}"
        );
    }
    Ok(())
}
