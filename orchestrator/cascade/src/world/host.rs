//! Where levels compute.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use csd_level::Clock as _;

use super::{Price, Time};

/// Computes one forward at a time, in the order in which they were asked for; calls of one level that wait for the same
/// moment share one. Clones are the same host.
#[derive(Clone, Debug, Default)]
pub struct Host(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    free: Duration,
    calls: u64,
    /// In the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    begun: BTreeMap<u64, Forward>,
}

#[derive(Debug)]
struct Waiting {
    price: Arc<Price>,
    rows: usize,
}

/// A forward, as one of its calls sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Forward {
    pub(super) begin: Duration,
    pub(super) end: Duration,
    /// Rows, those of other calls included.
    pub(super) batch: usize,
}

/// A call's place in the queue. Who leaves gives it up.
struct Place<'a> {
    host: &'a Host,
    call: u64,
}

impl Host {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a forward over so many rows. Calls that have the very same price are of one level.
    pub(super) async fn compute(&self, time: &Time, price: &Arc<Price>, rows: usize) -> Forward {
        let place = self.enter(price.clone(), rows);
        // Whoever comes at the same moment shares the forward.
        time.settle().await;
        let forward = loop {
            match place.look(time.now()) {
                Ok(forward) => break forward,
                Err(free) => time.sleep_until(free).await,
            }
        };
        time.sleep_until(forward.end).await;
        forward
    }

    fn enter(&self, price: Arc<Price>, rows: usize) -> Place<'_> {
        let mut queue = self.queue();
        queue.calls += 1;
        let call = queue.calls;
        queue.waiting.insert(call, Waiting { price, rows });
        Place { host: self, call }
    }
}

impl Queue {
    /// Begins what can begin now.
    fn begin(&mut self, now: Duration) {
        while self.free <= now
            && let Some(first) = self.waiting.values().next()
        {
            let price = first.price.clone();
            let shares = |_: &u64, waiting: &mut Waiting| Arc::ptr_eq(&waiting.price, &price);
            let calls: BTreeMap<_, _> = self.waiting.extract_if(.., shares).collect();
            let batch = calls.values().map(|waiting| waiting.rows).sum();
            self.free = now + price.of(batch);
            let forward = Forward {
                begin: now,
                end: self.free,
                batch,
            };
            self.begun
                .extend(calls.into_keys().map(|call| (call, forward)));
        }
    }
}

impl Place<'_> {
    /// The forward that the call is part of, or when to look again.
    fn look(&self, now: Duration) -> Result<Forward, Duration> {
        let mut queue = self.host.queue();
        queue.begin(now);
        queue.begun.remove(&self.call).ok_or(queue.free)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queue = self.host.queue();
        queue.waiting.remove(&self.call);
        queue.begun.remove(&self.call);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    /// Milliseconds at which some calls end: each a level's number, when it comes, and its rows.
    fn ends(prices: &[f64], calls: &[(usize, u64, usize)]) -> Vec<u128> {
        let (time, host) = (Time::default(), Host::default());
        let prices: Vec<_> = prices
            .iter()
            .map(|&ms| Arc::new(Price::ms(ms, 4, 0.0)))
            .collect();
        let call = |&(level, at, rows): &(usize, u64, usize)| {
            let (time, host, price) = (time.clone(), host.clone(), prices[level].clone());
            async move {
                time.sleep_until(Duration::from_millis(at)).await;
                host.compute(&time, &price, rows).await;
                time.now().as_millis()
            }
        };
        let mut calls: Vec<_> = calls.iter().map(|asked| Box::pin(call(asked))).collect();
        let mut ended = vec![None; calls.len()];
        let all = std::future::poll_fn(|context| {
            for (call, end) in calls.iter_mut().zip(&mut ended) {
                if end.is_none()
                    && let std::task::Poll::Ready(at) = call.as_mut().poll(context)
                {
                    *end = Some(at);
                }
            }
            match ended.iter().all(Option::is_some) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        });
        time.run(pin!(all));
        ended.into_iter().flatten().collect()
    }

    #[test]
    fn a_host_computes_one_forward_at_a_time() {
        assert_eq!(
            ends(&[10.0, 1.0], &[(0, 5, 1), (1, 7, 1), (0, 20, 1)]),
            [15, 16, 30]
        );
    }

    #[test]
    fn calls_of_a_level_share_the_forward_that_they_wait_for() {
        // The second and the third wait for the first and are reviewed together; one row more than four costs twice as much.
        assert_eq!(
            ends(&[10.0], &[(0, 0, 1), (0, 3, 2), (0, 4, 2)]),
            [10, 20, 20]
        );
        assert_eq!(
            ends(&[10.0], &[(0, 0, 1), (0, 3, 2), (0, 4, 3)]),
            [10, 30, 30]
        );
        assert_eq!(ends(&[10.0], &[(0, 0, 2), (0, 0, 2)]), [10, 10]);
    }
}
