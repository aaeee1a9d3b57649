//! Rows of activations quantised to 8 bits for the integer products, once for all matrices that read them.
//!
//! The arithmetic, per row and block of 32: pᵢ = |x₂ᵢ| + |x₂ᵢ₊₁|; a = the largest of all pᵢ, of 0.515 times the
//! sum of the even ones, ((p₀ + p₈) + (p₂ + p₁₀)) + ((p₄ + p₁₂) + (p₆ + p₁₄)), and of 0.515 times that of the
//! odd ones in the same order; scale = a / 127 and q = round(x · (127 / a)), ties to even. A block whose a is
//! under 1e-30 is all zeros with scale 0; an infinity or NaN makes the scale NaN.
//!
//! Why sums and not max|x|: AVX2 multiplies bytes in pairs that are added in 16 bits (`vpmaddubsw`), weights as
//! q + 128 from 0 to 255. With |q₂ᵢ| + |q₂ᵢ₊₁| ≤ 128 no pair saturates (255 · 128 < 2¹⁵). With at most 255 in the
//! eight pairs that fall into one lane of 16 bits, their sum without the offset fits it too (128 · 255 < 2¹⁵), so
//! it may be formed modulo 2¹⁶ and the offset's share (`lanes`) with it. That is seventeen instructions for 256
//! products; widening to 16 bits first takes 32 and the widening besides: 119 against 63 G products/s on a
//! Zen 3 core, which decides whether eight rows cost 1.3 or 1.8 times one.
//!
//! The price, simulated: a product of 8-bit weights is off by 1.8 % of its standard deviation and not by 0.8 %
//! as with max|x| for normally distributed inputs, by 1.6 and not 1.0 % for Student's t with three degrees of
//! freedom; none where outliers rule their block, the case that hurts.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

#[cfg(target_arch = "x86_64")]
use self::{avx2 as avx512, avx2 as amx};
use crate::isa::{Isa, by_isa};
use crate::matrix::BLOCK;
use crate::pool::Pool;

/// Rows that a product takes together: it reads the weights once for all of them.
pub(crate) const GROUP: usize = 16;

/// Blocks that are quantised by the caller alone: waking a helper costs more.
const ALONE_BLOCKS: usize = 512;
/// Blocks of each row that are shared out together.
const UNIT_BLOCKS: usize = 4;

/// 32 quantised numbers of one row.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Block {
    pub(crate) quants: [i8; BLOCK],
    pub(crate) scale: f32,
    /// −128 · Σq, which cancels the weights' offset.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(
            dead_code,
            reason = "the portable code takes the offset off each weight"
        )
    )]
    pub(crate) correction: i32,
    /// The same for the even pairs and for the odd ones.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(
            dead_code,
            reason = "the portable code takes the offset off each weight"
        )
    )]
    pub(crate) lanes: [i16; 2],
    /// scale · Σq, which a weight's minimum is multiplied with.
    pub(crate) total: f32,
}

/// Quantised rows, in groups of up to sixteen; inside a group block by block, and in a block row by row,
/// which is the order in which a product of a tile walks them. Kept between calls, so that none allocates.
#[derive(Debug, Default)]
pub(crate) struct Quantised {
    rows: usize,
    row_blocks: usize,
    blocks: Vec<Block>,
}

/// Up to [`GROUP`] rows of [`Quantised`]; block b of row r stands at `b * rows + r`.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) rows: usize,
    pub(crate) blocks: &'a [Block],
}

impl Quantised {
    /// Replaces the content by `rows` rows of `x`, each a multiple of 32 long.
    pub(crate) fn fill(&mut self, pool: &Pool, isa: Isa, x: &[f32], rows: usize) {
        let inputs = x.len() / rows;
        (self.rows, self.row_blocks) = (rows, inputs / BLOCK);
        let empty = Block {
            quants: [0; BLOCK],
            scale: 0.0,
            correction: 0,
            lanes: [0; 2],
            total: 0.0,
        };
        self.blocks.resize(rows * self.row_blocks, empty);
        for (group, x) in x.chunks(GROUP * inputs).enumerate() {
            let rows = x.len() / inputs;
            let range = self.range(group);
            pool.pieces(
                &mut self.blocks[range],
                UNIT_BLOCKS * rows,
                ALONE_BLOCKS,
                |first, places| {
                    quantise(isa, &x[first / rows * BLOCK..], inputs, rows, places);
                },
            );
        }
    }

    /// The `group`-th sixteen rows.
    pub(crate) fn group(&self, group: usize) -> Group<'_> {
        let range = self.range(group);
        Group {
            rows: range.len() / self.row_blocks,
            blocks: &self.blocks[range],
        }
    }

    fn range(&self, group: usize) -> std::ops::Range<usize> {
        let first = group * GROUP;
        first * self.row_blocks..self.rows.min(first + GROUP) * self.row_blocks
    }
}

by_isa!(quantise(x: &[f32], inputs: usize, rows: usize, places: &mut [Block]));

/// Scale of a block and what its numbers are multiplied with, by the sum `largest` that rules it.
#[inline(always)]
fn scale(largest: f32) -> (f32, f32) {
    if largest < 1e-30 {
        (0.0, 0.0)
    } else if largest < f32::INFINITY {
        (largest / 127.0, 127.0 / largest)
    } else {
        (f32::NAN, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(isa: Isa, x: &[f32], rows: usize) -> Quantised {
        let mut quantised = Quantised::default();
        quantised.fill(&Pool::new(2), isa, x, rows);
        quantised
    }

    #[test]
    fn a_row_is_quantised_by_the_rule() {
        let mut x: Vec<f32> = (0..64).map(|index| (index as f32 - 20.0) / 7.0).collect();
        x[32..].fill(0.0);
        let quantised = filled(Isa::Portable, &x, 1);
        let group = quantised.group(0);
        // The eight even pairs of the first block: 20 + 19, 16 + 15, 12 + 11, 8 + 7, 4 + 3, 0 + 1, 4 + 5, 8 + 9.
        let pairs = [
            (20, 19),
            (16, 15),
            (12, 11),
            (8, 7),
            (4, 3),
            (0, 1),
            (4, 5),
            (8, 9),
        ];
        let pairs = pairs.map(|(x, y)| x as f32 / 7.0 + y as f32 / 7.0);
        let [p0, p2, p4, p6, p8, p10, p12, p14] = pairs;
        let largest = 0.515 * (((p0 + p8) + (p2 + p10)) + ((p4 + p12) + (p6 + p14)));
        assert_eq!(
            (group.blocks[0].scale, group.blocks[1].scale),
            (largest / 127.0, 0.0)
        );
        for (x, quant) in x[..32].iter().zip(group.blocks[0].quants) {
            assert_eq!(f32::from(quant), (x * (127.0 / largest)).round_ties_even());
        }
        assert_eq!(
            group.blocks[0].correction,
            -128 * group.blocks[0]
                .quants
                .iter()
                .map(|&quant| i32::from(quant))
                .sum::<i32>()
        );
        assert_eq!(group.blocks[1].quants, [0; 32]);
    }

    #[test]
    fn no_lane_of_16_bits_overflows() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        for round in 0..2_000 {
            let mut x: [f32; 32] = std::array::from_fn(|_| random());
            // Halves, where rounding adds most, and outliers.
            if round % 2 == 0 {
                let step = random().abs() + 0.1;
                x = std::array::from_fn(|index| step * (index as f32 + 0.5));
                (x[0], x[1]) = (
                    step * (127.0 - 0.5 - (round % 127) as f32),
                    step * ((round % 127) as f32 + 0.5),
                );
            }
            let quantised = filled(Isa::detect(), &x, 1);
            let quants = quantised.group(0).blocks[0]
                .quants
                .map(|quant| i32::from(quant).abs());
            let pairs: Vec<i32> = quants.chunks(2).map(|pair| pair[0] + pair[1]).collect();
            assert!(pairs.iter().all(|&pair| pair <= 128), "{pairs:?} of {x:?}");
            for first in [0, 1] {
                let lane: i32 = pairs[first..].iter().step_by(2).sum();
                assert!(lane <= 255, "{lane} in {pairs:?} of {x:?}");
            }
        }
    }

    #[test]
    fn rows_stand_block_by_block_inside_their_group() {
        let rows = 19;
        let x: Vec<f32> = (0..rows * 96)
            .map(|index| (index * 37 % 101) as f32 - 50.0)
            .collect();
        let together = filled(Isa::detect(), &x, rows);
        for row in 0..rows {
            let alone = filled(Isa::Portable, &x[row * 96..][..96], 1);
            let (alone, group) = (alone.group(0), together.group(row / GROUP));
            for block in 0..3 {
                let slot = block * group.rows + row % GROUP;
                let (left, right) = (alone.blocks[block], group.blocks[slot]);
                assert_eq!(left.quants, right.quants);
                assert_eq!(left.scale.to_bits(), right.scale.to_bits());
                assert_eq!(left.correction, right.correction);
                assert_eq!(left.lanes, right.lanes);
                assert_eq!(left.total.to_bits(), right.total.to_bits());
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_visible() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; 32];
            x[7] = bad;
            assert!(
                filled(Isa::detect(), &x, 1).group(0).blocks[0]
                    .scale
                    .is_nan()
            );
        }
    }
}
