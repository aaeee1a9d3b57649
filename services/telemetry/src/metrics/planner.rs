//! What the planner of an orchestrator has decided.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

use super::{Metrics, copy};

/// What a planner counts anyway, read when somebody asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlannerReading {
    /// How often each choice fell on each level, the level by its place in the cascade.
    pub decisions: Vec<(&'static str, usize, u64)>,
    /// Seconds that have gone into turns that only taught.
    pub explored: f64,
}

/// The metrics of a planner.
pub(super) struct Planner {
    decisions: Family<Decision, Counter>,
    explored: Counter<f64, AtomicU64>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Decision {
    decision: &'static str,
    level: String,
}

impl Planner {
    pub(super) fn new(metrics: &mut Metrics) -> Self {
        Self {
            decisions: metrics.add(
                "planner_decisions",
                "What the planner chose, and on which level the choice fell",
                Family::default(),
            ),
            explored: metrics.add(
                "planner_exploration_seconds",
                "Time of turns that only teach the planner",
                Counter::default(),
            ),
        }
    }

    /// Takes over what was read; `names` are the levels', target first.
    pub(super) fn read(&self, names: &[String], reading: &PlannerReading) {
        for &(decision, level, count) in &reading.decisions {
            let Some(level) = names.get(level).cloned() else {
                continue;
            };
            let label = Decision { decision, level };
            copy(&self.decisions.get_or_create(&label), count);
        }
        let explored = reading.explored.to_bits();
        self.explored.inner().store(explored, Ordering::Relaxed);
    }
}
