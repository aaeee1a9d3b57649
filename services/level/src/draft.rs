//! Drafted tokens on their way to a review.

use crate::{Statistics, Timings, Token};

/// The distribution that a drafted token was drawn from, as far as it is known. Only rejection sampling asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Proposal {
    /// The exact conditional distribution is not known (Max-Gram, an assisted draft): all mass on the token itself.
    #[default]
    OneHot,
    /// All tokens with mass, ascending by id; the probabilities add up to 1.
    Pairs(Vec<(Token, f32)>),
}

/// A drafted token, with what its author knew about it.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftToken {
    /// The token.
    pub id: Token,
    /// The author's own probability of it at temperature 1 after penalties and bias; 1 from Max-Gram.
    pub probability: f32,
    /// How sure the last level is that stands behind it. Of the author: the best perturbed score minus the second best, or
    /// from Max-Gram, which has no scores, the log-odds of its confidence. Of a reviewer: the log-odds of its probability.
    pub gap: f32,
    /// What that level would have written instead, if it can tell: the reviewer's most likely own token where it refuses
    /// this one.
    pub runner_up: Option<Token>,
    /// Who wrote it: an index into the cascade of whoever reads it. In an answer of a level, 0 is the level itself and 1
    /// its in-process Max-Gram.
    pub author: u8,
    /// Which levels have reviewed its position and stand behind it: bit i is level i, in the numbering of `author`. Its
    /// author is among them if it added the token to a draft that it had reviewed.
    pub reviewers: u32,
    /// What it was drawn from.
    pub proposal: Proposal,
}

impl DraftToken {
    /// A token of which nothing else is known.
    pub fn bare(id: Token, author: u8) -> Self {
        Self {
            id,
            probability: 1.0,
            gap: 0.0,
            runner_up: None,
            author,
            reviewers: 0,
            proposal: Proposal::OneHot,
        }
    }
}

/// Tokens in sequence, what was counted while they were made, and where the time went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// The tokens, first position first.
    pub tokens: Vec<DraftToken>,
    /// Calls and reviews that a level made in its own process to write this draft, in its own numbering.
    pub inner: Statistics,
    /// The sum over the forwards that were needed.
    pub timings: Timings,
}

impl Draft {
    /// The token ids alone.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = Token> + '_ {
        self.tokens.iter().map(|token| token.id)
    }

    /// How many tokens it has.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}
