//! What drafts bring beyond the target alone: counted afterwards, whatever they promised.
//!
//! Promises rest on what is known of the levels' tokens, and that is of another sort of text when the work changes. Where
//! drafts have lately lost, nobody drafts, but for what it costs to see whether they still do. Drafts that nobody waits for
//! count as well, as what would have come of them; and so does what other texts lose behind a draft.

use super::mean::Mean;

/// Rounds for which that counts which is expected otherwise.
const BELIEF: f64 = 4.0;
/// Standard errors by which drafts must have lost, where nobody else would pay for the doubt.
const ERRORS: f64 = 1.5;
/// Rounds of each other text that a draft may have held up.
const ROUNDS: f64 = 2.0;

/// Tokens that rounds with drafts have brought beyond those that the target alone would have written in their time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Surplus<const MEMORY: u32> {
    tokens: Mean<MEMORY>,
    squares: Mean<MEMORY>,
}

impl<const MEMORY: u32> Surplus<MEMORY> {
    /// A round has drafted, and brought so many tokens beyond the target alone.
    pub(super) fn observe(&mut self, beyond: f64) {
        self.tokens.observe(beyond);
        self.squares.observe(beyond * beyond);
    }

    /// Tokens that the next such round of one of so many texts will bring, if `otherwise` is what to expect where nothing is
    /// known; nothing lost where that may as well be chance.
    pub(super) fn expected(&self, otherwise: f64, texts: f64) -> f64 {
        let mean = self.tokens.with_prior(otherwise, BELIEF);
        let spread = self.squares.with_prior(mean * mean, BELIEF) - mean * mean;
        let error = (spread.max(0.0) / (self.tokens.weight() + BELIEF)).sqrt();
        if mean + ERRORS / texts * error < 0.0 {
            mean
        } else {
            mean.max(0.0)
        }
    }
}

/// Tokens that so many in so many seconds are beyond those of the target alone, which takes `alone` for each; nothing while
/// that is unknown.
pub(super) fn beyond(tokens: f64, seconds: f64, alone: f64) -> Option<f64> {
    (alone > 0.0).then(|| tokens - seconds / alone)
}

/// What texts lose behind the drafts of others. One that has waited for its draft comes back out of step: then it waits for
/// a forward of the others, and they for its own, where all could share one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wake {
    /// Rounds without drafts that are still to be counted, …
    rounds: f64,
    /// … and what those that were came to, in tokens beyond the target alone.
    tokens: f64,
}

impl Wake {
    /// A round of one of so many texts has brought so much beyond the target alone. What one that drafted has to bear for
    /// those behind the draft before; 0 for the others.
    pub(super) fn after(&mut self, drafted: bool, beyond: f64, texts: f64) -> f64 {
        if drafted {
            self.rounds = ROUNDS * (texts - 1.0);
            return std::mem::take(&mut self.tokens);
        }
        if self.rounds > 0.0 {
            self.rounds -= 1.0;
            // Who reads a prompt holds up everybody for longer, and that is no draft's fault.
            self.tokens += beyond.clamp(-1.0, 1.0);
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After so many rounds of 30 ms, which wrote so many tokens in turns, where the target alone takes 10 ms for each.
    fn after(rounds: usize, tokens: [f64; 4]) -> Surplus<16> {
        let mut surplus = Surplus::default();
        for tokens in tokens.into_iter().cycle().take(rounds) {
            surplus.observe(beyond(tokens, 0.030, 0.010).unwrap_or(0.0));
        }
        surplus
    }

    #[test]
    fn what_loses_is_noticed_soon_and_what_may_be_chance_is_not() {
        assert_eq!(after(0, [1.0; 4]).expected(0.0, 1.0), 0.0);
        assert!(after(3, [1.0; 4]).expected(0.0, 1.0) < 0.0);
        assert!(after(12, [1.0, 1.0, 4.0, 1.0]).expected(0.0, 1.0) < 0.0);
        assert_eq!(after(12, [1.0, 1.0, 8.0, 1.0]).expected(0.0, 1.0), 0.0);
        assert!(after(12, [1.0, 1.0, 8.0, 1.0]).expected(0.0, 8.0) < 0.0);
        assert!(after(12, [1.0, 1.0, 16.0, 1.0]).expected(0.0, 1.0) > 0.0);
    }

    #[test]
    fn a_draft_bears_what_others_lose_behind_it() {
        let mut wake = Wake::default();
        assert_eq!(wake.after(false, -0.5, 2.0), 0.0);
        assert_eq!(wake.after(true, 3.0, 2.0), 0.0);
        for lost in [-0.5, -9.0, -0.5] {
            assert_eq!(wake.after(false, lost, 2.0), 0.0);
        }
        assert_eq!(wake.after(true, 3.0, 2.0), -1.5);
        assert_eq!(wake.after(true, 3.0, 1.0), 0.0);
        assert_eq!(wake.after(false, -0.5, 1.0), 0.0);
        assert_eq!(wake.after(true, 3.0, 1.0), 0.0);
    }

    #[test]
    fn a_text_is_as_others_until_it_shows() {
        let others = after(12, [1.0; 4]).expected(0.0, 1.0);
        assert!(others < 0.0 && after(0, [1.0; 4]).expected(others, 1.0) < 0.0);
        assert!(after(4, [9.0; 4]).expected(others, 1.0) > 0.0);
    }
}
