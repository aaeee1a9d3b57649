//! Whether a level may be used.

use std::sync::atomic::{AtomicBool, Ordering};

/// One a level, shared by all requests. The cascade closes it when the level fails; whoever watches over the levels opens
/// it again when the level is healthy.
#[derive(Debug)]
pub struct Gate {
    open: AtomicBool,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            open: AtomicBool::new(true),
        }
    }
}

impl Gate {
    /// Whether the level may be used.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// The level failed: everyone steps over it. Returns whether it was open.
    pub fn close(&self) -> bool {
        self.open.swap(false, Ordering::AcqRel)
    }

    /// The level is healthy again. Returns whether it was closed.
    pub fn open(&self) -> bool {
        !self.open.swap(true, Ordering::AcqRel)
    }
}
