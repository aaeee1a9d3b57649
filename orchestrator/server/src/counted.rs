//! One text, as the metrics see it.

use std::{sync::Arc, time::Instant};

use csd_level::{DraftToken, Statistics};
use csd_telemetry::metrics::{Pair, Texts};

use crate::generation::Reason;

/// Counts a text from its arrival to its end; one that is dropped before was abandoned by its reader.
pub(crate) struct Counted {
    metrics: Arc<Texts>,
    arrived: Instant,
    /// When its last tokens were there.
    last: Option<Instant>,
    begun: bool,
    ended: bool,
}

impl Counted {
    pub(crate) fn arrived(metrics: Arc<Texts>) -> Self {
        Self {
            metrics,
            arrived: Instant::now(),
            last: None,
            begun: false,
            ended: false,
        }
    }

    /// Its turn has come; only the first time counts.
    pub(crate) fn begins(&mut self, prompt_tokens: usize) {
        if !std::mem::replace(&mut self.begun, true) {
            self.metrics.begun(prompt_tokens, self.arrived.elapsed());
        }
    }

    /// A round was answered.
    pub(crate) fn round(&self, statistics: &Statistics) {
        for (&(_, drafter), pair) in &statistics.pairs {
            let pair = Pair {
                drafts: pair.drafts,
                drafted: pair.drafted,
                accepted: pair.accepted,
                per_position: &pair.per_position,
            };
            self.metrics.reviewed(drafter, pair);
        }
    }

    /// Tokens were written, at least one.
    pub(crate) fn wrote<'a>(&mut self, tokens: impl ExactSizeIterator<Item = &'a DraftToken>) {
        let now = Instant::now();
        let authors = tokens.map(|token| token.author);
        match self.last.replace(now) {
            None => self.metrics.first(authors, now - self.arrived),
            Some(last) => self.metrics.further(authors, now - last),
        }
    }

    /// It has ended well.
    pub(crate) fn finished(&mut self, reason: Reason) {
        self.ended = true;
        self.metrics
            .finished(reason.as_str(), self.arrived.elapsed());
    }

    /// It has ended in a failure, which is counted where it is answered.
    pub(crate) fn failed(&mut self) {
        self.ended = true;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.ended {
            self.metrics.abandoned();
        }
    }
}
