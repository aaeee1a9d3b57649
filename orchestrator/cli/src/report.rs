//! What the cascade did for one text, as a small table.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::table::Table;

/// The API's field `cascade`.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    /// Calls by level.
    calls: HashMap<String, u64>,
    /// Reviews by pair of levels.
    #[serde(default)]
    pairs: Vec<Pair>,
    /// Who wrote each token.
    #[serde(default)]
    authors: Vec<String>,
    /// The hardware that levels pretend to run on.
    #[serde(default)]
    emulation: BTreeMap<String, String>,
}

/// How much of one level's drafts another accepted.
#[derive(Debug, Deserialize)]
struct Pair {
    reviewer: String,
    drafter: String,
    drafted: u64,
    accepted: u64,
}

impl Report {
    /// Tokens for each call of `target`.
    pub(crate) fn tokens_per_call(&self, target: &str) -> Option<f64> {
        let calls = self.calls.get(target).filter(|&&calls| calls > 0)?;
        Some(self.authors.len() as f64 / *calls as f64)
    }

    /// What is no measure of this machine, a line a level.
    pub(crate) fn emulated(&self) -> String {
        let levels = self.emulation.iter();
        levels
            .map(|(level, emulation)| format!("{level} is emulated: {emulation}\n"))
            .collect()
    }

    /// Calls and acceptance of `levels`, target first.
    pub(crate) fn tables(&self, levels: &[String]) -> String {
        let mut work = Table::new(["level", ">calls", ">tokens written"]);
        for level in levels {
            let calls = self.calls.get(level).copied().unwrap_or(0);
            let written = self.authors.iter().filter(|author| *author == level);
            work.row([
                level.clone(),
                calls.to_string(),
                written.count().to_string(),
            ]);
        }
        if self.pairs.is_empty() {
            return work.to_string();
        }
        let mut reviews = Table::new(["reviewer", "drafter", ">drafted", ">accepted", ">rate"]);
        for pair in &self.pairs {
            let rate = 100.0 * pair.accepted as f64 / pair.drafted.max(1) as f64;
            reviews.row([
                pair.reviewer.clone(),
                pair.drafter.clone(),
                pair.drafted.to_string(),
                pair.accepted.to_string(),
                format!("{rate:.0} %"),
            ]);
        }
        format!("{work}\n{reviews}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_keep_the_order_of_levels() {
        let report: Report = serde_json::from_str(
            r#"{"plan":"x","calls":{"target":4,"draft":6,"maxgram":3},
                "pairs":[{"reviewer":"target","drafter":"draft","drafted":10,"accepted":9,"per_position":[4,5]}],
                "authors":["draft","target","draft"]}"#,
        )
        .expect("a report");
        assert_eq!(report.tokens_per_call("target"), Some(0.75));
        let expected = [
            "  level    calls  tokens written",
            "  target       4               1",
            "  draft        6               2",
            "  maxgram      3               0",
            "",
            "  reviewer  drafter  drafted  accepted  rate",
            "  target    draft         10         9  90 %",
            "",
        ];
        let levels = ["target", "draft", "maxgram"].map(String::from);
        assert_eq!(report.tables(&levels), expected.join("\n"));
    }

    #[test]
    fn a_target_that_was_not_called_divides_nothing() {
        let report: Report = serde_json::from_str(r#"{"calls":{"target":0}}"#).expect("a report");
        assert_eq!(report.tokens_per_call("target"), None);
    }
}
