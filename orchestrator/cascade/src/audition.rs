//! Auditions: a level drafts for nobody, and what it wrote is held against the text as that comes.
//!
//! Where no draft is worth waiting for, nobody would learn that one is again. An audition holds nobody up: it costs the
//! level's time alone, however far the level is.

use std::task::{Context as TaskContext, Poll};

use csd_level::{BoxFuture, DraftToken, Result, Statistics, Token};

use crate::{Cascade, Strategy, ahead::beside, turn::Written};

/// A draft that nobody waits for.
pub(crate) struct Audition {
    level: usize,
    /// Tokens of the text before it.
    begins: usize,
    turn: Option<BoxFuture<'static, Result<Written>>>,
    written: Written,
}

impl Audition {
    /// A level takes this turn behind so many tokens of a text.
    pub(crate) fn new(
        level: usize,
        begins: usize,
        turn: BoxFuture<'static, Result<Written>>,
    ) -> Self {
        Self {
            level,
            begins,
            turn: Some(turn),
            written: Written::default(),
        }
    }

    /// The review that is under way, with an audition beside it, if there is one.
    pub(crate) async fn beside<T>(
        audition: &mut Option<Self>,
        cascade: &Cascade,
        review: impl Future<Output = T>,
    ) -> T {
        let draft = |context: &mut TaskContext<'_>| {
            if let Some(audition) = audition {
                audition.draft(context, cascade);
            }
        };
        beside(review, draft).await
    }

    fn draft(&mut self, context: &mut TaskContext<'_>, cascade: &Cascade) {
        let Some(turn) = &mut self.turn else {
            return;
        };
        if let Poll::Ready(written) = turn.as_mut().poll(context) {
            self.turn = None;
            match written {
                Ok(written) => self.written = written,
                Err(error) => cascade.note(self.level, &error),
            }
        }
    }

    /// Holds what was written against the text so far; the strategy is told once the text says how much would have passed.
    /// Returns whether that is still to come.
    pub(crate) fn goes_on(
        &self,
        strategy: &dyn Strategy,
        text: impl Iterator<Item = Token>,
    ) -> bool {
        let tokens: &[DraftToken] = &self.written.tokens;
        if self.turn.is_some() || tokens.is_empty() {
            return self.turn.is_some();
        }
        let mut accepted = 0;
        for token in text.skip(self.begins) {
            match tokens.get(accepted) {
                Some(drafted) if drafted.id == token => accepted += 1,
                _ => {
                    strategy.auditioned(tokens, accepted);
                    return false;
                }
            }
        }
        let whole = accepted == tokens.len();
        if whole {
            strategy.auditioned(tokens, accepted);
        }
        !whole
    }

    /// What was counted since this was asked last.
    pub(crate) fn take_statistics(&mut self) -> Statistics {
        std::mem::take(&mut self.written.statistics)
    }
}
