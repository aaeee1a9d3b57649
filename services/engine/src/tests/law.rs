//! Keys, values and logits at position p depend on tokens 0 ..= p alone, compared as bytes: alone, in k rows, in a ragged
//! batch, after cutting back, after prefix reuse, for random prompt chunks.

use csd_level::{
    Token,
    noise::{Noise, Purpose},
};

use super::{Lab, bits, contents};
use crate::{checkpoint::weights::Weights, decoder::backend::Sequence};

/// Models and types that the law is held to.
const CASES: [(&str, Weights); 7] = [
    ("tiny/target", Weights::F32),
    ("tiny/target", Weights::Bf16),
    ("tiny/target", Weights::Q8_0),
    ("tiny/draft", Weights::F32),
    ("tiny/draft", Weights::Q8_0),
    ("tiny/mini", Weights::Q8_0),
    ("qwen3-q4_k.gguf", Weights::Q4K),
];

/// Random numbers below `below`, the same in every run.
fn random(seed: u64, count: usize, below: u32) -> Vec<u32> {
    let noise = Noise::new(seed, 0, Purpose::Own(0));
    (0..count as u32).map(|x| noise.bits(x) % below).collect()
}

/// A text that crosses a page, and what each of its positions computes when every row is alone in its forward.
struct Alone {
    tokens: Vec<Token>,
    logits: Vec<Vec<u32>>,
    contents: Vec<u32>,
}

fn alone(lab: &mut Lab, len: usize) -> Alone {
    let vocabulary = lab.decoder.config.embeddings.min(4000) as u32 - 6;
    let tokens = random(7, len, vocabulary);
    let mut cache = lab.cache();
    let mut logits = Vec::new();
    for position in 0..len {
        let row = &tokens[position..=position];
        logits.extend(bits(&lab.forward(&mut [(&mut cache, position, row)])));
    }
    let contents = contents(&cache, len);
    Alone {
        tokens,
        logits,
        contents,
    }
}

#[test]
fn rows_of_one_forward_are_rows_alone() {
    for (model, weights) in CASES {
        let mut lab = Lab::new(model, weights, 2);
        let alone = alone(&mut lab, 70);
        for rows in [2, 3, 5, 8, 16, 17, 70] {
            let mut cache = lab.cache();
            let mut logits = Vec::new();
            for (index, chunk) in alone.tokens.chunks(rows).enumerate() {
                logits.extend(bits(&lab.forward(&mut [(&mut cache, index * rows, chunk)])));
            }
            assert!(logits == alone.logits, "{model} {weights} in {rows} rows");
            let contents = contents(&cache, 70);
            assert!(
                contents == alone.contents,
                "{model} {weights} in {rows} rows"
            );
        }
    }
}

#[test]
fn random_chunks_and_threads_change_nothing() {
    for (model, weights) in CASES {
        let alone = alone(&mut Lab::new(model, weights, 1), 70);
        for seed in 0..4 {
            let mut lab = Lab::new(model, weights, 1 + seed as usize % 3);
            let (mut cache, mut logits) = (lab.cache(), Vec::new());
            for step in random(100 + seed, 70, 23) {
                let from = logits.len();
                let to = (from + 1 + step as usize).min(70);
                let chunk = &alone.tokens[from..to];
                logits.extend(bits(&lab.forward(&mut [(&mut cache, from, chunk)])));
                if to == 70 {
                    break;
                }
            }
            assert!(logits == alone.logits, "{model} {weights} seed {seed}");
            assert!(
                contents(&cache, 70) == alone.contents,
                "{model} {weights} seed {seed}"
            );
        }
    }
}

#[test]
fn neighbours_in_a_ragged_batch_change_nothing() {
    for (model, weights) in CASES {
        let mut lab = Lab::new(model, weights, 2);
        let alone = alone(&mut lab, 70);
        let others: Vec<Vec<Token>> = [3, 40, 9].map(|len| random(len, len as usize, 90)).into();
        let (mut ours, mut theirs) = (lab.cache(), [lab.cache(), lab.cache(), lab.cache()]);
        lab.forward(&mut [(&mut ours, 0, &alone.tokens[..60])]);
        lab.forward(&mut [(&mut theirs[1], 0, &others[1][..30])]);
        let [first, second, third] = &mut theirs;
        let logits = lab.forward(&mut [
            (first, 0, &others[0]),
            (&mut ours, 60, &alone.tokens[60..]),
            (second, 30, &others[1][30..]),
            (third, 0, &others[2]),
        ]);
        assert!(
            bits(&logits[3..13]) == alone.logits[60..],
            "{model} {weights}"
        );
        assert!(contents(&ours, 70) == alone.contents, "{model} {weights}");
    }
}

#[test]
fn what_was_cut_back_leaves_no_trace() {
    for (model, weights) in CASES {
        let mut lab = Lab::new(model, weights, 2);
        let alone = alone(&mut lab, 70);
        let wrong = random(9, 30, 90);
        let mut cache = lab.cache();
        lab.forward(&mut [(&mut cache, 0, &alone.tokens[..50])]);
        lab.forward(&mut [(&mut cache, 50, &wrong)]);
        let logits = lab.forward(&mut [(&mut cache, 50, &alone.tokens[50..])]);
        assert!(bits(&logits) == alone.logits[50..], "{model} {weights}");
        assert!(contents(&cache, 70) == alone.contents, "{model} {weights}");
    }
}

#[test]
fn a_forked_prefix_serves_as_its_own() {
    for (model, weights) in CASES {
        let mut lab = Lab::new(model, weights, 2);
        let alone = alone(&mut lab, 70);
        let other = random(11, 20, 90);
        let mut cache = lab.cache();
        lab.forward(&mut [(&mut cache, 0, &alone.tokens[..66])]);
        let mut fork = cache.fork(40);
        // Both go on from the shared prefix, the original first, into the same page.
        lab.forward(&mut [(&mut cache, 40, &other)]);
        let logits = lab.forward(&mut [(&mut fork, 40, &alone.tokens[40..])]);
        assert!(bits(&logits) == alone.logits[40..], "{model} {weights}");
        assert!(contents(&fork, 70) == alone.contents, "{model} {weights}");
    }
}

#[test]
fn a_model_stored_in_bfloat16_computes_the_same_held_so_and_widened() {
    for model in ["tiny/target", "tiny/draft"] {
        let [narrow, wide] = [Weights::Bf16, Weights::F32].map(|weights| {
            let tokens = random(11, 40, 4000);
            bits(&Lab::new(model, weights, 1).logits(&tokens))
        });
        assert!(narrow == wide, "{model}");
    }
}
