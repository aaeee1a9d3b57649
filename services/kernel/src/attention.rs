//! Attention of new rows over their own sequences' caches: ragged, causal, grouped heads.
//!
//! A row at position p walks exactly the keys 0..=p of its own cache, page by page of 64 absolute positions, so
//! its bits depend on those keys alone. The arithmetic, per query head:
//! 1. q' = q · (1 / √head_dim), rounded; a score is `s = fma(q'[d], k[d], s)` for d in order from +0.
//! 2. Per page: m' = max(m, the page's scores); where m' > m, everything so far is multiplied by exp(m − m').
//! 3. e = exp(s − m'); the weights are summed in 16 lanes (position modulo 16) in order of position, and
//!    `out[d] = fma(e, v[d], out[d])` in order of position.
//! 4. The lanes are summed 8 + 8, 4 + 4, 2 + 2, 1 + 1, and `out[d]` is multiplied by one over that.

#![expect(
    unsafe_code,
    reason = "rows and heads write disjoint pieces of one output"
)]

use crate::cache::{Cache, PAGE};
use crate::compute::Compute;
use crate::exp::exp;
use crate::isa::per_isa;
use crate::pool::Scatter;

/// Lanes that the weights of a row are summed in.
const LANES: usize = 16;
/// Multiply-adds of a job under which the caller works alone.
const ALONE_WORK: usize = 200_000;

/// The heads of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads; a multiple of `kv_heads`.
    pub query: usize,
    /// Key/value heads, each shared by `query / kv` neighbouring query heads.
    pub kv: usize,
    /// Numbers in a head.
    pub dim: usize,
}

impl Compute {
    /// `out[r]` = attention of row r, for as many rows as `q` holds (each `query × dim`; `out` the same).
    ///
    /// `row(r)` names row r's cache and its position, whose own key and value must have been written already;
    /// rows may share a cache.
    ///
    /// # Panics
    /// When lengths or heads do not fit, or a cache does not reach its row's position.
    pub fn attention<'a>(
        &self,
        heads: Heads,
        q: &[f32],
        row: impl Fn(usize) -> (&'a Cache, usize) + Sync,
        out: &mut [f32],
    ) {
        let width = heads.query * heads.dim;
        assert!(
            heads.kv > 0 && heads.query.is_multiple_of(heads.kv),
            "query heads are a multiple of kv heads"
        );
        assert!(
            q.len() == out.len() && q.len().is_multiple_of(width),
            "q and out are rows × query heads × dim"
        );
        let rows = q.len() / width;
        let mut work = 0;
        for index in 0..rows {
            let (cache, position) = row(index);
            assert_eq!(
                (cache.kv_heads(), cache.head_dim()),
                (heads.kv, heads.dim),
                "the cache has other heads"
            );
            assert!(
                position < cache.capacity(),
                "position {position} was never written"
            );
            work += (position + 1) * 2 * width;
        }
        let group = heads.query / heads.kv * heads.dim;
        let pieces = Scatter::new(out);
        let one = |index: usize| {
            let (cache, position) = row(index / heads.kv);
            let start = index * group;
            // SAFETY: each index is one row and kv head, with its own query heads of the output.
            let out = unsafe { pieces.piece(start..start + group) };
            attend(
                self.isa,
                cache,
                index % heads.kv,
                position,
                &q[start..start + group],
                out,
            );
        };
        let count = rows * heads.kv;
        if work < ALONE_WORK {
            (0..count).for_each(one);
        } else {
            self.pool.run(count, one);
        }
    }
}

per_isa! {
    /// The query heads in `q` that share one key/value head of `cache`, over the positions 0..=`last`.
    fn attend(cache: &Cache, kv_head: usize, last: usize, q: &[f32], out: &mut [f32]) {
        let dim = cache.head_dim();
        for (q, out) in q.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
            let mut state = Softmax { most: f32::NEG_INFINITY, lanes: [0.0; LANES] };
            out.fill(0.0);
            let root = 1.0 / (dim as f32).sqrt();
            let mut left = last + 1;
            for (keys, values) in cache.head(kv_head) {
                let count = left.min(PAGE);
                page(&mut state, q, root, (keys, values), count, out);
                left -= count;
                if left == 0 {
                    break;
                }
            }
            let inverse = 1.0 / sum(state.lanes);
            out.iter_mut().for_each(|out| *out *= inverse);
        }
    }
}

/// The running maximum of a row's scores and the sums of its weights.
struct Softmax {
    most: f32,
    lanes: [f32; LANES],
}

/// Takes the first `count` positions of a page in.
#[inline(always)]
fn page(
    state: &mut Softmax,
    q: &[f32],
    root: f32,
    (keys, values): (&[f32], &[f32]),
    count: usize,
    out: &mut [f32],
) {
    let mut weights = [0.0f32; PAGE];
    for (q, keys) in q.iter().zip(keys.as_chunks::<PAGE>().0) {
        let q = q * root;
        for (score, key) in weights.iter_mut().zip(keys) {
            *score = q.mul_add(*key, *score);
        }
    }
    let most = weights[..count].iter().fold(
        state.most,
        |most, &score| if score > most { score } else { most },
    );
    if most > state.most {
        let shrink = exp(state.most - most);
        state.lanes.iter_mut().for_each(|lane| *lane *= shrink);
        out.iter_mut().for_each(|out| *out *= shrink);
        state.most = most;
    }
    for weight in &mut weights {
        *weight = exp(*weight - most);
    }
    weights[count..].fill(0.0);
    for weights in weights.as_chunks::<LANES>().0 {
        for (lane, weight) in state.lanes.iter_mut().zip(weights) {
            *lane += weight;
        }
    }
    for (weight, values) in weights[..count].iter().zip(values.chunks_exact(out.len())) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = weight.mul_add(*value, *out);
        }
    }
}

/// The lanes' sum, halves upon halves.
#[inline(always)]
pub(crate) fn sum(mut lanes: [f32; LANES]) -> f32 {
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}
