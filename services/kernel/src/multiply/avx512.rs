//! The products of one tile with AVX-512 and VNNI: the same bits as `portable`.

#![expect(
    unsafe_code,
    reason = "intrinsics that load and store through pointers"
)]

use std::arch::x86_64::*;

use half::bf16;

use crate::activation::Group;
use crate::matrix::{
    BLOCK,
    float::{self, Float},
    q4, q8_0,
};

/// Rows that keep their sums in registers together: 8 rows × 2 registers of 16 outputs.
const FLOAT_ROWS: usize = 8;
/// Inputs walked for all rows before the next: 64 × 32 outputs are 8 KiB, which stay in the first cache.
const FLOAT_INPUTS: usize = 64;
/// How many blocks ahead memory is asked for a block of weights: 8 KiB of 8 bits, 4 of 4. On a Zen 5
/// server 8 and 32 were slower.
const PREFETCH: usize = 16;

/// See [`super::portable::f32`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn f32(tile: &[float::Lane<f32>], x: &[f32], sums: &mut [[f32; float::WIDTH]]) {
    floats(tile, x, sums);
}

/// See [`super::portable::bf16`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn bf16(tile: &[float::Lane<bf16>], x: &[f32], sums: &mut [[f32; float::WIDTH]]) {
    floats(tile, x, sums);
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn floats<W: Float>(tile: &[float::Lane<W>], x: &[f32], sums: &mut [[f32; float::WIDTH]]) {
    let inputs = tile.len();
    sums.fill([0.0; float::WIDTH]);
    for first in (0..inputs).step_by(FLOAT_INPUTS) {
        let lanes = &tile[first..inputs.min(first + FLOAT_INPUTS)];
        for (part, sums) in sums.chunks_mut(FLOAT_ROWS).enumerate() {
            let x = &x[part * FLOAT_ROWS * inputs + first..];
            by_rows!(
                sums.len(),
                [1, 2, 3, 4, 5, 6, 7, 8],
                float_rows(lanes, x, inputs, sums)
            );
        }
    }
}

/// Adds some inputs to `ROWS` rows of sums; row r of `x` begins at `r * stride`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn float_rows<const ROWS: usize>(
    lanes: &[float::Lane<impl Float>],
    x: &[f32],
    stride: usize,
    sums: &mut [[f32; float::WIDTH]],
) {
    assert!(sums.len() >= ROWS && x.len() >= (ROWS - 1) * stride + lanes.len());
    // SAFETY: 16 floats from 16 · part < 32 in rows below ROWS of `sums`, and in a lane; `x` at rows below ROWS
    // and inputs below `lanes.len()`: all inside by the check above.
    unsafe {
        let mut sum = [[_mm512_setzero_ps(); 2]; ROWS];
        for (row, sum) in sum.iter_mut().enumerate() {
            for (part, sum) in sum.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(sums[row].as_ptr().add(16 * part));
            }
        }
        for (input, lane) in lanes.iter().enumerate() {
            let weights: [__m512; 2] =
                std::array::from_fn(|part| widened(lane.0.as_ptr().add(16 * part)));
            for (row, sum) in sum.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*x.as_ptr().add(row * stride + input));
                for (sum, weight) in sum.iter_mut().zip(&weights) {
                    *sum = _mm512_fmadd_ps(*weight, x, *sum);
                }
            }
        }
        for (row, sum) in sum.iter().enumerate() {
            for (part, sum) in sum.iter().enumerate() {
                _mm512_storeu_ps(sums[row].as_mut_ptr().add(16 * part), *sum);
            }
        }
    }
}

/// 16 weights of 32 or 16 bits.
///
/// # Safety
/// They stand at `weights`, aligned as one.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn widened<W: Float>(weights: *const W) -> __m512 {
    // SAFETY: the caller's.
    unsafe {
        if size_of::<W>() == size_of::<f32>() {
            return _mm512_load_ps(weights.cast());
        }
        let halves = _mm512_cvtepu16_epi32(_mm256_load_si256(weights.cast()));
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
    }
}

/// See [`super::portable::q8_0`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn q8_0(tiles: &[q8_0::Tile<'_>], x: Group<'_>, sums: &mut [[f32; q8_0::WIDTH]]) {
    for (tile, sums) in tiles.iter().zip(sums.chunks_exact_mut(x.rows)) {
        by_rows!(
            x.rows,
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            q8_0_rows(*tile, x, sums)
        );
    }
}

/// `ROWS` rows, whose sums stand in registers from the first block to the last.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn q8_0_rows<const ROWS: usize>(
    tile: q8_0::Tile<'_>,
    x: Group<'_>,
    sums: &mut [[f32; q8_0::WIDTH]],
) {
    let mut sum = [_mm512_setzero_ps(); ROWS];
    let rows = x.blocks.as_chunks::<ROWS>().0;
    for ((quants, scales), x) in tile.quants.iter().zip(tile.scales).zip(rows) {
        // SAFETY: four inputs are 64 aligned bytes of weights and 4 of the 32 numbers of a row; the scales are 32
        // aligned bytes.
        unsafe {
            let weights = quants.0.as_ptr().cast::<__m512i>();
            let weights: [__m512i; BLOCK / 4] =
                std::array::from_fn(|four| _mm512_load_si512(weights.add(four)));
            let scales = _mm512_cvtph_ps(_mm256_load_si256(scales.0.as_ptr().cast()));
            each_row!(row in ROWS {
                let x = &x[row];
                // Two sums, so that eight products are not one chain.
                let mut whole = [_mm512_set1_epi32(x.correction), _mm512_setzero_si512()];
                for (four, weights) in weights.iter().enumerate() {
                    let x = x.quants.as_ptr().add(4 * four).cast::<i32>();
                    let x = _mm512_set1_epi32(x.read_unaligned());
                    whole[four % 2] = _mm512_dpbusd_epi32(whole[four % 2], *weights, x);
                }
                let whole = _mm512_cvtepi32_ps(_mm512_add_epi32(whole[0], whole[1]));
                let scale = _mm512_mul_ps(scales, _mm512_set1_ps(x.scale));
                sum[row] = _mm512_fmadd_ps(whole, scale, sum[row]);
                prefetch::<_, ROWS>(quants, row);
            });
        }
    }
    store(&sum, sums);
}

/// See [`super::portable::q4`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn q4(tiles: &[q4::Tile<'_>], x: Group<'_>, sums: &mut [[f32; q4::WIDTH]]) {
    for (tile, sums) in tiles.iter().zip(sums.chunks_exact_mut(x.rows)) {
        by_rows!(
            x.rows,
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            q4_rows(*tile, x, sums)
        );
    }
}

/// `ROWS` rows, whose sums stand in registers from the first block to the last.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn q4_rows<const ROWS: usize>(tile: q4::Tile<'_>, x: Group<'_>, sums: &mut [[f32; q4::WIDTH]]) {
    let four_bits = _mm512_set1_epi8(0xf);
    let mut sum = [_mm512_setzero_ps(); ROWS];
    let rows = x.blocks.as_chunks::<ROWS>().0;
    for ((quants, scales), x) in tile.quants.iter().zip(tile.scales).zip(rows) {
        // SAFETY: eight inputs are 64 aligned bytes of weights and 8 of the 32 numbers of a row; scales and minima
        // are 32 aligned bytes each.
        unsafe {
            let weights = quants.0.as_ptr().cast::<__m512i>();
            let weights: [[__m512i; 2]; BLOCK / 8] = std::array::from_fn(|eight| {
                let both = _mm512_load_si512(weights.add(eight));
                [
                    _mm512_and_si512(both, four_bits),
                    _mm512_and_si512(_mm512_srli_epi16::<4>(both), four_bits),
                ]
            });
            let halves =
                |bits: &[u16; 16]| _mm512_cvtph_ps(_mm256_load_si256(bits.as_ptr().cast()));
            let (scales, minima) = (halves(&scales.scales), halves(&scales.minima));
            each_row!(row in ROWS {
                let x = &x[row];
                // Two sums, so that eight products are not one chain.
                let mut whole = [_mm512_setzero_si512(); 2];
                for (eight, weights) in weights.iter().enumerate() {
                    for (half, whole) in whole.iter_mut().enumerate() {
                        let x = x.quants.as_ptr().add(8 * eight + 4 * half).cast::<i32>();
                        let x = _mm512_set1_epi32(x.read_unaligned());
                        *whole = _mm512_dpbusd_epi32(*whole, weights[half], x);
                    }
                }
                let whole = _mm512_cvtepi32_ps(_mm512_add_epi32(whole[0], whole[1]));
                let scale = _mm512_mul_ps(scales, _mm512_set1_ps(x.scale));
                sum[row] = _mm512_fmadd_ps(whole, scale, sum[row]);
                sum[row] = _mm512_fnmadd_ps(minima, _mm512_set1_ps(x.total), sum[row]);
                prefetch::<_, ROWS>(quants, row);
            });
        }
    }
    store(&sum, sums);
}

/// Writes the sums of `ROWS` rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn store<const ROWS: usize>(sum: &[__m512; ROWS], sums: &mut [[f32; 16]]) {
    for (sum, sums) in sum.iter().zip(sums) {
        // SAFETY: 16 floats.
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), *sum) };
    }
}

/// Asks for one row's share of the block that comes `PREFETCH` blocks later, in this tile or the next.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn prefetch<Quants, const ROWS: usize>(block: &Quants, row: usize) {
    let later = std::ptr::from_ref(block)
        .wrapping_add(PREFETCH)
        .cast::<i8>();
    let lines = size_of::<Quants>() / 64;
    for line in lines * row / ROWS..lines * (row + 1) / ROWS {
        _mm_prefetch::<_MM_HINT_T0>(later.wrapping_add(64 * line));
    }
}
