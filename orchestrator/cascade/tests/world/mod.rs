//! A world whose time passes only while everyone waits: hundreds of milliseconds of drafting and reviewing are a test of
//! microseconds, and always the same.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use csd_level::{
    BoxFuture, Clock, Description, Draft, DraftRequest, Kind, Level, Result, Timings, Verdict,
    VerifyRequest,
};

/// Virtual time. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Time(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    now: Duration,
    /// The moments that somebody sleeps until.
    alarms: Vec<Duration>,
}

impl Time {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so much time has passed.
    pub(crate) async fn sleep(&self, duration: Duration) {
        let until = self.now() + duration;
        poll_fn(|_| {
            let mut state = self.state();
            if state.now >= until {
                return Poll::Ready(());
            }
            state.alarms.push(until);
            Poll::Pending
        })
        .await;
    }

    /// Runs a future to its end, letting time pass whenever it waits.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            self.state().alarms.clear();
            if let Poll::Ready(output) = future
                .as_mut()
                .poll(&mut TaskContext::from_waker(Waker::noop()))
            {
                return output;
            }
            let mut state = self.state();
            let next = state.alarms.iter().min().copied();
            state.now = next.expect("someone waits for something other than time");
        }
    }
}

impl Clock for Time {
    fn now(&self) -> Duration {
        self.state().now
    }
}

/// What calls of a level cost.
#[derive(Clone, Debug)]
pub(crate) struct Price {
    /// A forward of one row, …
    pub(crate) forward: Duration,
    /// … which costs the same up to so many rows, then as much again for as many more.
    pub(crate) rows: usize,
    /// To the level and back.
    pub(crate) link: Duration,
}

impl Price {
    /// Milliseconds of a forward, the rows it costs that for, and of a round trip.
    pub(crate) fn ms(forward: f64, rows: usize, link: f64) -> Self {
        Self {
            forward: Duration::from_secs_f64(forward / 1e3),
            rows,
            link: Duration::from_secs_f64(link / 1e3),
        }
    }

    fn of(&self, rows: usize) -> Duration {
        self.forward * rows.div_ceil(self.rows) as u32
    }
}

/// A level whose calls take time.
pub(crate) struct Timed {
    inner: Arc<dyn Level>,
    price: Price,
    time: Time,
}

impl Timed {
    pub(crate) fn new(inner: Arc<dyn Level>, price: Price, time: &Time) -> Self {
        Self {
            inner,
            price,
            time: time.clone(),
        }
    }

    async fn forward(&self, rows: usize) -> Timings {
        let forward = self.price.of(rows);
        self.time.sleep(forward).await;
        Timings {
            forward,
            rows,
            batch: rows,
            ..Timings::default()
        }
    }
}

impl Level for Timed {
    fn description(&self) -> Arc<Description> {
        self.inner.description()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(async move {
            self.time.sleep(self.price.link / 2).await;
            let mut draft = self.inner.draft(request).await;
            let forwards = match self.inner.description().kind {
                Kind::Neural => draft.as_ref().map_or(1, |draft| draft.inner.calls_of(0)),
                Kind::Statistical => 0,
            };
            let mut timings = Timings::default();
            for _ in 0..forwards {
                timings.add(self.forward(1).await);
            }
            if let Ok(draft) = &mut draft {
                draft.timings = timings;
            }
            self.time.sleep(self.price.link / 2).await;
            draft
        })
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move {
            self.time.sleep(self.price.link / 2).await;
            let timings = self.forward(request.draft.len() + 1).await;
            let verdict = self.inner.verify(request).await;
            self.time.sleep(self.price.link / 2).await;
            verdict.map(|verdict| Verdict { timings, ..verdict })
        })
    }
}
