//! Why levels are down, for those who ask.

use std::sync::{Mutex, PoisonError};

/// What is known of each level, as those who watch over them saw it.
#[derive(Debug)]
pub struct Watch {
    levels: Mutex<Vec<Known>>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    trouble: Option<String>,
    replicas: Vec<Standing>,
}

/// A replica of a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it is.
    pub address: String,
    /// Why it is not used, if it is not.
    pub trouble: Option<String>,
}

impl Watch {
    /// A watch over `levels` levels, of which nothing bad is known.
    pub fn new(levels: usize) -> Self {
        Self {
            levels: Mutex::new(vec![Known::default(); levels]),
        }
    }

    /// Notes what is wrong with a level, or that nothing is. Returns whether that is news.
    pub fn note(&self, level: usize, trouble: Option<String>) -> bool {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        match levels.get_mut(level) {
            Some(known) if known.trouble != trouble => {
                known.trouble = trouble;
                true
            }
            _ => false,
        }
    }

    /// Notes how the replicas of a level are.
    pub fn see(&self, level: usize, replicas: Vec<Standing>) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = levels.get_mut(level) {
            known.replicas = replicas;
        }
    }

    /// What is known to be wrong with a level.
    pub fn trouble(&self, level: usize) -> String {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let known = levels.get(level).and_then(|known| known.trouble.clone());
        known.unwrap_or_else(|| "its last call failed".into())
    }

    /// The replicas of a level, as far as they are watched over.
    pub fn replicas(&self, level: usize) -> Vec<Standing> {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels
            .get(level)
            .map_or_else(Vec::new, |known| known.replicas.clone())
    }
}
