//! Results as pictures: SVG, drawn by hand, because a few rectangles need no library.

use std::fmt::Write as _;

use super::{
    score::{Cell, Run},
    table::title,
};

/// Sizes in pixels.
const WIDTH: f64 = 860.0;
const LABEL: f64 = 230.0;
const VALUE: f64 = 150.0;
const ROW: f64 = 24.0;
const PANEL: f64 = 46.0;

/// Distinct also without colour vision (Okabe and Ito).
const COLOURS: [&str; 8] = [
    "#999999", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800",
];

/// Tokens per second of all arms, a panel a cell, with their intervals.
pub(crate) fn speeds(run: &Run) -> String {
    let panel = |cell: &Cell| {
        let highest = cell
            .arms
            .iter()
            .filter_map(|arm| arm.speed)
            .map(|speed| speed.high.unwrap_or(speed.mean));
        let scale = Scale::up_to(highest.fold(0.0, f64::max));
        let mut panel = Panel::new(format!("{}: tokens/s", title(cell)));
        for (index, arm) in cell.arms.iter().enumerate() {
            let Some(speed) = arm.speed else { continue };
            let times = arm.to_target.map(|ratio| format!(" ({:.2} ×)", ratio.mean));
            let mut row = panel.row(&arm.name);
            row.bar(0.0, scale.of(speed.mean), COLOURS[index % COLOURS.len()]);
            if let Some((low, high)) = speed.low.zip(speed.high) {
                row.whisker(scale.of(low), scale.of(high));
            }
            row.value(
                scale.of(speed.high.unwrap_or(speed.mean)),
                &format!("{:.0}{}", speed.mean, times.unwrap_or_default()),
            );
        }
        panel
    };
    document(run, run.cells.iter().map(panel).collect(), &[])
}

/// Where the time of calls went, milliseconds a token: forwards by level, queues, network.
pub(crate) fn times(run: &Run) -> String {
    let mut names: Vec<String> = Vec::new();
    let levels = run
        .cells
        .iter()
        .flat_map(|cell| &cell.arms)
        .filter_map(|arm| arm.times.as_ref());
    for level in levels.flat_map(|times| times.levels.keys()) {
        if !names.contains(level) {
            names.push(level.clone());
        }
    }
    let mut legend = names.clone();
    legend.extend(["queue".to_owned(), "network".to_owned()]);
    let panel = |cell: &Cell| {
        let sum = |arm: &super::score::Score| {
            let times = arm.times.iter().flat_map(|times| times.levels.values());
            times
                .map(|level| level.forward + level.queue + level.network)
                .sum()
        };
        let scale = Scale::up_to(cell.arms.iter().map(sum).fold(0.0, f64::max));
        let mut panel = Panel::new(format!("{}: ms a token in calls", title(cell)));
        for arm in cell.arms.iter().filter(|arm| arm.times.is_some()) {
            let Some(times) = &arm.times else { continue };
            let levels = times.levels.values();
            let (queue, network) = levels.fold((0.0, 0.0), |sum, level| {
                (sum.0 + level.queue, sum.1 + level.network)
            });
            let forward = names
                .iter()
                .map(|name| times.levels.get(name).map_or(0.0, |level| level.forward));
            let mut row = panel.row(&arm.name);
            let mut from = 0.0;
            for (part, colour) in forward
                .chain([queue, network])
                .zip(COLOURS.iter().cycle().skip(1))
            {
                row.bar(scale.of(from), scale.of(from + part), colour);
                from += part;
            }
            row.value(scale.of(from), &format!("{from:.2}"));
        }
        panel
    };
    document(run, run.cells.iter().map(panel).collect(), &legend)
}

/// From a value to a length in pixels.
struct Scale(f64);

impl Scale {
    fn up_to(highest: f64) -> Self {
        Self((WIDTH - LABEL - VALUE) / f64::max(highest, f64::MIN_POSITIVE))
    }

    fn of(&self, value: f64) -> f64 {
        value * self.0
    }
}

/// Rows under a title; coordinates count from its upper left corner.
struct Panel {
    body: String,
    height: f64,
}

struct Row<'a> {
    body: &'a mut String,
    y: f64,
}

impl Panel {
    fn new(title: String) -> Self {
        let body = format!(
            "<text x='8' y='28' class='title'>{}</text>\n",
            escaped(&title)
        );
        Self {
            body,
            height: PANEL,
        }
    }

    fn row(&mut self, label: &str) -> Row<'_> {
        let y = self.height;
        self.height += ROW;
        let _ = writeln!(
            self.body,
            "<text x='{}' y='{}' class='end'>{}</text>",
            LABEL - 8.0,
            y + 12.0,
            escaped(label)
        );
        Row {
            body: &mut self.body,
            y,
        }
    }
}

impl Row<'_> {
    fn bar(&mut self, from: f64, to: f64, colour: &str) {
        let (x, y, width) = (LABEL + from, self.y, to - from);
        let _ = writeln!(
            self.body,
            "<rect x='{x:.1}' y='{y:.1}' width='{width:.1}' height='16' fill='{colour}'/>"
        );
    }

    fn whisker(&mut self, low: f64, high: f64) {
        let (low, high, y) = (LABEL + low, LABEL + high, self.y);
        let (top, middle, bottom) = (y + 4.0, y + 8.0, y + 12.0);
        let _ = writeln!(
            self.body,
            "<path d='M{low:.1} {top}V{bottom}M{low:.1} {middle}H{high:.1}M{high:.1} {top}V{bottom}' class='whisker'/>"
        );
    }

    fn value(&mut self, after: f64, text: &str) {
        let (x, y) = (LABEL + after + 8.0, self.y + 12.0);
        let _ = writeln!(
            self.body,
            "<text x='{x:.1}' y='{y}'>{}</text>",
            escaped(text)
        );
    }
}

fn document(run: &Run, panels: Vec<Panel>, legend: &[String]) -> String {
    let mut notes = vec![format!(
        "{}, csd {} on {}",
        run.subject, run.version, run.machine
    )];
    notes.extend(
        run.emulation
            .iter()
            .map(|(level, emulation)| format!("{level} is emulated: {emulation}")),
    );
    let (mut body, mut y) = (String::new(), 0.0);
    if !legend.is_empty() {
        let mut x = 8.0;
        for (name, colour) in legend.iter().zip(COLOURS.iter().cycle().skip(1)) {
            let _ = writeln!(
                body,
                "<rect x='{x}' y='10' width='12' height='12' fill='{colour}'/><text x='{}' y='21'>{}</text>",
                x + 16.0,
                escaped(name)
            );
            x += 40.0 + 7.0 * name.chars().count() as f64;
        }
        y += 24.0;
    }
    for panel in panels {
        let _ = write!(
            body,
            "<g transform='translate(0 {y})'>\n{}</g>\n",
            panel.body
        );
        y += panel.height;
    }
    for note in notes {
        y += 18.0;
        let _ = writeln!(
            body,
            "<text x='8' y='{y}' class='note'>{}</text>",
            escaped(&note)
        );
    }
    let height = y + 14.0;
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}'>\n\
         <style>text{{font:13px sans-serif;fill:#222}}.title{{font-weight:bold}}.end{{text-anchor:end}}.note{{font-size:11px;fill:#666}}\
         .whisker{{stroke:#222;fill:none}}</style>\n<rect width='100%' height='100%' fill='#fff'/>\n{body}</svg>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
