//! Without an export: nothing runs beside the process and nothing is written into headers.

use csd_telemetry::{Options, init, inject, set_parent};
use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::info_span;

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[test]
fn the_export_is_off_by_default() {
    let before = threads();
    let guard = init("csd-test", &Options::default()).expect("telemetry");
    assert_eq!(threads(), before);

    let upstream = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = HeaderMap::from_iter([(
        HeaderName::from_static("traceparent"),
        HeaderValue::from_static(upstream),
    )]);
    let span = info_span!(target: "csd_test", "a span");
    set_parent(&span, &headers);
    let mut onward = HeaderMap::new();
    span.in_scope(|| inject(&mut onward));
    assert!(onward.is_empty());
    drop(guard);
}
