//! The bundled target writes what an independent implementation wrote.

mod support;

use csd_engine::Weights;

use support::{
    bundled, engine,
    recorded::{agreement, assert_written, faulty, lines, nothing},
};

#[test]
fn the_target_alone_writes_the_recorded_tokens() {
    let engine = engine(bundled("tiny/target"), Weights::F32, 2);
    assert_written(&engine, lines().iter().step_by(12), nothing);
}

#[test]
fn reviews_of_good_and_bad_drafts_write_them_too() {
    let engine = engine(bundled("tiny/target"), Weights::F32, 1);
    assert_written(&engine, lines().iter().skip(3).step_by(16), faulty);
    let gauges = engine.gauges();
    assert!(gauges.accepted > 0 && gauges.accepted < gauges.drafted);
    assert_eq!((gauges.in_flight, gauges.queued), (0, 0));
}

#[test]
fn eight_bit_weights_choose_the_same_token_nearly_everywhere() {
    let engine = engine(bundled("tiny/target"), Weights::Q8_0, 2);
    let (agreed, steps) = agreement(&engine, 10);
    println!("{agreed} of {steps}");
    assert!(agreed * 100 >= steps * 97, "{agreed} of {steps}");
}

#[test]
#[ignore = "all lines take minutes on a busy machine; the others stand for them"]
fn every_recorded_line() {
    let engine = engine(bundled("tiny/target"), Weights::F32, 2);
    assert_written(&engine, lines().iter(), nothing);
}
