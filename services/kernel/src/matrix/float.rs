//! Weights as they are, in tiles of 32 outputs: for each input the weights of all 32.
//!
//! The arithmetic: a result starts at +0, then for each input in order `sum = fma(weight, x, sum)`. A weight of 16 bits
//! (bfloat16) is widened first, which loses nothing: products are those of the same weights in 32 bits.

use half::bf16;

use super::storage::Storage;

/// Outputs of a tile.
pub(crate) const WIDTH: usize = 32;

/// How a weight is stored.
pub(crate) trait Float: Copy {
    /// The nearest one, ties to even.
    fn narrow(weight: f32) -> Self;
    /// The same number in 32 bits.
    fn widen(self) -> f32;
}

impl Float for f32 {
    fn narrow(weight: f32) -> Self {
        weight
    }

    fn widen(self) -> f32 {
        self
    }
}

impl Float for bf16 {
    fn narrow(weight: f32) -> Self {
        Self::from_f32(weight)
    }

    fn widen(self) -> f32 {
        self.to_f32()
    }
}

/// The weights of one input for the outputs of a tile.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Lane<W>(pub(crate) [W; WIDTH]);

/// `[tile][input][output of the tile]`.
#[derive(Debug)]
pub(crate) struct FloatTiles<W> {
    inputs: usize,
    lanes: Storage<Lane<W>>,
}

impl<W: Float> FloatTiles<W> {
    pub(super) fn new(outputs: usize, inputs: usize) -> Self {
        let zero = Lane([W::narrow(0.0); WIDTH]);
        Self {
            inputs,
            lanes: Storage::filled(zero, outputs.div_ceil(WIDTH) * inputs),
        }
    }

    pub(super) fn set_row(&mut self, output: usize, row: &[f32]) {
        let first = output / WIDTH * self.inputs;
        for (lane, &weight) in self.lanes[first..][..self.inputs].iter_mut().zip(row) {
            lane.0[output % WIDTH] = W::narrow(weight);
        }
    }

    pub(super) fn row(&self, output: usize, into: &mut [f32]) {
        for (lane, weight) in self.tile(output / WIDTH).iter().zip(into) {
            *weight = lane.0[output % WIDTH].widen();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.lanes)
    }

    pub(super) fn count(&self) -> usize {
        self.lanes.len() / self.inputs
    }

    pub(crate) fn tile(&self, tile: usize) -> &[Lane<W>] {
        &self.lanes[tile * self.inputs..][..self.inputs]
    }
}
