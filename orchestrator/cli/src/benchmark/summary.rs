//! All cells of a run together: how an arm does against the target alone, and where it loses.

use serde::Serialize;

use super::{
    arm::TARGET_ALONE,
    interval::Interval,
    score::Cell,
    table::{number, table, title},
};

/// An arm over all cells.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) arm: String,
    pub(crate) cells: usize,
    /// Times as fast as the target alone, the cells' geometric mean.
    pub(crate) to_target: f64,
    /// The least of them, …
    pub(crate) least: f64,
    /// … and where that was.
    pub(crate) least_in: String,
    /// Cells in which the arm is slower than the target alone with 95 % confidence.
    pub(crate) slower_in: Vec<String>,
}

/// Each arm that was compared with the target alone, in the first cell's order.
pub(crate) fn summaries(cells: &[Cell]) -> Vec<Summary> {
    let arms = cells.first().map_or(&[][..], |cell| &cell.arms);
    arms.iter()
        .filter(|arm| !arm.name.starts_with(TARGET_ALONE))
        .filter_map(|arm| {
            let ratios = cells.iter().filter_map(|cell| {
                let own = cell.arms.iter().find(|score| score.name == arm.name)?;
                Some((title(cell), own.to_target?))
            });
            summary(&arm.name, &ratios.collect::<Vec<_>>())
        })
        .collect()
}

fn summary(arm: &str, ratios: &[(String, Interval)]) -> Option<Summary> {
    let means = ratios.iter().map(|(_, ratio)| ratio.mean);
    let (least_in, least) = ratios.iter().min_by(|a, b| a.1.mean.total_cmp(&b.1.mean))?;
    let slower = |ratio: &Interval| ratio.high.is_some_and(|high| high < 1.0);
    Some(Summary {
        arm: arm.to_owned(),
        cells: ratios.len(),
        to_target: Interval::of(means)?.mean,
        least: least.mean,
        least_in: least_in.clone(),
        slower_in: ratios
            .iter()
            .filter(|(_, ratio)| slower(ratio))
            .map(|(cell, _)| cell.clone())
            .collect(),
    })
}

/// The summaries of a run, where there is more than one cell to sum up.
pub(crate) fn shown(summaries: &[Summary]) -> String {
    if summaries.iter().all(|summary| summary.cells < 2) {
        return String::new();
    }
    let titles = [
        "arm",
        "cells",
        "× target alone",
        "least",
        "in",
        "wholly slower",
    ];
    let row = |summary: &Summary| {
        vec![
            summary.arm.clone(),
            summary.cells.to_string(),
            number(Some(summary.to_target)),
            number(Some(summary.least)),
            summary.least_in.clone(),
            match summary.slower_in.as_slice() {
                [] => "nowhere".to_owned(),
                cells => cells.join("; "),
            },
        ]
    };
    let rows = summaries.iter().map(row).collect();
    format!("\n## All cells\n\n{}", table(&titles, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_cell_is_named_and_only_whole_intervals_count_as_slower() {
        let cell = |name: &str, mean: f64, spread: f64| {
            let interval = Interval {
                mean,
                low: Some(mean / spread),
                high: Some(mean * spread),
            };
            (name.to_owned(), interval)
        };
        let ratios = [
            cell("code", 2.0, 1.1),
            cell("chat", 0.5, 1.5),
            cell("editing", 0.8, 1.4),
        ];
        let summary = summary("planner", &ratios).expect("three cells");
        assert!((summary.to_target - 0.8f64.cbrt()).abs() < 1e-9);
        assert_eq!((summary.least, summary.least_in.as_str()), (0.5, "chat"));
        assert_eq!(summary.slower_in, ["chat"]);
        let shown = shown(&[summary]);
        assert!(shown.contains("| planner | 3     | 0.93"), "{shown}");
    }
}
