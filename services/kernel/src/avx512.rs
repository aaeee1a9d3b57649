//! The products of one tile with AVX-512 and VNNI: the same bits as `portable`.

#![expect(
    unsafe_code,
    reason = "intrinsics that load and store through pointers"
)]

use std::arch::x86_64::*;

use crate::activation::{GROUP, Group};
use crate::matrix::{f32 as float, q8_0};

/// Rows that keep their sums in registers together: 8 rows × 2 registers of 16 outputs.
const F32_ROWS: usize = 8;
/// Inputs walked for all rows before the next: 64 × 32 outputs are 8 KiB, which stay in the first cache.
const F32_INPUTS: usize = 64;
/// Blocks walked for all rows before the next: 16 blocks are 8 KiB.
const Q8_0_ROWS: usize = 8;

/// See [`crate::portable::f32`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn f32(tile: &[float::Lane], x: &[f32], sums: &mut [[f32; float::WIDTH]; GROUP]) {
    let inputs = tile.len();
    let rows = x.len() / inputs;
    sums[..rows].fill([0.0; float::WIDTH]);
    for first in (0..inputs).step_by(F32_INPUTS) {
        let lanes = &tile[first..inputs.min(first + F32_INPUTS)];
        for (part, sums) in sums[..rows].chunks_mut(F32_ROWS).enumerate() {
            let x = &x[part * F32_ROWS * inputs + first..];
            match sums.len() {
                1 => f32_rows::<1>(lanes, x, inputs, sums),
                2 => f32_rows::<2>(lanes, x, inputs, sums),
                3 => f32_rows::<3>(lanes, x, inputs, sums),
                4 => f32_rows::<4>(lanes, x, inputs, sums),
                5 => f32_rows::<5>(lanes, x, inputs, sums),
                6 => f32_rows::<6>(lanes, x, inputs, sums),
                7 => f32_rows::<7>(lanes, x, inputs, sums),
                _ => f32_rows::<F32_ROWS>(lanes, x, inputs, sums),
            }
        }
    }
}

/// Adds some inputs to `ROWS` rows of sums; row r of `x` begins at `r * stride`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn f32_rows<const ROWS: usize>(
    lanes: &[float::Lane],
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
                std::array::from_fn(|part| _mm512_load_ps(lane.0.as_ptr().add(16 * part)));
            for (row, sum) in sum.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*x.as_ptr().add(row * stride + input));
                for (sum, weight) in sum.iter_mut().zip(weights) {
                    *sum = _mm512_fmadd_ps(weight, x, *sum);
                }
            }
        }
        for (row, sum) in sum.into_iter().enumerate() {
            for (part, sum) in sum.into_iter().enumerate() {
                _mm512_storeu_ps(sums[row].as_mut_ptr().add(16 * part), sum);
            }
        }
    }
}

/// See [`crate::portable::q8_0`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn q8_0(tile: q8_0::Tile<'_>, x: Group<'_>, sums: &mut [[f32; q8_0::WIDTH]; GROUP]) {
    let sums = &mut sums[..x.rows];
    sums.fill([0.0; q8_0::WIDTH]);
    for block in 0..tile.quants.len() {
        for (part, rows) in sums.chunks_mut(Q8_0_ROWS).enumerate() {
            let slot = block * x.rows + part * Q8_0_ROWS;
            match rows.len() {
                1 => q8_0_rows::<1>(tile, block, x, slot, rows),
                2 => q8_0_rows::<2>(tile, block, x, slot, rows),
                3 => q8_0_rows::<3>(tile, block, x, slot, rows),
                4 => q8_0_rows::<4>(tile, block, x, slot, rows),
                5 => q8_0_rows::<5>(tile, block, x, slot, rows),
                6 => q8_0_rows::<6>(tile, block, x, slot, rows),
                7 => q8_0_rows::<7>(tile, block, x, slot, rows),
                _ => q8_0_rows::<Q8_0_ROWS>(tile, block, x, slot, rows),
            }
        }
    }
}

/// Adds one block to `ROWS` rows of sums; the rows' quantised blocks stand at `slot..slot + ROWS`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn q8_0_rows<const ROWS: usize>(
    tile: q8_0::Tile<'_>,
    block: usize,
    x: Group<'_>,
    slot: usize,
    sums: &mut [[f32; q8_0::WIDTH]],
) {
    let quants = &tile.quants[block];
    let x_quants: &[[i8; 32]; ROWS] = x.quants[slot..].first_chunk().expect("a slot per row");
    let x_scales: &[f32; ROWS] = x.scales[slot..].first_chunk().expect("a slot per row");
    let corrections: &[i32; ROWS] = x.corrections[slot..].first_chunk().expect("a slot per row");
    let sums: &mut [[f32; q8_0::WIDTH]; ROWS] = sums.first_chunk_mut().expect("sums of every row");
    // SAFETY: a group of four inputs is 64 aligned bytes of weights and 4 of the 32 numbers of a row; the
    // scales are 32 aligned bytes; the sums of a row are 16 floats.
    unsafe {
        let mut whole: [__m512i; ROWS] =
            std::array::from_fn(|row| _mm512_set1_epi32(corrections[row]));
        for group in 0..8 {
            let weights = _mm512_load_si512(quants.0[group].as_ptr().cast());
            for (row, whole) in whole.iter_mut().enumerate() {
                let four = x_quants[row]
                    .as_ptr()
                    .add(4 * group)
                    .cast::<i32>()
                    .read_unaligned();
                *whole = _mm512_dpbusd_epi32(*whole, weights, _mm512_set1_epi32(four));
            }
        }
        let scales = _mm512_cvtph_ps(_mm256_load_si256(tile.scales[block].0.as_ptr().cast()));
        for (row, whole) in whole.into_iter().enumerate() {
            let place = sums[row].as_mut_ptr();
            let scale = _mm512_mul_ps(scales, _mm512_set1_ps(x_scales[row]));
            _mm512_storeu_ps(
                place,
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, _mm512_loadu_ps(place)),
            );
        }
    }
}
