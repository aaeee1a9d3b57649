//! What drafts bring beyond the target alone: counted afterwards, whatever they promised.
//!
//! Promises rest on what is known of the levels' tokens, and that is of another sort of text when the work changes. Where
//! drafts have lately lost, nobody drafts, but for what it costs to see whether they still do. Drafts that nobody waits for
//! count as well, as what would have come of them.

use super::mean::Mean;

/// Rounds for which that counts which is expected otherwise.
const BELIEF: f64 = 4.0;
/// Standard errors by which drafts must have lost.
const ERRORS: f64 = 1.5;

/// Tokens that rounds with drafts have brought beyond those that the target alone would have written in their time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Surplus<const MEMORY: u32> {
    tokens: Mean<MEMORY>,
    squares: Mean<MEMORY>,
}

impl<const MEMORY: u32> Surplus<MEMORY> {
    /// A round has drafted, and written so many tokens in so many seconds; alone the target takes `alone` for each.
    pub(super) fn observe(&mut self, tokens: f64, seconds: f64, alone: f64) {
        if alone > 0.0 {
            let surplus = tokens - seconds / alone;
            self.tokens.observe(surplus);
            self.squares.observe(surplus * surplus);
        }
    }

    /// Tokens that the next such round will bring, if `otherwise` is what to expect where nothing is known; nothing lost
    /// where that may as well be chance.
    pub(super) fn expected(&self, otherwise: f64) -> f64 {
        let mean = self.tokens.with_prior(otherwise, BELIEF);
        let spread = self.squares.with_prior(mean * mean, BELIEF) - mean * mean;
        let error = (spread.max(0.0) / (self.tokens.weight() + BELIEF)).sqrt();
        if mean + ERRORS * error < 0.0 {
            mean
        } else {
            mean.max(0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After so many rounds of 30 ms, which wrote so many tokens in turns, where the target alone takes 10 ms for each.
    fn after(rounds: usize, tokens: [f64; 4]) -> Surplus<16> {
        let mut surplus = Surplus::default();
        for tokens in tokens.into_iter().cycle().take(rounds) {
            surplus.observe(tokens, 0.030, 0.010);
        }
        surplus
    }

    #[test]
    fn what_loses_is_noticed_soon_and_what_may_be_chance_is_not() {
        assert_eq!(after(0, [1.0; 4]).expected(0.0), 0.0);
        assert!(after(3, [1.0; 4]).expected(0.0) < 0.0);
        assert!(after(12, [1.0, 1.0, 4.0, 1.0]).expected(0.0) < 0.0);
        assert_eq!(after(12, [1.0, 1.0, 8.0, 1.0]).expected(0.0), 0.0);
        assert!(after(12, [1.0, 1.0, 16.0, 1.0]).expected(0.0) > 0.0);
    }

    #[test]
    fn a_text_is_as_others_until_it_shows() {
        let others = after(12, [1.0; 4]).expected(0.0);
        assert!(others < 0.0 && after(0, [1.0; 4]).expected(others) < 0.0);
        assert!(after(4, [9.0; 4]).expected(others) > 0.0);
    }
}
