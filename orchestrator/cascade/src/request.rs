//! What a caller wants continued.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use csd_level::{Context, Sampling, Tenant};

/// A text being written: the tokens so far and how the next ones are chosen.
#[derive(Clone, Debug)]
pub struct Request {
    /// Prompt and what was generated so far.
    pub context: Context,
    /// How the next token is chosen.
    pub sampling: Arc<Sampling>,
    /// Asks the target for the log-probability of each token that is written, and for so many alternatives.
    pub logprobs: Option<usize>,
    /// Whose remembered texts may help with this one, and whom it may help once it has ended; nobody, when nothing is said.
    pub tenant: Option<Tenant>,
    /// What the levels know of this text.
    pub session: Arc<Session>,
}

/// The identity of a text at the levels, and which of them have read its prompt.
///
/// The turns of a drafter that is still reading are skipped until it is ready.
#[derive(Debug)]
pub struct Session {
    id: u64,
    ready: Vec<AtomicBool>,
}

impl Session {
    /// A session over `levels` levels, none of which has read the prompt yet.
    pub fn new(id: u64, levels: usize) -> Self {
        Self {
            id,
            ready: (0..levels).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// A session whose levels are used without having read the prompt first.
    pub fn ready(id: u64, levels: usize) -> Self {
        Self {
            id,
            ready: (0..levels).map(|_| AtomicBool::new(true)).collect(),
        }
    }

    /// The hint that levels find their caches by.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether a level may be used.
    pub fn is_ready(&self, level: usize) -> bool {
        self.ready
            .get(level)
            .is_some_and(|ready| ready.load(Ordering::Acquire))
    }

    /// A level has read the prompt (or failed to; its gate says which).
    pub fn set_ready(&self, level: usize) {
        if let Some(ready) = self.ready.get(level) {
            ready.store(true, Ordering::Release);
        }
    }
}
