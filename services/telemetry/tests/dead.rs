//! With a collector that is gone: the process neither fails nor hangs.

use std::time::{Duration, Instant};

use csd_telemetry::{Options, init};
use tracing::info_span;

/// On the thread of a single-threaded runtime, as at the end of a `main`.
#[tokio::test]
async fn a_dead_collector_does_not_hold_up_the_exit() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let options = Options {
        otlp_endpoint: Some(format!("http://{address}")),
        ..Options::default()
    };
    let guard = init("csd-test", &options).expect("a collector that is gone is no error");
    drop(info_span!(target: "csd_test", "a span").entered());
    let started = Instant::now();
    drop(guard);
    assert!(started.elapsed() < Duration::from_secs(2));
}
