//! The engine's thread: which rows go into the next forward, and what becomes of them.
//!
//! Work of several calls joins one forward. Reviews go first, oldest first; beside them at most one chunk of one long
//! prompt is read, so that nobody's review waits for somebody's prompt.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use csd_level::{Error, Timings, Verdict, review};
use csd_names as names;
use tracing::{Span, info_span};

use super::{
    active::{Active, CHUNK},
    company::Company,
    forward_times::ForwardTimes,
    gauges::Counters,
    queue::Queue,
};
use crate::{
    cache::{Slots, Wanted},
    decoder::{
        backend::{Backend, Batch, Sequence},
        forward::Decoder,
    },
};

/// Rows of a forward; a single review may exceed it.
const MOST_ROWS: usize = 128;
/// Calls that are worked on at once.
const MOST_ACTIVE: usize = 64;
/// How long after a forward the sessions that had a part in it may still come back for another: others draft meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a scheduler needs of a model.
pub(super) trait Model: Send + 'static {
    type Cache: Sequence + Send;

    fn cache(&self) -> Self::Cache;
    /// Logits of a row.
    fn width(&self) -> usize;
    /// The logits of the wanted rows, one after the other.
    fn forward(
        &mut self,
        batch: &Batch,
        caches: &mut [&mut Self::Cache],
    ) -> Result<&mut [f32], String>;
}

impl<B: Backend> Model for Decoder<B> {
    type Cache = B::Cache;

    fn cache(&self) -> B::Cache {
        self.backend.cache()
    }

    fn width(&self) -> usize {
        self.config.embeddings
    }

    fn forward(
        &mut self,
        batch: &Batch,
        caches: &mut [&mut B::Cache],
    ) -> Result<&mut [f32], String> {
        Decoder::forward(self, batch, caches).map_err(|error| error.to_string())
    }
}

/// Owns the model and the caches.
pub(super) struct Scheduler<M: Model> {
    model: M,
    /// Logits of a row.
    width: usize,
    vocabulary: usize,
    slots: Slots<M::Cache>,
    active: Vec<Active>,
    batch: Batch,
    /// When the last forward ended.
    worked: Option<Instant>,
    /// Whether calls wait that there is no room for.
    crowded: bool,
    forward_times: Option<ForwardTimes>,
    company: Company,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
}

/// What a call is answered with, or why it cannot be.
type Outcome = Result<review::Outcome, String>;

/// Closes the queue however the thread ends, so that nobody waits for a thread that is gone.
struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<M: Model> Scheduler<M> {
    pub(super) fn new(
        model: M,
        vocabulary: usize,
        cache_bytes: usize,
        forward_times: Option<ForwardTimes>,
        queue: Arc<Queue>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            width: model.width(),
            model,
            vocabulary,
            slots: Slots::new(cache_bytes),
            active: Vec::new(),
            batch: Batch::default(),
            worked: None,
            crowded: false,
            forward_times,
            company: Company::default(),
            queue,
            counters,
        }
    }

    /// The thread's life, until the queue is closed.
    pub(super) fn run(mut self) {
        let _closing = Closing(self.queue.clone());
        if let Some(Err(error)) = self.forward_times.as_ref().map(ForwardTimes::hurry) {
            tracing::warn!(
                %error,
                "no real-time priority (CAP_SYS_NICE): emulated forwards may end too late"
            );
        }
        while self.admit() {
            self.sweep();
            self.count_bytes();
            if self.expects() {
                continue;
            }
            if self.choose() {
                self.step();
                self.count_bytes();
            }
        }
    }

    fn count_bytes(&self) {
        let (held, busy) = self.slots.usage();
        self.counters.cache_bytes.store(held, Relaxed);
        self.counters.busy_bytes.store(busy, Relaxed);
    }

    /// Takes waiting commands on, as far as there is room for their sequences.
    fn admit(&mut self) -> bool {
        let queue = self.queue.clone();
        let idle = (self.worked).is_none_or(|worked| worked.elapsed() > PATIENCE);
        self.crowded = false;
        queue.drain(self.active.is_empty(), |mut command| {
            if self.active.len() >= MOST_ACTIVE {
                self.crowded = true;
                return Some(command);
            }
            let call = &command.request.call;
            let len = call.context.len() + command.request.draft.len();
            // What was computed before is found again up to where logits are wanted.
            let tokens = &call.context.tokens()[..=command.unscored()];
            let model = &self.model;
            let waited = command.submitted.elapsed();
            let wanted = Wanted {
                session: call.session,
                context: tokens,
                len,
                urgent: idle && self.active.is_empty() || waited > call.timeout / 2,
            };
            let Some(claim) = self.slots.claim(wanted, || model.cache()) else {
                self.crowded = true;
                return Some(command);
            };
            drop(command.waiting.take());
            self.counters.waited(waited);
            if command.is_review() {
                self.company.came(call.session, command.submitted);
            }
            self.active.push(Active {
                timings: Timings {
                    queue: waited,
                    cached: claim.reused,
                    ..Timings::default()
                },
                command,
                slot: claim.slot,
                done: claim.reused,
                logprobs: Vec::new(),
                turn: 0,
            });
            None
        })
    }

    /// Forgets the calls that nobody wants any more.
    fn sweep(&mut self) {
        let now = Instant::now();
        for active in std::mem::take(&mut self.active) {
            match active.command.wanted(now) {
                Some(command) => self.active.push(Active { command, ..active }),
                None => self.slots.release(active.slot),
            }
        }
    }

    /// Whether the next forward has waited a moment for a text that may join it; then it is to be considered anew.
    fn expects(&mut self) -> bool {
        let begun = |active: &Active| active.done > active.timings.cached || active.is_long();
        if self.crowded || self.active.iter().any(begun) {
            return false;
        }
        let session = |active: &Active| active.command.request.call.session;
        let sessions: Vec<u64> = self.active.iter().map(session).collect();
        let company = &mut self.company;
        let until = self
            .worked
            .and_then(|ended| company.wait(&sessions, ended, Instant::now()));
        until.inspect(|&until| self.queue.wait(until)).is_some()
    }

    /// Gives rows of the coming forward to calls. False when there is nothing to do.
    fn choose(&mut self) -> bool {
        let mut rows = 0;
        let mut reading = false;
        for active in &mut self.active {
            let left = active.len() - active.done;
            active.turn = match active.is_long() {
                true if reading => 0,
                true => CHUNK.min(active.prefix() - active.done),
                false if rows > 0 && rows + left > MOST_ROWS => 0,
                false => left,
            };
            reading |= active.is_long();
            rows += active.turn;
        }
        rows > 0
    }

    /// One forward and the reviews that it completes.
    fn step(&mut self) {
        // The batch's sequences come in order of their slots, as their caches do.
        let mut turns: Vec<usize> = (0..self.active.len())
            .filter(|&index| self.active[index].turn > 0)
            .collect();
        turns.sort_unstable_by_key(|&index| self.active[index].slot);
        let spans = self.fill_batch(&turns);

        let began = Instant::now();
        let slots: Vec<usize> = turns.iter().map(|&index| self.active[index].slot).collect();
        let mut caches = self.slots.caches(&slots);
        let logits = self.model.forward(&self.batch, &mut caches);
        let rows = self.batch.tokens.len();
        if let Some(times) = &self.forward_times
            && !times.hold(began, rows)
        {
            self.counters.overruns.fetch_add(1, Relaxed);
        }
        drop(caches);
        let took = began.elapsed();
        self.worked = Some(began + took);
        self.company.forwarded(took);
        self.counters.forward(rows, turns.len(), took);
        self.slots.forwarded();

        let mut outcomes: Vec<Option<Outcome>> = Vec::new();
        outcomes.resize_with(self.active.len(), || None);
        match logits {
            Ok(mut logits) => {
                let width = self.width;
                // A review belongs to the call's part in the forward, and to its span.
                for (&index, _span) in turns.iter().zip(spans) {
                    let active = &mut self.active[index];
                    let from = active.done;
                    let scored = active.scored().len() * width;
                    let (before, rest) = logits.split_at_mut(scored);
                    logits = rest;
                    active.score(self.vocabulary, before.chunks_exact(width));
                    active.advance(took, rows);
                    self.slots
                        .extend(active.slot, active.tokens().skip(from).take(active.turn));
                    if active.done < active.len() {
                        continue;
                    }
                    let request = &active.command.request;
                    let own = (request.draft.len() + 1) * width;
                    let (rows, rest) = logits.split_at_mut(own);
                    logits = rest;
                    let rows = rows.chunks_exact_mut(width);
                    let began = Instant::now();
                    outcomes[index] = Some(Ok(review::review(request, self.vocabulary, rows)));
                    active.timings.forward += began.elapsed();
                }
            }
            Err(reason) => {
                for &index in &turns {
                    outcomes[index] = Some(Err(reason.clone()));
                }
            }
        }
        self.answer(outcomes);
    }

    /// Lists the rows of the calls whose turn it is. Returns the spans of their part in the forward.
    fn fill_batch(&mut self, turns: &[usize]) -> Vec<Span> {
        self.batch.clear();
        let mut spans = Vec::with_capacity(turns.len());
        for (sequence, &index) in turns.iter().enumerate() {
            let active = &self.active[index];
            let positions = active.done..active.done + active.turn;
            for (position, token) in positions.zip(active.tokens().skip(active.done)) {
                if position >= active.command.unscored() {
                    self.batch.wanted.push(self.batch.tokens.len());
                }
                self.batch.tokens.push(token);
                self.batch.places.push((sequence, position));
            }
            spans.push(info_span!(
                parent: &active.command.span,
                names::FORWARD_SPAN,
                { names::ROWS } = names::count(active.turn),
                { names::CACHED_POSITIONS } = names::count(active.timings.cached),
                { names::SEQUENCES } = names::count(turns.len()),
            ));
        }
        spans
    }

    /// Answers the calls that have an outcome, one for each active call.
    fn answer(&mut self, outcomes: Vec<Option<Outcome>>) {
        let active = std::mem::take(&mut self.active);
        for (mut active, outcome) in active.into_iter().zip(outcomes) {
            let result = match outcome {
                None => {
                    self.active.push(active);
                    continue;
                }
                Some(Ok(outcome)) => Ok(self.verdict(&mut active, outcome)),
                Some(Err(reason)) => Err(Error::Internal(reason)),
            };
            self.slots.release(active.slot);
            if active.command.is_review() {
                let session = active.command.request.call.session;
                self.company.answered(session, Instant::now());
            }
            if let Some(next) = active.command.answer(result) {
                self.queue.push_front(next);
            }
        }
    }

    fn verdict(&self, active: &mut Active, outcome: review::Outcome) -> Verdict {
        let counters = &self.counters;
        let drafted = active.command.request.draft.len() as u64;
        counters.verified.fetch_add(1, Relaxed);
        counters.drafted.fetch_add(drafted, Relaxed);
        counters
            .accepted
            .fetch_add(outcome.accepted as u64, Relaxed);
        let context = active.command.request.call.context.len() as u64;
        counters.looked_up.fetch_add(context, Relaxed);
        counters
            .cached
            .fetch_add(active.timings.cached as u64, Relaxed);
        let mut logprobs = std::mem::take(&mut active.logprobs);
        logprobs.extend(outcome.logprobs);
        Verdict {
            accepted: outcome.accepted,
            next: outcome.next,
            probabilities: outcome.probabilities,
            runners_up: outcome.runners_up,
            logprobs,
            timings: active.timings,
        }
    }
}
