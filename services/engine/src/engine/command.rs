//! A call on its way to the engine's thread.

use std::time::Instant;

use csd_level::{Error, Result, Verdict, VerifyRequest};
use futures_channel::oneshot;
use tracing::Span;

/// A review that somebody waits for.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) request: VerifyRequest,
    pub(super) answer: oneshot::Sender<Result<Verdict>>,
    /// The caller's span: what the engine does for it stands under it.
    pub(super) span: Span,
    /// Open while the command waits.
    pub(super) waiting: Option<Span>,
    pub(super) submitted: Instant,
    pub(super) deadline: Instant,
}

impl Command {
    /// Positions before the first whose logits are wanted: those of a position say what is thought of the next token.
    pub(super) fn unscored(&self) -> usize {
        let context = self.request.call.context.len();
        let from = self.request.logprobs.map_or(context, |asked| asked.from);
        from - 1
    }

    /// Itself, if anybody still wants the answer. A caller whose deadline has passed is told so.
    pub(super) fn wanted(self, now: Instant) -> Option<Self> {
        if self.answer.is_canceled() {
            return None;
        }
        if self.deadline <= now {
            self.answer(Err(Error::DeadlineExceeded));
            return None;
        }
        Some(self)
    }

    /// Answers the caller. One that has gone meanwhile is not missed.
    pub(super) fn answer(self, result: Result<Verdict>) {
        let _ = self.answer.send(result);
    }
}
