//! What was found in the memory for one proposal.

use crate::{
    Token,
    proposal::{Guess, confidence},
};

/// Tokens of a match that count: who agrees on so many is as good as who agrees on more.
pub(crate) const LONGEST: usize = 64;

/// How many tokens of a match in another text are worth one in the text at hand: more of them are there by accident.
/// Measured on recorded code and arithmetic, where this makes a confidence the share that proves right.
const ACCIDENTS: f32 = 3.0;

/// Places in remembered texts that go on as the proposal does so far.
#[derive(Debug, Default)]
pub struct Recall<'a> {
    /// The newest first.
    traces: Vec<Trace<'a>>,
}

/// One place.
#[derive(Debug)]
struct Trace<'a> {
    /// What comes next there.
    after: &'a [Token],
    /// How many tokens before it are those of the text and the proposal.
    length: usize,
}

impl<'a> Recall<'a> {
    /// Adds a place between `before` and `after`, if `before` ends like `text` for at least so many tokens.
    pub(crate) fn add(
        &mut self,
        before: &[Token],
        after: &'a [Token],
        text: &[Token],
        least: usize,
    ) {
        let pairs = before.iter().rev().zip(text.iter().rev());
        let length = pairs.take(LONGEST).take_while(|(a, b)| a == b).count();
        if length >= least {
            self.traces.push(Trace { after, length });
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.traces.is_empty()
    }

    /// The most frequent token behind the longest of the matches, the newest one among equals.
    pub(crate) fn guess(&self) -> Option<Guess> {
        let open = self.traces.iter().filter(|trace| !trace.after.is_empty());
        let longest = open.map(|trace| trace.length).max()?;
        let traces = self.traces.iter().filter(|trace| trace.length == longest);
        let next: Vec<Token> = traces
            .filter_map(|trace| trace.after.first().copied())
            .collect();
        let count = |token: Token| next.iter().filter(|&&other| other == token).count() as u32;
        // Of equals the last is taken.
        let oldest_first = next.iter().rev().copied();
        let token = oldest_first.max_by_key(|&token| count(token))?;
        Some(Guess {
            token,
            confidence: confidence(count(token), next.len() as u32, longest as f32 / ACCIDENTS),
            matched: longest,
            remembered: true,
        })
    }

    /// Goes on to the places that go on with `token`.
    pub(crate) fn follow(&mut self, token: Token) {
        self.traces
            .retain_mut(|trace| match trace.after.split_first() {
                Some((&next, after)) if next == token => {
                    trace.after = after;
                    trace.length += 1;
                    true
                }
                _ => false,
            });
    }
}
