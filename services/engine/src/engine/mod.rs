//! A model on a thread of its own, as a level.
//!
//! - `settings`: what to load and how much it may take
//! - `command`, `queue`: calls on their way to the thread, bounded
//! - `active`, `company`, `scheduler`: the thread's life: which rows go into the next forward, and when it begins
//! - `forward_times`: forwards that take a given time
//! - `gauges`: what is counted
//! - `load`: from settings to a running engine

mod active;
mod command;
mod company;
mod forward_times;
mod gauges;
mod load;
mod queue;
mod scheduler;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use csd_level::{
    Assistant, BoxFuture, Context, Description, Draft, DraftRequest, Error, Level, Result, Token,
    Verdict, VerifyRequest, Writing,
};
use csd_names as names;
use futures_channel::oneshot;
use tracing::{Span, info_span};

use self::{
    command::{Command, Drafting, Purpose},
    gauges::Counters,
    queue::Queue,
};
pub use self::{
    forward_times::ForwardTimes,
    gauges::{Gauges, Observer},
    settings::{Device, Settings, UnknownDevice},
};

/// The longest draft that is reviewed at once.
pub const LONGEST_DRAFT: usize = 255;

/// A model, served: reviews come in from any thread, one thread computes.
///
/// Dropping it ends the thread; calls still waiting are answered with [`Error::Unavailable`].
#[derive(Debug)]
pub struct Engine {
    description: Arc<Description>,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
    cache_limit: usize,
    weight_bytes: usize,
}

impl Engine {
    /// What has been counted so far.
    pub fn gauges(&self) -> Gauges {
        self.counters.read(self.queue.len())
    }

    /// Whether its thread has ended, by a panic: it answers nothing any more.
    pub fn has_stopped(&self) -> bool {
        self.queue.is_closed()
    }

    /// Bytes of keys and values that all sequences together may take.
    pub fn cache_limit(&self) -> usize {
        self.cache_limit
    }

    /// Bytes of the model's matrices in memory.
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    fn check(&self, request: &VerifyRequest) -> Result<()> {
        let (context, draft) = (&request.call.context, &request.draft);
        self.check_context(context, draft.len())?;
        if let Some(logprobs) = &request.logprobs {
            logprobs.check(context.len())?;
        }
        if draft.len() > LONGEST_DRAFT {
            let reason = format!(
                "expected at most {LONGEST_DRAFT} tokens, found {}",
                draft.len()
            );
            return Err(Error::invalid("draft", reason));
        }
        self.check_tokens("draft", draft.ids())
    }

    /// Whether a context can be read and followed by so many tokens and one of the model's own.
    fn check_context(&self, context: &Context, more: usize) -> Result<()> {
        if context.is_empty() {
            let reason = "expected at least one token, found none";
            return Err(Error::invalid("context", reason));
        }
        let (len, limit) = (context.len() + more + 1, self.description.context);
        if len > limit {
            return Err(Error::ContextLength { len, limit });
        }
        self.check_tokens("tokens", context.tokens().iter().copied())
    }

    fn check_tokens(&self, field: &str, mut tokens: impl Iterator<Item = Token>) -> Result<()> {
        let vocabulary = self.description.vocabulary;
        match tokens.find(|&token| token as usize >= vocabulary) {
            None => Ok(()),
            Some(token) => {
                let reason = format!("{token} is outside the vocabulary of {vocabulary}");
                Err(Error::invalid(field, reason))
            }
        }
    }

    async fn review(&self, request: VerifyRequest) -> Result<Verdict> {
        let (answer, answered) = oneshot::channel();
        self.compute(request, Purpose::Review(answer), answered)
            .await
    }

    /// Writes a draft, with a Max-Gram that the caller has in this process. All of it is computed on the engine's thread:
    /// nobody is woken between its forwards.
    ///
    /// # Errors
    /// As [`Level::draft`].
    pub async fn write(
        &self,
        mut request: DraftRequest,
        assistant: Option<Arc<dyn Assistant>>,
    ) -> Result<Draft> {
        let Description { rows, context, .. } = *self.description;
        self.check_context(&request.call.context, 0)?;
        // Only what fits is written: the steps after the first are not checked again.
        request.room = request.room.min(context - request.call.context.len());
        let mut writing = Writing::new(request, rows, assistant.is_some())?;
        let Some(first) = writing.step(assistant.as_deref()) else {
            return Ok(writing.finish());
        };
        let (answer, answered) = oneshot::channel();
        let drafting = Box::new(Drafting {
            writing,
            assistant,
            answer,
        });
        self.compute(first, Purpose::Draft(drafting), answered)
            .await
    }

    /// Has the thread compute a review and what follows from it.
    async fn compute<T>(
        &self,
        request: VerifyRequest,
        purpose: Purpose,
        answered: oneshot::Receiver<Result<T>>,
    ) -> Result<T> {
        self.check(&request)?;
        let _in_flight = self.counters.enter();
        let span = Span::current();
        let now = Instant::now();
        self.queue.push(Command {
            waiting: Some(info_span!(parent: &span, names::QUEUE_SPAN)),
            span,
            submitted: now,
            // A timeout that overflows the clock is no deadline; a century stands for it.
            deadline: now
                .checked_add(request.call.timeout)
                .unwrap_or(now + Duration::from_secs(3_155_760_000)),
            request,
            purpose,
        })?;
        match answered.await {
            Ok(result) => result,
            Err(oneshot::Canceled) => Err(Error::Unavailable("the engine has stopped".into())),
        }
    }
}

impl Level for Engine {
    fn description(&self) -> Arc<Description> {
        self.description.clone()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(self.write(request, None))
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(self.review(request))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported, and its callers answered.
            let _ = thread.join();
        }
    }
}
