//! From an index to a proposal: the walk, what is remembered, the fallback and the confidence.

use crate::{Bigrams, Index, Recall, Token};

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
    /// the match (a longer match is less of an accident; one in a remembered text is more of one, and counts for a third).
    /// From the table: its probability, kept off 0 and 1 by one count.
    pub confidence: f32,
    /// Tokens of the suffix that matched; 0 when the bigram table proposed it.
    pub matched: usize,
    /// Whether they matched in a remembered text, and not in the text itself.
    pub remembered: bool,
}

/// What probably comes after an index's text.
///
/// Token by token: the most frequent continuation of the longest suffix of text and proposal that the *text* continued
/// (equal counts: the one that occurred last), or that of remembered texts where there is more confidence in it; else the
/// table's successor of the last token, else the end. Proposed tokens move the matches and are never counted. Costs O(1)
/// amortised per token over the length of the first match.
pub fn propose(
    index: &Index,
    mut recall: Recall<'_>,
    bigrams: &Bigrams,
    options: &Options,
) -> Vec<Guess> {
    let mut guesses = Vec::new();
    let Some(&last) = index.text().last() else {
        return guesses;
    };
    let mut previous = last;
    let mut matched = index.suffix();
    while guesses.len() < options.room {
        let own = index.continuation(matched).map(|(suffix, next)| Guess {
            token: next.token,
            confidence: confidence(next.count, next.total, suffix.length as f32),
            matched: suffix.length,
            remembered: false,
        });
        let surer =
            |remembered: &Guess| own.is_none_or(|own| own.confidence < remembered.confidence);
        let table = || {
            let (token, confidence) = bigrams.after(previous)?;
            Some(Guess {
                token,
                confidence,
                matched: 0,
                remembered: false,
            })
        };
        let Some(guess) = recall.guess().filter(surer).or(own).or_else(table) else {
            break;
        };
        if guess.confidence < options.min_confidence {
            break;
        }
        guesses.push(guess);
        if options.ends.contains(&guess.token) {
            break;
        }
        matched = index.follow(matched, guess.token);
        recall.follow(guess.token);
        previous = guess.token;
    }
    guesses
}

/// How likely a token is that followed a match of `length` tokens `count` times out of `total`: [`Guess::confidence`].
pub(crate) fn confidence(count: u32, total: u32, length: f32) -> f32 {
    count as f32 / (total as f32 + 1.0 / length.min(1000.0))
}
