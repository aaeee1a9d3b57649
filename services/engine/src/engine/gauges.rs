//! What an engine counts, and whom it tells.

use std::{
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// Is told what an engine does, on the engine's own thread: it must not wait for anything.
pub trait Observer: Send + Sync {
    /// A call's first forward begins, this long after the call came.
    fn waited(&self, time: Duration);
    /// A forward of `rows` rows was computed for `calls` calls.
    fn forward(&self, rows: usize, calls: usize, time: Duration);
}

/// Nobody.
impl Observer for () {
    fn waited(&self, _: Duration) {}
    fn forward(&self, _: usize, _: usize, _: Duration) {}
}

/// A reading of an engine's counters. The first eight only grow, the others go up and down.
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
    /// Positions that reviews looked up in the cache: their contexts.
    pub looked_up: u64,
    /// Of those, found there.
    pub cached: u64,
    /// Forwards that took longer than the time they are to take.
    pub overruns: u64,
    /// Calls begun and neither answered nor dropped.
    pub in_flight: usize,
    /// Calls that wait for the thread.
    pub queued: usize,
    /// Bytes of keys and values held, of calls in progress or remembered for later ones.
    pub cache_bytes: usize,
    /// Of those, the bytes of calls in progress.
    pub busy_bytes: usize,
}

/// The counters themselves.
pub(super) struct Counters {
    observer: Box<dyn Observer>,
    forwards: AtomicU64,
    rows: AtomicU64,
    pub(super) verified: AtomicU64,
    pub(super) drafted: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) looked_up: AtomicU64,
    pub(super) cached: AtomicU64,
    pub(super) overruns: AtomicU64,
    pub(super) cache_bytes: AtomicUsize,
    pub(super) busy_bytes: AtomicUsize,
    in_flight: AtomicUsize,
}

/// Counts a call until it is dropped.
pub(super) struct InFlight<'a>(&'a Counters);

impl Counters {
    pub(super) fn new(observer: impl Observer + 'static) -> Self {
        Self {
            observer: Box::new(observer),
            forwards: AtomicU64::default(),
            rows: AtomicU64::default(),
            verified: AtomicU64::default(),
            drafted: AtomicU64::default(),
            accepted: AtomicU64::default(),
            looked_up: AtomicU64::default(),
            cached: AtomicU64::default(),
            overruns: AtomicU64::default(),
            cache_bytes: AtomicUsize::default(),
            busy_bytes: AtomicUsize::default(),
            in_flight: AtomicUsize::default(),
        }
    }

    pub(super) fn waited(&self, time: Duration) {
        self.observer.waited(time);
    }

    pub(super) fn forward(&self, rows: usize, calls: usize, time: Duration) {
        self.forwards.fetch_add(1, Relaxed);
        self.rows.fetch_add(rows as u64, Relaxed);
        self.observer.forward(rows, calls, time);
    }

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
            looked_up: self.looked_up.load(Relaxed),
            cached: self.cached.load(Relaxed),
            overruns: self.overruns.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            queued,
            cache_bytes: self.cache_bytes.load(Relaxed),
            busy_bytes: self.busy_bytes.load(Relaxed),
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read(0).fmt(formatter)
    }
}
