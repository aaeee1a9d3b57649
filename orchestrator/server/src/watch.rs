//! Why levels are down, for those who ask.

use std::sync::{Mutex, PoisonError};

/// The last trouble of each level, as the prober saw it.
#[derive(Debug)]
pub struct Watch {
    troubles: Mutex<Vec<Option<String>>>,
}

impl Watch {
    /// A watch over `levels` levels, of which nothing bad is known.
    pub fn new(levels: usize) -> Self {
        Self {
            troubles: Mutex::new(vec![None; levels]),
        }
    }

    /// Notes what is wrong with a level, or that nothing is. Returns whether that is news.
    pub fn note(&self, level: usize, trouble: Option<String>) -> bool {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match troubles.get_mut(level) {
            Some(known) if *known != trouble => {
                *known = trouble;
                true
            }
            _ => false,
        }
    }

    /// What is known to be wrong with a level.
    pub fn trouble(&self, level: usize) -> String {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let known = troubles.get(level).cloned().flatten();
        known.unwrap_or_else(|| "its last call failed".into())
    }
}
