//! 8-bit weights with a half-precision scale per block of 32 inputs, in tiles of 16 outputs.
//!
//! The arithmetic: a result starts at +0, then for each block in order
//! `sum = fma(Σ q·x as f32, weight_scale · x_scale, sum)`, the inner sum in exact 32-bit integers.
//!
//! Weights are stored as q + 128, four inputs of each of 16 outputs side by side: what `vpdpbusd` and
//! `vpmaddubsw` multiply as it stands. Both put −128·Σx right at the start of the integer sum.

use half::f16;

use super::BLOCK;
use super::storage::Storage;

/// Outputs of a tile.
pub(crate) const WIDTH: usize = 16;
/// Bytes of a block in a GGUF file: the scale and 32 weights.
pub(super) const BLOCK_BYTES: usize = 2 + BLOCK;

/// One block of every output of a tile: `[input / 4][output][input % 4]`, each q + 128.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Quants(pub(crate) [[[u8; 4]; WIDTH]; BLOCK / 4]);

/// The scales of one block, in the bits of half precision.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(crate) struct Scales(pub(crate) [u16; WIDTH]);

/// `[tile][block]`, weights and scales apart, so that both stay aligned.
#[derive(Debug)]
pub(crate) struct Q8Tiles {
    blocks: usize,
    quants: Storage<Quants>,
    scales: Storage<Scales>,
}

/// One tile, block by block.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    pub(crate) quants: &'a [Quants],
    pub(crate) scales: &'a [Scales],
}

impl Q8Tiles {
    pub(super) fn new(outputs: usize, blocks: usize) -> Self {
        let count = outputs.div_ceil(WIDTH) * blocks;
        Self {
            blocks,
            quants: Storage::filled(Quants([[[128; 4]; WIDTH]; BLOCK / 4]), count),
            scales: Storage::filled(Scales([0; WIDTH]), count),
        }
    }

    pub(super) fn set_row(&mut self, output: usize, row: &[f32]) {
        for (block, weights) in row.as_chunks::<BLOCK>().0.iter().enumerate() {
            let largest = weights
                .iter()
                .fold(0f32, |most, weight| most.max(weight.abs()));
            let scale = largest / 127.0;
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            let quants = weights.map(|weight| (weight * inverse).round() as i8);
            self.set_block(output, block, f16::from_f32(scale), quants);
        }
    }

    pub(super) fn set_row_of_blocks(&mut self, output: usize, row: &[u8]) {
        for (block, &[low, high, ref quants @ ..]) in
            row.as_chunks::<BLOCK_BYTES>().0.iter().enumerate()
        {
            let quants: &[u8; BLOCK] = quants;
            self.set_block(
                output,
                block,
                f16::from_le_bytes([low, high]),
                quants.map(|quant| quant as i8),
            );
        }
    }

    fn set_block(&mut self, output: usize, block: usize, scale: f16, quants: [i8; BLOCK]) {
        let index = output / WIDTH * self.blocks + block;
        self.scales[index].0[output % WIDTH] = scale.to_bits();
        for (input, quant) in quants.into_iter().enumerate() {
            self.quants[index].0[input / 4][output % WIDTH][input % 4] = (quant as u8) ^ 0x80;
        }
    }

    pub(super) fn row(&self, output: usize, into: &mut [f32]) {
        let tile = self.tile(output / WIDTH);
        for (block, into) in into.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let scale = f16::from_bits(tile.scales[block].0[output % WIDTH]).to_f32();
            for (input, weight) in into.iter_mut().enumerate() {
                let quant = tile.quants[block].0[input / 4][output % WIDTH][input % 4];
                *weight = (i32::from(quant) - 128) as f32 * scale;
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.quants) + size_of_val(&*self.scales)
    }

    pub(super) fn count(&self) -> usize {
        self.quants.len() / self.blocks
    }

    pub(crate) fn tile(&self, tile: usize) -> Tile<'_> {
        let range = tile * self.blocks..(tile + 1) * self.blocks;
        Tile {
            quants: &self.quants[range.clone()],
            scales: &self.scales[range],
        }
    }
}
