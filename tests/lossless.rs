//! The text of every plan is the target's own, bit for bit. `cargo run --release -p csd-tests --example lossless` does the
//! same over hundreds of prompts.

use csd_tests::{
    Up,
    lossless::{Sampling, Tally, compare},
    plans, prompts,
};

fn check(cascade: &str) {
    let up = Up::start(cascade).expect("the cascade comes up");
    let mut tallies: Vec<Tally> = plans::all().iter().map(|_| Tally::default()).collect();
    for (number, prompt) in prompts::many(6).expect("prompts").iter().enumerate() {
        for temperature in [0.0, 0.7, 1.0] {
            let sampling = Sampling {
                temperature,
                seed: 100 + number as u64,
                max_tokens: 40,
            };
            compare(&up, prompt, sampling, &mut tallies).expect("the target's own text");
        }
    }
}

#[test]
fn f32_is_lossless_under_every_plan() {
    check("config/tiny.toml");
}

#[test]
fn q8_0_is_lossless_under_every_plan() {
    check("config/tiny-q8.toml");
}
