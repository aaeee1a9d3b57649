//! The products of one page with AVX2 and FMA: the same bits as `portable`.

#![expect(
    unsafe_code,
    reason = "intrinsics that load and store through pointers"
)]

use std::arch::x86_64::*;

use super::Query;
use crate::cache::PAGE;

/// See [`super::portable::scores`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn scores(queries: &mut [Query<'_>], keys: &[f32]) {
    let keys = keys.as_chunks().0;
    for queries in queries.chunks_mut(3) {
        match queries {
            [a] => score_parts::<1, 8>([a], keys),
            [a, b] => score_parts::<2, 4>([a, b], keys),
            [a, b, c] => score_parts::<3, 4>([a, b, c], keys),
            _ => unreachable!("chunks of one to three"),
        }
    }
}

/// `PARTS` registers of 8 positions at a time, all queries together.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn score_parts<const QUERIES: usize, const PARTS: usize>(
    queries: [&mut Query<'_>; QUERIES],
    keys: &[[f32; PAGE]],
) {
    assert!(queries.iter().all(|query| query.q.len() >= keys.len()));
    for first in (0..PAGE).step_by(8 * PARTS) {
        let mut sums = [[_mm256_setzero_ps(); PARTS]; QUERIES];
        // SAFETY: 8 floats from first + 8 · part, which is at most PAGE − 8 as PARTS divides PAGE / 8; `q` at
        // indices below `keys.len()`, inside by the check above.
        unsafe {
            for (index, keys) in keys.iter().enumerate() {
                let q: [__m256; QUERIES] = std::array::from_fn(|query| {
                    _mm256_broadcast_ss(queries[query].q.get_unchecked(index))
                });
                for part in 0..PARTS {
                    let keys = _mm256_loadu_ps(keys.as_ptr().add(first + 8 * part));
                    for (sums, q) in sums.iter_mut().zip(&q) {
                        sums[part] = _mm256_fmadd_ps(*q, keys, sums[part]);
                    }
                }
            }
            for (query, sums) in sums.iter().enumerate() {
                for (part, sum) in sums.iter().enumerate() {
                    let place = queries[query].weights.as_mut_ptr().add(first + 8 * part);
                    _mm256_storeu_ps(place, *sum);
                }
            }
        }
    }
}

/// See [`super::portable::weigh`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn weigh(queries: &mut [Query<'_>], from: usize, to: usize, values: &[f32]) {
    if from >= to {
        return;
    }
    for queries in queries.chunks_mut(3) {
        match queries {
            [a] => weigh_all::<1, 8>([a], from, to, values),
            [a, b] => weigh_all::<2, 4>([a, b], from, to, values),
            [a, b, c] => weigh_all::<3, 4>([a, b, c], from, to, values),
            _ => unreachable!("chunks of one to three"),
        }
    }
}

/// All numbers of a head: `PARTS` registers at a time, then one, then single numbers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn weigh_all<const QUERIES: usize, const PARTS: usize>(
    mut queries: [&mut Query<'_>; QUERIES],
    from: usize,
    to: usize,
    values: &[f32],
) {
    let dim = queries[0].out.len();
    let mut first = 0;
    while first + 8 * PARTS <= dim {
        weigh_parts::<QUERIES, PARTS>(&mut queries, first, from, to, values);
        first += 8 * PARTS;
    }
    while first + 8 <= dim {
        weigh_parts::<QUERIES, 1>(&mut queries, first, from, to, values);
        first += 8;
    }
    for query in queries {
        for position in from..to {
            for index in first..dim {
                let value = values[position * dim + index];
                query.out[index] = query.weights[position].mul_add(value, query.out[index]);
            }
        }
    }
}

/// `8 · PARTS` numbers of a head from `first`, all queries together.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn weigh_parts<const QUERIES: usize, const PARTS: usize>(
    queries: &mut [&mut Query<'_>; QUERIES],
    first: usize,
    from: usize,
    to: usize,
    values: &[f32],
) {
    let dim = queries[0].out.len();
    assert!(to <= PAGE && values.len() >= to * dim && first + 8 * PARTS <= dim);
    assert!(queries.iter().all(|query| query.out.len() == dim));
    // SAFETY: positions below `to` and numbers below first + 8 · PARTS ≤ dim of a head: inside `values`, `out`
    // and `weights` by the checks above.
    unsafe {
        let mut sums: [[__m256; PARTS]; QUERIES] = std::array::from_fn(|query| {
            std::array::from_fn(|part| {
                _mm256_loadu_ps(queries[query].out.as_ptr().add(first + 8 * part))
            })
        });
        for position in from..to {
            let values = values.as_ptr().add(position * dim + first);
            let weights: [__m256; QUERIES] = std::array::from_fn(|query| {
                _mm256_broadcast_ss(queries[query].weights.get_unchecked(position))
            });
            for part in 0..PARTS {
                let values = _mm256_loadu_ps(values.add(8 * part));
                for (sums, weight) in sums.iter_mut().zip(&weights) {
                    sums[part] = _mm256_fmadd_ps(*weight, values, sums[part]);
                }
            }
        }
        for (query, sums) in queries.iter_mut().zip(&sums) {
            for (part, sum) in sums.iter().enumerate() {
                _mm256_storeu_ps(query.out.as_mut_ptr().add(first + 8 * part), *sum);
            }
        }
    }
}
