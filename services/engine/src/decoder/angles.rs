//! Cosines and sines of the rotary embedding, by position.

use crate::checkpoint::{rope::Rope, tokens::Hash};

/// A table that grows with the longest context seen.
#[derive(Debug)]
pub(crate) struct Angles {
    frequencies: Vec<f32>,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    pub(crate) fn new(rope: &Rope, head_dim: usize) -> Self {
        Self {
            frequencies: rope.frequencies(head_dim),
            cos: Vec::new(),
            sin: Vec::new(),
        }
    }

    /// Pairs of numbers in a head.
    pub(crate) fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Makes sure of the positions before `len`. The angle is a product of 32-bit floats, as models are trained with.
    pub(crate) fn reserve(&mut self, len: usize) {
        let pairs = self.pairs();
        let known = self.cos.len() / pairs;
        for position in known..len {
            for &frequency in &self.frequencies {
                let (sin, cos) = f64::from(position as f32 * frequency).sin_cos();
                self.cos.push(cos as f32);
                self.sin.push(sin as f32);
            }
        }
    }

    /// The cosines and sines of a position that has been reserved.
    pub(crate) fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let range = position * self.pairs()..(position + 1) * self.pairs();
        (&self.cos[range.clone()], &self.sin[range])
    }

    /// A fingerprint of the first positions: the one place where numbers come from the platform's own functions.
    pub(crate) fn fingerprint(&mut self) -> String {
        self.reserve(64);
        let mut hash = Hash::default();
        for value in self.cos.iter().chain(&self.sin) {
            hash.add(&value.to_bits().to_le_bytes());
        }
        hash.hex()
    }
}
