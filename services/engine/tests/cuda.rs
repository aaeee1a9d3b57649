//! The bundled target on the first CUDA device writes what an independent implementation wrote. Needs the feature `cuda`
//! and a device: without them there is nothing here to run.
#![cfg(feature = "cuda")]

mod support;

use csd_engine::{Device, Engine, Settings, Weights};
use csd_level::Level;

use support::{
    bundled,
    recorded::{agreement, assert_written, faulty, lines, nothing},
};

fn settings(weights: Weights) -> Settings {
    Settings {
        weights,
        device: Device::Cuda(0),
        cache_bytes: 64 << 20,
        ..Settings::new("target", bundled("tiny/target"))
    }
}

fn engine(weights: Weights) -> Engine {
    Engine::load(settings(weights)).expect("the model loads on cuda:0")
}

#[test]
fn a_device_writes_the_recorded_tokens_and_says_what_it_is() {
    let engine = engine(Weights::F32);
    let description = engine.description();
    assert_eq!((&*description.device, description.exact), ("cuda:0", false));
    assert_written(&engine, lines().iter().step_by(6), nothing);
}

#[test]
fn reviews_on_a_device_cut_its_cache_back() {
    let engine = engine(Weights::F32);
    assert_written(&engine, lines().iter().skip(3).step_by(6), faulty);
    let gauges = engine.gauges();
    assert!(gauges.accepted > 0 && gauges.accepted < gauges.drafted);
}

#[test]
fn quantised_weights_on_a_device_choose_the_same_token_nearly_everywhere() {
    for (weights, least) in [(Weights::Q8_0, 97), (Weights::Q4K, 85)] {
        let (agreed, steps) = agreement(&engine(weights), 10);
        println!("{weights}: {agreed} of {steps}");
        assert!(
            agreed * 100 >= steps * least,
            "{weights}: {agreed} of {steps}"
        );
    }
}

#[test]
fn a_device_that_is_not_there_is_refused_by_name() {
    let settings = Settings {
        device: Device::Cuda(99),
        ..settings(Weights::F32)
    };
    let refused = Engine::load(settings).expect_err("no such device");
    assert!(refused.to_string().contains("cuda:99"), "{refused}");
}
