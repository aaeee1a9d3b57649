//! What an offer is worth, and which is worth most.
//!
//! A text is written at some rate R (tokens a second), so a second is worth R tokens, and a turn pays while the tokens it
//! is expected to bring outrun the time it takes at that price: at the best rate the best round is worth exactly nothing
//! more than its time (Dinkelbach, *On nonlinear fractional programming*, 1967; foragers know it as the marginal value
//! theorem, Charnov 1976). A turn is judged together with the best that may follow it, for a cheap drafter whose tokens
//! fail leaves nothing to build on.

use csd_level::DraftToken;

use super::{
    acceptance::{Acceptance, TextAcceptance},
    prices::Prices,
    source::Source,
};
use crate::strategy::{Situation, Turn};

/// A chance to count with which a token is not kept, whatever its row seems to cost: it costs more beside the rows of other
/// texts.
pub(super) const FAINT: f64 = 0.03;
/// Turns that are thought ahead.
const HORIZON: usize = 16;

/// What the levels cost and how their tokens fare, as one text sees it.
pub(super) struct View<'a> {
    pub(super) prices: &'a [Prices],
    pub(super) acceptance: &'a Acceptance,
    pub(super) text: &'a TextAcceptance,
    /// Tokens a second: the price of time.
    pub(super) rate: f64,
    /// Texts that wait for the same forwards.
    pub(super) load: f64,
}

/// A possible turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) turn: Turn,
    /// Tokens that it adds to the draft, on average.
    pub(super) len: f64,
    /// The chance that it adds all that is wanted.
    pub(super) whole: f64,
    /// Tokens of text that it is expected to bring, if everything before it passes.
    pub(super) gain: f64,
    /// The chance that all of it passes.
    pub(super) survival: f64,
    /// The chance that the guess before it is right, 1 where none is needed: else all of it is for nothing.
    pub(super) guess: f64,
    /// How long it takes.
    pub(super) seconds: f64,
}

impl Offer {
    /// Seconds of the review of what it makes of a draft of so many tokens: costs have steps, so those of the average
    /// length are not the average costs.
    fn review(&self, rows: &[f64], len: f64) -> f64 {
        let wanted = self.turn.wanted as f64;
        let cut = (self.len - self.whole * wanted) / (1.0 - self.whole).max(1e-6);
        self.whole * at(rows, len + wanted) + (1.0 - self.whole) * at(rows, len + cut)
    }
}

/// How a draft stands.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) survival: f64,
    len: f64,
    hidden: f64,
    /// Whether a guess must be drafted first.
    guessing: bool,
}

impl View<'_> {
    /// The chance that the next token counts, as far as the draft before it decides.
    pub(super) fn survival(&self, situation: &Situation<'_>) -> f64 {
        let chance = |token| {
            self.acceptance
                .of_token(self.text, situation.reviewer, token)
                * situation.worth.decay
        };
        situation.worth.first * Source::along(situation.draft).map(chance).product::<f64>()
    }

    /// The turn that is worth most, and its worth in tokens beyond what its time would bring anyway; `beyond`: what each
    /// is known to bring besides.
    pub(super) fn best(
        &self,
        situation: &Situation<'_>,
        offers: &[Offer],
        beyond: impl Fn(&Offer) -> f64,
    ) -> Option<(Offer, f64)> {
        let rows = self.rows(situation);
        let state = self.state(situation);
        let valued = offers.iter().map(|offer| {
            let (worth, after) = self.take(&rows, offer, state);
            let follow = |next: &Offer| self.follow(&rows, next, after);
            let then = offers.iter().map(follow).fold(0.0, f64::max);
            (offer, worth + offer.guess * then + beyond(offer))
        });
        let best = valued.max_by(|a, b| a.1.total_cmp(&b.1));
        best.map(|(offer, worth)| (*offer, worth))
    }

    pub(super) fn state(&self, situation: &Situation<'_>) -> State {
        State {
            survival: self.survival(situation),
            len: situation.draft.len() as f64,
            hidden: situation.hidden.as_secs_f64(),
            guessing: situation.guessing,
        }
    }

    /// What taking an offer is worth by itself, and how the draft stands after it.
    pub(super) fn take(&self, rows: &[f64], offer: &Offer, state: State) -> (f64, State) {
        let seconds = (offer.seconds - state.hidden).max(0.0);
        let more = offer.review(rows, state.len) - at(rows, state.len);
        let brings = state.survival * offer.gain - self.rate * self.load * more;
        let guess = if state.guessing { offer.guess } else { 1.0 };
        let worth = guess * brings - self.rate * seconds;
        let after = State {
            survival: state.survival * offer.survival,
            len: state.len + offer.len,
            hidden: (state.hidden - offer.seconds).max(0.0),
            guessing: false,
        };
        (worth, after)
    }

    /// What repeating an offer is worth, as often as it pays.
    fn follow(&self, rows: &[f64], offer: &Offer, mut state: State) -> f64 {
        let most = (rows.len() - 1) as f64;
        let (mut total, mut best) = (0.0, 0.0f64);
        for _ in 0..HORIZON {
            if state.len + offer.len > most + 0.5 || state.survival < 0.02 {
                break;
            }
            let (worth, after) = self.take(rows, offer, state);
            total += worth;
            best = best.max(total);
            state = after;
        }
        best
    }

    /// Seconds of the review of a draft, by its length.
    pub(super) fn rows(&self, situation: &Situation<'_>) -> Vec<f64> {
        let cheap = situation.levels[situation.reviewer].rows;
        let prices = &self.prices[situation.reviewer];
        let seconds = |len| prices.review(1 + len, cheap).unwrap_or(0.0);
        (0..=situation.draft.len() + situation.room)
            .map(seconds)
            .collect()
    }

    /// How many of some tokens, which cost nothing more to keep, are worth their rows and their place before a draft that
    /// would bring `otherwise` tokens behind certain ones; and how much the draft gains by them.
    pub(super) fn keep(
        &self,
        situation: &Situation<'_>,
        tokens: &[DraftToken],
        otherwise: f64,
    ) -> (usize, f64) {
        let before = self.survival(situation);
        let len = situation.draft.len();
        let (mut survival, mut gain) = (before, 0.0);
        let mut best = (0, before * otherwise);
        let rows = self.rows(situation);
        for (index, token) in tokens.iter().take(situation.room).enumerate() {
            let chance = self.acceptance.of_token(
                self.text,
                situation.reviewer,
                (token, Source::of(token).behind(situation.draft)),
            );
            survival *= chance * situation.worth.decay;
            if survival < FAINT {
                break;
            }
            gain += survival;
            let more = rows[len + index + 1] - rows[len];
            let worth = gain + survival * otherwise - self.rate * self.load * more;
            if worth > best.1 {
                best = (index + 1, worth);
            }
        }
        (best.0, best.1 - before * otherwise)
    }
}

/// Seconds of the review of a draft of about so many tokens.
fn at(rows: &[f64], len: f64) -> f64 {
    rows[((len + 0.5) as usize).min(rows.len() - 1)]
}
