//! The clock of a world, and whoever waits for it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use csd_level::Clock;

/// Virtual time. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Time(Arc<Mutex<State>>);

#[derive(Debug, Default)]
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
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// Waits until this moment.
    pub async fn sleep_until(&self, until: Duration) {
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

    /// Lets everybody else do what they do at this moment.
    pub(super) async fn settle(&self) {
        let mut settled = false;
        poll_fn(|_| {
            if std::mem::replace(&mut settled, true) {
                return Poll::Ready(());
            }
            let mut state = self.state();
            let now = state.now;
            state.alarms.push(now);
            Poll::Pending
        })
        .await;
    }

    /// Runs a future to its end, letting time pass whenever it waits. None if it waits for something other than time.
    pub fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            self.state().alarms.clear();
            if let Poll::Ready(output) = future
                .as_mut()
                .poll(&mut TaskContext::from_waker(Waker::noop()))
            {
                return Some(output);
            }
            let mut state = self.state();
            state.now = state.alarms.iter().min().copied()?;
        }
    }
}

impl Clock for Time {
    fn now(&self) -> Duration {
        self.state().now
    }
}
