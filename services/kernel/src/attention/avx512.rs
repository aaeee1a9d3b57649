//! The products of one page with AVX-512: the same bits as `portable`.
//!
//! Six queries keep a page's scores, or 64 numbers of a head, in four registers each: 24, beside four of keys or
//! values and one of a query.

#![expect(
    unsafe_code,
    reason = "intrinsics that load and store through pointers"
)]

use std::arch::x86_64::*;

use super::Query;
use crate::cache::PAGE;

/// See [`super::portable::scores`].
#[target_feature(enable = "avx2,fma,avx512f")]
pub(super) fn scores(queries: &mut [Query<'_>], keys: &[f32]) {
    let keys = keys.as_chunks().0;
    for queries in queries.chunks_mut(6) {
        match queries {
            [a] => score_parts([a], keys),
            [a, b] => score_parts([a, b], keys),
            [a, b, c] => score_parts([a, b, c], keys),
            [a, b, c, d] => score_parts([a, b, c, d], keys),
            [a, b, c, d, e] => score_parts([a, b, c, d, e], keys),
            [a, b, c, d, e, f] => score_parts([a, b, c, d, e, f], keys),
            _ => unreachable!("chunks of one to six"),
        }
    }
}

/// All positions of a page, all queries together.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f")]
fn score_parts<const QUERIES: usize>(queries: [&mut Query<'_>; QUERIES], keys: &[[f32; PAGE]]) {
    assert!(queries.iter().all(|query| query.q.len() >= keys.len()));
    let mut sums = [[_mm512_setzero_ps(); PAGE / 16]; QUERIES];
    // SAFETY: 16 floats from 16 · part, which is at most PAGE − 16; `q` at indices below `keys.len()`, inside by the
    // check above.
    unsafe {
        for (index, keys) in keys.iter().enumerate() {
            let keys: [__m512; PAGE / 16] =
                std::array::from_fn(|part| _mm512_loadu_ps(keys.as_ptr().add(16 * part)));
            for (query, sums) in queries.iter().zip(&mut sums) {
                let q = _mm512_set1_ps(*query.q.get_unchecked(index));
                for (sum, keys) in sums.iter_mut().zip(&keys) {
                    *sum = _mm512_fmadd_ps(q, *keys, *sum);
                }
            }
        }
        for (query, sums) in queries.into_iter().zip(&sums) {
            for (part, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(query.weights.as_mut_ptr().add(16 * part), *sum);
            }
        }
    }
}

/// See [`super::portable::weigh`].
#[target_feature(enable = "avx2,fma,avx512f")]
pub(super) fn weigh(queries: &mut [Query<'_>], from: usize, to: usize, values: &[f32]) {
    if from >= to {
        return;
    }
    for queries in queries.chunks_mut(6) {
        match queries {
            [a] => weigh_all([a], from, to, values),
            [a, b] => weigh_all([a, b], from, to, values),
            [a, b, c] => weigh_all([a, b, c], from, to, values),
            [a, b, c, d] => weigh_all([a, b, c, d], from, to, values),
            [a, b, c, d, e] => weigh_all([a, b, c, d, e], from, to, values),
            [a, b, c, d, e, f] => weigh_all([a, b, c, d, e, f], from, to, values),
            _ => unreachable!("chunks of one to six"),
        }
    }
}

/// All numbers of a head: four registers at a time, then one, then single numbers.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f")]
fn weigh_all<const QUERIES: usize>(
    mut queries: [&mut Query<'_>; QUERIES],
    from: usize,
    to: usize,
    values: &[f32],
) {
    let dim = queries[0].out.len();
    let mut first = 0;
    while first + 64 <= dim {
        weigh_parts::<QUERIES, 4>(&mut queries, first, from, to, values);
        first += 64;
    }
    while first + 16 <= dim {
        weigh_parts::<QUERIES, 1>(&mut queries, first, from, to, values);
        first += 16;
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

/// `16 · PARTS` numbers of a head from `first`, all queries together.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f")]
fn weigh_parts<const QUERIES: usize, const PARTS: usize>(
    queries: &mut [&mut Query<'_>; QUERIES],
    first: usize,
    from: usize,
    to: usize,
    values: &[f32],
) {
    let dim = queries[0].out.len();
    assert!(to <= PAGE && values.len() >= to * dim && first + 16 * PARTS <= dim);
    assert!(queries.iter().all(|query| query.out.len() == dim));
    // SAFETY: positions below `to` and numbers below first + 16 · PARTS ≤ dim of a head: inside `values`, `out` and
    // `weights` by the checks above.
    unsafe {
        let mut sums: [[__m512; PARTS]; QUERIES] = std::array::from_fn(|query| {
            std::array::from_fn(|part| {
                _mm512_loadu_ps(queries[query].out.as_ptr().add(first + 16 * part))
            })
        });
        for position in from..to {
            let values = values.as_ptr().add(position * dim + first);
            let values: [__m512; PARTS] =
                std::array::from_fn(|part| _mm512_loadu_ps(values.add(16 * part)));
            for (query, sums) in queries.iter().zip(&mut sums) {
                let weight = _mm512_set1_ps(*query.weights.get_unchecked(position));
                for (sum, values) in sums.iter_mut().zip(&values) {
                    *sum = _mm512_fmadd_ps(weight, *values, *sum);
                }
            }
        }
        for (query, sums) in queries.iter_mut().zip(&sums) {
            for (part, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(query.out.as_mut_ptr().add(first + 16 * part), *sum);
            }
        }
    }
}
