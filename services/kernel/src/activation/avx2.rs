//! Quantising with AVX2: the same bits as `portable`, wherever the scale is a number.
//!
//! AVX-512 uses it too: it is a small part of any product.

#![expect(
    unsafe_code,
    reason = "intrinsics that load and store through pointers"
)]

use std::arch::x86_64::*;

use super::{Block, scale};
use crate::matrix::BLOCK;

/// See [`super::portable::quantise`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantise(x: &[f32], inputs: usize, rows: usize, places: &mut [Block]) {
    for (block, places) in places.chunks_exact_mut(rows).enumerate() {
        for (row, place) in places.iter_mut().enumerate() {
            if let Some(x) = x[row * inputs + block * BLOCK..].first_chunk() {
                quantised(x, place);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn quantised(x: &[f32; BLOCK], place: &mut Block) {
    // SAFETY: four times 8 of 32 floats.
    let x: [__m256; 4] =
        std::array::from_fn(|part| unsafe { _mm256_loadu_ps(x.as_ptr().add(8 * part)) });
    let sign = _mm256_set1_ps(-0.0);
    let magnitudes = x.map(|x| _mm256_andnot_ps(sign, x));
    // Pairs 0 1 4 5 2 3 6 7 and 8 9 12 13 10 11 14 15.
    let first = _mm256_hadd_ps(magnitudes[0], magnitudes[1]);
    let second = _mm256_hadd_ps(magnitudes[2], magnitudes[3]);
    let both = _mm256_add_ps(first, second);
    let four = _mm_add_ps(
        _mm256_castps256_ps128(both),
        _mm256_extractf128_ps::<1>(both),
    );
    let lanes = _mm_mul_ps(
        _mm_add_ps(four, _mm_movehl_ps(four, four)),
        _mm_set1_ps(0.515),
    );
    // Magnitudes compared as integers; of `lanes` the first two are the sums, the others nothing.
    let most = _mm256_max_epi32(_mm256_castps_si256(first), _mm256_castps_si256(second));
    let most = _mm_max_epi32(
        _mm256_castsi256_si128(most),
        _mm256_extracti128_si256::<1>(most),
    );
    let most = _mm_max_epi32(most, _mm_castps_si128(_mm_movelh_ps(lanes, lanes)));
    let most = _mm_max_epi32(most, _mm_shuffle_epi32::<0b01_00_11_10>(most));
    let most = _mm_max_epi32(most, _mm_shuffle_epi32::<0b10_11_00_01>(most));
    let (scale, inverse) = scale(f32::from_bits(_mm_cvtsi128_si32(most) as u32));

    // Conversion rounds to the nearest, ties to even.
    let inverse = _mm256_set1_ps(inverse);
    let [a, b, c, d] = x.map(|x| _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse)));
    let quants = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    let quants = _mm256_permutevar8x32_epi32(quants, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(place.quants.as_mut_ptr().cast(), quants) };

    let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), quants);
    let pairs = _mm_add_epi16(
        _mm256_castsi256_si128(pairs),
        _mm256_extracti128_si256::<1>(pairs),
    );
    let pairs = _mm_add_epi16(pairs, _mm_shuffle_epi32::<0b01_00_11_10>(pairs));
    let pairs = _mm_add_epi16(pairs, _mm_shuffle_epi32::<0b10_11_00_01>(pairs));
    let lanes = _mm_cvtsi128_si32(pairs);
    let lanes = [lanes as i16, (lanes >> 16) as i16];
    let sum = i32::from(lanes[0]) + i32::from(lanes[1]);
    place.scale = scale;
    place.correction = -128 * sum;
    place.lanes = lanes.map(|sum| sum.wrapping_mul(-128));
    place.total = scale * sum as f32;
}
