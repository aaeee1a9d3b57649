//! 4-bit weights with a half-precision scale and minimum per block of 32 inputs, in tiles of 16 outputs.
//!
//! A weight is `scale · q − minimum`, q in 0..=15. The arithmetic: a result starts at +0, then for each block
//! in order `sum = fma(Σ q·x as f32, weight_scale · x_scale, sum)`, the inner sum in exact 32-bit integers, and
//! `sum = fma(−minimum, x_total, sum)`, x_total being the block's x_scale · Σx.
//!
//! GGUF's Q4_0 and Q4_1 are held exactly. Q4_K multiplies a 6-bit scale (and minimum) with a half-precision
//! one; their product is rounded to half precision here, by at most 1 in 2048.

use half::f16;

use super::BLOCK;
use super::storage::Storage;

/// Outputs of a tile.
pub(crate) const WIDTH: usize = 16;
/// Inputs of a super-block of Q4_K.
const SUPER_BLOCK: usize = 8 * BLOCK;

/// The 4-bit block formats of GGUF files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Q4Format {
    /// Blocks of 32 inputs, 18 bytes: scale d, nibbles; d · (q − 8).
    Q4_0,
    /// Blocks of 32 inputs, 20 bytes: scale d, minimum m, nibbles; d · q + m.
    Q4_1,
    /// Super-blocks of 256 inputs, 144 bytes: d, dmin, eight 6-bit scales and minima, nibbles.
    Q4K,
}

impl Q4Format {
    /// Inputs of one block as the file stores it: a row must be whole blocks.
    pub fn block_inputs(self) -> usize {
        match self {
            Q4Format::Q4_0 | Q4Format::Q4_1 => BLOCK,
            Q4Format::Q4K => SUPER_BLOCK,
        }
    }

    /// Bytes of one block in the file.
    pub fn block_bytes(self) -> usize {
        match self {
            Q4Format::Q4_0 => 18,
            Q4Format::Q4_1 => 20,
            Q4Format::Q4K => 144,
        }
    }
}

/// One block of every output of a tile: `[input / 8][output][input % 4]`, where the low four bits are inputs
/// 0 to 3 of eight and the high four bits 4 to 7.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Quants(pub(crate) [[[u8; 4]; WIDTH]; BLOCK / 8]);

/// The scales and minima of one block, in the bits of half precision.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Scales {
    pub(crate) scales: [u16; WIDTH],
    pub(crate) minima: [u16; WIDTH],
}

/// `[tile][block]`, weights and scales apart, so that both stay aligned.
#[derive(Debug)]
pub(crate) struct Q4Tiles {
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

impl Quants {
    /// One weight's four bits.
    pub(crate) fn get(&self, output: usize, input: usize) -> u8 {
        self.0[input / 8][output][input % 4] >> (input % 8 / 4 * 4) & 0xf
    }
}

impl Q4Tiles {
    pub(super) fn new(outputs: usize, blocks: usize) -> Self {
        let count = outputs.div_ceil(WIDTH) * blocks;
        Self {
            blocks,
            quants: Storage::filled(Quants([[[0; 4]; WIDTH]; BLOCK / 8]), count),
            scales: Storage::filled(
                Scales {
                    scales: [0; WIDTH],
                    minima: [0; WIDTH],
                },
                count,
            ),
        }
    }

    /// Quantises by the block's range: minimum = −min(w, 0), scale = (max(w) + minimum) / 15, both rounded to half
    /// precision before q = round((w + minimum) / scale).
    pub(super) fn set_row(&mut self, output: usize, row: &[f32]) {
        for (block, weights) in row.as_chunks::<BLOCK>().0.iter().enumerate() {
            let least = weights
                .iter()
                .fold(0f32, |least, &weight| least.min(weight));
            let most = weights.iter().fold(least, |most, &weight| most.max(weight));
            let (scale, minimum) = (f16::from_f32((most - least) / 15.0), f16::from_f32(-least));
            let inverse = if scale.to_f32() > 0.0 {
                1.0 / scale.to_f32()
            } else {
                0.0
            };
            let quants = weights.map(|weight| {
                ((weight + minimum.to_f32()) * inverse)
                    .round()
                    .clamp(0.0, 15.0) as u8
            });
            self.set_block(output, block, (scale, minimum), &quants);
        }
    }

    pub(super) fn set_row_of_blocks(&mut self, output: usize, format: Q4Format, row: &[u8]) {
        for (index, bytes) in row.chunks_exact(format.block_bytes()).enumerate() {
            let half = |at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]);
            match format {
                Q4Format::Q4_0 => {
                    let minimum = f16::from_f32(8.0 * half(0).to_f32());
                    self.set_block(output, index, (half(0), minimum), &nibbles(&bytes[2..]));
                }
                Q4Format::Q4_1 => {
                    self.set_block(output, index, (half(0), -half(2)), &nibbles(&bytes[4..]))
                }
                Q4Format::Q4K => {
                    let (d, d_min) = (half(0).to_f32(), half(2).to_f32());
                    for (part, bits) in bytes[16..].chunks_exact(BLOCK).enumerate() {
                        // 32 bytes hold two blocks: one in the low, the next in the high four bits.
                        for (block, shift) in [(2 * part, 0), (2 * part + 1, 4)] {
                            let (scale, minimum) = six_bits(&bytes[4..16], block);
                            let scale = f16::from_f32(d * f32::from(scale));
                            let minimum = f16::from_f32(d_min * f32::from(minimum));
                            let quants: [u8; BLOCK] =
                                std::array::from_fn(|input| bits[input] >> shift & 0xf);
                            self.set_block(output, 8 * index + block, (scale, minimum), &quants);
                        }
                    }
                }
            }
        }
    }

    fn set_block(
        &mut self,
        output: usize,
        block: usize,
        (scale, minimum): (f16, f16),
        quants: &[u8; BLOCK],
    ) {
        let index = output / WIDTH * self.blocks + block;
        self.scales[index].scales[output % WIDTH] = scale.to_bits();
        self.scales[index].minima[output % WIDTH] = minimum.to_bits();
        for (eight, quants) in self.quants[index]
            .0
            .iter_mut()
            .zip(quants.as_chunks::<8>().0)
        {
            eight[output % WIDTH] =
                std::array::from_fn(|input| quants[input] | quants[input + 4] << 4);
        }
    }

    pub(super) fn row(&self, output: usize, into: &mut [f32]) {
        let tile = self.tile(output / WIDTH);
        for (block, into) in into.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let Scales { scales, minima } = &tile.scales[block];
            let [scale, minimum] =
                [scales, minima].map(|bits| f16::from_bits(bits[output % WIDTH]).to_f32());
            for (input, weight) in into.iter_mut().enumerate() {
                *weight =
                    f32::from(tile.quants[block].get(output % WIDTH, input)) * scale - minimum;
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

/// The 32 numbers of a Q4_0 or Q4_1 block: the low four bits of sixteen bytes, then the high ones.
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|input| bytes[input % 16] >> (input / 16 * 4) & 0xf)
}

/// Scale and minimum of block 0 to 7 out of the twelve bytes of a Q4_K super-block: four scales and four minima
/// in the low six bits of eight bytes, the other four pairs in nibbles of the last four bytes, with their two
/// high bits in what the first eight bytes leave over.
fn six_bits(bytes: &[u8], block: usize) -> (u8, u8) {
    if block < 4 {
        return (bytes[block] & 63, bytes[block + 4] & 63);
    }
    let low = bytes[block + 4];
    (
        low & 0xf | bytes[block - 4] >> 6 << 4,
        low >> 4 | bytes[block] >> 6 << 4,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row of a single stored block, unpacked.
    fn unpacked(format: Q4Format, bytes: &[u8]) -> Vec<f32> {
        let mut tiles = Q4Tiles::new(1, format.block_inputs() / BLOCK);
        tiles.set_row_of_blocks(0, format, bytes);
        let mut row = vec![0.0; format.block_inputs()];
        tiles.row(0, &mut row);
        row
    }

    #[test]
    fn q4_0_and_q4_1_are_read_exactly() {
        let halves = |numbers: &[f32]| -> Vec<u8> {
            numbers
                .iter()
                .flat_map(|&number| f16::from_f32(number).to_le_bytes())
                .collect()
        };
        let quants: Vec<u8> = (0..16).map(|index| index | (15 - index) << 4).collect();
        let q4_0 = unpacked(Q4Format::Q4_0, &[halves(&[0.25]), quants.clone()].concat());
        let q4_1 = unpacked(Q4Format::Q4_1, &[halves(&[0.5, -3.0]), quants].concat());
        for input in 0..32 {
            let quant = if input < 16 {
                input as f32
            } else {
                31.0 - input as f32
            };
            assert_eq!(q4_0[input], 0.25 * (quant - 8.0));
            assert_eq!(q4_1[input], 0.5 * quant - 3.0);
        }
    }

    #[test]
    fn q4_k_is_read_by_the_layout_of_its_bits() {
        // Scale 8 b + 1 and minimum 63 − 7 b of block b, number (3 b + i) mod 16, written bit by bit as GGUF does.
        let (scale, minimum) = (|block: u8| 8 * block + 1, |block: u8| 63 - 7 * block);
        let mut bytes = vec![0; 144];
        bytes[..2].copy_from_slice(&f16::from_f32(0.125).to_le_bytes());
        bytes[2..4].copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        for block in 0..4u8 {
            let place = 4 + usize::from(block);
            let (high_scale, high_minimum) = (scale(block + 4), minimum(block + 4));
            bytes[place] = scale(block) | high_scale >> 4 << 6;
            bytes[place + 4] = minimum(block) | high_minimum >> 4 << 6;
            bytes[place + 8] = high_scale & 15 | (high_minimum & 15) << 4;
        }
        let quant = |block: usize, input: usize| ((3 * block + input) % 16) as u8;
        for pair in 0..4 {
            for input in 0..32 {
                bytes[16 + 32 * pair + input] =
                    quant(2 * pair, input) | quant(2 * pair + 1, input) << 4;
            }
        }
        let row = unpacked(Q4Format::Q4K, &bytes);
        for block in 0..8u8 {
            for input in 0..32 {
                let expected =
                    0.125 * f32::from(scale(block)) * f32::from(quant(block.into(), input))
                        - 0.5 * f32::from(minimum(block));
                assert_eq!(
                    row[32 * usize::from(block) + input],
                    expected,
                    "block {block} input {input}"
                );
            }
        }
    }
}
