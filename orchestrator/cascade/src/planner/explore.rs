//! Turns that teach.
//!
//! What is never tried is never known: a level that fared badly in its first drafts, or only ever goes on where another gave
//! up, looks worse than it is. So drafts are opened in other ways now and then, as far as the time allows that this is
//! expected to lose.

use csd_level::Kind;

use super::{
    Book, STALE,
    choose::ALONE,
    decision::{Choice, Decision, Reasons},
    offers::{assist, may_ask},
    openings::{Opening, begins, opens},
    planned::{Planned, TextBook},
    value::{Offer, View},
};
use crate::strategy::{Manner, Situation, Turn};

/// The share of all time that may go into turns that only teach, …
const EXPLORATION: f64 = 0.01;
/// … and of it, into those that nobody waits for.
const AUDITIONS: f64 = 0.5 * EXPLORATION;
/// Tokens of such a turn, …
const AUDITION: usize = 8;
/// … and of one of a level that nobody knows.
const PROBE: usize = 3;
/// Rounds after which a way to open a draft is worth another look.
const BETWEEN: u64 = 32;

/// Whether so many more seconds may go into learning.
fn affords(book: &Book, seconds: f64) -> bool {
    book.explored + seconds <= EXPLORATION * book.seconds
}

impl Planned {
    /// Whether to draft at all, though drafts are expected to come to this; and seconds that are given up to see whether
    /// they still do.
    pub(super) fn dares(
        &self,
        book: &Book,
        text: &TextBook,
        situation: &Situation<'_>,
        surplus: f64,
    ) -> Option<f64> {
        if !begins(situation) || surplus >= 0.0 || text.tries {
            return Some(0.0);
        }
        let given_up = -surplus * self.alone(book);
        affords(book, given_up).then_some(given_up)
    }

    /// A level that nobody has asked for long, as far as the time that may be spent on learning allows.
    pub(super) fn probe(
        &self,
        book: &Book,
        text: &mut TextBook,
        situation: &Situation<'_>,
    ) -> Option<Decision> {
        if !opens(situation) {
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
        let cost = cost.unwrap_or_else(|| prices.around()) * self.load() + self.alone(book);
        if prices.known() && !affords(book, cost) {
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
            given_up: 0.0,
        })
    }

    /// A turn for nobody, where nobody was asked for long: of the level that was not asked for longest, as it would write
    /// for the target.
    pub(super) fn auditions(
        &self,
        book: &Book,
        text: &TextBook,
        situation: &Situation<'_>,
    ) -> Option<Decision> {
        let drafted = book.wanted.iter().max().copied().unwrap_or(0);
        if book.rounds.saturating_sub(drafted) < BETWEEN {
            return None;
        }
        let neural = |&level: &usize| {
            situation.levels[level].kind == Kind::Neural && may_ask(situation, level)
        };
        let level = (1..situation.levels.len())
            .filter(neural)
            .min_by_key(|&level| book.used[level])?;
        let description = &situation.levels[level];
        let assist = assist(situation.levels, level);
        let wanted = AUDITION.min(situation.room);
        let token = book.prices[level].token(assist, description.rows)?;
        let given_up = token * wanted as f64 * self.load();
        (book.auditions + given_up <= AUDITIONS * book.seconds).then(|| Decision {
            choice: Choice::Probe,
            turn: Some(Turn {
                level,
                wanted,
                room: wanted,
                manner: Manner::Write {
                    assist,
                    prospects: None,
                },
            }),
            reasons: Reasons {
                seconds: Some(book.prices[level].opening() + token * wanted as f64),
                ..Reasons::priced(self.rate(book, text))
            },
            given_up,
        })
    }

    /// The best offer of another opening than usual: of that which was not used for longest.
    pub(super) fn explore(
        &self,
        book: &Book,
        view: &View<'_>,
        situation: &Situation<'_>,
        offers: &[Offer],
        best: Option<(Offer, f64)>,
    ) -> Option<Decision> {
        if !opens(situation) || view.rate <= 0.0 {
            return None;
        }
        let records = &book.bands[self.band].openings;
        let openings = offers.iter().map(|offer| Opening::by(&offer.turn));
        let opening = openings.min_by_key(|&opening| (records.last(opening), opening))?;
        let usual = best.is_some_and(|(offer, _)| Opening::by(&offer.turn) == opening);
        if usual || book.rounds.saturating_sub(records.last(opening)) < BETWEEN {
            return None;
        }
        let other = offers
            .iter()
            .filter(|offer| Opening::by(&offer.turn) == opening);
        let other: Vec<Offer> = other.copied().collect();
        let (offer, worth) = view.best(situation, &other, |_| records.beyond(opening))?;
        let best = best.map_or(0.0, |(_, worth)| worth).max(0.0);
        // Texts that share the target's forwards wait for each other.
        let given_up = (best - worth).max(0.0) / view.rate * view.load;
        affords(book, given_up).then(|| Decision {
            choice: Choice::Probe,
            turn: Some(offer.turn),
            reasons: Reasons::of(&offer, worth, 1.0, view.rate),
            given_up,
        })
    }
}
