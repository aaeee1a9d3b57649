//! Keys and values of one layer of one sequence, in pages of 64 positions.
//!
//! A cache is cut back by the caller's length alone: attention reads exactly the positions it is asked for, and
//! what stands behind them is overwritten later. Pages are shared on clone and copied when written, so a cache
//! is forked at the price of its page table.

use std::sync::Arc;

/// Positions in a page.
pub const PAGE: usize = 64;

/// Keys and values of one layer of one sequence.
#[derive(Clone, Debug)]
pub struct Cache {
    kv_heads: usize,
    head_dim: usize,
    pages: Vec<Arc<Page>>,
}

/// One page: keys transposed, so that a score of many positions reads neighbours.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// `[kv_head][head_dim][position]`.
    keys: Vec<f32>,
    /// `[kv_head][position][head_dim]`.
    values: Vec<f32>,
}

impl Cache {
    /// An empty cache for `kv_heads` heads of `head_dim` numbers.
    ///
    /// # Panics
    /// When one of them is zero.
    pub fn new(kv_heads: usize, head_dim: usize) -> Self {
        assert!(
            kv_heads > 0 && head_dim > 0,
            "a cache of no heads or of empty heads"
        );
        Self {
            kv_heads,
            head_dim,
            pages: Vec::new(),
        }
    }

    /// Makes room for `positions` positions; what is there stays where it is.
    pub fn reserve(&mut self, positions: usize) {
        let len = PAGE * self.kv_heads * self.head_dim;
        while self.capacity() < positions {
            self.pages.push(Arc::new(Page {
                keys: vec![0.0; len],
                values: vec![0.0; len],
            }));
        }
    }

    /// Positions that there is room for.
    pub fn capacity(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// Gives back the pages that lie wholly behind the first `positions` positions.
    pub fn shrink(&mut self, positions: usize) {
        self.pages.truncate(positions.div_ceil(PAGE));
    }

    /// Bytes of the pages, shared ones included.
    pub fn bytes(&self) -> usize {
        self.capacity() * self.kv_heads * self.head_dim * 2 * size_of::<f32>()
    }

    /// Key/value heads.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Numbers in a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Writes one position's key and value (each `kv_heads × head_dim`), growing by pages where needed; a page
    /// shared with a clone is copied first.
    ///
    /// # Panics
    /// When a slice is not `kv_heads × head_dim` long.
    pub fn write(&mut self, position: usize, key: &[f32], value: &[f32]) {
        let width = self.kv_heads * self.head_dim;
        assert!(
            key.len() == width && value.len() == width,
            "a key and a value are kv_heads × head_dim"
        );
        self.reserve(position + 1);
        let page = Arc::make_mut(&mut self.pages[position / PAGE]);
        let place = position % PAGE;
        for (row, &key) in page.keys.chunks_exact_mut(PAGE).zip(key) {
            row[place] = key;
        }
        let heads = page.values.chunks_exact_mut(PAGE * self.head_dim);
        for (head, value) in heads.zip(value.chunks_exact(self.head_dim)) {
            head[place * self.head_dim..][..self.head_dim].copy_from_slice(value);
        }
    }

    /// Reads one position's key and value back, as they were written.
    ///
    /// # Panics
    /// When there is no such position, or a slice is not `kv_heads × head_dim` long.
    pub fn read(&self, position: usize, key: &mut [f32], value: &mut [f32]) {
        let width = self.kv_heads * self.head_dim;
        assert!(
            key.len() == width && value.len() == width,
            "a key and a value are kv_heads × head_dim"
        );
        let page = &self.pages[position / PAGE];
        let place = position % PAGE;
        for (row, key) in page.keys.chunks_exact(PAGE).zip(key) {
            *key = row[place];
        }
        let heads = page.values.chunks_exact(PAGE * self.head_dim);
        for (head, value) in heads.zip(value.chunks_exact_mut(self.head_dim)) {
            value.copy_from_slice(&head[place * self.head_dim..][..self.head_dim]);
        }
    }

    /// The pages of one head, in order: its keys (`head_dim × PAGE`) and values (`PAGE × head_dim`).
    pub(crate) fn head(&self, kv_head: usize) -> impl Iterator<Item = (&[f32], &[f32])> {
        let len = PAGE * self.head_dim;
        let range = kv_head * len..(kv_head + 1) * len;
        self.pages
            .iter()
            .map(move |page| (&page.keys[range.clone()], &page.values[range.clone()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(position: usize) -> ([f32; 6], [f32; 6]) {
        let key = std::array::from_fn(|index| (position * 10 + index) as f32);
        (key, key.map(|key| -key))
    }

    fn assert_row(cache: &Cache, position: usize, expected: ([f32; 6], [f32; 6])) {
        let (mut key, mut value) = ([0.0; 6], [0.0; 6]);
        cache.read(position, &mut key, &mut value);
        assert_eq!((key, value), expected, "position {position}");
    }

    #[test]
    fn what_is_written_comes_back_across_pages() {
        let mut cache = Cache::new(2, 3);
        for position in 0..150 {
            let (key, value) = row(position);
            cache.write(position, &key, &value);
        }
        (0..150).for_each(|position| assert_row(&cache, position, row(position)));
        assert_eq!(cache.capacity(), 192);
        assert_eq!(cache.bytes(), 192 * 6 * 2 * 4);
        cache.shrink(64);
        assert_eq!(cache.capacity(), 64);
    }

    #[test]
    fn a_fork_shares_pages_until_one_side_writes() {
        let mut cache = Cache::new(2, 3);
        for position in 0..130 {
            let (key, value) = row(position);
            cache.write(position, &key, &value);
        }
        let mut fork = cache.clone();
        let (key, value) = row(999);
        fork.write(70, &key, &value);
        assert_row(&cache, 70, row(70));
        assert_row(&fork, 70, row(999));
        assert_row(&fork, 71, row(71));
        assert!(Arc::ptr_eq(&cache.pages[0], &fork.pages[0]));
        assert!(!Arc::ptr_eq(&cache.pages[1], &fork.pages[1]));
    }
}
