//! A call that is worked on: how far it is, and what is left of it.

use std::{ops::Range, time::Duration};

use csd_level::{Logprobs, Timings, Token};

use super::command::Command;

/// Rows of a prompt that are read at once.
pub(super) const CHUNK: usize = 64;

/// A call that is worked on.
pub(super) struct Active {
    pub(super) command: Command,
    pub(super) slot: usize,
    /// Positions computed, those found in the cache included.
    pub(super) done: usize,
    pub(super) timings: Timings,
    /// Of the context, as far as it has been read and they are asked for.
    pub(super) logprobs: Vec<Logprobs>,
    /// Rows in the coming forward.
    pub(super) turn: usize,
}

impl Active {
    /// Positions needed: context and draft.
    pub(super) fn len(&self) -> usize {
        self.command.request.call.context.len() + self.command.request.draft.len()
    }

    /// Positions before the first that is reviewed.
    pub(super) fn prefix(&self) -> usize {
        self.command.request.call.context.len() - 1
    }

    /// The positions of the coming turn that are scored without being reviewed.
    pub(super) fn scored(&self) -> Range<usize> {
        let end = self.prefix().min(self.done + self.turn);
        self.done.max(self.command.unscored()).min(end)..end
    }

    /// Scores what stands after the positions that [`Active::scored`] names, by their raw logits.
    pub(super) fn score<'l>(&mut self, vocabulary: usize, rows: impl Iterator<Item = &'l [f32]>) {
        let Some(asked) = self.command.request.logprobs else {
            return;
        };
        let tokens = self.command.request.call.context.tokens();
        for (position, row) in self.scored().zip(rows) {
            let real = &row[..vocabulary.min(row.len())];
            let logprobs = Logprobs::of(real, tokens[position + 1], asked.alternatives);
            self.logprobs.push(logprobs);
        }
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = Token> {
        let request = &self.command.request;
        let context = request.call.context.tokens().iter().copied();
        context.chain(request.draft.ids())
    }

    /// Counts the forward, of `batch` rows in all, that this call has just had a part in.
    pub(super) fn advance(&mut self, took: Duration, batch: usize) {
        self.done += self.turn;
        self.timings.forward += took;
        self.timings.rows += self.turn;
        self.timings.batch += batch;
    }

    /// Whether the rest needs more than one forward.
    pub(super) fn is_long(&self) -> bool {
        self.len() - self.done > CHUNK && self.done < self.prefix()
    }
}
