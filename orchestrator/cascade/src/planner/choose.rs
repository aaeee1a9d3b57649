//! The next turn of a draft: one that teaches if it is time for that, else Max-Gram if it may know something, else the best
//! offer if it is worth its time.

use csd_level::Kind;

use super::{
    Book, Planned, STALE, TextBook,
    decision::{Choice, Decision, Reasons},
    offers::{Offer, View, may_ask},
};
use crate::strategy::{Manner, Situation, Turn};

/// The share of all time that may go into turns that only teach.
const EXPLORATION: f64 = 0.01;
/// Tokens of such a turn.
const PROBE: usize = 3;
/// What a turn must be worth in tokens, lest levels work for next to nothing behind a review, …
const LEAST: f64 = 0.01;
/// … and beyond that, for the share of a turn's time that hope costs: the best of several guesses is mostly a lucky one.
const HOPE: f64 = 0.15;
/// Token by token, all that is wanted.
const ALONE: Manner = Manner::Write {
    assist: 0,
    prospects: None,
};

impl Planned {
    /// The most promising turn, or none where nothing is worth its time.
    pub(super) fn decide(
        &self,
        book: &Book,
        text: &mut TextBook,
        situation: &Situation<'_>,
    ) -> Decision {
        if let Some(decision) = self.probe(book, text, situation) {
            return decision;
        }
        let view = self.view(book, text);
        if let Some(decision) = self.look_up(book, text, &view, situation) {
            return decision;
        }
        let best = view.best(situation, &view.offers(situation));
        let survival = view.survival(situation);
        let of = |(offer, worth): &(_, f64)| Reasons::of(offer, *worth, survival, view.rate);
        let reasons = best.as_ref().map(of);
        let pays = |(offer, worth): &(Offer, f64)| {
            let paid = (offer.seconds - situation.hidden.as_secs_f64()).max(0.0);
            *worth > LEAST + HOPE * view.rate * paid
        };
        let turn = best.filter(pays).map(|(offer, _)| offer.turn);
        Decision {
            choice: match turn.map(|turn| turn.manner) {
                None => Choice::HandIn,
                Some(Manner::Write { .. }) => Choice::Write,
                Some(Manner::Review { .. }) => Choice::Review,
            },
            turn,
            reasons: reasons.unwrap_or_else(|| Reasons::priced(view.rate)),
        }
    }

    /// Max-Gram first, where what it may know is worth the hop: nothing is lost but the time if it knows nothing.
    fn look_up(
        &self,
        book: &Book,
        text: &TextBook,
        view: &View<'_>,
        situation: &Situation<'_>,
    ) -> Option<Decision> {
        let last = situation.levels.len() - 1;
        let statistical = situation.levels[last].kind == Kind::Statistical;
        // A level that has one of its own asks it first, and for nothing.
        let covered = (situation.reviewer + 1..last)
            .any(|level| situation.levels[level].assisted && situation.usable.contains(level));
        if !statistical || covered || situation.reviewer == last || !may_ask(situation, last) {
            return None;
        }
        let brings = book.bands[self.band].statistical.with_prior(0.5, 2.0);
        let brings = text.statistical.with_prior(brings, 3.0) * view.survival(situation);
        let hidden = situation.hidden.as_secs_f64();
        let seconds = (book.prices[last].around() - hidden).max(0.0);
        let worth = brings - view.rate * seconds;
        (worth > 0.0).then_some(Decision {
            choice: Choice::Write,
            turn: Some(Turn {
                level: last,
                wanted: situation.room,
                room: situation.room,
                manner: ALONE,
            }),
            reasons: Reasons {
                worth: Some(worth),
                tokens: Some(brings),
                seconds: Some(seconds),
                rate: view.rate,
            },
        })
    }

    /// A level that nobody has asked for long, as far as the time that may be spent on learning allows.
    fn probe(
        &self,
        book: &Book,
        text: &mut TextBook,
        situation: &Situation<'_>,
    ) -> Option<Decision> {
        let at_start = situation.reviewer == 0 && situation.draft.is_empty();
        if !at_start || !situation.hidden.is_zero() {
            return None;
        }
        let stale = |&level: &usize| {
            let unknown = !book.prices[level].known();
            let long_ago = book.rounds.saturating_sub(book.used[level]) > STALE;
            may_ask(situation, level) && (unknown || long_ago)
        };
        let level = (1..situation.levels.len())
            .filter(stale)
            .min_by_key(|&level| book.used[level])?;
        let wanted = PROBE.min(situation.room);
        let prices = &book.prices[level];
        let rows = situation.levels[level].rows;
        let cost = prices.write(wanted as f64, 0, rows);
        let cost =
            cost.unwrap_or_else(|| prices.around()) + book.prices[0].review(1, 1).unwrap_or(0.0);
        if prices.known() && book.explored + cost > EXPLORATION * book.seconds {
            return None;
        }
        text.probed = Some(level);
        Some(Decision {
            choice: Choice::Probe,
            turn: Some(Turn {
                level,
                wanted,
                room: wanted,
                manner: ALONE,
            }),
            reasons: Reasons {
                seconds: Some(cost),
                ..Reasons::priced(self.rate(book, text))
            },
        })
    }
}
