//! What a worker counts.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{Metrics, copy, observe, rows, seconds};

/// The metrics of a level, each labelled with its name.
pub struct Level {
    metrics: Metrics,
    queue: Histogram,
    forward: Histogram,
    rows: Histogram,
    requests: Histogram,
    running: Gauge,
    waiting: Gauge,
    draft_calls: Counter,
    verify_calls: Counter,
    reviewed: Counter,
    accepted: Counter,
    cache_bytes: Gauge,
    cache_usage: Gauge<f64, std::sync::atomic::AtomicU64>,
    prefix_queries: Counter,
    prefix_hits: Counter,
    memory_texts: Gauge,
    memory_bytes: Gauge,
    memory_evictions: Counter,
    memory_queries: Counter,
    memory_hits: Counter,
}

/// What a worker counts anyway, read when somebody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LevelReading {
    /// Calls being computed.
    pub running: u64,
    /// Calls in the queue.
    pub waiting: u64,
    /// Answered drafts.
    pub draft_calls: u64,
    /// Answered reviews.
    pub verify_calls: u64,
    /// Drafted tokens that this level reviewed, those of its own Max-Gram included.
    pub reviewed: u64,
    /// Of those, accepted.
    pub accepted: u64,
    /// Bytes of caches, those that are only remembered included.
    pub cache_bytes: u64,
    /// The share of the key/value cache that calls in progress hold, 0 to 1.
    pub cache_usage: f64,
    /// Positions looked up in the cache.
    pub prefix_queries: u64,
    /// Positions found there.
    pub prefix_hits: u64,
    /// Texts that its Max-Gram remembers after their end.
    pub memory_texts: u64,
    /// Bytes that it takes for them.
    pub memory_bytes: u64,
    /// Remembered texts that have gone to make room.
    pub memory_evictions: u64,
    /// Tokens that its Max-Gram proposed where a remembered text might have.
    pub memory_queries: u64,
    /// Of those, tokens that one did propose.
    pub memory_hits: u64,
}

impl Level {
    /// The metrics of the level of this name, all zero.
    pub fn new(name: &str) -> Self {
        let label = ("level".into(), name.to_owned().into());
        let registry = Registry::with_prefix_and_labels("csd", [label].into_iter());
        let mut metrics = Metrics(registry);
        let calls = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let calls = metrics.add("calls", "Answered calls, by method", calls);
        Self {
            queue: metrics.add(
                "request_queue_time_seconds",
                "Wait of a call for the engine",
                seconds(),
            ),
            forward: metrics.add(
                "forward_seconds",
                "Time of one forward of the level's model",
                seconds(),
            ),
            rows: metrics.add(
                "iteration_tokens",
                "Rows of a forward, over all calls that shared it",
                rows(),
            ),
            requests: metrics.add("iteration_requests", "Calls that shared a forward", rows()),
            running: metrics.add(
                "num_requests_running",
                "Calls in progress",
                Gauge::default(),
            ),
            waiting: metrics.add(
                "num_requests_waiting",
                "Calls in the queue",
                Gauge::default(),
            ),
            draft_calls: calls.get_or_create_owned(&[("method", "draft")]),
            verify_calls: calls.get_or_create_owned(&[("method", "verify")]),
            reviewed: metrics.add(
                "reviewed_tokens",
                "Drafted tokens that this level reviewed",
                Counter::default(),
            ),
            accepted: metrics.add(
                "reviewed_tokens_accepted",
                "Drafted tokens that this level reviewed and accepted",
                Counter::default(),
            ),
            cache_bytes: metrics.add(
                "cache_bytes",
                "Bytes of caches, those that are only remembered included",
                Gauge::default(),
            ),
            cache_usage: metrics.add(
                "kv_cache_usage_ratio",
                "Share of the key/value cache that calls in progress hold, 0 to 1",
                Gauge::default(),
            ),
            prefix_queries: metrics.add(
                "prefix_cache_queries",
                "Positions looked up in the cache",
                Counter::default(),
            ),
            prefix_hits: metrics.add(
                "prefix_cache_hits",
                "Positions found in the cache",
                Counter::default(),
            ),
            memory_texts: metrics.add(
                "memory_texts",
                "Texts that the level's Max-Gram remembers after their end",
                Gauge::default(),
            ),
            memory_bytes: metrics.add(
                "memory_bytes",
                "Bytes that the level's Max-Gram takes for remembered texts, tables included",
                Gauge::default(),
            ),
            memory_evictions: metrics.add(
                "memory_evictions",
                "Remembered texts that have gone to make room",
                Counter::default(),
            ),
            memory_queries: metrics.add(
                "memory_queries",
                "Tokens that Max-Gram proposed where a remembered text might have",
                Counter::default(),
            ),
            memory_hits: metrics.add(
                "memory_hits",
                "Tokens that a remembered text proposed",
                Counter::default(),
            ),
            metrics,
        }
    }

    /// A call waited for the engine.
    pub fn waited(&self, time: Duration) {
        observe(&self.queue, time);
    }

    /// A forward of `rows` rows was computed for `requests` calls.
    pub fn forward(&self, rows: usize, requests: usize, time: Duration) {
        self.rows.observe(rows as f64);
        self.requests.observe(requests as f64);
        observe(&self.forward, time);
    }

    /// All metrics as text, with what is counted elsewhere.
    pub fn render(&self, reading: LevelReading) -> String {
        self.running.set(signed(reading.running));
        self.waiting.set(signed(reading.waiting));
        copy(&self.draft_calls, reading.draft_calls);
        copy(&self.verify_calls, reading.verify_calls);
        copy(&self.reviewed, reading.reviewed);
        copy(&self.accepted, reading.accepted);
        self.cache_bytes.set(signed(reading.cache_bytes));
        self.cache_usage.set(reading.cache_usage);
        copy(&self.prefix_queries, reading.prefix_queries);
        copy(&self.prefix_hits, reading.prefix_hits);
        self.memory_texts.set(signed(reading.memory_texts));
        self.memory_bytes.set(signed(reading.memory_bytes));
        copy(&self.memory_evictions, reading.memory_evictions);
        copy(&self.memory_queries, reading.memory_queries);
        copy(&self.memory_hits, reading.memory_hits);
        self.metrics.render()
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
