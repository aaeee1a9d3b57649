//! The products of one page in plain Rust: the reference that the other instruction sets are held to.

use super::Query;
use crate::cache::PAGE;

/// `weights[p]` = Σ over d of `q[d]` · `keys[d][p]`, for each query.
pub(super) fn scores(queries: &mut [Query<'_>], keys: &[f32]) {
    for query in queries {
        query.weights.fill(0.0);
        for (q, keys) in query.q.iter().zip(keys.as_chunks::<PAGE>().0) {
            for (score, key) in query.weights.iter_mut().zip(keys) {
                *score = q.mul_add(*key, *score);
            }
        }
    }
}

/// `out[d]` += Σ over the positions p in `from..to` of `weights[p]` · `values[p][d]`, for each query.
pub(super) fn weigh(queries: &mut [Query<'_>], from: usize, to: usize, values: &[f32]) {
    for query in queries {
        let dim = query.out.len();
        for (weight, values) in query.weights[..to]
            .iter()
            .zip(values.chunks_exact(dim))
            .skip(from)
        {
            for (out, value) in query.out.iter_mut().zip(values) {
                *out = weight.mul_add(*value, *out);
            }
        }
    }
}
