//! What each level did when, for requests that ask.
//!
//! The cascade knows no clock. A text whose calls are to be timed runs over a view of the cascade in which every level is
//! wrapped; all others run over the levels themselves and pay nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use csd_cascade::Cascade;
use csd_level::{
    BoxFuture, Description, Draft, DraftRequest, Error, Level, RememberRequest, Result, Timings,
    Verdict, VerifyRequest,
};

/// What was asked of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Tokens that it stands behind.
    Draft,
    /// A review; of nothing where it reads the context or writes a token of its own.
    Verify,
}

impl Work {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Verify => "verify",
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Of a review: how many of the drafted tokens it accepted.
    pub accepted: Option<usize>,
    /// Forwards of a model that it took, or proposals of Max-Gram.
    pub forwards: u64,
    /// Where the time went, as the level saw it.
    pub timings: Timings,
}

/// One call of a level that was answered, or failed.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedCall {
    /// The level in the cascade's numbering.
    pub level: u8,
    /// What it was asked for.
    pub work: Work,
    /// When it was asked, since the request began.
    pub start: Duration,
    /// When the answer was there.
    pub end: Duration,
    /// Tokens it wrote, or was given to review.
    pub drafted: usize,
    /// How it ended.
    pub outcome: Result<Outcome>,
}

/// The calls of one text since the last round.
pub(crate) struct Recorder {
    since: Instant,
    calls: Mutex<Vec<TimedCall>>,
}

impl Recorder {
    /// Nothing yet; times count from `since`.
    pub(crate) fn new(since: Instant) -> Arc<Self> {
        let calls = Mutex::default();
        Arc::new(Self { since, calls })
    }

    /// The cascade, its levels watched.
    pub(crate) fn watch(self: &Arc<Self>, cascade: &Cascade) -> Cascade {
        cascade.viewed(|level, inner| {
            Arc::new(Watched {
                inner: inner.clone(),
                level: level as u8,
                recorder: self.clone(),
            })
        })
    }

    /// The calls that have ended since this was asked last, in the order of their ends.
    pub(crate) fn take(&self) -> Vec<TimedCall> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, call: TimedCall) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
    }
}

/// A level whose calls are timed.
struct Watched {
    inner: Arc<dyn Level>,
    level: u8,
    recorder: Arc<Recorder>,
}

impl Watched {
    fn now(&self) -> Duration {
        self.recorder.since.elapsed()
    }

    fn note(&self, work: Work, start: Duration, drafted: usize, outcome: Result<Outcome, &Error>) {
        self.recorder.note(TimedCall {
            level: self.level,
            work,
            start,
            end: self.now(),
            drafted,
            outcome: outcome.map_err(Error::clone),
        });
    }
}

impl Level for Watched {
    fn description(&self) -> Arc<Description> {
        self.inner.description()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(async move {
            let start = self.now();
            let answer = self.inner.draft(request).await;
            let drafted = answer.as_ref().map_or(0, Draft::len);
            let outcome = answer.as_ref().map(|draft| Outcome {
                accepted: None,
                forwards: draft.inner.calls_of(0),
                timings: draft.timings,
            });
            self.note(Work::Draft, start, drafted, outcome);
            answer
        })
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move {
            let start = self.now();
            let drafted = request.draft.len();
            let answer = self.inner.verify(request).await;
            let outcome = answer.as_ref().map(|verdict| Outcome {
                accepted: Some(verdict.accepted),
                forwards: 1,
                timings: verdict.timings,
            });
            self.note(Work::Verify, start, drafted, outcome);
            answer
        })
    }

    /// Nobody waits for it, so it takes none of the text's time.
    fn remember(&self, request: RememberRequest) -> BoxFuture<'_, Result<()>> {
        self.inner.remember(request)
    }
}
