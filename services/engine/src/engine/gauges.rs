//! What an engine counts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A reading of an engine's counters. The first seven only grow, the others go up and down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Forwards computed.
    pub forwards: u64,
    /// Rows of all forwards together.
    pub rows: u64,
    /// Reviews answered.
    pub verified: u64,
    /// Drafted tokens reviewed.
    pub drafted: u64,
    /// Of those, accepted.
    pub accepted: u64,
    /// Positions that reviews found in the cache.
    pub cached: u64,
    /// Forwards that took longer than the time they are to take.
    pub overruns: u64,
    /// Calls begun and neither answered nor dropped.
    pub in_flight: usize,
    /// Calls that wait for the thread.
    pub queued: usize,
    /// Bytes of keys and values held.
    pub cache_bytes: usize,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) forwards: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) verified: AtomicU64,
    pub(super) drafted: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) cached: AtomicU64,
    pub(super) overruns: AtomicU64,
    pub(super) cache_bytes: AtomicUsize,
    in_flight: AtomicUsize,
}

/// Counts a call until it is dropped.
pub(super) struct InFlight<'a>(&'a Counters);

impl Counters {
    pub(super) fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }

    pub(super) fn read(&self, queued: usize) -> Gauges {
        Gauges {
            forwards: self.forwards.load(Relaxed),
            rows: self.rows.load(Relaxed),
            verified: self.verified.load(Relaxed),
            drafted: self.drafted.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            cached: self.cached.load(Relaxed),
            overruns: self.overruns.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            queued,
            cache_bytes: self.cache_bytes.load(Relaxed),
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
