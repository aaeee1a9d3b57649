//! The indexes of the texts seen last.
//!
//! A level is asked with whole contexts, so any replica can answer any call; this cache only makes it cheap. No session id
//! is needed: the longest common prefix finds the text, and the contexts of one request differ at their ends only.

use crate::{Index, Token};

/// A text is cut back at most this far. A context that parts from it earlier is taken for another request and gets an index
/// of its own: longer than any draft that a review can reject, and short enough that two requests with one prompt stop
/// cutting each other's text soon.
const LONGEST_TAIL: usize = 64;

/// How much a cache may hold. The index in use stays, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Texts at once.
    pub texts: usize,
    /// Bytes of all indexes together.
    pub bytes: usize,
}

impl Default for Limits {
    /// 64 texts, 256 MiB: about a million tokens.
    fn default() -> Self {
        Self {
            texts: 64,
            bytes: 256 << 20,
        }
    }
}

/// Indexes within limits, the least recently used dropped first.
#[derive(Debug)]
pub struct Cache {
    limits: Limits,
    /// The most recently used last.
    indexes: Vec<Index>,
    bytes: usize,
}

impl Cache {
    /// An empty cache.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            indexes: Vec::new(),
            bytes: 0,
        }
    }

    /// The index of exactly this text, one that shares most of it, cut back and extended, else a new one; and how many of
    /// its tokens were indexed before.
    pub fn index(&mut self, text: &[Token]) -> (&Index, usize) {
        let mut index = match self.nearest(text) {
            Some((place, shared)) => {
                let mut index = self.indexes.remove(place);
                self.bytes -= index.bytes();
                index.cut(shared);
                index
            }
            None => Index::default(),
        };
        let shared = index.text().len();
        index.extend(&text[shared..]);
        self.bytes += index.bytes();
        self.indexes.push(index);
        self.shrink();
        (&self.indexes[self.indexes.len() - 1], shared)
    }

    /// How many texts it holds.
    pub fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// Bytes of memory its indexes hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place of the index that shares the longest prefix with the text without losing too much, and that length; the
    /// most recently used among equals.
    fn nearest(&self, text: &[Token]) -> Option<(usize, usize)> {
        let shared = self
            .indexes
            .iter()
            .map(|index| common_prefix(index.text(), text));
        let near = shared.enumerate().filter(|&(place, shared)| {
            shared > 0 && self.indexes[place].text().len() - shared <= LONGEST_TAIL
        });
        near.max_by_key(|&(place, shared)| (shared, place))
    }

    fn shrink(&mut self) {
        while self.indexes.len() > 1
            && (self.indexes.len() > self.limits.texts || self.bytes > self.limits.bytes)
        {
            self.bytes -= self.indexes.remove(0).bytes();
        }
    }
}

fn common_prefix(one: &[Token], other: &[Token]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(texts: usize, bytes: usize) -> Cache {
        Cache::new(Limits { texts, bytes })
    }

    #[test]
    fn a_context_that_grows_or_loses_its_tail_keeps_its_index() {
        let mut cache = cache(4, usize::MAX);
        let text: Vec<Token> = (0..500).map(|token| token % 7).collect();
        for end in [100, 130, 120, 124, 90, 500] {
            assert_eq!(cache.index(&text[..end]).0.text(), &text[..end]);
            assert_eq!(cache.len(), 1);
        }
        let mut other = text.clone();
        other[450] = 99;
        assert_eq!(cache.index(&other).0.text(), other);
        assert_eq!(cache.len(), 1);
        other[100] = 98;
        assert_eq!(cache.index(&other).0.text(), other);
        assert_eq!(cache.len(), 2, "another request: the first text stays");
    }

    #[test]
    fn a_rejected_draft_leaves_the_confirmed_text_indexed() {
        let mut cache = cache(4, usize::MAX);
        let mut text: Vec<Token> = (0..1_000).map(|token| token % 50).collect();
        cache.index(&text);
        for round in 0..200 {
            let confirmed = text.len();
            text.extend(50..70);
            assert_eq!(cache.index(&text).1, confirmed);
            text.truncate(confirmed);
            text.push(round % 50);
            assert_eq!(cache.index(&text).1, confirmed);
        }
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn the_least_recently_used_text_goes_first() {
        let mut cache = cache(2, usize::MAX);
        let texts = [[1; 8], [2; 8], [3; 8]];
        cache.index(&texts[0]);
        cache.index(&texts[1]);
        cache.index(&texts[0]);
        cache.index(&texts[2]);
        let held: Vec<_> = cache
            .indexes
            .iter()
            .map(|index| index.text().to_vec())
            .collect();
        assert_eq!(held, [texts[0], texts[2]]);
    }

    #[test]
    fn bytes_are_bounded_and_accounted() {
        let mut cache = cache(100, 100_000);
        for first in 0..50 {
            let text: Vec<Token> = (0..200).map(|token| first * 1000 + token).collect();
            cache.index(&text);
            assert!(cache.bytes() <= 100_000);
            assert_eq!(
                cache.bytes(),
                cache.indexes.iter().map(Index::bytes).sum::<usize>()
            );
        }
        assert!(cache.len() > 1 && cache.len() < 50);
        let long: Vec<Token> = (0..10_000).collect();
        assert_eq!(cache.index(&long).0.text(), long);
        assert_eq!(cache.len(), 1, "the index in use stays");
    }
}
