//! Log-probabilities of the tokens of a text, for those who ask.
//!
//! The log-softmax of a model's *raw* logits: no temperature, penalty, bias or truncation touches them, so that they say
//! what the model thinks and not how a token was chosen. Sums are taken in a fixed order, and a position's logits depend on
//! the tokens before it alone; so the numbers are the same bit for bit through every plan and every batch.

use crate::{
    Error, Result, Token,
    elementary::{ln, sum_exp},
    logits::best,
};

/// The most alternatives that a review names at each position.
pub const MOST_ALTERNATIVES: usize = 20;

/// What stands for the logarithm of no probability at all: log-probabilities are finite.
pub const LEAST: f32 = -9999.0;

/// Asks a review for the log-probability of every token from a position on: those of the context there, the accepted ones
/// of the draft, and the reviewer's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogprobsRequest {
    /// How many of the most likely tokens are named at each position, at most [`MOST_ALTERNATIVES`].
    pub alternatives: usize,
    /// The first position that is scored, counted from the start of the context. At least 1, since nothing stands before
    /// position 0; the length of the context where only written tokens are of interest. What the level remembers of
    /// the context from there on is computed anew.
    pub from: usize,
}

/// What a model thinks of one position of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// Of the token that stands there: natural logarithm, at most 0, at least [`LEAST`].
    pub token: f32,
    /// The most likely tokens, best first; ties by the lowest id.
    pub top: Vec<(Token, f32)>,
}

impl LogprobsRequest {
    /// Checks itself against a context of `context` tokens.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field.
    pub fn check(&self, context: usize) -> Result<()> {
        if self.alternatives > MOST_ALTERNATIVES {
            let reason = format!("at most {MOST_ALTERNATIVES}, got {}", self.alternatives);
            return Err(Error::invalid("logprobs.alternatives", reason));
        }
        if !(1..=context).contains(&self.from) {
            let reason = format!(
                "must be a position from 1 to the end of the context, {context}, got {}",
                self.from
            );
            return Err(Error::invalid("logprobs.from", reason));
        }
        Ok(())
    }
}

impl Logprobs {
    /// Reads the raw logits of a position at which `token` stands. `logits` holds the real vocabulary only, padding cut off.
    pub fn of(logits: &[f32], token: Token, alternatives: usize) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let normaliser = ln(f64::from(sum_exp(logits, max)));
        let logprob = |token: Token| {
            let logit = logits.get(token as usize).copied();
            let logit = logit.unwrap_or(f32::NEG_INFINITY);
            let logprob = (f64::from(logit - max) - normaliser) as f32;
            match logprob.is_nan() {
                true => LEAST,
                false => logprob.clamp(LEAST, 0.0),
            }
        };
        let top = match alternatives {
            0 => Vec::new(),
            count => best(logits, count),
        };
        Self {
            token: logprob(token),
            top: top
                .into_iter()
                .map(|token| (token, logprob(token)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_logarithm_of_the_softmax() {
        let logits: Vec<f32> = (0..1000)
            .map(|i| ((i * 7919) % 1000) as f32 / 50.0)
            .collect();
        let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        let mut probability = 0.0;
        for token in 0..1000 {
            let ours = Logprobs::of(&logits, token, 0).token;
            let truth = f64::from(logits[token as usize]) - sum.ln();
            assert!((f64::from(ours) - truth).abs() < 2e-6, "{ours} {truth}");
            probability += f64::from(ours).exp();
        }
        assert!((probability - 1.0).abs() < 1e-6, "{probability}");
    }

    #[test]
    fn the_best_come_first_and_ties_by_the_lowest_id() {
        let scored = Logprobs::of(&[1.0, 3.0, 2.0, 3.0, 0.0], 4, 3);
        let ids: Vec<Token> = scored.top.iter().map(|&(token, _)| token).collect();
        assert_eq!(ids, [1, 3, 2]);
        assert_eq!(scored.top[0].1, scored.top[1].1);
        assert!(scored.token < scored.top[2].1);
        assert_eq!(Logprobs::of(&[1.0, 2.0], 0, 20).top.len(), 2);
    }

    #[test]
    fn they_are_finite_whatever_the_logits() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for logits in [
            [0.0, -inf],
            [-inf, -inf],
            [nan, 1.0],
            [nan, nan],
            [3e38, -3e38],
            [inf, 0.0],
        ] {
            for token in 0..3 {
                let scored = Logprobs::of(&logits, token, 2);
                let all = scored.top.iter().map(|&(_, logprob)| logprob);
                for logprob in all.chain([scored.token]) {
                    assert!((LEAST..=0.0).contains(&logprob), "{logits:?} {scored:?}");
                }
            }
        }
        assert_eq!(Logprobs::of(&[0.0, -inf], 1, 0).token, LEAST);
    }
}
