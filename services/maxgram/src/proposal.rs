//! From an index to a proposal: the walk, the fallback and the confidence.

use crate::{Bigrams, Index, Token};

/// Bounds of a proposal.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// At most this many tokens.
    pub room: usize,
    /// A token with less confidence ends the proposal before it; 0 lets everything pass.
    pub min_confidence: f32,
    /// Tokens that end a text: a proposal stops after one.
    pub ends: Vec<Token>,
}

/// A proposed token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// The token.
    pub token: Token,
    /// How likely the token is to be right if all before it are, in (0, 1). After a match of `m` (here at most 1000) tokens that a
    /// continuation followed `c` times out of `t`: c / (t + 1/m), a count ratio with one escape shared over the length of
    /// the match (a longer match is less of an accident). From the table: its probability, kept off 0 and 1 by one count.
    pub confidence: f32,
    /// Tokens of the suffix that matched; 0 when the bigram table proposed it.
    pub matched: usize,
}

/// What probably comes after an index's text.
///
/// Token by token: the most frequent continuation of the longest suffix of text and proposal that the *text* continued
/// (equal counts: the one that occurred last), else the table's successor of the last token, else the end. Proposed tokens
/// move the match and are never counted. Costs O(1) amortised per token over the length of the first match.
pub fn propose(index: &Index, bigrams: &Bigrams, options: &Options) -> Vec<Guess> {
    let mut guesses = Vec::new();
    let Some(&last) = index.text().last() else {
        return guesses;
    };
    let mut previous = last;
    let mut matched = index.suffix();
    while guesses.len() < options.room {
        let guess = match index.continuation(matched) {
            Some((suffix, next)) => {
                matched = suffix;
                let escape = 1.0 / suffix.length.min(1000) as f32;
                Guess {
                    token: next.token,
                    confidence: next.count as f32 / (next.total as f32 + escape),
                    matched: suffix.length,
                }
            }
            None => match bigrams.after(previous) {
                Some((token, confidence)) => Guess {
                    token,
                    confidence,
                    matched: 0,
                },
                None => break,
            },
        };
        if guess.confidence < options.min_confidence {
            break;
        }
        guesses.push(guess);
        if options.ends.contains(&guess.token) {
            break;
        }
        matched = index.follow(matched, guess.token);
        previous = guess.token;
    }
    guesses
}
