//! What calls of a level cost, measured: a forward by its rows, and everything around it.

use std::time::Duration;

use csd_level::Timings;

use super::mean::{Line, Mean, Rate};
use crate::strategy::Drafted;

/// The first row count of each step of the staircase. Costs jump at the sizes of tiles, so small counts stand alone; …
const STEPS: [usize; 20] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 17, 21, 25, 33, 49, 65, 97, 129,
];

/// … many rows cost what they take to compute: from so many on, a step's rows differ in what they cost.
const MANY: usize = 17;
/// The most rows that are not many.
const FEW: f64 = (MANY - 1) as f64;

/// How many observations a price remembers.
const MEMORY: u32 = 60;

/// Forwards of a step that make it familiar.
const FAMILIAR: f64 = 4.0;

/// The prices of one level.
#[derive(Clone, Debug, Default)]
pub(super) struct Prices {
    /// Seconds of a forward by its rows, those of other texts included.
    forward: [Mean<MEMORY>; STEPS.len()],
    /// How many rows those forwards had.
    rows: [Mean<MEMORY>; STEPS.len()],
    /// Seconds without the noise: never falling from stair to stair.
    staircase: Vec<Stair>,
    /// Seconds of a call beside its forwards: the link, the queue, the ends.
    around: Mean<MEMORY>,
    /// Those of them that a review waits for its forward to begin.
    queued: Mean<MEMORY>,
    /// Rows of a review.
    reviewed: Mean<MEMORY>,
    /// Seconds of the forwards of a Draft call by their number: the first one reads what others wrote, and comes upon cold
    /// caches.
    drafting: Line<MEMORY>,
    /// Rows of other texts in a forward.
    others: Mean<MEMORY>,
    /// Tokens that a forward brings when the level writes with its own Max-Gram.
    assisted: Rate<MEMORY>,
}

/// Row counts that have been seen to cost the same.
#[derive(Clone, Copy, Debug)]
struct Stair {
    first: f64,
    last: f64,
    seconds: f64,
    weight: f64,
}

fn step(rows: usize) -> usize {
    STEPS.partition_point(|&first| first <= rows.max(1)) - 1
}

impl Prices {
    /// A Draft call has been answered. Beside a review, it tells what forwards cost, and nothing else.
    pub(super) fn drafted(&mut self, report: &Drafted<'_>) {
        let (forwards, timings) = (report.forwards, report.timings);
        if !report.beside {
            self.call(forwards, report.took, timings);
        }
        if report.assist > 0 {
            let tokens = report.tokens.len() as f64;
            self.assisted.observe(tokens, forwards as f64);
        }
        if forwards > 0 {
            let seconds = timings.forward.as_secs_f64();
            self.drafting.observe(forwards as f64, seconds);
            let once = self.drafting.start().min(seconds);
            self.forwards(forwards, seconds - once, timings);
        }
    }

    /// A review has been answered.
    pub(super) fn reviewed(&mut self, took: Duration, timings: Timings, alone: bool) {
        if alone {
            self.call(1, took, timings);
            self.queued.observe(timings.queue.as_secs_f64());
            self.reviewed.observe(timings.rows as f64);
        }
        self.forwards(1, timings.forward.as_secs_f64(), timings);
    }

    /// What a call costs beside its forwards, and with whom it shares them.
    fn call(&mut self, forwards: u64, took: Duration, timings: Timings) {
        let around = took.as_secs_f64() - timings.forward.as_secs_f64();
        self.around.observe(around.max(0.0));
        if forwards > 0 {
            let others = timings.batch.saturating_sub(timings.rows);
            self.others.observe(others as f64 / forwards as f64);
        }
    }

    /// So many alike forwards took so many seconds.
    fn forwards(&mut self, forwards: u64, seconds: f64, timings: Timings) {
        let each = forwards as f64;
        let batch = (timings.batch as f64 / each).round() as usize;
        self.forward[step(batch)].observe(seconds / each);
        self.rows[step(batch)].observe(batch as f64);
        self.fit();
    }

    /// A call has failed after so long: that is what asking costs.
    pub(super) fn failed(&mut self, took: Duration) {
        self.around.observe(took.as_secs_f64());
    }

    /// Pools neighbours that would fall (pool adjacent violators): more rows never cost less, only the noise says so.
    fn fit(&mut self) {
        self.staircase.clear();
        for ((first, mean), rows) in STEPS.iter().zip(&self.forward).zip(&self.rows) {
            let (Some(seconds), Some(rows)) = (mean.get(), rows.get()) else {
                continue;
            };
            let rows = if *first < MANY { *first as f64 } else { rows };
            let mut stair = Stair {
                first: rows,
                last: rows,
                seconds,
                weight: mean.weight(),
            };
            while let Some(lower) = self.staircase.pop_if(|lower| lower.seconds > stair.seconds) {
                let weight = lower.weight + stair.weight;
                let sum = lower.seconds * lower.weight + stair.seconds * stair.weight;
                stair = Stair {
                    first: lower.first,
                    last: stair.last,
                    seconds: sum / weight,
                    weight,
                };
            }
            self.staircase.push(stair);
        }
    }

    /// Seconds of a forward of so many rows. Beyond those that were seen, a level that says `cheap` rows cost little more
    /// than one is believed, and expected to take as long again for as many more; between two that were seen, as far as
    /// that is no less than on the line from one to the other.
    pub(super) fn forward(&self, rows: usize, cheap: usize) -> Option<f64> {
        let many = rows >= MANY;
        let beginning = if many { rows } else { STEPS[step(rows)] } as f64;
        let (rows, cheap) = (rows as f64, cheap.max(1) as f64);
        let above = self.staircase.partition_point(|stair| stair.first <= rows);
        let Some(below) = above.checked_sub(1).map(|below| self.staircase[below]) else {
            return Some(self.staircase.first()?.seconds);
        };
        if beginning <= below.last {
            return Some(below.seconds);
        }
        let tiles = |rows: f64| (rows / cheap).ceil().max(1.0);
        let times = match many {
            // So many rows fill any tile: the last of them is as dear as the others.
            true => (rows / below.last.max(cheap)).max(tiles(rows.min(FEW)) / tiles(below.last)),
            false => tiles(rows) / tiles(below.last),
        };
        let believed = below.seconds * times;
        let Some(above) = self.staircase.get(above) else {
            return Some(believed);
        };
        let line = |rows: f64| {
            let part = (rows - below.last) / (above.first - below.last);
            below.seconds + part * (above.seconds - below.seconds)
        };
        Some(match many {
            true => line(rows),
            // Never more than what many rows are expected to take.
            false => line(rows).max(believed.min(line(above.first.min(MANY as f64)))),
        })
    }

    /// Seconds of a review of so many rows of one text.
    pub(super) fn review(&self, rows: usize, cheap: usize) -> Option<f64> {
        let others = self.others().round() as usize;
        Some(self.around() + self.forward(rows + others, cheap)?)
    }

    /// Seconds of a review of an empty draft where so many texts write without drafts, share each forward, and wait for
    /// nothing else.
    pub(super) fn undrafted(&self, texts: f64) -> Option<f64> {
        let drafted = (texts - 1.0) * self.reviewed.get().unwrap_or(1.0);
        let strangers = (self.others() - drafted).max(0.0);
        let queued = self.queued.get().unwrap_or(0.0);
        let rows = (texts + strangers).round() as usize;
        Some((self.around() - queued).max(0.0) + self.forward(rows, 1)?)
    }

    /// How many times as long as expected a review of so many rows of one text took; nothing where such reviews were seen
    /// too seldom to tell.
    pub(super) fn times_expected(&self, rows: usize, took: Duration) -> Option<f64> {
        let others = self.others().round() as usize;
        let familiar = self.forward[step(rows + others)].weight() >= FAMILIAR;
        let expected = self.review(rows, rows).filter(|_| familiar)?;
        Some(took.as_secs_f64() / expected.max(1e-9))
    }

    /// Seconds of forwards for each token that a Draft call writes, alone or with so much of its Max-Gram at a time.
    pub(super) fn token(&self, assist: usize, cheap: usize) -> Option<f64> {
        let others = self.others().round() as usize;
        let a_forward = self.forward(1 + assist + others, cheap)?;
        let brings = match assist {
            0 => 1.0,
            _ => self.assisted.with_prior(1.5, 2.0).max(1.0),
        };
        Some(a_forward / brings)
    }

    /// Seconds of a Draft call beside those that each of its tokens takes.
    pub(super) fn opening(&self) -> f64 {
        self.around() + self.drafting.start()
    }

    /// Seconds of a Draft call that writes so many tokens.
    pub(super) fn write(&self, tokens: f64, assist: usize, cheap: usize) -> Option<f64> {
        Some(self.opening() + self.token(assist, cheap)? * tokens.max(1.0))
    }

    /// Seconds of a call beside its forwards.
    pub(super) fn around(&self) -> f64 {
        self.around.get().unwrap_or(0.0)
    }

    /// Rows of other texts that a forward has.
    pub(super) fn others(&self) -> f64 {
        self.others.get().unwrap_or(0.0)
    }

    /// Whether any call was ever answered or failed.
    pub(super) fn known(&self) -> bool {
        self.around.weight() > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timings(forward_ms: u64, rows: usize, batch: usize) -> Timings {
        Timings {
            forward: Duration::from_millis(forward_ms),
            rows,
            batch,
            ..Timings::default()
        }
    }

    #[test]
    fn the_staircase_is_measured_and_believed_beyond() {
        let mut prices = Prices::default();
        assert_eq!(prices.review(1, 8), None);
        prices.reviewed(Duration::from_millis(13), timings(12, 1, 1), true);
        assert_eq!(prices.review(1, 8), Some(0.013));
        assert_eq!(prices.review(8, 8), Some(0.013));
        assert_eq!(prices.forward(9, 8), Some(0.024));
        prices.reviewed(Duration::from_millis(16), timings(15, 9, 9), true);
        assert_eq!(prices.forward(9, 8), Some(0.015));
        assert_eq!(prices.forward(5, 8), Some(0.0135));
        assert_eq!(prices.forward(5, 4), Some(0.015));
    }

    #[test]
    fn more_rows_are_never_cheaper() {
        let seen = |all: &[(u64, usize)]| {
            let mut prices = Prices::default();
            for &(forward_ms, rows) in all {
                let timings = timings(forward_ms, rows, rows);
                prices.reviewed(timings.forward, timings, true);
            }
            prices
        };
        let few_then_many = seen(&[(10, 8), (22, 33)]);
        let few = seen(&[(10, 5)]);
        for (prices, cheap) in [(few_then_many, 8), (few.clone(), 5), (few, 11)] {
            let forwards = (1..60).map(|rows| prices.forward(rows, cheap).unwrap_or(0.0));
            let forwards: Vec<f64> = forwards.collect();
            assert!(forwards.is_sorted(), "{cheap}: {forwards:?}");
        }
    }

    #[test]
    fn noise_does_not_make_fewer_rows_dearer() {
        let mut prices = Prices::default();
        prices.reviewed(Duration::from_millis(90), timings(90, 4, 4), true);
        for _ in 0..20 {
            prices.reviewed(Duration::from_millis(10), timings(10, 6, 6), true);
        }
        let four = prices.forward(4, 8).unwrap_or(0.0);
        assert!(four < 0.016, "{four}");
        assert_eq!(prices.forward(6, 8), prices.forward(4, 8));
    }

    #[test]
    fn among_many_rows_each_has_its_price() {
        let mut prices = Prices::default();
        prices.reviewed(Duration::from_millis(100), timings(100, 4, 100), true);
        prices.reviewed(Duration::from_millis(140), timings(140, 4, 140), true);
        let close = |rows, seconds: f64| {
            let forward = prices.forward(rows, 16).unwrap_or(0.0);
            assert!((forward - seconds).abs() < 1e-6, "{rows}: {forward}");
        };
        close(104, 0.104);
        close(120, 0.120);
        close(210, 0.210);
    }

    #[test]
    fn what_other_texts_add_is_seen() {
        let mut prices = Prices::default();
        prices.reviewed(Duration::from_millis(10), timings(10, 2, 16), true);
        assert_eq!(prices.others(), 14.0);
        prices.reviewed(Duration::from_millis(20), timings(20, 4, 18), true);
        assert_eq!(prices.review(2, 16), Some(0.010));
        assert_eq!(prices.review(4, 16), Some(0.020));
    }

    #[test]
    fn what_waits_for_a_review_says_nothing_of_the_hop() {
        let mut prices = Prices::default();
        for (beside, waits) in [(false, 1), (true, 30)] {
            let timings = timings(2, 2, 2);
            prices.drafted(&Drafted {
                level: 1,
                assist: 0,
                tokens: &[],
                forwards: 2,
                took: timings.forward + Duration::from_millis(waits),
                timings,
                beside,
            });
        }
        assert_eq!(prices.around(), 0.001);
    }

    #[test]
    fn a_drafts_first_forward_is_told_from_the_others() {
        let mut prices = Prices::default();
        for forwards in (1..=12).cycle().take(120) {
            let timings = timings(2 + forwards, forwards as usize, forwards as usize);
            prices.drafted(&Drafted {
                level: 1,
                assist: 0,
                tokens: &[],
                forwards,
                took: timings.forward + Duration::from_millis(1),
                timings,
                beside: false,
            });
        }
        let opening = prices.opening();
        assert!((opening - 0.003).abs() < 0.0005, "{opening}");
        let twelve = prices.write(12.0, 0, 8).unwrap_or(0.0);
        assert!((twelve - 0.015).abs() < 0.001, "{twelve}");
    }
}
