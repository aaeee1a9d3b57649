//! What a review says.

use std::time::Duration;

use crate::{DraftToken, Logprobs, Token, elementary::log_odds};

/// Where the time of a call went, as the answering level saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting for the engine. A worker counts all time here that it had the call and did not compute for it: together
    /// with `forward` it is the whole time from the call's arrival at the level to its answer.
    pub queue: Duration,
    /// In forwards and the reviews that they are for.
    pub forward: Duration,
    /// Rows of the forward that belonged to this call.
    pub rows: usize,
    /// Rows of the forward in all, with those of other calls that shared it.
    pub batch: usize,
    /// Positions that were already in the cache.
    pub cached: usize,
}

impl Timings {
    /// Adds a further forward of the same call.
    pub fn add(&mut self, other: Self) {
        self.queue += other.queue;
        self.forward += other.forward;
        self.rows += other.rows;
        self.batch += other.batch;
        self.cached += other.cached;
    }
}

/// The outcome of a review: the accepted prefix of the draft and one token of the reviewing level.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How many drafted tokens were accepted, from the first on.
    pub accepted: usize,
    /// The reviewing level's own token after them: the correction at the first refusal, or the bonus when all passed.
    /// Absent when the accepted draft ends the text.
    pub next: Option<DraftToken>,
    /// The reviewing level's own probability (temperature 1, after penalties and bias) of each accepted token.
    pub probabilities: Vec<f32>,
    /// What the reviewing level would have written instead of each accepted token, as far as it can tell.
    pub runners_up: Vec<Option<Token>>,
    /// One entry for each token from [`crate::LogprobsRequest::from`] on: the rest of the context, the accepted draft,
    /// `next`. Empty unless asked for.
    pub logprobs: Vec<Logprobs>,
    /// Where the time went.
    pub timings: Timings,
}

impl Verdict {
    /// Has the reviewing level stand behind the tokens that it accepted: they are as sure as it is, and its own
    /// second choice takes their place if they fail before the next reviewer.
    pub fn stand_behind(&self, accepted: &mut [DraftToken]) {
        let known = self.probabilities.iter().zip(&self.runners_up);
        for (token, (&probability, &runner_up)) in accepted.iter_mut().zip(known) {
            token.gap = log_odds(probability);
            token.runner_up = runner_up;
        }
    }
}
