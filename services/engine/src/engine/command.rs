//! A call on its way to the engine's thread.

use std::{sync::Arc, time::Instant};

use csd_level::{Assistant, Draft, Error, Result, Verdict, VerifyRequest, Writing};
use futures_channel::oneshot;
use tracing::Span;

/// What a review is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Somebody waits for it.
    Review(oneshot::Sender<Result<Verdict>>),
    /// It is a step of a draft that somebody waits for.
    Draft(Box<Drafting>),
}

/// A draft that somebody waits for.
#[derive(Debug)]
pub(super) struct Drafting {
    pub(super) writing: Writing,
    pub(super) assistant: Option<Arc<dyn Assistant>>,
    pub(super) answer: oneshot::Sender<Result<Draft>>,
}

/// A review that is to be computed.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) request: VerifyRequest,
    pub(super) purpose: Purpose,
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

    /// Whether somebody waits for this review itself, not for a draft that it is a step of.
    pub(super) fn is_review(&self) -> bool {
        matches!(self.purpose, Purpose::Review(_))
    }

    /// Itself, if anybody still wants the answer. A caller whose deadline has passed is told so.
    pub(super) fn wanted(self, now: Instant) -> Option<Self> {
        if self.is_cancelled() {
            return None;
        }
        if self.deadline <= now {
            self.answer(Err(Error::DeadlineExceeded));
            return None;
        }
        Some(self)
    }

    /// Whether the caller has gone.
    pub(super) fn is_cancelled(&self) -> bool {
        match &self.purpose {
            Purpose::Review(answer) => answer.is_canceled(),
            Purpose::Draft(drafting) => drafting.answer.is_canceled(),
        }
    }

    /// The review is done: answers the caller, or says what a draft needs next. A caller that has gone is not missed.
    pub(super) fn answer(mut self, result: Result<Verdict>) -> Option<Self> {
        match self.purpose {
            Purpose::Review(answer) => {
                let _ = answer.send(result);
                None
            }
            Purpose::Draft(mut drafting) => {
                let next = result.map(|verdict| {
                    drafting.writing.reviewed(verdict);
                    drafting.writing.step(drafting.assistant.as_deref())
                });
                let finished = match next {
                    Ok(Some(request)) => {
                        self.request = request;
                        self.purpose = Purpose::Draft(drafting);
                        self.submitted = Instant::now();
                        return Some(self);
                    }
                    Ok(None) => Ok(drafting.writing.finish()),
                    Err(error) => Err(error),
                };
                let _ = drafting.answer.send(finished);
                None
            }
        }
    }
}
