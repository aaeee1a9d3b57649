//! Time, as far as a pure crate may know it.

use std::time::Duration;

/// Tells the time. Whoever runs a cascade hands a clock in; tests hand in one of their own.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;
}

/// A clock that stands still, for those who measure nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
}
