//! Tests that look at keys, values and logits themselves.

mod law;
mod oracle;

use std::path::PathBuf;

use csd_kernel::Cache;
use csd_level::Token;

use crate::{
    checkpoint::{Checkpoint, weights::Weights},
    decoder::{
        backend::{Backend, Batch},
        cpu::Cpu,
        forward::Decoder,
    },
};

fn path(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    match name.starts_with("tiny/") || name == "golden.jsonl" {
        true => root.join("../../models").join(name),
        false => root.join("tests/fixtures").join(name),
    }
}

/// A decoder by hand: rows in, logits out.
struct Lab {
    decoder: Decoder<Cpu>,
    fallbacks: Vec<String>,
}

impl Lab {
    fn new(name: &str, weights: Weights, threads: usize) -> Self {
        let checkpoint = Checkpoint::open(&path(name)).unwrap();
        let backend = Cpu::new(&checkpoint.config, threads);
        let (decoder, fallbacks) = Decoder::load(&checkpoint, weights, backend).unwrap();
        Self { decoder, fallbacks }
    }

    fn cache(&self) -> Vec<Cache> {
        self.decoder.backend.cache()
    }

    /// One forward of several sequences, each (cache, first new position, new tokens). Returns each new row's logits.
    fn forward(&mut self, parts: &mut [(&mut Vec<Cache>, usize, &[Token])]) -> Vec<Vec<f32>> {
        let mut batch = Batch::default();
        let mut caches = Vec::new();
        for (sequence, (cache, from, tokens)) in parts.iter_mut().enumerate() {
            for (position, &token) in (*from..).zip(tokens.iter()) {
                batch.wanted.push(batch.tokens.len());
                batch.tokens.push(token);
                batch.places.push((sequence, position));
            }
            caches.push(&mut **cache);
        }
        let logits = self.decoder.forward(&batch, &mut caches).unwrap();
        let width = logits.len() / batch.tokens.len();
        logits.chunks_exact(width).map(<[f32]>::to_vec).collect()
    }

    /// The logits after each of `tokens`, all in one forward.
    fn logits(&mut self, tokens: &[Token]) -> Vec<Vec<f32>> {
        let mut cache = self.cache();
        self.forward(&mut [(&mut cache, 0, tokens)])
    }
}

fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    rows.iter()
        .map(|row| row.iter().map(|value| value.to_bits()).collect())
        .collect()
}

/// The keys and values of the first `len` positions in all layers.
fn contents(cache: &[Cache], len: usize) -> Vec<u32> {
    let mut all = Vec::new();
    for layer in cache {
        let width = layer.kv_heads() * layer.head_dim();
        let (mut key, mut value) = (vec![0.0; width], vec![0.0; width]);
        for position in 0..len {
            layer.read(position, &mut key, &mut value);
            all.extend(key.iter().chain(&value).map(|value| value.to_bits()));
        }
    }
    all
}
