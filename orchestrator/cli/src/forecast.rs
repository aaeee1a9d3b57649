//! What `csd plan` found out, as tables for people or as JSON.

use std::{fmt::Write as _, time::Duration};

use csd_forecast::{Check, Forecast, Lineup, Trace, Verdict, formula::Formula};
use serde_json::{Value, json};

use crate::table::Table;

/// Everything that was found out.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) lineup: &'a Lineup,
    pub(crate) checks: &'a [Check],
    pub(crate) recorded: &'a Forecast,
    pub(crate) changes: &'a [Changed],
}

/// What a change comes to.
pub(crate) struct Changed {
    pub(crate) text: String,
    pub(crate) forecast: Forecast,
    pub(crate) verdict: Verdict,
}

impl Shown<'_> {
    /// Levels, what was measured beside what is computed, what was asked, and a sentence for each change.
    pub(crate) fn tables(&self) -> String {
        let header = &self.trace.header;
        let mut text = format!(
            "{}: {}, temperature {}, {} texts, recorded on {}\n\n",
            header.subject,
            header.workload,
            header.temperature,
            self.trace.texts.len(),
            header.machine
        );
        let _ = writeln!(text, "{}", levels(self.lineup));
        let _ = writeln!(text, "{}", check(self.checks));
        let _ = write!(text, "{}", forecasts(self.recorded, self.changes));
        for Changed {
            text: asked,
            verdict,
            ..
        } in self.changes
        {
            let _ = write!(text, "\n{asked} {verdict}");
        }
        if !self.changes.is_empty() {
            text.push('\n');
        }
        text
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let change = |changed: &Changed| {
            json!({
                "what_if": changed.text,
                "forecast": changed.forecast,
                "verdict": changed.verdict,
                "told": changed.verdict.to_string(),
            })
        };
        json!({
            "recorded": self.trace.header,
            "checks": self.checks,
            "as_recorded": self.recorded,
            "what_ifs": self.changes.iter().map(change).collect::<Vec<_>>(),
        })
    }
}

fn levels(lineup: &Lineup) -> Table {
    let formula = Formula::new(lineup);
    let mut table = Table::new([
        "level",
        "host",
        ">ms a forward",
        ">of 8 rows",
        ">ms beside it",
        ">agrees with target",
        ">with the level above",
    ]);
    for (index, member) in lineup.members.iter().enumerate() {
        let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
        let agrees = |above: Option<usize>| {
            above.map_or_else(String::new, |above| {
                format!("{:.0} %", formula.acceptance(above, index) * 100.0)
            })
        };
        table.row([
            member.name.clone(),
            member.host.clone(),
            ms(member.price.of(1)),
            ms(member.price.of(8)),
            ms(member.price.link),
            agrees((index > 0).then_some(0)),
            agrees(index.checked_sub(1)),
        ]);
    }
    table
}

fn check(checks: &[Check]) -> Table {
    let mut table = Table::new([
        "recorded",
        "plan",
        ">measured",
        ">formula",
        ">off by",
        ">simulation",
        ">off by",
        ">tokens a call",
        ">simulated",
    ]);
    for check in checks {
        let off = |speed: f64| format!("{:+.0} %", (speed / check.measured - 1.0) * 100.0);
        let formula = check.formula;
        table.row([
            check.name.clone(),
            check.plan.clone(),
            format!(
                "{:.1} ({:.1} … {:.1})",
                check.measured, check.interval[0], check.interval[1]
            ),
            formula.map_or_else(String::new, |speed| format!("{speed:.1}")),
            formula.map_or_else(String::new, off),
            format!("{:.1}", check.simulation),
            off(check.simulation),
            format!("{:.2}", check.tokens_per_call),
            format!("{:.2}", check.simulated_tokens_per_call),
        ]);
    }
    table
}

fn forecasts(recorded: &Forecast, changes: &[Changed]) -> Table {
    let mut table = Table::new([
        "tokens/s at best",
        ">formula",
        ">×",
        "K",
        ">simulation",
        ">×",
        "K",
        ">planner",
        ">×",
    ]);
    let rows = changes
        .iter()
        .map(|change| (change.text.as_str(), &change.forecast));
    for (name, forecast) in std::iter::once(("as recorded", recorded)).chain(rows) {
        let times = |own: f64, base: f64| format!("{:.2}", own / base);
        let (formula, simulation) = (&forecast.formula, &forecast.simulation);
        table.row([
            name.to_owned(),
            format!("{:.1}", formula.tokens_per_second),
            times(
                formula.tokens_per_second,
                recorded.formula.tokens_per_second,
            ),
            format!("{:?}", formula.k),
            format!("{:.1}", simulation.tokens_per_second),
            times(
                simulation.tokens_per_second,
                recorded.simulation.tokens_per_second,
            ),
            format!("{:?}", simulation.k),
            format!("{:.1}", forecast.planner),
            times(forecast.planner, recorded.planner),
        ]);
    }
    table
}
