//! The time of this process.

use std::time::{Duration, Instant};

use csd_level::Clock;

/// Time since the orchestrator began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SinceStart(Instant);

impl SinceStart {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SinceStart {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
