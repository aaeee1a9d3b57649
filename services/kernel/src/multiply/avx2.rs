//! The products of one tile with AVX2, FMA and F16C: the same bits as `portable`.

#![expect(
    unsafe_code,
    reason = "intrinsics that load and store through pointers"
)]

use std::arch::x86_64::*;

use half::bf16;

use crate::activation::{Block, Group};
use crate::matrix::{
    BLOCK,
    float::{self, Float},
    q4, q8_0,
};

/// Rows that keep their sums in registers together: 3 rows × 4 registers of 8 outputs, beside 3 of `x` and one
/// of weights.
const FLOAT_ROWS: usize = 3;
/// Inputs walked for all rows before the next: 64 × 32 outputs are 8 KiB, which stay in the first cache.
const FLOAT_INPUTS: usize = 64;
/// 4 rows × 2 registers of 8 outputs, beside 2 of weights.
const Q8_0_ROWS: usize = 4;
/// 4 rows × 2 registers of 16-bit sums, beside 4 of weights.
const Q4_ROWS: usize = 4;
/// How many blocks ahead a block of weights is asked for, into the second cache: 12 KiB of 8 bits, 6 of 4.
const PREFETCH: usize = 24;

/// See [`super::portable::f32`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn f32(tile: &[float::Lane<f32>], x: &[f32], sums: &mut [[f32; float::WIDTH]]) {
    floats(tile, x, sums);
}

/// See [`super::portable::bf16`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn bf16(tile: &[float::Lane<bf16>], x: &[f32], sums: &mut [[f32; float::WIDTH]]) {
    floats(tile, x, sums);
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn floats<W: Float>(tile: &[float::Lane<W>], x: &[f32], sums: &mut [[f32; float::WIDTH]]) {
    let inputs = tile.len();
    // Four rows as two and two: a row alone is one chain of sums with nothing beside it.
    let together = sums.len().div_ceil(sums.len().div_ceil(FLOAT_ROWS));
    sums.fill([0.0; float::WIDTH]);
    for first in (0..inputs).step_by(FLOAT_INPUTS) {
        let lanes = &tile[first..inputs.min(first + FLOAT_INPUTS)];
        for (part, sums) in sums.chunks_mut(together).enumerate() {
            let x = &x[part * together * inputs + first..];
            by_rows!(sums.len(), [1, 2, 3], float_rows(lanes, x, inputs, sums));
        }
    }
}

/// Adds some inputs to `ROWS` rows of sums; row r of `x` begins at `r * stride`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn float_rows<const ROWS: usize>(
    lanes: &[float::Lane<impl Float>],
    x: &[f32],
    stride: usize,
    sums: &mut [[f32; float::WIDTH]],
) {
    assert!(sums.len() >= ROWS && x.len() >= (ROWS - 1) * stride + lanes.len());
    // SAFETY: 8 floats from 8 · part < 32 in rows below ROWS of `sums`, and in a lane; `x` at rows below ROWS
    // and inputs below `lanes.len()`: all inside by the check above.
    unsafe {
        let mut sum = [[_mm256_setzero_ps(); 4]; ROWS];
        for (row, sum) in sum.iter_mut().enumerate() {
            for (part, sum) in sum.iter_mut().enumerate() {
                *sum = _mm256_loadu_ps(sums[row].as_ptr().add(8 * part));
            }
        }
        for (input, lane) in lanes.iter().enumerate() {
            let x: [__m256; ROWS] = std::array::from_fn(|row| {
                _mm256_broadcast_ss(&*x.as_ptr().add(row * stride + input))
            });
            for part in 0..4 {
                let weights = widened(lane.0.as_ptr().add(8 * part));
                for (sum, x) in sum.iter_mut().zip(&x) {
                    sum[part] = _mm256_fmadd_ps(weights, *x, sum[part]);
                }
            }
        }
        for (row, sum) in sum.iter().enumerate() {
            for (part, sum) in sum.iter().enumerate() {
                _mm256_storeu_ps(sums[row].as_mut_ptr().add(8 * part), *sum);
            }
        }
    }
}

/// 8 weights of 32 or 16 bits.
///
/// # Safety
/// They stand at `weights`, aligned as one.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn widened<W: Float>(weights: *const W) -> __m256 {
    // SAFETY: the caller's.
    unsafe {
        if size_of::<W>() == size_of::<f32>() {
            return _mm256_load_ps(weights.cast());
        }
        let halves = _mm256_cvtepu16_epi32(_mm_load_si128(weights.cast()));
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
    }
}

/// See [`super::portable::q8_0`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn q8_0(tiles: &[q8_0::Tile<'_>], x: Group<'_>, sums: &mut [[f32; q8_0::WIDTH]]) {
    for (tile, sums) in tiles.iter().zip(sums.chunks_exact_mut(x.rows)) {
        by_rows!(
            x.rows,
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            q8_0_tile(*tile, x, sums)
        );
    }
}

/// `ROWS` rows, a few at a time.
#[target_feature(enable = "avx2,fma,f16c")]
fn q8_0_tile<const ROWS: usize>(
    tile: q8_0::Tile<'_>,
    x: Group<'_>,
    sums: &mut [[f32; q8_0::WIDTH]],
) {
    let sums: &mut [[f32; q8_0::WIDTH]; ROWS] = sums.first_chunk_mut().expect("sums of every row");
    sums.fill([0.0; q8_0::WIDTH]);
    // A number that the compiler does not know keeps the loop over a block's inputs a loop: with three rows and
    // more it is unrolled and reordered until the weights no longer fit the registers.
    let fours = std::hint::black_box(BLOCK / 4);
    let rows = x.blocks.as_chunks::<ROWS>().0;
    for ((quants, scales), x) in tile.quants.iter().zip(tile.scales).zip(rows) {
        prefetch(quants);
        let (fulls, rest) = x.as_chunks::<Q8_0_ROWS>();
        let (full_sums, rest_sums) = sums.as_chunks_mut::<Q8_0_ROWS>();
        for (x, sums) in fulls.iter().zip(full_sums) {
            q8_0_rows::<Q8_0_ROWS>(quants, scales, fours, x, sums);
        }
        match ROWS % Q8_0_ROWS {
            1 => q8_0_rows::<1>(quants, scales, BLOCK / 4, rest, rest_sums),
            2 => q8_0_rows::<2>(quants, scales, BLOCK / 4, rest, rest_sums),
            3 => q8_0_rows::<3>(quants, scales, fours, rest, rest_sums),
            _ => {}
        }
    }
}

/// Adds one block (`fours` times four inputs) to `ROWS` rows of sums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q8_0_rows<const ROWS: usize>(
    quants: &q8_0::Quants,
    scales: &q8_0::Scales,
    fours: usize,
    x: &[Block],
    sums: &mut [[f32; q8_0::WIDTH]],
) {
    let x: &[Block; ROWS] = x.first_chunk().expect("a block per row");
    let sums: &mut [[f32; q8_0::WIDTH]; ROWS] = sums.first_chunk_mut().expect("sums of every row");
    let ones = _mm256_set1_epi16(1);
    // SAFETY: four inputs are 64 bytes of weights (two halves of 32) and 4 of the 32 numbers of a row, and
    // `fours` is at most 8 by the caller; two lanes are 4 bytes; the scales are 32 bytes, aligned; the sums of a
    // row are 16 floats.
    unsafe {
        // 16 bits are enough for a block, modulo 2¹⁶ on the way: see `activation`.
        let mut whole: [[__m256i; 2]; ROWS] = std::array::from_fn(|row| {
            let lanes = x[row].lanes.as_ptr().cast::<i32>().read_unaligned();
            [_mm256_set1_epi32(lanes); 2]
        });
        for four in 0..fours {
            let weights = quants.0.as_ptr().add(four).cast::<__m256i>();
            let (low, high) = (
                _mm256_load_si256(weights),
                _mm256_load_si256(weights.add(1)),
            );
            for ([whole_low, whole_high], x) in whole.iter_mut().zip(x) {
                let x = x.quants.as_ptr().add(4 * four).cast::<i32>();
                let x = _mm256_set1_epi32(x.read_unaligned());
                *whole_low = _mm256_add_epi16(*whole_low, _mm256_maddubs_epi16(low, x));
                *whole_high = _mm256_add_epi16(*whole_high, _mm256_maddubs_epi16(high, x));
            }
        }
        let scales = scales.0.as_ptr().cast::<__m128i>();
        let scales = [
            _mm256_cvtph_ps(_mm_load_si128(scales)),
            _mm256_cvtph_ps(_mm_load_si128(scales.add(1))),
        ];
        for ((whole, x), sums) in whole.iter().zip(x).zip(sums) {
            let x_scale = _mm256_set1_ps(x.scale);
            for (half, (whole, scale)) in whole.iter().zip(&scales).enumerate() {
                let place = sums.as_mut_ptr().add(8 * half);
                let scale = _mm256_mul_ps(*scale, x_scale);
                let whole = _mm256_cvtepi32_ps(_mm256_madd_epi16(*whole, ones));
                _mm256_storeu_ps(place, _mm256_fmadd_ps(whole, scale, _mm256_loadu_ps(place)));
            }
        }
    }
}

/// See [`super::portable::q4`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn q4(tiles: &[q4::Tile<'_>], x: Group<'_>, sums: &mut [[f32; q4::WIDTH]]) {
    for (tile, sums) in tiles.iter().zip(sums.chunks_exact_mut(x.rows)) {
        by_rows!(
            x.rows,
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            q4_tile(*tile, x, sums)
        );
    }
}

/// `ROWS` rows, a few at a time.
#[target_feature(enable = "avx2,fma,f16c")]
fn q4_tile<const ROWS: usize>(tile: q4::Tile<'_>, x: Group<'_>, sums: &mut [[f32; q4::WIDTH]]) {
    let sums: &mut [[f32; q4::WIDTH]; ROWS] = sums.first_chunk_mut().expect("sums of every row");
    sums.fill([0.0; q4::WIDTH]);
    // Unknown to the compiler for the same reason as above.
    let eights = std::hint::black_box(BLOCK / 8);
    let rows = x.blocks.as_chunks::<ROWS>().0;
    for ((quants, scales), x) in tile.quants.iter().zip(tile.scales).zip(rows) {
        prefetch(quants);
        let (fulls, rest) = x.as_chunks::<Q4_ROWS>();
        let (full_sums, rest_sums) = sums.as_chunks_mut::<Q4_ROWS>();
        for (x, sums) in fulls.iter().zip(full_sums) {
            q4_rows::<Q4_ROWS>(quants, scales, eights, x, sums);
        }
        match ROWS % Q4_ROWS {
            1 => q4_rows::<1>(quants, scales, BLOCK / 8, rest, rest_sums),
            2 => q4_rows::<2>(quants, scales, BLOCK / 8, rest, rest_sums),
            3 => q4_rows::<3>(quants, scales, eights, rest, rest_sums),
            _ => {}
        }
    }
}

/// Adds one block (`eights` times eight inputs) to `ROWS` rows of sums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q4_rows<const ROWS: usize>(
    quants: &q4::Quants,
    scales: &q4::Scales,
    eights: usize,
    x: &[Block],
    sums: &mut [[f32; q4::WIDTH]],
) {
    let x: &[Block; ROWS] = x.first_chunk().expect("a block per row");
    let sums: &mut [[f32; q4::WIDTH]; ROWS] = sums.first_chunk_mut().expect("sums of every row");
    let four_bits = _mm256_set1_epi8(0xf);
    let ones = _mm256_set1_epi16(1);
    // SAFETY: eight inputs are 64 bytes of weights (two halves of 32) and 8 of the 32 numbers of a row, and
    // `eights` is at most 4 by the caller; scales and minima are 32 bytes each, aligned; the sums of a row are
    // 16 floats.
    unsafe {
        // In 16 bits: eight pairs of at most 15 · 128 each stay below 2¹⁵.
        let mut whole = [[_mm256_setzero_si256(); 2]; ROWS];
        for eight in 0..eights {
            let weights = quants.0.as_ptr().add(eight).cast::<__m256i>();
            let both = [
                _mm256_load_si256(weights),
                _mm256_load_si256(weights.add(1)),
            ];
            let first = both.map(|both| _mm256_and_si256(both, four_bits));
            let second = both.map(|both| _mm256_and_si256(_mm256_srli_epi16::<4>(both), four_bits));
            for ([whole_low, whole_high], x) in whole.iter_mut().zip(x) {
                let place = x.quants.as_ptr().add(8 * eight).cast::<i32>();
                let x = _mm256_set1_epi32(place.read_unaligned());
                *whole_low = _mm256_add_epi16(*whole_low, _mm256_maddubs_epi16(first[0], x));
                *whole_high = _mm256_add_epi16(*whole_high, _mm256_maddubs_epi16(first[1], x));
                let x = _mm256_set1_epi32(place.add(1).read_unaligned());
                *whole_low = _mm256_add_epi16(*whole_low, _mm256_maddubs_epi16(second[0], x));
                *whole_high = _mm256_add_epi16(*whole_high, _mm256_maddubs_epi16(second[1], x));
            }
        }
        let halves = |bits: &[u16; 16]| {
            let bits = bits.as_ptr().cast::<__m128i>();
            [
                _mm256_cvtph_ps(_mm_load_si128(bits)),
                _mm256_cvtph_ps(_mm_load_si128(bits.add(1))),
            ]
        };
        let (scales, minima) = (halves(&scales.scales), halves(&scales.minima));
        for ((whole, x), sums) in whole.iter().zip(x).zip(sums) {
            let (x_scale, x_total) = (_mm256_set1_ps(x.scale), _mm256_set1_ps(x.total));
            for (half, whole) in whole.iter().enumerate() {
                let place = sums.as_mut_ptr().add(8 * half);
                let scale = _mm256_mul_ps(scales[half], x_scale);
                let whole = _mm256_cvtepi32_ps(_mm256_madd_epi16(*whole, ones));
                let sum = _mm256_fmadd_ps(whole, scale, _mm256_loadu_ps(place));
                _mm256_storeu_ps(place, _mm256_fnmadd_ps(minima[half], x_total, sum));
            }
        }
    }
}

/// Asks for the block that comes `PREFETCH` blocks later, in this tile or the next.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn prefetch<Quants>(block: &Quants) {
    let later = std::ptr::from_ref(block)
        .wrapping_add(PREFETCH)
        .cast::<i8>();
    for line in 0..size_of::<Quants>() / 64 {
        _mm_prefetch::<_MM_HINT_T1>(later.wrapping_add(64 * line));
    }
}
