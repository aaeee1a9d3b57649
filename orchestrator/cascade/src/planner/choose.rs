//! The next turn of a draft: one that teaches if it is time for that, else Max-Gram if it may know something, else the best
//! offer if it is worth its time.

use csd_level::Kind;

use super::{
    Book,
    decision::{Choice, Decision, Reasons},
    offers::{guess, may_ask},
    openings::{Opening, opens},
    planned::{Planned, TextBook},
    source::Source,
    value::{Offer, View},
};
use crate::strategy::{Manner, Situation, Turn};

/// What a turn must be worth in tokens, lest levels work for next to nothing behind a review, …
const LEAST: f64 = 0.01;
/// … and beyond that, for the share of a turn's time that hope costs: the best of several guesses is mostly a lucky one.
/// Texts that share the target's forwards may wait for this one, so it is a share of the time of each.
const HOPE: f64 = 0.15;
/// Token by token, all that is wanted.
pub(super) const ALONE: Manner = Manner::Write {
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
        let surplus = self.surplus(book, text);
        let Some(given_up) = self.dares(book, text, situation, surplus) else {
            return Decision {
                choice: Choice::HandIn,
                turn: None,
                reasons: Reasons {
                    worth: Some(surplus),
                    ..Reasons::priced(view.rate)
                },
                given_up: 0.0,
            };
        };
        if let Some(decision) = self.look_up(book, text, &view, situation) {
            return Decision {
                given_up,
                ..decision
            };
        }
        let offers = view.offers(situation);
        let openings = &book.bands[self.band].openings;
        let beyond = |offer: &Offer| match opens(situation) {
            true => openings.beyond(Opening::by(&offer.turn)),
            false => 0.0,
        };
        let best = view.best(situation, &offers, beyond);
        if let Some(decision) = self.explore(book, &view, situation, &offers, best) {
            return Decision {
                given_up: given_up + decision.given_up,
                ..decision
            };
        }
        let survival = view.survival(situation);
        let of = |(offer, worth): &(_, f64)| Reasons::of(offer, *worth, survival, view.rate);
        let reasons = best.as_ref().map(of);
        let pays = |(offer, worth): &(Offer, f64)| {
            let paid = (offer.seconds - situation.hidden.as_secs_f64()).max(0.0);
            // A disappointment counts, a windfall does not: where nothing should be drafted, the least bad way to do so has
            // always been lucky.
            let sober = worth - beyond(offer).max(0.0);
            sober > LEAST + HOPE * view.rate * view.load * paid
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
            given_up: turn.map_or(0.0, |_| given_up),
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
        let right = guess(situation, || {
            let own = view.outlook(situation, &[Source::wrote(last)], true);
            own.at(situation.draft.len()).next()
        });
        let brings = text.statistical.with_prior(brings, 3.0) * view.survival(situation) * right;
        let hidden = situation.hidden.as_secs_f64();
        let seconds = (book.prices[last].around() - hidden).max(0.0);
        // No guess among several, so no hope to pay for but the other texts'.
        let worth = brings - view.rate * (1.0 + HOPE * (view.load - 1.0)) * seconds;
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
            given_up: 0.0,
        })
    }
}
