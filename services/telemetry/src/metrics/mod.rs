//! Metrics: what a process counts, in the words that Prometheus reads.
//!
//! [`Texts`] is the orchestrator's part, [`Level`] a worker's. Both are told what happens where it happens, and are asked
//! for the whole by whoever answers `/metrics`. Names, types and labels are those of `config/prometheus/metrics.tsv`, which
//! the dashboard, the alerts and the autoscalers ask for.
//!
//! Every time series exists from the start, at zero: a counter that appears with its first event would hide that event.

mod level;
mod planner;
mod texts;

use std::time::Duration;

use prometheus_client::{
    encoding::prometheus_text,
    metrics::{counter::Counter, histogram::Histogram},
    registry::{Metric, Registry},
};

pub use level::{Level, LevelReading};
pub use planner::PlannerReading;
pub use texts::{Author, Door, Pair, Texts};

/// The content type of what [`Texts::render`] and [`Level::render`] write.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Upper bounds for all times, in seconds: a small drafter's forward takes tens of microseconds, a queue may take minutes.
const SECONDS: [f64; 21] = [
    2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0, 25.0, 50.0, 100.0,
];

/// Upper bounds for what shares a forward.
const ROWS: [f64; 14] = [
    1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0,
];

/// A process's metrics, one after the other.
struct Metrics(Registry);

impl Metrics {
    fn add<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail, and what cannot be encoded is a bug that a test would have seen.
        let _ = prometheus_text::encode(&mut text, &self.0);
        text
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

fn rows() -> Histogram {
    Histogram::new(ROWS)
}

fn observe(histogram: &Histogram, time: Duration) {
    histogram.observe(time.as_secs_f64());
}

/// Takes over the value of a counter that is kept elsewhere.
fn copy(counter: &Counter, value: u64) {
    counter
        .inner()
        .store(value, std::sync::atomic::Ordering::Relaxed);
}
