//! What an arm's texts took: who was called, who accepted whom, and where the time went.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sample::Sample;

/// Work per level and pair of levels, added up over texts.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Account {
    /// Tokens written.
    pub(crate) tokens: usize,
    /// Forwards of a neural level, proposals of Max-Gram.
    pub(crate) calls: BTreeMap<String, u64>,
    /// Drafted and accepted tokens.
    pub(crate) pairs: Vec<Pair>,
}

/// The API's report on one text.
#[derive(Debug, Deserialize)]
struct Report {
    calls: BTreeMap<String, u64>,
    #[serde(default)]
    pairs: Vec<Pair>,
}

/// How one level's drafts fared in another's reviews.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Pair {
    pub(crate) reviewer: String,
    pub(crate) drafter: String,
    pub(crate) drafted: u64,
    pub(crate) accepted: u64,
    /// Accepted tokens by position in the draft.
    pub(crate) per_position: Vec<u64>,
}

/// Where the time of calls went, in milliseconds a token of the text.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Times {
    /// By level.
    pub(crate) levels: BTreeMap<String, LevelTime>,
    /// The part of all calls' time that was neither queue nor forward: the way, and what is done for it at both ends.
    pub(crate) network_share: f64,
}

/// One level's part.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct LevelTime {
    pub(crate) queue: f64,
    pub(crate) forward: f64,
    pub(crate) network: f64,
    /// Milliseconds of one forward.
    pub(crate) each: f64,
}

/// A timed call as the API writes it; one that failed has no times.
#[derive(Debug, Deserialize)]
pub(crate) struct Call {
    pub(crate) level: String,
    pub(crate) start_ms: f64,
    pub(crate) end_ms: f64,
    #[serde(default)]
    pub(crate) queue_ms: f64,
    #[serde(default)]
    pub(crate) forward_ms: f64,
    #[serde(default)]
    pub(crate) forwards: u64,
    #[serde(default)]
    pub(crate) rows: usize,
    pub(crate) error: Option<String>,
}

impl Account {
    /// Of texts whose server reports on its cascade; none of others.
    ///
    /// # Errors
    /// A report is of another form.
    pub(crate) fn of(samples: &[Sample]) -> Result<Option<Self>> {
        let mut account = Self::default();
        for sample in samples {
            let Some(cascade) = &sample.cascade else {
                return Ok(None);
            };
            let report = Report::deserialize(cascade).context("the field cascade of an answer")?;
            account.add(sample.tokens, report);
        }
        Ok(Some(account))
    }

    fn add(&mut self, tokens: usize, report: Report) {
        self.tokens += tokens;
        for (level, count) in report.calls {
            *self.calls.entry(level).or_default() += count;
        }
        for pair in report.pairs {
            let same = |other: &&mut Pair| {
                (&other.reviewer, &other.drafter) == (&pair.reviewer, &pair.drafter)
            };
            let Some(sum) = self.pairs.iter_mut().find(same) else {
                self.pairs.push(pair);
                continue;
            };
            sum.drafted += pair.drafted;
            sum.accepted += pair.accepted;
            if sum.per_position.len() < pair.per_position.len() {
                sum.per_position.resize(pair.per_position.len(), 0);
            }
            for (sum, count) in sum.per_position.iter_mut().zip(pair.per_position) {
                *sum += count;
            }
        }
    }

    /// Tokens a call of `level`.
    pub(crate) fn tokens_per_call(&self, level: &str) -> Option<f64> {
        let calls = self.calls.get(level).copied().filter(|&calls| calls > 0)?;
        Some(self.tokens as f64 / calls as f64)
    }

    /// Standardised walltime improvement (Chen et al., section 4): the target's calls when it writes alone, one a token, over
    /// the sum of all calls, each at its level's `cost` in calls of the target. A level that has no cost is free.
    pub(crate) fn standardised(&self, cost: &BTreeMap<String, f64>) -> f64 {
        let calls = self.calls.iter();
        let sum: f64 = calls
            .map(|(level, &count)| count as f64 * cost.get(level).copied().unwrap_or(0.0))
            .sum();
        self.tokens as f64 / sum.max(f64::MIN_POSITIVE)
    }
}

impl Times {
    /// Of texts whose calls were timed.
    ///
    /// # Errors
    /// A call is of another form.
    pub(crate) fn of(samples: &[Sample], account: &Account) -> Result<Self> {
        let mut times = Self::default();
        let tokens = samples
            .iter()
            .map(|sample| sample.tokens)
            .sum::<usize>()
            .max(1) as f64;
        let (mut all, mut network) = (0.0, 0.0);
        for call in samples.iter().flat_map(|sample| &sample.calls) {
            let call = Call::read(call)?;
            let way = call.way_ms();
            all += call.end_ms - call.start_ms;
            network += way;
            let level = times.levels.entry(call.level).or_default();
            level.queue += call.queue_ms / tokens;
            level.forward += call.forward_ms / tokens;
            level.network += way / tokens;
        }
        for (name, level) in &mut times.levels {
            let forwards = account.calls.get(name).copied().unwrap_or(0).max(1) as f64;
            level.each = level.forward * tokens / forwards;
        }
        times.network_share = network / f64::max(all, f64::MIN_POSITIVE);
        Ok(times)
    }
}

impl Call {
    /// Out of an answer.
    ///
    /// # Errors
    /// It is of another form.
    pub(crate) fn read(call: &Value) -> Result<Self> {
        Self::deserialize(call).context("a timed call of an answer")
    }

    /// What was neither queue nor forward: the way, and what is done for it at both ends.
    pub(crate) fn way_ms(&self) -> f64 {
        self.end_ms - self.start_ms - self.queue_ms - self.forward_ms
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Sample {
        let call = |level: &str, end: f64, forward: f64| json!({"level": level, "start_ms": 1.0, "end_ms": end, "queue_ms": 0.5, "forward_ms": forward});
        Sample {
            tokens: 12,
            seconds: 1.0,
            ids: Vec::new(),
            text: String::new(),
            cascade: Some(json!({
                "calls": {"target": 2, "mini": 10, "maxgram": 5},
                "pairs": [{"reviewer": "target", "drafter": "mini", "drafted": 10, "accepted": 8, "per_position": [2, 2, 4]}],
            })),
            calls: vec![
                call("target", 11.5, 8.0),
                call("mini", 6.5, 4.0),
                json!({"level": "mini", "start_ms": 0.0, "end_ms": 1.0, "error": "gone"}),
            ],
        }
    }

    #[test]
    fn work_adds_up_and_is_priced() {
        let account = Account::of(&[sample(), sample()])
            .expect("reports")
            .expect("a cascade");
        assert_eq!(account.tokens_per_call("target"), Some(6.0));
        assert_eq!((account.pairs.len(), account.pairs[0].accepted), (1, 16));
        assert_eq!(account.pairs[0].per_position, [4, 4, 8]);
        let cost = [("target".to_owned(), 1.0), ("mini".to_owned(), 0.1)].into();
        assert_eq!(account.standardised(&cost), 24.0 / (4.0 + 20.0 * 0.1));
    }

    #[test]
    fn time_is_queue_forward_and_way() {
        let samples = [sample()];
        let account = Account::of(&samples).expect("reports").expect("a cascade");
        let times = Times::of(&samples, &account).expect("calls");
        let (target, mini) = (times.levels["target"], times.levels["mini"]);
        assert!((target.each - 4.0).abs() < 1e-9 && (mini.each - 0.4).abs() < 1e-9);
        assert!((target.network - 2.0 / 12.0).abs() < 1e-9, "{target:?}");
        assert!((times.network_share - 4.0 / 17.0).abs() < 1e-9, "{times:?}");
    }
}
