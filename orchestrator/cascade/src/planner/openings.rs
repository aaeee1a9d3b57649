//! The ways to begin a draft: when each was last taken, and what came of it for what was expected.
//!
//! What an offer is worth rests on a model of the levels' tokens one by one. What that leaves out (a text that ends, an
//! opening that is only taken where others fail) is the same from draft to draft, so what an opening has lately brought
//! beyond its promise is added to the next. Of an opening that nobody takes, a promise is believed: where the usual one
//! disappoints, others get their turn.

use std::collections::BTreeMap;

use csd_level::Kind;

use super::mean::Mean;
use crate::strategy::{Manner, Situation, Turn};

/// Drafts for which the belief counts that an opening keeps its promise.
const BELIEF: f64 = 15.0;

/// A way to begin a draft for the target that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Opening {
    level: usize,
    reviews: bool,
}

impl Opening {
    /// What a turn opens.
    pub(super) fn by(turn: &Turn) -> Self {
        Self {
            level: turn.level,
            reviews: matches!(turn.manner, Manner::Review { .. }),
        }
    }

    /// The same, if it does; Max-Gram is only asked before another opens.
    pub(super) fn of(situation: &Situation<'_>, turn: Option<Turn>) -> Option<Self> {
        let neural = |turn: &Turn| situation.levels[turn.level].kind == Kind::Neural;
        let turn = turn.filter(|turn| opens(situation) && neural(turn));
        turn.map(|turn| Self::by(&turn))
    }
}

/// Whether nothing is drafted yet for the target.
pub(super) fn begins(situation: &Situation<'_>) -> bool {
    situation.reviewer == 0 && situation.draft.is_empty()
}

/// Whether nothing is drafted yet, and the target waits.
pub(super) fn opens(situation: &Situation<'_>) -> bool {
    begins(situation) && !situation.ahead
}

/// What an opening was expected to be worth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    /// Which one.
    pub(super) opening: Opening,
    /// Tokens beyond what its time would bring anyway, …
    pub(super) worth: f64,
    /// … at so many tokens a second.
    pub(super) rate: f64,
}

/// How an opening has fared.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    last: u64,
    beyond: Mean<64>,
}

/// How all of them have fared.
#[derive(Clone, Debug, Default)]
pub(super) struct Openings(BTreeMap<Opening, Record>);

impl Openings {
    /// An opening is taken in this round.
    pub(super) fn taken(&mut self, opening: Opening, round: u64) {
        self.0.entry(opening).or_default().last = round;
    }

    /// The round in which it was taken last; 0 for one that never was.
    pub(super) fn last(&self, opening: Opening) -> u64 {
        self.0.get(&opening).map_or(0, |record| record.last)
    }

    /// Tokens that an opening is expected to bring beyond its promise.
    pub(super) fn beyond(&self, opening: Opening) -> f64 {
        let record = self.0.get(&opening);
        record.map_or(0.0, |record| record.beyond.with_prior(0.0, BELIEF))
    }

    /// What came of a promise: drafted tokens of text, and seconds beyond those of the target's own forward.
    pub(super) fn came_to(&mut self, promise: &Promise, tokens: f64, seconds: f64) {
        let beyond = tokens - promise.rate * seconds - promise.worth;
        let record = self.0.entry(promise.opening).or_default();
        record.beyond.observe(beyond);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_that_disappoints_falls_behind_one_that_does_not() {
        let opening = |level| Opening {
            level,
            reviews: false,
        };
        let mut openings = Openings::default();
        for round in 0..40 {
            let (level, tokens) = if round % 2 == 0 { (1, 2.0) } else { (2, 6.0) };
            let promise = Promise {
                opening: opening(level),
                worth: 3.0,
                rate: 100.0,
            };
            openings.taken(promise.opening, round);
            openings.came_to(&promise, tokens, 0.010);
        }
        assert!(openings.beyond(opening(1)) < -1.0 && openings.beyond(opening(2)) > 1.0);
        assert_eq!(openings.beyond(opening(3)), 0.0);
        assert_eq!(
            (openings.last(opening(1)), openings.last(opening(3))),
            (38, 0)
        );
    }
}
