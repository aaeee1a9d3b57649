//! Weights as they are, in tiles of 32 outputs: for each input the weights of all 32.
//!
//! The arithmetic: a result starts at +0, then for each input in order `sum = fma(weight, x, sum)`.

use super::storage::Storage;

/// Outputs of a tile.
pub(crate) const WIDTH: usize = 32;

/// The weights of one input for the outputs of a tile.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Lane(pub(crate) [f32; WIDTH]);

/// `[tile][input][output of the tile]`.
#[derive(Debug)]
pub(crate) struct F32Tiles {
    inputs: usize,
    lanes: Storage<Lane>,
}

impl F32Tiles {
    pub(super) fn new(outputs: usize, inputs: usize) -> Self {
        Self {
            inputs,
            lanes: Storage::filled(Lane([0.0; WIDTH]), outputs.div_ceil(WIDTH) * inputs),
        }
    }

    pub(super) fn set_row(&mut self, output: usize, row: &[f32]) {
        let first = output / WIDTH * self.inputs;
        for (lane, &weight) in self.lanes[first..][..self.inputs].iter_mut().zip(row) {
            lane.0[output % WIDTH] = weight;
        }
    }

    pub(super) fn row(&self, output: usize, into: &mut [f32]) {
        for (lane, weight) in self.tile(output / WIDTH).iter().zip(into) {
            *weight = lane.0[output % WIDTH];
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.lanes)
    }

    pub(super) fn count(&self) -> usize {
        self.lanes.len() / self.inputs
    }

    pub(crate) fn tile(&self, tile: usize) -> &[Lane] {
        &self.lanes[tile * self.inputs..][..self.inputs]
    }
}
