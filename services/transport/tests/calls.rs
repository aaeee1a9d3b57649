//! Deadlines, cancellation, bounds: what happens to calls that do not simply get their answer.

mod pipe;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use csd_level::{Error, Level};
use csd_transport::ServiceOptions;
use pipe::{Pipe, Stuck, review};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_deadline_passes_on_time_on_both_sides() {
    let stuck = Arc::new(Stuck::new());
    let pipe = Pipe::new(stuck.clone(), ServiceOptions::default());
    let remote = pipe.remote().await;
    for millis in [0, 1, 40, 200] {
        let timeout = Duration::from_millis(millis);
        let begun = Instant::now();
        let answer = remote.verify(review(timeout)).await;
        let took = begun.elapsed();
        assert_eq!(answer, Err(Error::DeadlineExceeded));
        assert!(
            took + Duration::from_millis(3) >= timeout,
            "{millis}: {took:?}"
        );
        assert!(
            took < timeout + Duration::from_millis(100),
            "{millis}: {took:?}"
        );
    }
    assert!(stuck.has(0).await, "the level goes on computing");
    assert!(pipe.settles().await);
    let timeouts = stuck.timeouts.lock().expect("no panic");
    let last = timeouts.last().copied().expect("the level was asked");
    assert!(
        last <= Duration::from_millis(200) && last >= Duration::from_millis(190),
        "{last:?}"
    );
}

#[tokio::test]
async fn no_call_is_longer_than_the_service_allows() {
    let options = ServiceOptions {
        longest: Duration::from_millis(50),
        ..ServiceOptions::default()
    };
    let pipe = Pipe::new(Arc::new(Stuck::new()), options);
    let remote = pipe.remote().await;
    let begun = Instant::now();
    assert_eq!(
        remote.verify(review(LONG)).await,
        Err(Error::DeadlineExceeded)
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn dropping_a_call_drops_it_in_the_level() {
    let stuck = Arc::new(Stuck::new());
    let pipe = Pipe::new(stuck.clone(), ServiceOptions::default());
    let remote = pipe.remote().await;
    let call = tokio::spawn(async move { remote.verify(review(LONG)).await });
    assert!(stuck.has(1).await);
    call.abort();
    assert!(stuck.has(0).await);
    assert!(pipe.settles().await);
}

#[tokio::test]
async fn a_full_queue_refuses_and_every_gauge_comes_back_to_zero() {
    const CALLS: usize = 64;
    let stuck = Arc::new(Stuck::new());
    let options = ServiceOptions {
        concurrency: CALLS,
        ..ServiceOptions::default()
    };
    let pipe = Pipe::new(stuck.clone(), options);
    let remote = pipe.remote().await;
    for round in 0..3 {
        let waiting: Vec<_> = (0..CALLS)
            .map(|_| {
                let remote = remote.clone();
                tokio::spawn(async move { remote.verify(review(LONG)).await })
            })
            .collect();
        assert!(stuck.has(CALLS).await, "round {round}");
        assert_eq!(pipe.service.gauges().in_flight, CALLS as u64);
        let answer = remote.verify(review(LONG)).await;
        assert!(matches!(answer, Err(Error::Busy { .. })), "{answer:?}");
        for call in &waiting {
            call.abort();
        }
        assert!(stuck.has(0).await, "round {round}");
        assert!(pipe.settles().await, "round {round}");
        let gauges = remote.gauges().await.expect("the connection lives");
        assert_eq!((gauges.in_flight, gauges.queued), (0, 0));
    }
}

#[tokio::test]
async fn calls_given_up_by_the_thousand_do_not_cost_the_connection() {
    let stuck = Arc::new(Stuck::new());
    let pipe = Pipe::new(stuck.clone(), ServiceOptions::default());
    let remote = pipe.remote().await;
    for _ in 0..40 {
        let calls = (0..100).map(|_| remote.verify(review(LONG)));
        let all = futures_util::future::join_all(calls);
        assert!(
            tokio::time::timeout(Duration::from_millis(2), all)
                .await
                .is_err()
        );
    }
    assert!(stuck.has(0).await);
    assert!(pipe.settles().await);
    remote.probe().await.expect("the connection lives");
}
