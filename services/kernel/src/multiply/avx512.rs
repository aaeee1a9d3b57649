//! The products of one tile with AVX-512 and VNNI: the same bits as `portable`.

#![expect(
    unsafe_code,
    reason = "intrinsics that load and store through pointers"
)]

use std::arch::x86_64::*;

use crate::activation::{Block, Group};
use crate::matrix::{BLOCK, f32 as float, q4, q8_0};

/// Rows that keep their sums in registers together: 8 rows × 2 registers of 16 outputs.
const F32_ROWS: usize = 8;
/// Inputs walked for all rows before the next: 64 × 32 outputs are 8 KiB, which stay in the first cache.
const F32_INPUTS: usize = 64;
/// Rows that use a block's weights while they are in registers.
const Q8_0_ROWS: usize = 8;
/// The same.
const Q4_ROWS: usize = 8;
/// How many blocks ahead memory is asked for a block of weights: 4 KiB of 8 bits, 2 of 4.
const PREFETCH: usize = 8;

/// See [`super::portable::f32`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn f32(tile: &[float::Lane], x: &[f32], sums: &mut [[f32; float::WIDTH]]) {
    let inputs = tile.len();
    sums.fill([0.0; float::WIDTH]);
    for first in (0..inputs).step_by(F32_INPUTS) {
        let lanes = &tile[first..inputs.min(first + F32_INPUTS)];
        for (part, sums) in sums.chunks_mut(F32_ROWS).enumerate() {
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

/// See [`super::portable::q8_0`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn q8_0(tile: q8_0::Tile<'_>, x: Group<'_>, sums: &mut [[f32; q8_0::WIDTH]]) {
    sums.fill([0.0; q8_0::WIDTH]);
    for ((quants, scales), x) in tile
        .quants
        .iter()
        .zip(tile.scales)
        .zip(x.blocks.chunks_exact(x.rows))
    {
        prefetch(quants);
        for (x, sums) in x.chunks(Q8_0_ROWS).zip(sums.chunks_mut(Q8_0_ROWS)) {
            match x.len() {
                1 => q8_0_rows::<1>(quants, scales, x, sums),
                2 => q8_0_rows::<2>(quants, scales, x, sums),
                3 => q8_0_rows::<3>(quants, scales, x, sums),
                4 => q8_0_rows::<4>(quants, scales, x, sums),
                5 => q8_0_rows::<5>(quants, scales, x, sums),
                6 => q8_0_rows::<6>(quants, scales, x, sums),
                7 => q8_0_rows::<7>(quants, scales, x, sums),
                _ => q8_0_rows::<Q8_0_ROWS>(quants, scales, x, sums),
            }
        }
    }
}

/// Adds one block to `ROWS` rows of sums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn q8_0_rows<const ROWS: usize>(
    quants: &q8_0::Quants,
    scales: &q8_0::Scales,
    x: &[Block],
    sums: &mut [[f32; q8_0::WIDTH]],
) {
    let x: &[Block; ROWS] = x.first_chunk().expect("a block per row");
    let sums: &mut [[f32; q8_0::WIDTH]; ROWS] = sums.first_chunk_mut().expect("sums of every row");
    // SAFETY: four inputs are 64 aligned bytes of weights and 4 of the 32 numbers of a row; the scales are 32
    // aligned bytes; the sums of a row are 16 floats.
    unsafe {
        let weights = quants.0.as_ptr().cast::<__m512i>();
        let weights: [__m512i; BLOCK / 4] =
            std::array::from_fn(|four| _mm512_load_si512(weights.add(four)));
        let scales = _mm512_cvtph_ps(_mm256_load_si256(scales.0.as_ptr().cast()));
        for (x, sums) in x.iter().zip(sums) {
            // Two sums, so that eight products are not one chain.
            let mut whole = [_mm512_set1_epi32(x.correction), _mm512_setzero_si512()];
            for (four, weights) in weights.iter().enumerate() {
                let x = _mm512_set1_epi32(
                    x.quants
                        .as_ptr()
                        .add(4 * four)
                        .cast::<i32>()
                        .read_unaligned(),
                );
                whole[four % 2] = _mm512_dpbusd_epi32(whole[four % 2], *weights, x);
            }
            let whole = _mm512_cvtepi32_ps(_mm512_add_epi32(whole[0], whole[1]));
            let scale = _mm512_mul_ps(scales, _mm512_set1_ps(x.scale));
            let place = sums.as_mut_ptr();
            _mm512_storeu_ps(place, _mm512_fmadd_ps(whole, scale, _mm512_loadu_ps(place)));
        }
    }
}

/// See [`super::portable::q4`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn q4(tile: q4::Tile<'_>, x: Group<'_>, sums: &mut [[f32; q4::WIDTH]]) {
    sums.fill([0.0; q4::WIDTH]);
    for ((quants, scales), x) in tile
        .quants
        .iter()
        .zip(tile.scales)
        .zip(x.blocks.chunks_exact(x.rows))
    {
        prefetch(quants);
        for (x, sums) in x.chunks(Q4_ROWS).zip(sums.chunks_mut(Q4_ROWS)) {
            match x.len() {
                1 => q4_rows::<1>(quants, scales, x, sums),
                2 => q4_rows::<2>(quants, scales, x, sums),
                3 => q4_rows::<3>(quants, scales, x, sums),
                4 => q4_rows::<4>(quants, scales, x, sums),
                5 => q4_rows::<5>(quants, scales, x, sums),
                6 => q4_rows::<6>(quants, scales, x, sums),
                7 => q4_rows::<7>(quants, scales, x, sums),
                _ => q4_rows::<Q4_ROWS>(quants, scales, x, sums),
            }
        }
    }
}

/// Adds one block to `ROWS` rows of sums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn q4_rows<const ROWS: usize>(
    quants: &q4::Quants,
    scales: &q4::Scales,
    x: &[Block],
    sums: &mut [[f32; q4::WIDTH]],
) {
    let x: &[Block; ROWS] = x.first_chunk().expect("a block per row");
    let sums: &mut [[f32; q4::WIDTH]; ROWS] = sums.first_chunk_mut().expect("sums of every row");
    let four_bits = _mm512_set1_epi8(0xf);
    // SAFETY: eight inputs are 64 aligned bytes of weights and 8 of the 32 numbers of a row; scales and minima
    // are 32 aligned bytes each; the sums of a row are 16 floats.
    unsafe {
        let weights = quants.0.as_ptr().cast::<__m512i>();
        let weights: [[__m512i; 2]; BLOCK / 8] = std::array::from_fn(|eight| {
            let both = _mm512_load_si512(weights.add(eight));
            [
                _mm512_and_si512(both, four_bits),
                _mm512_and_si512(_mm512_srli_epi16::<4>(both), four_bits),
            ]
        });
        let halves = |bits: &[u16; 16]| _mm512_cvtph_ps(_mm256_load_si256(bits.as_ptr().cast()));
        let (scales, minima) = (halves(&scales.scales), halves(&scales.minima));
        for (x, sums) in x.iter().zip(sums) {
            // Two sums, so that eight products are not one chain.
            let mut whole = [_mm512_setzero_si512(); 2];
            for (eight, weights) in weights.iter().enumerate() {
                for (half, whole) in whole.iter_mut().enumerate() {
                    let place = x.quants.as_ptr().add(8 * eight + 4 * half).cast::<i32>();
                    *whole = _mm512_dpbusd_epi32(
                        *whole,
                        weights[half],
                        _mm512_set1_epi32(place.read_unaligned()),
                    );
                }
            }
            let whole = _mm512_cvtepi32_ps(_mm512_add_epi32(whole[0], whole[1]));
            let scale = _mm512_mul_ps(scales, _mm512_set1_ps(x.scale));
            let place = sums.as_mut_ptr();
            let sum = _mm512_fmadd_ps(whole, scale, _mm512_loadu_ps(place));
            _mm512_storeu_ps(
                place,
                _mm512_fnmadd_ps(minima, _mm512_set1_ps(x.total), sum),
            );
        }
    }
}

/// Asks for the block that comes `PREFETCH` blocks later, in this tile or the next.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn prefetch<Quants>(block: &Quants) {
    let later = std::ptr::from_ref(block)
        .wrapping_add(PREFETCH)
        .cast::<i8>();
    for line in 0..size_of::<Quants>() / 64 {
        _mm_prefetch::<_MM_HINT_T0>(later.wrapping_add(64 * line));
    }
}
