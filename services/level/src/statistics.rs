//! What a cascade counts: calls by level, and reviews by pair and position.

use std::collections::BTreeMap;

use crate::DraftToken;

/// How one level's tokens fared in another's reviews.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// Drafts that held a token of the drafter.
    pub drafts: u64,
    /// Tokens of the drafter that the reviewer saw.
    pub drafted: u64,
    /// Of those, how many it accepted.
    pub accepted: u64,
    /// Accepted tokens by their position in the reviewed draft, first position first.
    pub per_position: Vec<u64>,
}

/// Counters of one request, or of one inner round. Levels are numbered as in the cascade that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Answered calls by level: forwards of a neural level, proposals of Max-Gram.
    pub calls: Vec<u64>,
    /// Reviews by (reviewer, author of the token).
    pub pairs: BTreeMap<(u8, u8), Pair>,
}

impl Statistics {
    /// Counts `count` answered calls of a level.
    pub fn record_calls(&mut self, level: u8, count: u64) {
        let index = usize::from(level);
        if self.calls.len() <= index {
            self.calls.resize(index + 1, 0);
        }
        self.calls[index] += count;
    }

    /// Counts a review of `draft` that accepted its first `accepted` tokens.
    pub fn record_review(&mut self, reviewer: u8, draft: &[DraftToken], accepted: usize) {
        for (position, token) in draft.iter().enumerate() {
            let first = draft[..position]
                .iter()
                .all(|earlier| earlier.author != token.author);
            let pair = self.pairs.entry((reviewer, token.author)).or_default();
            pair.drafts += u64::from(first);
            pair.drafted += 1;
            if position < accepted {
                pair.accepted += 1;
                if pair.per_position.len() <= position {
                    pair.per_position.resize(position + 1, 0);
                }
                pair.per_position[position] += 1;
            }
        }
    }

    /// Answered calls of a level.
    pub fn calls_of(&self, level: u8) -> u64 {
        self.calls.get(usize::from(level)).copied().unwrap_or(0)
    }

    /// Adds another's counts, its levels renumbered by `number`.
    pub fn merge(&mut self, other: &Self, number: impl Fn(u8) -> u8) {
        for (level, &count) in (0u8..).zip(&other.calls) {
            if count > 0 {
                self.record_calls(number(level), count);
            }
        }
        for (&(reviewer, author), from) in &other.pairs {
            let into = self
                .pairs
                .entry((number(reviewer), number(author)))
                .or_default();
            into.drafts += from.drafts;
            into.drafted += from.drafted;
            into.accepted += from.accepted;
            if into.per_position.len() < from.per_position.len() {
                into.per_position.resize(from.per_position.len(), 0);
            }
            for (sum, count) in into.per_position.iter_mut().zip(&from.per_position) {
                *sum += count;
            }
        }
    }
}
