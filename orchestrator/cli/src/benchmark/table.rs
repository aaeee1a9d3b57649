//! Results as people read them: a table a cell, in Markdown, which a terminal shows as well.

use std::fmt::Write as _;

use super::{
    account::{Account, Times},
    interval::Interval,
    memory::Gain,
    score::{Cell, Run, Score},
    server::Forwards,
};

/// What a run is about, and how it was measured.
pub(crate) fn heading(run: &Run) -> String {
    let mut text = format!(
        "# csd bench: {}\n\ncsd {} on {}. ",
        run.subject, run.version, run.machine
    );
    text += "Tokens per second from request to last token, the prompt read before; geometric means, 95 % intervals \
             (Student's, over logarithms). Ratios are of pairs: arms take turns prompt by prompt. Settings were tuned on \
             other prompts than these.\n";
    for (level, emulation) in &run.emulation {
        let _ = writeln!(
            text,
            "\n**{level} is emulated** ({emulation}): no time here is a measure of this machine."
        );
    }
    text
}

/// A cell's conditions and arms.
pub(crate) fn cell(cell: &Cell) -> String {
    let mut text = format!("\n## {}\n\n", title(cell));
    for arm in cell.arms.iter().filter(|arm| arm.forwards.are_void()) {
        let (Forwards { all, overruns }, name) = (arm.forwards, &arm.name);
        let _ = writeln!(
            text,
            "**{name} is void**: {overruns} of its {all} forwards took longer than on the hardware that is emulated.\n"
        );
    }
    if let Some(first) = cell.differences.first() {
        let _ = writeln!(
            text,
            "**{} texts are not the target's own**, the first by {} {}.\n",
            cell.differences.len(),
            first.arm,
            first.plan
        );
    }
    let titles = [
        "arm",
        "plan",
        "tokens/s",
        "× target alone",
        "× best two-model",
        "tokens a call",
        "SWI MS",
        "SWI PW",
        "network",
        "same text",
    ];
    let arms = cell
        .arms
        .iter()
        .map(|score| arm(score, cell.scored_on).to_vec());
    text += &table(&titles, arms.collect());
    if !cell.memory.is_empty() {
        text += "\nWith remembered texts, apart from the above:\n\n";
        text += &gains(&cell.memory);
    }
    text
}

fn gains(gains: &[Gain]) -> String {
    let titles = [
        "arm",
        "plan",
        "remembered",
        "tokens/s without",
        "with",
        "×",
        "tokens a call without",
        "with",
    ];
    let row = |gain: &Gain| {
        let [without, with] = gain.tokens_per_call;
        vec![
            gain.arm.clone(),
            gain.plan.clone(),
            gain.remembered.to_owned(),
            interval(gain.without, 1),
            interval(gain.with, 1),
            interval(gain.ratio, 2),
            number(without),
            number(with),
        ]
    };
    table(&titles, gains.iter().map(row).collect())
}

/// Who accepted whom, and where the time went, arm by arm.
pub(crate) fn details(cell: &Cell) -> String {
    let mut text = String::new();
    for score in &cell.arms {
        let (Some(account), Some(times)) = (&score.account, &score.times) else {
            continue;
        };
        if !account.pairs.is_empty() {
            let _ = write!(text, "\n### {}: {}\n\n", title(cell), score.name);
            text += &acceptance(account);
            text += &time(times);
        }
    }
    text
}

/// The conditions in words.
pub(crate) fn title(cell: &Cell) -> String {
    format!(
        "{}, temperature {}, {} at once, {} prompts",
        cell.workload, cell.temperature, cell.concurrency, cell.scored_on
    )
}

fn arm(score: &Score, prompts: usize) -> [String; 10] {
    let share = score
        .times
        .as_ref()
        .map(|times| format!("{:.0} %", times.network_share * 100.0));
    [
        score.name.clone(),
        score.shown.clone(),
        interval(score.speed, 1),
        interval(score.to_target, 2),
        interval(score.to_two_model, 2),
        number(score.tokens_per_call),
        number(score.swi_ms),
        number(score.swi_pw),
        share.unwrap_or_default(),
        score
            .same_texts
            .map_or_else(String::new, |same| format!("{same}/{prompts}")),
    ]
}

/// Two digits, if there is anything.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.2}"))
}

fn interval(interval: Option<Interval>, digits: usize) -> String {
    interval.map_or_else(String::new, |Interval { mean, low, high }| {
        match low.zip(high) {
            Some((low, high)) => format!("{mean:.digits$} ({low:.digits$} … {high:.digits$})"),
            None => format!("{mean:.digits$}"),
        }
    })
}

fn acceptance(account: &Account) -> String {
    let pair = |pair: &super::account::Pair| {
        let rate = 100.0 * pair.accepted as f64 / pair.drafted.max(1) as f64;
        vec![
            pair.reviewer.clone(),
            pair.drafter.clone(),
            pair.drafted.to_string(),
            pair.accepted.to_string(),
            format!("{rate:.0} %"),
        ]
    };
    table(
        &["reviewer", "drafter", "drafted", "accepted", "rate"],
        account.pairs.iter().map(pair).collect(),
    )
}

fn time(times: &Times) -> String {
    let level = |(name, time): (&String, &super::account::LevelTime)| {
        let number = |value: f64| format!("{value:.3}");
        vec![
            name.clone(),
            number(time.each),
            number(time.forward),
            number(time.queue),
            number(time.network),
        ]
    };
    let titles = [
        "level",
        "ms a forward",
        "forward, ms a token",
        "queue",
        "network",
    ];
    format!(
        "\n{}",
        table(&titles, times.levels.iter().map(level).collect())
    )
}

/// Columns as wide as their widest cell.
pub(crate) fn table(titles: &[&str], rows: Vec<Vec<String>>) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([titles[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!(" {cell:<width$} "));
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let titles: Vec<String> = titles.iter().map(|&title| title.to_owned()).collect();
    let rule = widths
        .iter()
        .map(|width| "-".repeat(width + 2))
        .collect::<Vec<_>>()
        .join("|");
    let mut text = format!("{}|{rule}|\n", line(&titles));
    text.extend(rows.iter().map(|row| line(row)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_markdown_and_columns_line_up() {
        let rows = vec![
            vec!["é".into(), "12".into()],
            vec!["long".into(), String::new()],
        ];
        let expected = "| a    | bb |\n|------|----|\n| é    | 12 |\n| long |    |\n";
        assert_eq!(table(&["a", "bb"], rows), expected);
    }
}
