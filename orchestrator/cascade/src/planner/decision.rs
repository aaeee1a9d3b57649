//! What the planner decides and why: told to the trace, counted for whoever asks.

use csd_names as names;
use tracing::{Level, event};

use super::value::Offer;
use crate::strategy::{Situation, Turn};

/// What was decided. Counts are kept by the level that the choice fell on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The level writes by itself.
    Write,
    /// The level reviews what those under it write.
    Review,
    /// The level is asked only to learn about it.
    Probe,
    /// No turn is worth its time: the draft goes to the level, its reviewer, as it stands.
    HandIn,
    /// The levels draft on while the level, the target, reviews.
    DraftAhead,
    /// They wait for it.
    Wait,
}

impl Choice {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Write,
        Self::Review,
        Self::Probe,
        Self::HandIn,
        Self::DraftAhead,
        Self::Wait,
    ];

    /// As traces and metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Review => "review",
            Self::Probe => "probe",
            Self::HandIn => "hand_in",
            Self::DraftAhead => "draft_ahead",
            Self::Wait => "wait",
        }
    }

    /// Whether it can fall on this one of so many levels.
    fn fits(self, level: usize, levels: usize) -> bool {
        let (target, last) = (level == 0, level + 1 == levels);
        match self {
            Self::Write | Self::Probe => !target,
            Self::Review => !target && !last,
            Self::HandIn => !last,
            Self::DraftAhead | Self::Wait => target,
        }
    }
}

/// How often each choice fell on each level.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Vec<[u64; Choice::ALL.len()]>);

impl Tally {
    pub(super) fn new(levels: usize) -> Self {
        Self(vec![Default::default(); levels])
    }

    pub(super) fn count(&mut self, choice: Choice, level: usize) {
        self.0[level][choice as usize] += 1;
    }

    /// Every count that can be more than zero.
    pub(super) fn counts(&self) -> Vec<(Choice, usize, u64)> {
        let levels = self.0.iter().enumerate();
        let each = levels.flat_map(|(level, counts)| {
            let choices = Choice::ALL.into_iter().zip(counts);
            choices.map(move |(choice, &count)| (choice, level, count))
        });
        each.filter(|(choice, level, _)| choice.fits(*level, self.0.len()))
            .collect()
    }
}

/// A decision about the next turn of a draft.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision {
    pub(super) choice: Choice,
    /// Nothing where the draft is handed in.
    pub(super) turn: Option<Turn>,
    pub(super) reasons: Reasons,
    /// Seconds that the turn is expected to lose against the best one, for what it may teach.
    pub(super) given_up: f64,
}

/// Why: of the turn that was chosen, or of the best that was not worth its time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reasons {
    /// Tokens beyond those that its time would bring anyway, with the best that may follow it.
    pub(super) worth: Option<f64>,
    /// Tokens of text that the turn itself is expected to bring.
    pub(super) tokens: Option<f64>,
    /// Seconds that it is expected to take.
    pub(super) seconds: Option<f64>,
    /// The price of time, in tokens a second.
    pub(super) rate: f64,
}

impl Reasons {
    /// The price of time alone.
    pub(super) fn priced(rate: f64) -> Self {
        Self {
            rate,
            ..Self::default()
        }
    }

    /// Of an offer that stands behind a draft of this chance to pass.
    pub(super) fn of(offer: &Offer, worth: f64, survival: f64, rate: f64) -> Self {
        Self {
            worth: Some(worth),
            tokens: Some(survival * offer.gain),
            seconds: Some(offer.seconds),
            rate,
        }
    }
}

impl Decision {
    /// The level on which the choice fell.
    pub(super) fn level(&self, situation: &Situation<'_>) -> usize {
        self.turn.map_or(situation.reviewer, |turn| turn.level)
    }

    /// An event of the span in which the draft is made.
    pub(super) fn tell(&self, situation: &Situation<'_>) {
        let level = self.level(situation);
        event!(name: names::DECISION_EVENT, target: names::PLANNER, Level::DEBUG, {
            { names::DECISION } = self.choice.as_str(),
            { names::LEVEL } = situation.levels[level].name,
            { names::REVIEWER } = situation.levels[situation.reviewer].name,
            { names::DRAFT_TOKENS } = names::count(situation.draft.len()),
            { names::WANTED } = self.turn.map(|turn| names::count(turn.wanted)),
            { names::WORTH } = self.reasons.worth,
            { names::EXPECTED_TOKENS } = self.reasons.tokens,
            { names::EXPECTED_SECONDS } = self.reasons.seconds,
            { names::TIME_PRICE } = self.reasons.rate,
        });
    }
}

/// The decision whether to draft during a review that is expected to take so many seconds, an event of the round.
pub(super) fn tell_ahead(choice: Choice, review: f64) {
    event!(name: names::DECISION_EVENT, target: names::PLANNER, Level::DEBUG, {
        { names::DECISION } = choice.as_str(),
        { names::EXPECTED_SECONDS } = review,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_choices_that_can_be_are_counted() {
        let mut tally = Tally::new(3);
        tally.count(Choice::Write, 2);
        tally.count(Choice::Write, 2);
        tally.count(Choice::HandIn, 0);
        let counts = tally.counts();
        let some: Vec<_> = counts.iter().filter(|count| count.2 > 0).collect();
        assert_eq!(some, [&(Choice::HandIn, 0, 1), &(Choice::Write, 2, 2)]);
        let on = |level| {
            let of = counts.iter().filter(move |count| count.1 == level);
            of.map(|count| count.0.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(on(0), ["hand_in", "draft_ahead", "wait"]);
        assert_eq!(on(1), ["write", "review", "probe", "hand_in"]);
        assert_eq!(on(2), ["write", "probe"]);
    }
}
