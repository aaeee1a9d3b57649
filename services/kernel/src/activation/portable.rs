//! Quantising in plain Rust: the reference that the other instruction sets are held to.

use super::{Block, scale};
use crate::exp::ROUND;
use crate::matrix::BLOCK;

/// Writes some blocks of all `rows` rows; `x` begins with the first block of the first row, and rows are
/// `inputs` apart.
pub(super) fn quantise(x: &[f32], inputs: usize, rows: usize, places: &mut [Block]) {
    for (block, places) in places.chunks_exact_mut(rows).enumerate() {
        for (row, place) in places.iter_mut().enumerate() {
            if let Some(x) = x[row * inputs + block * BLOCK..].first_chunk() {
                *place = quantised(x);
            }
        }
    }
}

fn quantised(x: &[f32; BLOCK]) -> Block {
    let pairs: [f32; 16] = std::array::from_fn(|pair| x[2 * pair].abs() + x[2 * pair + 1].abs());
    let both = |pair: usize| pairs[pair] + pairs[pair + 8];
    let lane = |lane: usize| (both(lane) + both(lane + 2)) + (both(lane + 4) + both(lane + 6));
    let lanes = [0.515 * lane(0), 0.515 * lane(1)];
    // Magnitudes compared as integers: exact, in any order, and a NaN is the largest.
    let bits = pairs.iter().chain(&lanes).map(|sum| sum.to_bits() as i32);
    let (scale, inverse) = scale(f32::from_bits(bits.fold(0, i32::max) as u32));
    // Adding ROUND leaves the rounded number in the low bits; NaN times zero is cut to 8 bits.
    let quants = x.map(|x| {
        ((x * inverse + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32) as i8
    });
    let lanes = [0, 1].map(|lane| {
        let pairs = quants.as_chunks::<2>().0.iter().skip(lane).step_by(2);
        pairs
            .map(|&[x, y]| i32::from(x) + i32::from(y))
            .sum::<i32>()
    });
    let sum = lanes[0] + lanes[1];
    Block {
        quants,
        scale,
        correction: -128 * sum,
        lanes: lanes.map(|sum| (-128 * sum) as i16),
        total: scale * sum as f32,
    }
}
