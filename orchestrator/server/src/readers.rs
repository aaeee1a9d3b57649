//! Which levels have read a text's context.
//!
//! Every neural drafter of the plan reads the prompt as soon as the text begins, in a task of its own. The first draft waits
//! a little for that, as long as its strategy says: the target then reads the prompt and reviews the draft in one. Whoever
//! is not ready by then is used from the round after that it is; nobody waits any more. One that was stepped over reads
//! again when its gate opens, so that its first turn is no longer than its others.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use csd_cascade::{Cascade, Request, Session};
use csd_level::Statistics;
use csd_telemetry::names;
use tokio::{
    task::{JoinError, JoinSet},
    time::timeout,
};
use tracing::Instrument as _;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unread,
    Reading,
    Ready,
}

/// The drafters of one text. Dropping it stops all reading.
pub(crate) struct Readers {
    cascade: Arc<Cascade>,
    /// Neural levels of the plan, and how far they are.
    neural: Vec<(usize, State)>,
    /// Statistical ones: they read nothing in advance.
    statistical: Vec<usize>,
    /// Each yields its level, and whether it has read.
    reading: JoinSet<(usize, bool)>,
}

impl Readers {
    pub(crate) fn new(
        cascade: Arc<Cascade>,
        levels: Vec<usize>,
        is_statistical: impl Fn(usize) -> bool,
    ) -> Self {
        let (statistical, neural): (Vec<_>, Vec<_>) =
            levels.into_iter().partition(|&level| is_statistical(level));
        Self {
            cascade,
            neural: neural
                .into_iter()
                .map(|level| (level, State::Unread))
                .collect(),
            statistical,
            reading: JoinSet::new(),
        }
    }

    /// Counts the readings that have ended since the last time.
    pub(crate) fn collect(&mut self, statistics: &mut Statistics) {
        while let Some(done) = self.reading.try_join_next() {
            self.count(done, statistics);
        }
    }

    fn count(&mut self, done: Result<(usize, bool), JoinError>, statistics: &mut Statistics) {
        let Ok((level, read)) = done else { return };
        if read {
            statistics.record_calls(level as u8, 1);
        }
        let state = if read { State::Ready } else { State::Unread };
        self.set(level, state);
    }

    /// Waits until nobody reads any more, but not for longer than `patience`. How long it took, and whether it came to that;
    /// nothing where nobody reads.
    pub(crate) async fn wait(
        &mut self,
        patience: Duration,
        request: &mut Request,
        statistics: &mut Statistics,
    ) -> Option<(Duration, bool)> {
        if patience.is_zero() || self.reading.is_empty() {
            return None;
        }
        let began = Instant::now();
        let all = timeout(patience, async {
            while let Some(done) = self.reading.join_next().await {
                self.count(done, statistics);
            }
        });
        let read = all.await.is_ok();
        self.renew_session(request);
        Some((began.elapsed(), read))
    }

    /// Brings the session of `request` up to date before a round, and sends levels to read that have not.
    pub(crate) fn refresh(&mut self, request: &mut Request, statistics: &mut Statistics) {
        self.collect(statistics);
        for (level, state) in &mut self.neural {
            if *state == State::Ready && !self.cascade.gates()[*level].is_open() {
                *state = State::Unread;
            }
        }
        self.renew_session(request);
        for (level, state) in &mut self.neural {
            if *state == State::Unread && self.cascade.gates()[*level].is_open() {
                *state = State::Reading;
                let (cascade, request, level) = (self.cascade.clone(), request.clone(), *level);
                let name = &cascade.levels()[level].description().name;
                let span = tracing::info_span!(
                    names::PREFILL_SPAN,
                    { names::OTEL_NAME } = names::prefill_by(name),
                    { names::LEVEL } = %name,
                );
                let read = async move { (level, cascade.prefill(level, &request).await.is_ok()) };
                self.reading.spawn(read.instrument(span));
            }
        }
    }

    fn set(&mut self, level: usize, to: State) {
        for (_, state) in self.neural.iter_mut().filter(|(other, _)| *other == level) {
            *state = to;
        }
    }

    /// A session cannot forget that a level was ready; a new one of the same id can.
    fn renew_session(&self, request: &mut Request) {
        let ready = |(level, state): &(usize, State)| (*state == State::Ready).then_some(*level);
        let levels = self.neural.iter().filter_map(ready);
        let session = Session::new(request.session.id(), self.cascade.levels().len());
        for level in levels.chain(self.statistical.iter().copied()) {
            session.set_ready(level);
        }
        request.session = Arc::new(session);
    }
}
