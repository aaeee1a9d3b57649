//! What a serving level counts, and what it is doing at this moment.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use csd_level::{Draft, Verdict};

/// Counters since the level began to serve, and gauges of this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Answered reviews.
    pub verify_calls: u64,
    /// Answered drafts.
    pub draft_calls: u64,
    /// Forwards run; one may serve several calls.
    pub forwards: u64,
    /// Rows in them.
    pub rows: u64,
    /// Drafted tokens that this level reviewed, inner rounds included.
    pub drafted: u64,
    /// Of those, how many it accepted.
    pub accepted: u64,
    /// Calls received and not yet answered.
    pub in_flight: u64,
    /// Of those, waiting for the engine.
    pub queued: u64,
    /// Bytes of key/value cache held.
    pub cache_bytes: u64,
    /// Forwards that took longer than on the hardware that is emulated.
    pub overruns: u64,
}

/// The part that the service counts itself; the engine's part is asked for when needed.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    verify_calls: AtomicU64,
    draft_calls: AtomicU64,
    drafted: AtomicU64,
    accepted: AtomicU64,
    in_flight: AtomicU64,
}

impl Counters {
    /// Counts a call in, unless there are `limit` already. It is counted out when the guard goes, however the call ends.
    pub(crate) fn enter(&self, limit: u64) -> Option<InFlight<'_>> {
        let one_more = |count| (count < limit).then_some(count + 1);
        self.in_flight
            .fetch_update(Relaxed, Relaxed, one_more)
            .ok()?;
        Some(InFlight(&self.in_flight))
    }

    /// Counts an answered draft, with the reviews inside it.
    pub(crate) fn record_draft(&self, draft: &Draft) {
        self.draft_calls.fetch_add(1, Relaxed);
        for pair in draft.inner.pairs.values() {
            self.record_reviewed(pair.drafted, pair.accepted);
        }
    }

    /// Counts an answered review of `drafted` tokens.
    pub(crate) fn record_verdict(&self, drafted: usize, verdict: &Verdict) {
        self.verify_calls.fetch_add(1, Relaxed);
        self.record_reviewed(drafted as u64, verdict.accepted as u64);
    }

    fn record_reviewed(&self, drafted: u64, accepted: u64) {
        self.drafted.fetch_add(drafted, Relaxed);
        self.accepted.fetch_add(accepted, Relaxed);
    }

    pub(crate) fn read(&self) -> Gauges {
        Gauges {
            verify_calls: self.verify_calls.load(Relaxed),
            draft_calls: self.draft_calls.load(Relaxed),
            drafted: self.drafted.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            ..Gauges::default()
        }
    }
}

/// A call on its way.
pub(crate) struct InFlight<'a>(&'a AtomicU64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
