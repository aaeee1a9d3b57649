//! Attention of new rows over their own sequences' caches: ragged, causal, grouped heads.
//!
//! A row at position p walks exactly the keys 0..=p of its own cache, page by page of 64 absolute positions, so
//! its bits depend on those keys alone. The arithmetic, per query head:
//! 1. A score starts at +0, then `s = fma(q[d], k[d], s)` for d in order; it is multiplied by 1 / √head_dim.
//! 2. Per page: m' = max(m, the page's scores); where m' > m, everything so far is multiplied by exp(m − m').
//! 3. e = exp(s − m'); the weights are summed in 16 lanes (position modulo 16) in order of position, and
//!    `out[d] = fma(e, v[d], out[d])` in order of position.
//! 4. The lanes are summed 8 + 8, 4 + 4, 2 + 2, 1 + 1, and `out[d]` is multiplied by one over that.
//!
//! Queries that read the same keys (heads of one group, rows of one sequence) walk the pages together, and some
//! at a time, so that a key feeds three or six products while it is in a register. Their numbers never meet.

#![expect(
    unsafe_code,
    reason = "rows and heads write disjoint pieces of one output"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
use self::avx512 as amx;
use crate::cache::{Cache, PAGE};
use crate::compute::Compute;
use crate::exp::exp;
use crate::isa::{Isa, by_isa, per_isa};
use crate::pool::Scatter;

/// Lanes that the weights of a row are summed in.
const LANES: usize = 16;
/// Queries whose sums stand in registers together, at most: AVX2 takes three.
const TOGETHER: usize = 6;
/// Queries that take a page while it is in the first cache.
const AT_ONCE: usize = 24;
/// Rows that are shared out together: neighbours mostly share their sequence's keys.
const ROWS: usize = 8;
/// Multiply-adds of a job under which the caller works alone.
const ALONE_WORK: usize = 200_000;

/// The heads of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads; a multiple of `kv`.
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
            let own = (cache.kv_heads(), cache.head_dim());
            assert_eq!(own, (heads.kv, heads.dim), "the cache has other heads");
            assert!(
                position < cache.capacity(),
                "position {position} was never written"
            );
            work += (position + 1) * 2 * width;
        }
        let job = Job {
            isa: self.isa,
            heads,
            q,
            out: Scatter::new(out),
        };
        let items = rows.div_ceil(ROWS) * heads.kv;
        let some = |items: std::ops::Range<usize>| {
            for item in items {
                let first = item / heads.kv * ROWS;
                job.rows(first..rows.min(first + ROWS), item % heads.kv, &row);
            }
        };
        if work < ALONE_WORK {
            some(0..items);
        } else {
            self.pool.run(items, 1, some);
        }
    }
}

struct Job<'a> {
    isa: Isa,
    heads: Heads,
    q: &'a [f32],
    out: Scatter<'a, f32>,
}

impl Job<'_> {
    /// The query heads of one key/value head in some rows, which no other thread works on.
    fn rows<'a>(
        &self,
        mut rows: std::ops::Range<usize>,
        kv_head: usize,
        row: &impl Fn(usize) -> (&'a Cache, usize),
    ) {
        let group = self.heads.query / self.heads.kv;
        while !rows.is_empty() {
            let cache = row(rows.start).0;
            let same = rows
                .clone()
                .take_while(|&index| std::ptr::eq(row(index).0, cache))
                .count();
            let query = |index: usize| {
                self.query(
                    rows.start + index / group,
                    kv_head * group + index % group,
                    row,
                )
            };
            for first in (0..same * group).step_by(AT_ONCE) {
                let count = AT_ONCE.min(same * group - first);
                if count <= TOGETHER {
                    attend_some::<TOGETHER>(self.isa, cache, kv_head, count, |index| {
                        query(first + index)
                    });
                } else {
                    attend_some::<AT_ONCE>(self.isa, cache, kv_head, count, |index| {
                        query(first + index)
                    });
                }
            }
            rows.start += same;
        }
    }

    fn query<'a>(
        &self,
        index: usize,
        head: usize,
        row: &impl Fn(usize) -> (&'a Cache, usize),
    ) -> Query<'_> {
        let start = (index * self.heads.query + head) * self.heads.dim;
        let range = start..start + self.heads.dim;
        Query {
            q: &self.q[range.clone()],
            len: row(index).1 + 1,
            most: f32::NEG_INFINITY,
            lanes: [0.0; LANES],
            weights: [0.0; PAGE],
            // SAFETY: one row's one head, which is in one item of the job, on one thread.
            out: unsafe { self.out.piece(range) },
        }
    }
}

/// One head of one row on its way through the pages.
struct Query<'a> {
    q: &'a [f32],
    /// Positions that it reads: its own and those before.
    len: usize,
    /// The largest score so far.
    most: f32,
    /// The sums of the weights so far.
    lanes: [f32; LANES],
    /// The scores of a page, then its weights.
    weights: [f32; PAGE],
    out: &'a mut [f32],
}

impl Query<'_> {
    fn none() -> Self {
        Self {
            q: &[],
            len: 0,
            most: f32::NEG_INFINITY,
            lanes: [0.0; LANES],
            weights: [0.0; PAGE],
            out: &mut [],
        }
    }
}

/// The first `count` queries, in a place for at most `MOST`.
fn attend_some<'a, const MOST: usize>(
    isa: Isa,
    cache: &Cache,
    kv_head: usize,
    count: usize,
    query: impl Fn(usize) -> Query<'a>,
) {
    let place = |index| {
        if index < count {
            query(index)
        } else {
            Query::none()
        }
    };
    let mut queries: [Query<'_>; MOST] = std::array::from_fn(place);
    attend(isa, cache, kv_head, &mut queries[..count]);
}

/// Queries over the keys and values of one head.
fn attend(isa: Isa, cache: &Cache, kv_head: usize, queries: &mut [Query<'_>]) {
    let root = 1.0 / (cache.head_dim() as f32).sqrt();
    queries.iter_mut().for_each(|query| query.out.fill(0.0));
    let longest = queries.iter().map(|query| query.len).max().unwrap_or(0);
    for (page, (keys, values)) in cache.head(kv_head).take(longest.div_ceil(PAGE)).enumerate() {
        let count = |query: &Query<'_>| query.len.saturating_sub(page * PAGE).min(PAGE);
        for queries in queries.chunks_mut(TOGETHER) {
            let shared = queries.iter().map(count).min().unwrap_or(0);
            scores(isa, queries, keys);
            for query in &mut *queries {
                let count = count(query);
                softmax(isa, query, root, count);
            }
            weigh(isa, queries, 0, shared, values);
            for query in &mut *queries {
                let count = count(query);
                weigh(isa, std::slice::from_mut(query), shared, count, values);
            }
        }
    }
    for query in queries {
        let inverse = 1.0 / sum(query.lanes);
        query.out.iter_mut().for_each(|out| *out *= inverse);
    }
}

by_isa!(scores(queries: &mut [Query<'_>], keys: &[f32]));
by_isa!(weigh(queries: &mut [Query<'_>], from: usize, to: usize, values: &[f32]));

per_isa! {
    /// Turns the first `count` scores of a page into weights, the rest into zeros; what was summed before is
    /// brought to the new maximum.
    fn softmax(query: &mut Query<'_>, root: f32, count: usize) {
        if count == 0 {
            return;
        }
        query.weights.iter_mut().for_each(|score| *score *= root);
        query.weights[count..].fill(f32::NEG_INFINITY);
        // In lanes, then halves upon halves, so that 64 comparisons are not one chain: the largest is the same in any
        // order.
        let larger = |most: f32, score: f32| if score > most { score } else { most };
        let mut mosts = [query.most; LANES];
        for scores in query.weights.as_chunks::<LANES>().0 {
            for (most, score) in mosts.iter_mut().zip(scores) {
                *most = larger(*most, *score);
            }
        }
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                mosts[lane] = larger(mosts[lane], mosts[lane + half]);
            }
        }
        let most = mosts[0];
        if most > query.most {
            let shrink = exp(query.most - most);
            query.lanes.iter_mut().for_each(|lane| *lane *= shrink);
            query.out.iter_mut().for_each(|out| *out *= shrink);
            query.most = most;
        }
        for weight in &mut query.weights {
            *weight = exp(*weight - most);
        }
        query.weights[count..].fill(0.0);
        for weights in query.weights.as_chunks::<LANES>().0 {
            for (lane, weight) in query.lanes.iter_mut().zip(weights) {
                *lane += weight;
            }
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
